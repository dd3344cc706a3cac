package standin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	wm "github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
)

// told is all that a connector wrote of the jobs of [eventful]: lines of the log, dead letters.
type told struct {
	lines   []line
	letters []pipeline.DeadLetter
	jobs    map[string]string // ids, by what becomes of them
}

// line is one of the log.
type line struct {
	Level, Message string
	Attributes     map[string]any
	text           string
}

// jobs of [eventful].
const (
	plain    = "asked for by hand"
	repeated = "answered from the cache"
	updated  = "caused by an update"
	unlucky  = "failed, was throttled, and waited"
	refused  = "dead-lettered"
	private  = "skipped"
	played   = "asked for by a playbook"
)

// eventful runs a connector whose jobs meet what jobs can meet, at log level debug.
func eventful(t *testing.T, processors []sdktrace.SpanProcessor) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	world, err := standin.New(ctx, standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	c, _, err := config.Load(config.Options{Environ: append(world.Environ(), "CONNECTOR_METRICS_PORT=0", "WORKER_DEBUG_PORT=0", "CONNECTOR_AUTO_UPDATE=true")})
	if err != nil {
		t.Fatal(err)
	}
	log := &logtest.Log{}
	logger := telemetry.NewLogger(log, slog.LevelDebug, true)
	tracer, end, err := telemetry.Tracing(ctx, telemetry.Options{Logger: logger, Processors: processors})
	if err != nil {
		t.Fatal(err)
	}
	var letters interface {
		DeadLetters(topic string) []*wm.Message
	}
	ends := make(chan pipeline.Outcome, 100)
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- app.Run(running, app.Options{
			Config: c, Logger: logger, Tracer: tracer, Version: "test",
			Observe: func(o pipeline.Outcome) {
				if o.End != "" {
					ends <- o
				}
			},
			Connect: func(ctx context.Context, r opencti.Registration, topics []pipeline.Topic) (app.Carrier, error) {
				carrier, err := world.Connect(ctx, r, topics)
				letters, _ = carrier.(interface {
					DeadLetters(topic string) []*wm.Message
				})
				return carrier, err
			},
		})
	}()
	if err := world.Registered(ctx); err != nil {
		t.Fatal(err)
	}

	result := told{jobs: map[string]string{}}
	finish := func(name string) {
		t.Helper()
		select {
		case o := <-ends:
			if name != "" {
				result.jobs[name] = o.Job.ID
			}
		case <-ctx.Done():
			t.Fatalf("the job that is %s did not end", name)
		}
	}
	run := func(name, value string, trigger openctitest.Trigger) {
		t.Helper()
		id := world.Platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: value, CreatedAt: "2026-01-02T03:04:05.678Z"})
		if _, err := world.Platform.Enrich(ctx, id, trigger); err != nil {
			t.Fatal(err)
		}
		finish(name)
	}
	world.IPQS.Script(ipqs.KindIP, "198.51.100.2", ipqstest.Response{Status: http.StatusInternalServerError},
		ipqstest.Response{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "4"}})
	world.IPQS.Script(ipqs.KindIP, "198.51.100.3", ipqstest.Refusal(ipqstest.MessageInvalidIP))
	run(plain, "198.51.100.1", openctitest.Manual)
	run(repeated, "198.51.100.1", openctitest.Auto)
	run(updated, "198.51.100.5", openctitest.AutoUpdate) // not enriched before: it is no own update
	run(unlucky, "198.51.100.2", openctitest.Auto)
	run(refused, "198.51.100.3", openctitest.Auto)
	run(private, "192.168.0.1", openctitest.Auto)
	run(played, "198.51.100.4", openctitest.ByPlaybook)
	if err := world.Send(ctx, []byte("no job at all")); err != nil {
		t.Fatal(err)
	}
	finish("")
	for _, topic := range []string{"resolve.poison", "lookup.poison"} {
		for _, m := range letters.DeadLetters(topic) {
			result.letters = append(result.letters, pipeline.ReadDeadLetter(topic, m))
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if err := end(ctx); err != nil {
		t.Error(err)
	}
	for text := range strings.Lines(log.String()) {
		l := line{text: text}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("reading the line %s: %v", text, err)
		}
		result.lines = append(result.lines, l)
	}
	return result
}

// aboutNoJob reports whether a line is of the worker itself: its beginning and its end, and what it asks OpenCTI as one.
func aboutNoJob(l line) bool {
	switch l.Message {
	case "request", "answer":
		return slices.Contains([]string{"About", "Register", "Ping"}, fmt.Sprint(l.Attributes["operation"]))
	case "registered", "enriching",
		// Watermill's own.
		"Adding handler", "Running router handlers", "Starting handler", "Subscriber stopped", "Closing router", "Waiting for messages",
		"All messages processed", "Router closed":
		return true
	}
	return false
}

// Every line of a job says which: its trace, work, hop and attempt, whatever becomes of the job and whether it is traced or
// not; and a dead letter has the same trace. Where all is traced, the spans say what happened.
func TestWhatIsToldOfJobs(t *testing.T) {
	tests := []struct {
		name    string
		sampler string
		sdk     bool // somebody takes spans
		traced  bool // and gets some
	}{
		{"all traced", "", true, true},
		{"none sampled", "always_off", true, false},
		{"nowhere to send spans to", "", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", tt.sampler)
			spans := tracetest.NewSpanRecorder()
			var processors []sdktrace.SpanProcessor
			if tt.sdk {
				processors = append(processors, spans)
			}
			got := eventful(t, processors)
			checkLines(t, got)
			checkLetters(t, got)
			if n := len(spans.Ended()); n > 0 != tt.traced {
				t.Fatalf("%d spans, want some: %v", n, tt.traced)
			}
			if tt.traced {
				checkSpans(t, got.jobs, spans.Ended())
			}
		})
	}
}

// workOf is the work's id in the id of a job that has one.
func workOf(job string) string {
	work, _, _ := strings.Cut(job, "/")
	return work
}

func checkLines(t *testing.T, got told) {
	t.Helper()
	byJob := map[string][]line{}
	for _, l := range got.lines {
		if _, about := l.Attributes["hop"]; about {
			id, _ := l.Attributes["job"].(string)
			byJob[id] = append(byJob[id], l)
		} else if !aboutNoJob(l) {
			t.Errorf("a line of no job, or one that does not say of which: %s", l.text)
		}
	}
	for what, id := range got.jobs {
		if len(byJob[id]) < 3 {
			t.Errorf("the job that is %s has %d lines, want those of its hops, requests and answers", what, len(byJob[id]))
		}
		for _, l := range byJob[id] {
			checkLine(t, l, id, what == played)
		}
	}
	// At debug there is what was asked and answered, what of the entity was read, and how the score came about.
	for _, message := range []string{"request", "answer", "entity resolved", "score calculated", "bundle made", "trip ended"} {
		if !slices.ContainsFunc(byJob[got.jobs[plain]], func(l line) bool { return l.Message == message && l.Level == "DEBUG" }) {
			t.Errorf("the job that is %s has no line %q", plain, message)
		}
	}
	// One line for each trouble, where it was decided what becomes of the job.
	for what, want := range map[string][]string{plain: nil, repeated: nil, updated: nil, unlucky: {"WARNING"}, refused: {"ERROR"}, private: nil, played: nil} {
		var levels []string
		for _, l := range byJob[got.jobs[what]] {
			if l.Level == "WARNING" || l.Level == "ERROR" {
				levels = append(levels, l.Level)
			}
		}
		if diff := cmp.Diff(want, levels); diff != "" {
			t.Errorf("warnings and errors of the job that is %s (-want +got):\n%s", what, diff)
		}
	}
	for _, l := range byJob[""] { // what could not be read
		if l.Attributes["trace_id"] == nil || l.Attributes["hop"] != "resolve" || l.Attributes["attempt"] == nil {
			t.Errorf("line %s has no trace, hop or attempt", l.text)
		}
	}
}

// checkLine looks for the keys of a job's line.
func checkLine(t *testing.T, l line, id string, playbook bool) {
	t.Helper()
	want := map[string]any{"trace_id": telemetry.TraceID(id).String(), "work_id": workOf(id)}
	if playbook {
		want["work_id"] = nil // it has none
	}
	shown := map[string]any{}
	for key := range want {
		shown[key] = l.Attributes[key]
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("line %s (-want +got):\n%s", l.text, diff)
	}
	if !slices.Contains(pipeline.HopNames(), fmt.Sprint(l.Attributes["hop"])) {
		t.Errorf("line %s has no hop", l.text)
	}
	if attempt, ok := l.Attributes["attempt"].(float64); !ok || attempt < 0 || attempt > 5 {
		t.Errorf("line %s has attempt %v, want a count", l.text, l.Attributes["attempt"])
	}
}

// checkLetters joins letters with lines.
func checkLetters(t *testing.T, got told) {
	t.Helper()
	if len(got.letters) != 2 {
		t.Fatalf("%d dead letters, want that of the job that was refused and of what could not be read", len(got.letters))
	}
	for _, letter := range got.letters {
		found := slices.ContainsFunc(got.lines, func(l line) bool {
			return l.Level == "ERROR" && l.Attributes["dead_letter"] == letter.ID && l.Attributes["trace_id"] == letter.TraceID
		})
		if letter.TraceID == "" || !found {
			t.Errorf("the letter %s of trace %q has no line with the same trace", letter.ID, letter.TraceID)
		}
	}
}

// checkSpans looks for what the spans of jobs say: of each, the n-th of a name.
func checkSpans(t *testing.T, jobs map[string]string, spans []sdktrace.ReadOnlySpan) {
	t.Helper()
	const some, none = "some", ""
	tests := []struct {
		job, span string
		n         int
		want      map[string]string
	}{
		{plain, "hop resolve", 0, map[string]string{
			"opencti.work.id": workOf(jobs[plain]), "opencti.mode": "manual", "opencti.trigger": "update", "opencti.entity.type": "IPv4-Addr",
			"opencti.entity.id": some, "opencti.playbook.id": none, "ipqs_worker.outcome": "passed_on", "ipqs_worker.job.id": jobs[plain],
		}},
		{plain, "attempt lookup", 0, map[string]string{
			"ipqs_worker.cache": "miss", "ipqs_worker.limiter.wait_ms": some, "ipqs_worker.breaker.state": "closed", "ipqs_worker.lookup.kind": "ip",
			"ipqs_worker.credits": "1", "ipqs_worker.attempt": "1", "ipqs_worker.outcome": "ok", "ipqs_worker.observable.value": none,
		}},
		{plain, "GET /ip", 0, map[string]string{
			"http.request.resend_count": none, "http.response.status_code": "200", "http.request.method": "GET", "url.template": "/ip",
			"server.address": "127.0.0.1", "service.peer.name": "ipqs", "error.type": none,
		}},
		{plain, "attempt score", 0, map[string]string{"ipqs_worker.score": some, "ipqs_worker.level": some, "ipqs_worker.model": "bands", "ipqs_worker.rule": some}},
		{plain, "hop publish", 0, map[string]string{"ipqs_worker.outcome": "published", "opencti.work.id": workOf(jobs[plain])}},
		{repeated, "hop resolve", 0, map[string]string{"opencti.mode": "auto", "opencti.trigger": "create"}},
		{updated, "hop resolve", 0, map[string]string{"opencti.mode": "auto", "opencti.trigger": "update"}},
		{repeated, "attempt lookup", 0, map[string]string{
			"ipqs_worker.cache": "hit", "ipqs_worker.limiter.wait_ms": none, "ipqs_worker.breaker.state": "closed", "ipqs_worker.credits": none,
		}},
		{unlucky, "hop resolve", 0, map[string]string{"opencti.mode": "auto", "opencti.trigger": "create"}},
		{unlucky, "attempt lookup", 0, map[string]string{
			"ipqs_worker.attempt": "1", "ipqs_worker.outcome": "transient", "ipqs_worker.reason": "unavailable", "error.type": "unavailable",
		}},
		{unlucky, "GET /ip", 0, map[string]string{"http.request.resend_count": none, "http.response.status_code": "500", "error.type": "500"}},
		{unlucky, "attempt lookup", 1, map[string]string{"ipqs_worker.attempt": "2", "ipqs_worker.outcome": "throttled", "ipqs_worker.reason": "rate_limited"}},
		{unlucky, "GET /ip", 1, map[string]string{"http.request.resend_count": "1", "http.response.status_code": "429", "error.type": "429"}},
		{unlucky, "hop lookup", 0, map[string]string{"ipqs_worker.outcome": "parked", "ipqs_worker.again_in_ms": "5000", "ipqs_worker.attempts": "2", "ipqs_worker.delivery": "first"}},
		{unlucky, "wait lookup", 1, map[string]string{"ipqs_worker.delivery": "retry"}},
		{unlucky, "hop lookup", 1, map[string]string{"ipqs_worker.outcome": "passed_on", "ipqs_worker.attempts": "3", "ipqs_worker.delivery": "retry"}},
		{unlucky, "attempt lookup", 2, map[string]string{"ipqs_worker.attempt": "3", "ipqs_worker.outcome": "ok"}},
		{unlucky, "GET /ip", 2, map[string]string{"http.request.resend_count": "2", "http.response.status_code": "200"}},
		{refused, "hop lookup", 0, map[string]string{
			"ipqs_worker.outcome": "dead_lettered", "ipqs_worker.reason": "invalid_value", "ipqs_worker.class": "permanent", "ipqs_worker.dead_letter.id": some,
		}},
		{private, "hop resolve", 0, map[string]string{"ipqs_worker.outcome": "skipped", "ipqs_worker.class": "skip", "error.type": none}},
		{played, "hop resolve", 0, map[string]string{
			"opencti.mode": "playbook", "opencti.playbook.id": some, "opencti.playbook.execution.id": some, "opencti.work.id": none,
		}},
		{played, "hop publish", 0, map[string]string{"opencti.mode": "playbook", "opencti.playbook.id": some, "ipqs_worker.outcome": "published"}},
	}
	for _, tt := range tests {
		trace := telemetry.TraceID(jobs[tt.job])
		var found []sdktrace.ReadOnlySpan
		for _, s := range spans {
			if s.SpanContext().TraceID() == trace && s.Name() == tt.span {
				found = append(found, s)
			}
		}
		slices.SortStableFunc(found, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
		if len(found) <= tt.n {
			t.Errorf("the job that is %s has %d spans %q, want %d", tt.job, len(found), tt.span, tt.n+1)
			continue
		}
		got := map[string]string{}
		for key := range tt.want {
			got[key] = none
		}
		for _, kv := range found[tt.n].Attributes() {
			want, asked := tt.want[string(kv.Key)]
			if !asked {
				continue
			}
			if got[string(kv.Key)] = kv.Value.String(); want == some && kv.Value.String() != "" {
				got[string(kv.Key)] = some
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: span %d %q (-want +got):\n%s", tt.job, tt.n+1, tt.span, diff)
		}
	}
}
