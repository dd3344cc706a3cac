package openctitest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"opencti-ipqs-worker/internal/opencti"
)

// DefaultVersion is the release that a platform is unless told otherwise.
const DefaultVersion = "7.260817.0"

// maxRequestBytes is the platform's default limit of one request.
const maxRequestBytes = 50 << 20

// UserID is the user behind the connector's token.
const UserID = "88ec0c6a-13ce-5e39-b486-354fe4a7084f"

// Options is what a [Platform] is made of.
type Options struct {
	// Version is the release to behave as, [DefaultVersion] when empty.
	Version string
	// Token is the one that is accepted. Empty accepts any that is not empty.
	Token string
	// Broker carries jobs and objects. Required.
	Broker Broker
	// RequeueAfter is how long a job waits that the callback did not take. Zero means 100 ms; the platform's worker waits
	// 10 to 30 s.
	RequeueAfter time.Duration
	// Logger is told what goes wrong in the background. Nil means nobody is.
	Logger *slog.Logger
}

// Platform is a stand-in OpenCTI. See the package comment.
type Platform struct {
	version opencti.Version
	rules   rules
	schema  *ast.Schema
	token   string
	broker  Broker
	log     *slog.Logger

	requeueAfter time.Duration

	wg sync.WaitGroup // the importers and callers

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced whenever anything below changes
	user       User
	connectors map[string]*connector
	importers  map[string]context.CancelFunc
	callers    map[string]context.CancelFunc
	keys       callbackKeys
	poster     *http.Client
	callbacks  []CallbackAnswer
	closed     bool
	graphs     graphs
	// markings are definitions by STIX id. organizations are the STIX ids of organizations that observables are shared with.
	markings      map[string]string
	organizations map[string]bool
	due           []due // automatic jobs that imports caused
	autoJobs      bool
	labels        map[string]label
	works         map[string]*work
	order         []string // the works' ids, oldest first
	lastWork      time.Time
	share         int   // how many jobs share a work
	shared        *work // the latest work
	executions    map[string]*execution
	stored        map[string][]byte // by file id
	downloads     map[string]int
	answers       []PlaybookAnswer
	imported      map[string]*Import
	importedTimes int        // the sum of their Times
	waiting       []envelope // objects whose references have not come yet
	paused        bool
	requests      map[string]int
	complaints    []string
	down          bool
	restarting    bool
	latency       time.Duration
	faults        map[string]*fault
	before        map[string]func()
}

// fault is what the next requests of an operation get.
type fault struct {
	times int
	code  string
	lose  bool
}

type connector struct {
	id, name        string
	scope           []string
	auto, playbooks bool
	autoUpdate      bool
	state           *string
	stateReset      bool
	input           map[string]any
	pingedAt        time.Time
	lastReported    string // the work last touched by a report
	filter          func(Observable) bool
}

type label struct{ value, color string }

// New returns a platform. Close it.
func New(o Options) (*Platform, error) {
	if o.Broker == nil {
		return nil, fmt.Errorf("making a platform: %w", &opencti.FieldError{Field: "Broker", Found: "nothing", Want: "a broker"})
	}
	text := o.Version
	if text == "" {
		text = DefaultVersion
	}
	version, err := opencti.ParseVersion(text)
	if err != nil {
		return nil, fmt.Errorf("making a platform: %w", err)
	}
	schema, err := schemaOf(version)
	if err != nil {
		return nil, err
	}
	p := &Platform{
		version: version, rules: rulesOf(version), schema: schema, token: o.Token, broker: o.Broker, log: o.Logger,
		changed:       make(chan struct{}),
		user:          ConnectorUser(),
		connectors:    map[string]*connector{},
		importers:     map[string]context.CancelFunc{},
		callers:       map[string]context.CancelFunc{},
		graphs:        graphs{},
		markings:      map[string]string{},
		organizations: map[string]bool{},
		labels:        map[string]label{},

		works:      map[string]*work{},
		executions: map[string]*execution{},
		stored:     map[string][]byte{},
		downloads:  map[string]int{},
		imported:   map[string]*Import{},
		requests:   map[string]int{},
		faults:     map[string]*fault{},
		before:     map[string]func(){},
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	for _, definition := range []string{"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"} {
		p.markings[markingID(definition)] = definition
	}
	p.poster = &http.Client{Timeout: callbackTimeout}
	if p.requeueAfter = o.RequeueAfter; p.requeueAfter <= 0 {
		p.requeueAfter = 100 * time.Millisecond
	}
	p.keys = newCallbackKeys()
	return p, nil
}

// Close stops the importers and callers and waits for them. It does not close the broker.
func (p *Platform) Close() error {
	p.set(func() {
		p.closed = true
		for _, stop := range p.importers {
			stop()
		}
		for _, stop := range p.callers {
			stop()
		}
	})
	p.wg.Wait()
	return nil
}

// ServeHTTP answers POST <base>/graphql and GET <base>/storage/get/<file id>.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	down, latency := p.down || p.restarting, p.latency
	p.mu.Unlock()
	if latency > 0 {
		wait := time.NewTimer(latency)
		defer wait.Stop()
		select {
		case <-r.Context().Done():
			return
		case <-wait.C:
		}
	}
	switch {
	case down:
		http.Error(w, "<html><body>503 Service Unavailable</body></html>", http.StatusServiceUnavailable)
		return
	case strings.Contains(r.URL.Path, storagePath):
		p.serveFile(w, r)
		return
	case !strings.HasSuffix(r.URL.Path, "/graphql"):
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		return
	}
	var request struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	decoder.UseNumber()
	if err := decoder.Decode(&request); err != nil {
		http.Error(w, "Payload Too Large or no JSON", http.StatusRequestEntityTooLarge)
		return
	}
	data, refused, lost := p.answer(r, request.Query, request.Variables)
	if lost {
		http.Error(w, "502 Bad Gateway", http.StatusBadGateway)
		return
	}
	body := map[string]any{"data": data}
	if refused != nil {
		body["errors"] = []any{map[string]any{
			"message": refused.message, "name": refused.code, "extensions": map[string]any{"code": refused.code},
		}}
	}
	w.Header().Set("Content-Type", "application/json")
	text, err := json.Marshal(body)
	if err != nil {
		p.log.ErrorContext(r.Context(), "encoding an answer", slog.Any("error", err))
		return
	}
	if _, err := w.Write(text); err != nil {
		p.log.DebugContext(r.Context(), "writing an answer", slog.Any("error", err))
	}
}

// answer executes one request. lost means that it was executed and its answer must not arrive.
func (p *Platform) answer(r *http.Request, document string, variables map[string]any) (data map[string]any, refused *refusal, lost bool) {
	q, refused := parse(p.schema, document, variables)
	if refused != nil {
		return nil, refused, false
	}
	name := q.operation.Name
	p.mu.Lock()
	if before := p.before[name]; before != nil {
		delete(p.before, name)
		p.mu.Unlock()
		before()
		p.mu.Lock()
	}
	p.requests[name]++
	p.notify()
	failing := p.faults[name]
	if failing != nil {
		if failing.times--; failing.times <= 0 {
			delete(p.faults, name)
		}
		lost = failing.lose
	}
	draft, named := draftOf(r)
	if !named && p.rules.drafts {
		p.complain("%s came without opencti-draft-id: it would run in whatever draft the user has open", name)
	}
	draft = p.draft(draft)
	p.mu.Unlock()
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer || token == "" || (p.token != "" && token != p.token) {
		return nil, &refusal{"AUTH_REQUIRED", "You must be logged in to do this."}, false
	}
	if failing != nil && !failing.lose {
		return nil, &refusal{failing.code, "Failed on demand"}, false
	}
	data, err := q.run(p.root(r.Context(), draft))
	if err != nil {
		refused, ok := err.(*refusal) //nolint:errorlint // made in this package, never wrapped
		if !ok {
			refused = &refusal{"INTERNAL_SERVER_ERROR", err.Error()}
		}
		return nil, refused, lost
	}
	return data, nil, lost
}

func draftOf(r *http.Request) (id string, named bool) {
	values, named := r.Header[http.CanonicalHeaderKey("opencti-draft-id")]
	if named && len(values) > 0 {
		id = values[0]
	}
	return id, named
}

// draft is the draft that a release with drafts means, or "".
func (p *Platform) draft(id string) string {
	if !p.rules.drafts {
		return ""
	}
	return id
}

// notify wakes everyone in Wait. The lock is held.
func (p *Platform) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// complain keeps what no well-behaved connector does. The lock is held.
func (p *Platform) complain(format string, arguments ...any) {
	p.complaints = append(p.complaints, fmt.Sprintf(format, arguments...))
}

// Wait returns when done does. It is asked at once and after each change, and may use the platform's methods.
func (p *Platform) Wait(ctx context.Context, done func() bool) error {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// WaitWorks waits until there are n works, all of them are complete, and the connector has ended each: a work is complete as
// soon as all is imported that was announced, which may be before the connector comes to say that it is done.
func (p *Platform) WaitWorks(ctx context.Context, n int) error {
	return p.Wait(ctx, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, w := range p.works {
			if w.Status != statusComplete || w.ProcessedTimes == 0 && !w.Forced {
				return false
			}
		}
		return len(p.works) >= n
	})
}

// Requests counts what was asked, by operation name; refused documents are not counted.
func (p *Platform) Requests() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.requests)
}

// Registration returns the input of a connector's latest registration, nil when there is none.
func (p *Platform) Registration(connectorID string) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.connectors[connectorID]; c != nil {
		return maps.Clone(c.input)
	}
	return nil
}

// Labels returns the labels' colours by value, "" where the platform would choose one.
func (p *Platform) Labels() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	colors := make(map[string]string, len(p.labels))
	for _, l := range p.labels {
		colors[l.value] = l.color
	}
	return colors
}

// Complaints returns what was noticed that no well-behaved connector does.
func (p *Platform) Complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.complaints)
}

// Version returns the release that the platform behaves as.
func (p *Platform) Version() opencti.Version { return p.version }
