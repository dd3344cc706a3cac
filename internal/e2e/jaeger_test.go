package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/tracetree"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// A hundred jobs go through five processes, one per hop, with retries and a replay; a real Jaeger then has each as one
// trace. JAEGER names its all-in-one binary: `make test-jaeger` gets it. TRACE_TEXT, if set, is where the trace of a job
// that was retried is drawn, as the documentation shows it.
func TestJaegerShowsEachJobAsOneTrace(t *testing.T) {
	j := startJaeger(t)
	w := newWorld(t, ipqstest.Options{Latency: 20 * time.Millisecond})
	list := observables(100)
	const brokenOf = 6 // an address, as those that are put off are; too few for the breaker
	busy := ipqstest.Response{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "4"}}
	parked := []int{0, 36, 72}
	w.ipqs.Script(ipqs.KindIP, list[parked[1]].Value, ipqstest.Response{Status: http.StatusInternalServerError})
	for _, i := range parked {
		w.ipqs.Script(ipqs.KindIP, list[i].Value, busy)
	}
	w.ipqs.Script(ipqs.KindIP, list[brokenOf].Value, ipqstest.Refusal(ipqstest.MessageInvalidIP))
	for _, hop := range fiveHops {
		w.run([]string{"--hops", hop}, "OTEL_EXPORTER_OTLP_ENDPOINT="+j.otlp, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
			"IPQS_CACHE_NEGATIVE_TTL=0s") // the replay is to be asked about again
	}
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Registration(w.connector) != nil }); err != nil {
		t.Fatal(err)
	}
	jobs := w.enrich(list)
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	w.operate(0, "replay", w.list()[0].ID)

	for i, job := range jobs {
		id := job.trace()
		last := "hop publish"
		if i == brokenOf {
			last = "send lookup.poison"
		}
		found := j.await(w.ctx, t, id, func(x jaegerTrace) bool { return x.has(last) && len(x.orphans()) == 0 && len(x.roots()) == 1 })
		checkTrace(t, found, i == brokenOf)
		if slices.Contains(parked, i) {
			checkRetry(t, found)
		}
		if i == parked[1] && os.Getenv("TRACE_TEXT") != "" {
			var drawn bytes.Buffer
			if err := tracetree.Render(&drawn, found.drawn()); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(os.Getenv("TRACE_TEXT"), drawn.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	broken := jobs[brokenOf].trace()
	all := j.settle(w.ctx, t, len(jobs)+1)
	var replays []jaegerTrace
	for _, x := range all {
		for _, s := range x.Spans {
			if s.refersTo("FOLLOWS_FROM", broken) && x.TraceID != broken {
				replays = append(replays, x)
			}
		}
	}
	if len(replays) != 1 || !replays[0].has("hop publish") || len(replays[0].orphans()) > 0 {
		t.Errorf("%d traces link to %s, want the replay alone, up to its publication: %+v", len(replays), broken, replays)
	}
	checkTraceCommand(t, w, j, jobs[brokenOf], "replays what ended in trace "+broken, 2)
	checkTraceCommand(t, w, j, jobs[parked[0]], "comes again after hop lookup at +", 1)
	text := j.texts(t)
	for _, secret := range []string{token, key} {
		if strings.Contains(text, secret) {
			t.Error("a trace has a secret")
		}
	}
	for _, job := range jobs {
		if strings.Contains(text, job.Value) {
			t.Errorf("a trace has the value of %s %s", job.Type, job.Value)
		}
	}
}

// checkTrace looks at the trace of one job.
func checkTrace(t *testing.T, x jaegerTrace, broken bool) {
	t.Helper()
	want := fiveHops
	if broken {
		want = fiveHops[:2]
	}
	var hops []string
	processes := map[string]bool{}
	for _, s := range x.inOrder() {
		if name, ok := strings.CutPrefix(s.Name, "hop "); ok && !slices.Contains(hops, name) {
			hops = append(hops, name)
			processes[x.Processes[s.Process].instance()] = true
		}
	}
	if !slices.Equal(hops, want) || len(processes) != len(want) {
		t.Errorf("trace %s has hops %v in %d processes, want %v, each in its own", x.TraceID, hops, len(processes), want)
	}
	for _, name := range []string{"wait resolve", "attempt resolve", "POST /graphql", "wait lookup", "attempt lookup"} {
		if !x.has(name) {
			t.Errorf("trace %s has no span %q", x.TraceID, name)
		}
	}
	for _, s := range x.Spans {
		if strings.HasPrefix(s.Name, "GET ") && (s.tag("url.template") == "" || s.tag("http.response.status_code") == "" || s.tag("service.peer.name") != "ipqs") {
			t.Errorf("trace %s: %s has tags %v, want its route, status and peer", x.TraceID, s.Name, s.Tags)
		}
		if s.Name == "attempt score" && (s.tag("ipqs_worker.score") == "" || s.tag("ipqs_worker.level") == "") {
			t.Errorf("trace %s: %s has tags %v, want score and level", x.TraceID, s.Name, s.Tags)
		}
	}
}

// checkRetry looks for the second trip of a job through lookup, and its link to the first.
func checkRetry(t *testing.T, x jaegerTrace) {
	t.Helper()
	var trips []jaegerSpan
	for _, s := range x.inOrder() {
		if s.Name == "hop lookup" {
			trips = append(trips, s)
		}
	}
	if len(trips) != 2 {
		t.Errorf("trace %s has %d trips through lookup, want one that was put off and one more", x.TraceID, len(trips))
		return
	}
	linked := slices.ContainsFunc(trips[1].References, func(r jaegerReference) bool {
		return r.Type == "FOLLOWS_FROM" && r.SpanID == trips[0].SpanID
	})
	if !linked || trips[0].tag("ipqs_worker.outcome") != "parked" || trips[0].tag("ipqs_worker.reason") != "rate_limited" {
		t.Errorf("trace %s: the trips through lookup are %+v, want a link from the second to the first, which was parked", x.TraceID, trips)
	}
	resent := slices.ContainsFunc(x.Spans, func(s jaegerSpan) bool { return s.tag("http.request.resend_count") == "1" })
	if !resent {
		t.Errorf("trace %s: no request is told to be the second one", x.TraceID)
	}
}

// jaeger is a Jaeger of the test's own.
type jaeger struct{ otlp, query string }

func startJaeger(t *testing.T) jaeger {
	t.Helper()
	path := os.Getenv("JAEGER")
	if path == "" {
		t.Skip("JAEGER names no Jaeger all-in-one: make test-jaeger gets one")
	}
	address := func() string { return "127.0.0.1:" + freePort(t) }
	const anyone = "127.0.0.1:0" // of UDP, where nothing is sent
	j := jaeger{otlp: address(), query: address()}
	log := &logtest.Log{}
	cmd := exec.Command(path,
		"--collector.otlp.enabled=true", "--collector.otlp.grpc.host-port="+j.otlp, "--collector.otlp.http.host-port="+address(),
		"--query.http-server.host-port="+j.query, "--query.grpc-server.host-port="+address(), "--admin.http.host-port="+address(),
		"--collector.grpc-server.host-port="+address(), "--collector.http-server.host-port="+address(),
		"--http-server.host-port="+address(), "--processor.jaeger-compact.server-host-port="+anyone,
		"--processor.jaeger-binary.server-host-port="+anyone, "--processor.zipkin-compact.server-host-port="+anyone)
	cmd.Env = []string{"SPAN_STORAGE_TYPE=memory", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Jaeger's log:\n%s", log.Tail(3000))
		}
	})
	j.otlp = "http://" + j.otlp
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	poll(ctx, t, "Jaeger does not answer", func() bool {
		_, err := j.get(ctx, "/api/services")
		return err == nil
	})
	return j
}

// poll asks until the answer is yes.
func poll(ctx context.Context, t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		}
	}
}

func (j jaeger) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+j.query+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d", response.StatusCode)
	}
	return body, err
}

type jaegerTrace struct {
	TraceID   string                   `json:"traceID"`
	Spans     []jaegerSpan             `json:"spans"`
	Processes map[string]jaegerProcess `json:"processes"`
}

type jaegerSpan struct {
	TraceID    string            `json:"traceID"`
	SpanID     string            `json:"spanID"`
	Name       string            `json:"operationName"`
	References []jaegerReference `json:"references"`
	Start      int64             `json:"startTime"` // microseconds
	Duration   int64             `json:"duration"`
	Tags       []jaegerTag       `json:"tags"`
	Process    string            `json:"processID"`
}

type jaegerReference struct {
	Type    string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type jaegerTag struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

type jaegerProcess struct {
	Tags []jaegerTag `json:"tags"`
}

func (p jaegerProcess) instance() string { return jaegerSpan{Tags: p.Tags}.tag("service.instance.id") }

func (s jaegerSpan) tag(key string) string {
	for _, tag := range s.Tags {
		if tag.Key == key {
			return fmt.Sprint(tag.Value)
		}
	}
	return ""
}

func (s jaegerSpan) refersTo(kind, trace string) bool {
	return slices.ContainsFunc(s.References, func(r jaegerReference) bool { return r.Type == kind && r.TraceID == trace })
}

// parent is the id of the span that this one is a child of, in the same trace.
func (s jaegerSpan) parent() string {
	for _, r := range s.References {
		if r.Type == "CHILD_OF" && r.TraceID == s.TraceID {
			return r.SpanID
		}
	}
	return ""
}

func (x jaegerTrace) has(name string) bool {
	return slices.ContainsFunc(x.Spans, func(s jaegerSpan) bool { return s.Name == name })
}

// orphans are the spans whose parent is not there.
func (x jaegerTrace) orphans() []string {
	known := map[string]bool{"": true}
	for _, s := range x.Spans {
		known[s.SpanID] = true
	}
	var names []string
	for _, s := range x.Spans {
		if !known[s.parent()] {
			names = append(names, s.Name)
		}
	}
	return names
}

func (x jaegerTrace) roots() []string {
	var names []string
	for _, s := range x.Spans {
		if s.parent() == "" {
			names = append(names, s.Name)
		}
	}
	return names
}

func (x jaegerTrace) inOrder() []jaegerSpan {
	spans := slices.Clone(x.Spans)
	slices.SortStableFunc(spans, func(a, b jaegerSpan) int { return int(a.Start - b.Start) })
	return spans
}

// drawn is the trace as [tracetree] draws it.
func (x jaegerTrace) drawn() []tracetree.Span {
	var spans []tracetree.Span
	for _, s := range x.Spans {
		start := time.UnixMicro(s.Start)
		note := s.tag("ipqs_worker.outcome")
		for _, key := range []string{"ipqs_worker.reason", "graphql.operation.name", "http.response.status_code", "ipqs_worker.level"} {
			if v := s.tag(key); v != "" {
				note = strings.TrimSpace(note + " " + v)
			}
		}
		spans = append(spans, tracetree.Span{
			ID: s.SpanID, Parent: s.parent(), Name: s.Name, Note: note,
			Start: start, End: start.Add(time.Duration(s.Duration) * time.Microsecond), Failed: s.tag("error") == "true",
		})
	}
	return spans
}

// await returns a trace once it is as it should be, or as it is when the time is over.
func (j jaeger) await(ctx context.Context, t *testing.T, id string, done func(jaegerTrace) bool) jaegerTrace {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var found jaegerTrace
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		body, err := j.get(ctx, "/api/traces/"+id)
		var answer struct{ Data []jaegerTrace }
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err == nil && len(answer.Data) == 1 {
			if found = answer.Data[0]; done(found) {
				return found
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Errorf("trace %s: roots %v, orphans %v, error %v", id, found.roots(), found.orphans(), err)
			return found
		}
	}
}

// settle waits until there are so many traces, each up to an end.
func (j jaeger) settle(ctx context.Context, t *testing.T, n int) []jaegerTrace {
	t.Helper()
	var answer struct{ Data []jaegerTrace }
	poll(ctx, t, "waiting for the last trace", func() bool {
		answer.Data = nil
		body, err := j.get(ctx, "/api/traces?service=ipqs-worker&limit=1000&lookback=1h")
		if err != nil || json.Unmarshal(body, &answer) != nil || len(answer.Data) < n {
			return false
		}
		return !slices.ContainsFunc(answer.Data, func(x jaegerTrace) bool {
			return !x.has("hop publish") && !x.has("send lookup.poison") || len(x.orphans()) > 0
		})
	})
	if len(answer.Data) != n {
		t.Errorf("Jaeger has %d traces, want %d: one of each job and one of the replay", len(answer.Data), n)
	}
	return answer.Data
}

// texts is all that Jaeger has.
func (j jaeger) texts(t *testing.T) string {
	t.Helper()
	body, err := j.get(context.Background(), "/api/traces?service=ipqs-worker&limit=1000&lookback=1h")
	if err != nil {
		t.Fatal(err) // in which no secret would be found
	}
	return string(body)
}
