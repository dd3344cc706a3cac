package doctor

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
)

// Status is how a check ended.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warn    Status = "warn"    // the worker works, but not as somebody may expect
	Fail    Status = "fail"    // the worker could not work
	Skipped Status = "skipped" // it could not be found out, because of what failed before
)

// Finding is what a check found.
type Finding struct {
	// Check names it: one of the words of the package comment.
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Found is what was found, in a line.
	Found string `json:"found"`
	// Remedy is what to do about it; empty where there is nothing to be done.
	Remedy string `json:"remedy,omitempty"`
}

// The checks.
const (
	checkConfiguration = "configuration"
	checkOpenCTI       = "opencti"
	checkToken         = "token"
	checkRegistration  = "registration"
	checkBroker        = "broker"
	checkPermissions   = "permissions"
	checkQueues        = "queues"
	checkIPQS          = "ipqs"
	checkCache         = "cache"
	checkClock         = "clock"
)

// Options is what a doctor looks at.
type Options struct {
	// App is what a worker would be run with.
	App app.Options
	// Warnings are those of loading its configuration.
	Warnings []config.Warning
	// Timeout bounds each check; zero is 10 s.
	Timeout time.Duration
}

// Misconfigured are the findings of a configuration that cannot be used: nothing else can be looked at then.
func Misconfigured(err error, warnings []config.Warning) []Finding {
	var findings []Finding
	problems := []error{err}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		problems = all.Unwrap()
	}
	for _, p := range problems {
		findings = append(findings, Finding{checkConfiguration, Fail, oneLine(p.Error()), "set the option to what is wanted; config.yml.sample explains each"})
	}
	findings = append(findings, warned(warnings)...)
	return append(findings, Finding{checkOpenCTI, Skipped, "nothing else was looked at: the configuration cannot be used", ""})
}

func warned(warnings []config.Warning) []Finding {
	var findings []Finding
	for _, w := range warnings {
		findings = append(findings, Finding{checkConfiguration, Warn, oneLine(w.String()), ""})
	}
	return findings
}

// Failed reports whether one of the findings is a failure.
func Failed(findings []Finding) bool {
	for _, f := range findings {
		if f.Status == Fail {
			return true
		}
	}
	return false
}

// examination is one run.
type examination struct {
	options  Options
	config   config.Config
	ways     *app.Ways
	tell     func(Finding)
	findings []Finding
	secrets  []string // that no option has

	mu     sync.Mutex
	clocks []reading
}

// Run makes all checks, one after the other, and returns what they found in that order. tell, if set, gets each finding as
// soon as it is there.
func Run(ctx context.Context, o Options, tell func(Finding)) []Finding {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if tell == nil {
		tell = func(Finding) {}
	}
	e := &examination{options: o, config: o.App.Config, tell: tell}
	for _, f := range warned(o.Warnings) {
		e.add(f)
	}
	ways, err := app.NewWays(o.App, e.answered)
	if err != nil {
		e.fail(checkConfiguration, oneLine(err.Error()), "correct the option that it names")
		e.skip(checkOpenCTI, "nothing else was looked at: the configuration cannot be used")
		return e.findings
	}
	e.ways = ways
	e.ok(checkConfiguration, "it can be used, as "+e.config.Connector.Name+" ("+e.config.Connector.ID+")")
	to, known := e.openCTI(ctx)
	switch {
	case ways.WithoutRabbitMQ():
		e.ok(checkBroker, "none is needed: jobs come, and results go, over HTTP")
	case known, ways.BrokerConfigured():
		e.broker(ctx, to)
	default:
		for _, check := range []string{checkBroker, checkPermissions, checkQueues} {
			e.skip(check, "the broker is unknown: no registration names it, and the MQ_* options do not name all of it")
		}
	}
	e.ipqs(ctx)
	e.cache(ctx)
	e.clock()
	return e.findings
}

func (e *examination) add(f Finding) {
	f.Found, f.Remedy = oneLine(e.masked(f.Found)), oneLine(e.masked(f.Remedy))
	e.findings = append(e.findings, f)
	e.tell(f)
}

func (e *examination) ok(check, found string) {
	e.add(Finding{check, OK, found, ""})
}

func (e *examination) warn(check, found, remedy string) {
	e.add(Finding{check, Warn, found, remedy})
}

func (e *examination) fail(check, found, remedy string) {
	e.add(Finding{check, Fail, found, remedy})
}

func (e *examination) skip(check, found string) {
	e.add(Finding{check, Skipped, found, ""})
}

// within is ctx for one check.
func (e *examination) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.options.Timeout)
}

// masked is the last resort against a library that quotes what it was given: none of ours does.
func (e *examination) masked(text string) string {
	secrets := []config.Secret{e.config.OpenCTI.Token, e.config.IPQS.PrivateKey, e.config.MQ.Pass, e.config.Cache.URL}
	for _, value := range e.config.OpenCTI.CustomHeaders {
		secrets = append(secrets, value)
	}
	for _, secret := range e.secrets {
		secrets = append(secrets, config.NewSecret(secret))
	}
	for _, secret := range secrets {
		if s := secret.Reveal(); len(s) > 3 {
			text = strings.ReplaceAll(text, s, "[REDACTED]")
		}
	}
	return text
}

// answered notes what a peer's clock says.
func (e *examination) answered(peer string, header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clocks = append(e.clocks, reading{peer, time.Until(date)})
}

// oneLine returns text on one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// capability is something that the token's user has to be allowed.
type capability struct {
	name   string
	status Status // without it
	// why says what does not work without it.
	why string
}

// capabilities are those that the protocol asks for, by the names that OpenCTI has for them.
func capabilities() []capability {
	return []capability{
		{"CONNECTORAPI", Fail, "the connector can't register"},
		{"KNOWLEDGE_KNUPDATE", Fail, "nothing that the worker publishes is imported"},
		{"MODULES", Warn, "works and the connector's registration can't be read, so a job that comes again may be counted twice, and status, doctor and dead-letters need all MQ_* options"},
		{"SETTINGS_SETLABELS", Warn, "labels that are new to OpenCTI are left out"},
	}
}

// token checks whose token it is and what that user may do. usable reports whether the user may register a connector.
func (e *examination) token(ctx context.Context) (user opencti.User, usable bool) {
	ctx, cancel := e.within(ctx)
	defer cancel()
	user, err := e.ways.OpenCTI.Me(ctx)
	if err != nil {
		found, remedy := platformTrouble(err)
		e.fail(checkToken, found, remedy)
		return user, false
	}
	usable, fine := true, true
	const roles = "give the user's group a role that has it (Settings, Security, Roles); OpenCTI's own role Connector has all that is needed"
	for _, c := range capabilities() {
		if user.May(c.name) {
			continue
		}
		fine, usable = false, usable && c.name != "CONNECTORAPI"
		e.add(Finding{checkToken, c.status, "the user " + user.Name + " has not the capability " + c.name + ": " + c.why, roles})
	}
	if unseen := e.unseen(user); len(unseen) > 0 {
		fine = false
		e.warn(checkToken, "the user "+user.Name+" may not see "+strings.Join(unseen, ", ")+": observables marked so do not exist for the worker, though IPQS_MAX_TLP="+e.config.IPQS.MaxTLP+" allows them",
			"allow the user's group these markings, or lower IPQS_MAX_TLP")
	}
	fine = e.confidence(user) && fine
	if fine {
		e.ok(checkToken, "it belongs to the user "+user.Name+", who may do all that is needed")
	}
	return user, usable
}

// unseen are the markings up to IPQS_MAX_TLP that the user may not see.
func (e *examination) unseen(user opencti.User) []string {
	ceiling, err := opencti.ParseTLP(e.config.IPQS.MaxTLP)
	if err != nil || user.May("BYPASS") {
		return nil
	}
	sees := map[opencti.TLP]bool{}
	for _, marking := range user.Markings {
		if level, err := opencti.ParseTLP(marking); err == nil && strings.HasPrefix(strings.ToUpper(marking), "TLP:") {
			sees[level] = true
		}
	}
	var unseen []string
	for level := opencti.TLPClear; level <= ceiling && level < opencti.TLPUnknown; level++ {
		if !sees[level] {
			unseen = append(unseen, level.String())
		}
	}
	return unseen
}

// confidence reports whether nothing is wrong with the user's highest confidence.
func (e *examination) confidence(user opencti.User) bool {
	const where = "set a max confidence level for the user, or a group of theirs (Settings, Security)"
	configured := e.config.Connector.ConfidenceLevel
	switch {
	case !user.ConfidenceKnown:
		return true
	case user.MaxConfidence == nil:
		e.fail(checkToken, "the user "+user.Name+" has no max confidence level: OpenCTI refuses to create anything for them", where)
	case *user.MaxConfidence == 0:
		e.warn(checkToken, "the max confidence level of the user "+user.Name+" is 0: what is there is hardly ever updated", where)
	case configured > *user.MaxConfidence:
		e.warn(checkToken, "CONNECTOR_CONFIDENCE_LEVEL is "+number(configured)+", above the max confidence level of the user "+user.Name+", "+number(*user.MaxConfidence)+", which OpenCTI lowers it to",
			"raise the user's level, or lower CONNECTOR_CONFIDENCE_LEVEL")
	default:
		return true
	}
	return false
}
