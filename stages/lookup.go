package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// kinds is which endpoint of IPQS answers for which type of OpenCTI, where that is one and the value says it all.
var kinds = map[string]ipqs.Kind{
	"IPv4-Addr":    ipqs.KindIP,
	"IPv6-Addr":    ipqs.KindIP,
	"Email-Addr":   ipqs.KindEmail,
	"Phone-Number": ipqs.KindPhone,
	"Url":          ipqs.KindURL,
	"Domain-Name":  ipqs.KindURL,
}

// The types whose lookups need more of OpenCTI than a value.
const (
	typeAccount  = "User-Account"
	typeArtifact = "Artifact"
)

// Credentials reads what is secret about an account: the job does not hold it.
type Credentials interface {
	Credential(ctx context.Context, id, draftID string) (opencti.Credential, error)
}

// Files reads files of OpenCTI's storage. The error is [opencti.ErrNotFound] where there is none.
type Files interface {
	Download(ctx context.Context, fileID, draftID string) (*opencti.Download, error)
}

// Sources is what [Lookup] reads of OpenCTI, and how. Without Credentials no account is looked up.
type Sources struct {
	Credentials Credentials
	Files       Files
	Scanning    Scanning
	// Guard decides about every value before IPQS is asked about it, whatever decided before.
	Guard egress.Guard
	// Timeout bounds one lookup of a value, zero is a minute; it should be above every time limit of the client, which
	// knows its endpoints better. Files have more, as their size wants it.
	Timeout time.Duration
}

// Lookup asks IPQS about the entity: about its value, in the form that the guard allows, about what an account is known by, or
// about a file. It stamps the time: the only clock a job has. An answer that was kept from before carries the time when it was
// given: that is what the verdict is of, and an observable that is looked up again gets the very same objects again.
func Lookup(risks ipqs.Lookuper, now func() time.Time, s Sources) Stage {
	l := lookup{risks: risks, now: now, Sources: s}
	return Stage{
		Name:    "lookup",
		Needs:   []Section{SectionEntity},
		Fills:   []Section{SectionRisk},
		Timeout: cmp.Or(s.Timeout, time.Minute) + s.Scanning.timeout(),
		Run:     l.run,
	}
}

type lookup struct {
	risks ipqs.Lookuper
	now   func() time.Time
	Sources
}

func (l lookup) run(ctx context.Context, job Job) (Job, error) {
	var report *ipqs.Report
	sent := job.Entity.Value
	var err error
	switch kind, ok := kinds[job.Entity.Type]; {
	case ok:
		if sent, err = sendable(l.Guard, job.Entity); err == nil {
			report, err = l.ask(ctx, job, ipqs.Query{Kind: kind, Value: sent})
		}
	case job.Entity.Type == typeAccount && l.Credentials != nil:
		report, err = l.leak(ctx, job)
	case job.Entity.Type == typeArtifact && l.Files != nil:
		job.Scan, report, err = l.scan(ctx, job)
	default:
		err = fault(Permanent, ReasonUnsupported, "IPQS has no endpoint for %s", job.Entity.Type)
	}
	if err != nil {
		return job, err
	}
	used := l.now().UTC().Truncate(time.Millisecond)
	at := used
	if !report.AskedAt.IsZero() {
		at = report.AskedAt.UTC().Truncate(time.Millisecond)
	}
	job.Risk = &Risk{At: at, Report: report, Cached: report.Cached, UsedAt: used}
	if sent != job.Entity.Value {
		job.Risk.Sent = sent
	}
	return job, nil
}

// sendable returns what of the entity's value may be sent to IPQS, or the fault of a value that must not be sent.
func sendable(guard egress.Guard, entity *opencti.Entity) (string, error) {
	sent, refusal := guard.Check(entity.Type, entity.Value)
	if refusal != nil {
		return "", &Fault{Class: Skip, Reason: Reason(refusal.Cause), Err: refusal}
	}
	return sent, nil
}

func (l lookup) ask(ctx context.Context, job Job, q ipqs.Query) (*ipqs.Report, error) {
	q.Urgent, q.Afresh = job.Urgent(), job.Replayed
	report, err := l.risks.Lookup(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("asking IPQS: %w", err)
	}
	return report, nil
}

// leak asks whether an account is known from a leak: by its password, if OpenCTI has one, else by its login, as an e-mail
// address if it looks like one. What is asked about stays in this function: the job is a message in a broker.
func (l lookup) leak(ctx context.Context, job Job) (*ipqs.Report, error) {
	credential, err := l.Credentials.Credential(ctx, job.Entity.ID, job.draft())
	switch {
	case errors.Is(err, opencti.ErrNotFound):
		return nil, deleted()
	case err != nil:
		return nil, fmt.Errorf("reading what to look up of the account %s: %w", job.Entity.StandardID, err)
	}
	q := leakQuery(credential)
	if q.Value == "" {
		return nil, fault(Skip, ReasonEmpty, "the account has neither a login nor a password to look up")
	}
	return l.ask(ctx, job, q)
}

func leakQuery(c opencti.Credential) ipqs.Query {
	switch {
	case c.Password() != "":
		return ipqs.Query{Kind: ipqs.KindLeakPassword, Value: c.Password()}
	case looksLikeEmail(c.Login()):
		return ipqs.Query{Kind: ipqs.KindLeakEmail, Value: c.Login()}
	default:
		return ipqs.Query{Kind: ipqs.KindLeakUsername, Value: c.Login()}
	}
}

func looksLikeEmail(login string) bool {
	local, domain, ok := strings.Cut(login, "@")
	return ok && local != "" && !strings.Contains(domain, "@") && strings.Contains(strings.Trim(domain, "."), ".")
}
