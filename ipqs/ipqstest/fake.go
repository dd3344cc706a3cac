package ipqstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// What IPQS says when it refuses, always with HTTP 200.
const (
	MessageInvalidKey = "Invalid or unauthorized key. Please check the API key and try again."
	MessageNoCredits  = "You have insufficient credits to make this query. Please contact IPQualityScore support if this error persists." //nolint:gosec // a sentence, no credential
	MessageQuota      = "You have exceeded your request quota of 200 per day. Please upgrade to increase your request quota."
	MessageInvalidIP  = "Invalid IPv4 address, IPv6 address or hostname. Please check the IP/Hostname and try again."
	// MessageInvalidURL is not documented as a whole; only its first two words are known.
	MessageInvalidURL = "Invalid URL. Please check the URL and try again."
)

const (
	apiPath = "/api/json/"
	maxLog  = 10_000
)

// Options are how a [Fake] behaves. The zero value accepts any key, answers at once and never fails.
type Options struct {
	// Key is the only key accepted; "" accepts every key.
	Key string
	// FreePlan puts texts that sell a bigger plan where an enterprise account gets data, and leaves fields out.
	FreePlan bool
	// Credits is how many lookups the account pays for; zero is without end. /account says how many are left.
	Credits int
	// Latency is how long an answer takes, give or take LatencyJitter.
	Latency, LatencyJitter time.Duration
	// Faults is how often an answer is none.
	Faults FaultRates
	// SlowFor is how long a slow answer takes, default 30 s: longer than a client waits.
	SlowFor time.Duration
	// ScanPolls is how often a scan's result is asked for in vain, default 1; negative is never in vain.
	ScanPolls int
	// Seed decides which lookups are hit by Faults: the same seed hits the same lookups of the same values.
	Seed uint64
}

// FaultRates are shares of all lookups, each from 0 to 1, together at most 1.
type FaultRates struct {
	Status500    float64 // HTTP 500 with an HTML page
	Throttled429 float64 // HTTP 429 with Retry-After: 1
	Throttled403 float64 // HTTP 403 with a JSON answer: what IPQS documents for too many requests
	Slow         float64 // the right answer, too late
	Garbage      float64 // half a JSON object
	HTML         float64 // HTTP 403 with an HTML page: a block at the edge
}

// Mode is the state of the whole service or account.
type Mode string

// The modes. Scripts and faults wait while the mode is not Healthy.
const (
	Healthy       Mode = "healthy"
	Down          Mode = "down"           // HTTP 503
	InvalidKey    Mode = "invalid_key"    // no key is accepted
	NoCredits     Mode = "no_credits"     // insufficient credits
	QuotaExceeded Mode = "quota_exceeded" // over the daily quota
)

// Response is one scripted answer.
type Response struct {
	// Delay comes on top of the latency.
	Delay time.Duration
	// Abort cuts the connection instead of answering.
	Abort bool
	// Status is the HTTP status, default 200.
	Status int
	// Header is added to the answer. The content type is application/json unless it says otherwise.
	Header map[string]string
	// Body is sent as it is. Without one, the answer is the one that the value gets anyway, changed by Fields; with a
	// Status and without Fields it is empty.
	Body string
	// Fields are set in the answer that the value gets anyway: any value that encodes as JSON, or [Absent].
	Fields map[string]any
}

type absent string

// Absent in the Fields of a [Response] takes a field out of the answer.
const Absent absent = "absent"

// Refusal is the Response with which IPQS refuses a lookup, saying message.
func Refusal(message string) Response {
	return Response{Body: encode(refusal(message))}
}

// Request is what a Fake has seen of a request. The key is not in it.
type Request struct {
	Method    string
	Path      string
	RawQuery  string
	UserAgent string
	HasKey    bool // there was an IPQS-KEY header
	At        time.Time
}

// Fake is an IPQS in a handler. It is safe for concurrent use.
type Fake struct {
	options Options

	mu       sync.Mutex
	mode     Mode
	scripts  map[ipqs.Query][]Response
	lookups  map[ipqs.Query]int // how many times each value was asked for
	requests map[ipqs.Kind]int
	log      []Request
	scans    map[string]*scan // by request id
	scanned  map[string]*scan // by the file's SHA-256
	spent    int              // credits
}

var _ http.Handler = (*Fake)(nil)

// New makes a Fake that is Healthy.
func New(o Options) *Fake {
	if o.SlowFor == 0 {
		o.SlowFor = 30 * time.Second
	}
	if o.ScanPolls == 0 {
		o.ScanPolls = 1
	}
	return &Fake{
		options:  o,
		mode:     Healthy,
		scripts:  make(map[ipqs.Query][]Response),
		lookups:  make(map[ipqs.Query]int),
		requests: make(map[ipqs.Kind]int),
		scans:    make(map[string]*scan),
		scanned:  make(map[string]*scan),
	}
}

// SetMode changes the mode for the requests that come from now on.
func (f *Fake) SetMode(m Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = m
}

// Script makes the next lookups of the value get these responses, one after the other; then it is answered as usual.
// Another call adds to what is left. The value of a file is its name, that of a result its scan's request id.
func (f *Fake) Script(kind ipqs.Kind, value string, responses ...Response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := ipqs.Query{Kind: kind, Value: value}
	f.scripts[q] = append(f.scripts[q], responses...)
}

// Recover ends whatever is wrong: the mode, the faults, and what is left of all scripts.
func (f *Fake) Recover() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode, f.options.Faults = Healthy, FaultRates{}
	clear(f.scripts)
}

// Requests returns how many requests each endpoint has seen, whatever became of them.
func (f *Fake) Requests() map[ipqs.Kind]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.requests)
}

// Log returns the requests in the order they came, the first 10,000 of them.
func (f *Fake) Log() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Request(nil), f.log...)
}

// ServeHTTP answers below /api/json/ as IPQS does.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, accountPath) {
		f.account(w, r)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, apiPath)
	kind, inPath := kindOf(path)
	if !ok || kind == "" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost && (r.Method != http.MethodGet || kind.Secret() || kind.Upload()) {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	value, content, err := question(kind, r)
	if err != nil {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	q := ipqs.Query{Kind: kind, Value: value}
	mode, n := f.note(r, q)
	roll := hash("fault", strconv.FormatUint(f.options.Seed, 10), string(kind), q.Value, strconv.Itoa(n))
	if !wait(r, f.latency(roll)) {
		return
	}

	key := r.Header.Get("IPQS-KEY")
	switch {
	case mode == Down:
		page(w, http.StatusServiceUnavailable, "Service Unavailable")
	case mode == InvalidKey, key == "", f.options.Key != "" && key != f.options.Key, inPath != "":
		send(w, refusal(MessageInvalidKey))
	case mode == NoCredits, mode == Healthy && !f.pay():
		send(w, refusal(MessageNoCredits))
	case mode == QuotaExceeded:
		send(w, refusal(MessageQuota))
	default:
		f.answer(w, r, q, content, n, roll)
	}
}

// note writes the request down, and returns the mode and how many times the value was asked for before.
func (f *Fake) note(r *http.Request, q ipqs.Query) (Mode, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests[q.Kind]++
	if len(f.log) < maxLog {
		f.log = append(f.log, Request{
			Method: r.Method, Path: r.URL.Path, RawQuery: r.URL.RawQuery, UserAgent: r.UserAgent(),
			HasKey: r.Header.Get("IPQS-KEY") != "", At: time.Now(),
		})
	}
	n := f.lookups[q]
	f.lookups[q]++
	return f.mode, n
}

func (f *Fake) answer(w http.ResponseWriter, r *http.Request, q ipqs.Query, content []byte, n int, roll uint64) {
	var fields map[string]any
	if about, ok := endpoints[q.Kind]; ok {
		fields = about(q.Value, f.options.FreePlan)
		fields["request_id"] = requestID(q, n)
	} else {
		fields = f.fileAnswer(q, content, requestID(q, n), r.Header.Get("IPQS-KEY"))
	}

	script, ok := f.next(q)
	if !ok {
		if !f.fault(w, r, f.rates(), roll) {
			send(w, fields)
		}
		return
	}
	if !wait(r, script.Delay) {
		return
	}
	if script.Abort {
		panic(http.ErrAbortHandler) // how net/http is told to cut the connection
	}
	for name, value := range script.Fields {
		if value == Absent {
			delete(fields, name)
		} else {
			fields[name] = value
		}
	}
	w.Header().Set("Content-Type", "application/json")
	for name, value := range script.Header {
		w.Header().Set(name, value)
	}
	if script.Status != 0 {
		w.WriteHeader(script.Status)
	}
	body := script.Body
	if body == "" && (script.Status == 0 || script.Fields != nil) {
		body = encode(fields)
	}
	_, _ = w.Write([]byte(body)) //nolint:gosec // JSON of a stand-in, for no browser
}

// next takes the next scripted response of the value.
func (f *Fake) next(q ipqs.Query) (Response, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.scripts[q]
	if len(left) == 0 {
		return Response{}, false
	}
	f.scripts[q] = left[1:]
	return left[0], true
}

func (f *Fake) rates() FaultRates {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.options.Faults
}

// fault spoils the answer if the roll says so.
func (f *Fake) fault(w http.ResponseWriter, r *http.Request, rates FaultRates, roll uint64) bool {
	x := share(roll)
	hit := func(rate float64) bool {
		x -= rate
		return x < 0
	}
	switch {
	case hit(rates.Status500):
		page(w, http.StatusInternalServerError, "Internal Server Error")
	case hit(rates.Throttled429):
		w.Header().Set("Retry-After", "1")
		page(w, http.StatusTooManyRequests, "Too Many Requests")
	case hit(rates.Throttled403):
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(encode(refusal("Too many lookups at once. Slow down."))))
	case hit(rates.Slow):
		return !wait(r, f.options.SlowFor)
	case hit(rates.Garbage):
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"message":"Success","success":true,"fraud_sc`))
	case hit(rates.HTML):
		page(w, http.StatusForbidden, "Access denied")
	default:
		return false
	}
	return true
}

func (f *Fake) latency(roll uint64) time.Duration {
	jitter := (2*share(roll*0x9e3779b97f4a7c15) - 1) * float64(f.options.LatencyJitter)
	return f.options.Latency + time.Duration(jitter)
}

// wait returns false if the client went first.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func refusal(message string) map[string]any {
	return map[string]any{"success": false, "message": message}
}

func send(w http.ResponseWriter, fields map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(encode(fields))) //nolint:gosec // JSON of a stand-in, for no browser
}

func page(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html><head><title>%s</title></head><body>%s</body></html>\n", title, title)
}

func encode(fields map[string]any) string {
	body, err := json.Marshal(fields)
	if err != nil { // a scripted field that no JSON can hold
		return err.Error()
	}
	return string(body)
}
