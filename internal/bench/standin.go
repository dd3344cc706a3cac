//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// Standins is OpenCTI and IPQS as far as a benchmark needs them, in a process of their own: quick, and with a memory for
// numbers only. The stand-ins of the tests keep everything and check it, which costs more than what is to be measured.
type Standins struct {
	registration []byte
	answers      map[ipqs.Kind][][]byte // what IPQS says, by kind

	mu    sync.Mutex
	state State
	wait  time.Duration
}

// State is what the stand-ins have seen since they were last reset.
type State struct {
	// Requests counts GraphQL requests by operation, and lookups as "IPQS".
	Requests map[string]int `json:"requests"`
	// Handling is how long all of them were in our hands, without the latency that IPQS was given.
	Handling time.Duration `json:"handling"`
	// Processed is how many works have ended.
	Processed int `json:"processed"`
	// Registered is when the latest registration was answered, First when a job was first asked or told about, Last when
	// the last work ended.
	Registered time.Time `json:"registered"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
	// Took is how long each work took from the time in its id, which is that of its job message.
	Took []time.Duration `json:"took"`
	// Manual is the same of the works whose id says so.
	Manual []time.Duration `json:"manual"`
	// Traced is how many bytes of spans came.
	Traced int64 `json:"traced"`
}

// Version is the release of OpenCTI that is stood in for.
const Version = "7.260817.0"

// NewStandins makes stand-ins; coordinates is the config of a registration, in OpenCTI's words.
func NewStandins(coordinates map[string]any) (*Standins, error) {
	registration, err := json.Marshal(map[string]any{"data": map[string]any{"registerConnector": map[string]any{
		"id": connectorID, "connector_state": "", "connector_user_id": "88ec0c6a-13ce-5e39-b486-354fe4a7084f", "config": coordinates,
	}}})
	if err != nil {
		return nil, fmt.Errorf("making the answer to a registration: %w", err)
	}
	s := &Standins{registration: registration, answers: make(map[ipqs.Kind][][]byte)}
	fake := ipqstest.New(ipqstest.Options{})
	for kind, format := range values {
		for i := range 64 {
			target := "/api/json/" + string(kind) + "?" + url.Values{string(kind): {fmt.Sprintf(format, i/8, i)}}.Encode()
			request := httptest.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
			request.Header.Set("IPQS-KEY", key)
			recorder := httptest.NewRecorder()
			fake.ServeHTTP(recorder, request)
			if recorder.Code != http.StatusOK {
				return nil, fmt.Errorf("asking the fake IPQS for %s: %d %s", target, recorder.Code, recorder.Body)
			}
			s.answers[kind] = append(s.answers[kind], recorder.Body.Bytes())
		}
	}
	s.reset(0)
	return s, nil
}

// Serve listens on a free port of the loopback interface until ctx ends, and tells its address first.
func (s *Standins) Serve(ctx context.Context, tell func(address string) error) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := tell("http://" + listener.Addr().String()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

func (s *Standins) reset(wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	registered := s.state.Registered
	s.state, s.wait = State{Requests: make(map[string]int), Registered: registered}, wait
}

// tracesPath is where spans are taken, and counted.
const tracesPath = "/v1/traces"

// ServeHTTP answers for OpenCTI below /graphql, for IPQS below /api/json, for a collector of spans at [tracesPath], and to the
// benchmark below /control.
func (s *Standins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	switch {
	case r.URL.Path == "/graphql":
		s.graphQL(w, r, began)
	case strings.HasPrefix(r.URL.Path, "/api/json/"):
		s.lookup(w, r, began)
	case r.URL.Path == tracesPath: // an empty answer is that all was taken
		n, _ := io.Copy(io.Discard, r.Body) // the rest is missing in what is counted
		s.mu.Lock()
		s.state.Traced += n
		s.mu.Unlock()
	case r.URL.Path == "/control/reset":
		wait, _ := time.ParseDuration(r.URL.Query().Get("latency")) // none is none
		s.reset(wait)
	case r.URL.Path == "/control/state":
		s.mu.Lock()
		state := s.state
		state.Requests = maps.Clone(state.Requests)
		s.mu.Unlock()
		if r.URL.Query().Get("times") == "" {
			state.Took = nil
		}
		_ = json.NewEncoder(w).Encode(state) // the benchmark notices
	default:
		http.NotFound(w, r)
	}
}

var operationName = regexp.MustCompile(`(?:query|mutation) (\w+)`)

func (s *Standins) graphQL(w http.ResponseWriter, r *http.Request, began time.Time) {
	var request struct {
		Query     string `json:"query"`
		Variables struct {
			ID string `json:"id"`
		} `json:"variables"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &request)
	}
	match := operationName.FindStringSubmatch(request.Query)
	if err != nil || match == nil {
		http.Error(w, "no GraphQL", http.StatusBadRequest)
		return
	}
	name, id := match[1], request.Variables.ID
	about := strings.Contains(request.Query, "workEdit") || strings.Contains(request.Query, "stixCyberObservable")
	var answer []byte
	switch {
	case strings.Contains(request.Query, "registerConnector"):
		answer = s.registration
	case strings.Contains(request.Query, "stixCyberObservable"):
		answer = observableAnswer(id)
	case strings.Contains(request.Query, "about {"):
		answer = []byte(`{"data":{"about":{"version":"` + Version + `"}}}`)
	case strings.Contains(request.Query, "pingConnector"):
		answer = []byte(`{"data":{"pingConnector":{"connector_state":""}}}`)
	case name == "Work":
		answer = []byte(`{"data":{"work":{"status":"wait","processed_time":null,"tracking":{},"messages":[],"errors":[]}}}`)
	case strings.Contains(request.Query, "labelAdd"):
		answer = []byte(`{"data":{"labelAdd":{"id":"5b0a6c44-8f4c-4f0e-9b0a-0a4b8a1f8f0e"}}}`)
	default:
		answer = []byte(`{"data":{"workEdit":{}}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // who asked notices

	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Requests[name]++
	s.state.Handling += now.Sub(began)
	switch {
	case strings.Contains(request.Query, "registerConnector"):
		s.state.Registered = now
	case about && s.state.First.IsZero():
		s.state.First = began
	}
	if strings.Contains(request.Query, "toProcessed") {
		s.state.Processed++
		s.state.Last = now
		parts := strings.Split(id, "_")
		if nanos, err := strconv.ParseInt(parts[len(parts)-1], 10, 64); err == nil {
			s.state.Took = append(s.state.Took, now.Sub(time.Unix(0, nanos)))
			if strings.Contains(id, "manual") {
				s.state.Manual = append(s.state.Manual, now.Sub(time.Unix(0, nanos)))
			}
		}
	}
}

func (s *Standins) lookup(w http.ResponseWriter, r *http.Request, began time.Time) {
	kind := ipqs.Kind(strings.TrimPrefix(r.URL.Path, "/api/json/"))
	answers := s.answers[kind]
	if len(answers) == 0 {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	wait := s.wait
	s.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answers[hash(r.URL.RawQuery)%uint64(len(answers))]) // who asked notices
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Requests["IPQS"]++
	s.state.Handling += time.Since(began) - wait
	if s.state.First.IsZero() {
		s.state.First = began
	}
}

// values is what is looked up of each kind.
var values = map[ipqs.Kind]string{
	ipqs.KindIP:    "198.18.%d.%d",
	ipqs.KindEmail: "user-%d-%d@example.com",
	ipqs.KindURL:   "host-%d-%d.example.org",
	ipqs.KindPhone: "+18005550%d%02d",
}

// kinds are the types of the observables, taken in turns.
var kinds = []struct {
	kind      ipqs.Kind
	name, typ string // OpenCTI's, STIX's
}{
	{ipqs.KindIP, "IPv4-Addr", "ipv4-addr"},
	{ipqs.KindURL, "Domain-Name", "domain-name"},
	{ipqs.KindEmail, "Email-Addr", "email-addr"},
	{ipqs.KindIP, "IPv4-Addr", "ipv4-addr"},
}

func observableAnswer(id string) []byte {
	typ, rest, _ := strings.Cut(id, "--")
	h := hash(rest)
	var b bytes.Buffer
	for _, k := range kinds {
		if k.typ == typ {
			fmt.Fprintf(&b, `{"data":{"stixCyberObservable":{"id":"3f2c0c7e-8a41-4a9b-9a3b-%012x","standard_id":%q,"entity_type":%q,`+
				`"observable_value":"`+values[k.kind]+`","created_at":"2026-01-02T03:04:05.678Z","x_opencti_score":50,"objectMarking":[{`+
				`"standard_id":"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da","definition_type":"TLP",`+
				`"definition":"TLP:GREEN","x_opencti_order":2}],"objectLabel":[],"objectOrganization":[]}}}`,
				h&0xffffffffffff, id, k.name, h>>8%256, h%256)
			return b.Bytes()
		}
	}
	return []byte(`{"data":{"stixCyberObservable":null}}`)
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // never fails
	return h.Sum64()
}
