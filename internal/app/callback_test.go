package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/freeport"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
)

var twoTopics = []pipeline.Topic{{Name: "resolve", Prefetch: 1}, {Name: "resolve.poison"}}

// standing is a presence that has registered with such a release.
func standing(t *testing.T, version, jwks string) *presence {
	t.Helper()
	v, err := opencti.ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	p := newPresence(nil, opencti.Connector{}, 0, slog.New(slog.DiscardHandler))
	p.has, p.latest = v.Capabilities(), opencti.Registration{JWKS: jwks, Listen: "listen", PushExchange: "x"}
	return p
}

// freePort returns a port that nobody else gets before the end of the test.
func freePort(t *testing.T) string {
	t.Helper()
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release() })
	return strconv.Itoa(port)
}

func TestProtocolsThatAReleaseHasNot(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	push, listen := "CONNECTOR_QUEUE_PROTOCOL=api", "CONNECTOR_LISTEN_PROTOCOL=API"
	tests := []struct {
		name, version, jwks string
		environ             []string
		want                string
	}{
		{name: "API in, too old", version: "6.2.5", environ: []string{push}, want: "CONNECTOR_QUEUE_PROTOCOL=api needs OpenCTI 6.2.6 or newer"},
		{name: "callback, too old", version: "6.5.6", environ: []string{listen}, want: "CONNECTOR_LISTEN_PROTOCOL=API needs OpenCTI 6.5.7 or newer"},
		{name: "both, too old", version: "5.4.1", environ: []string{listen, push}, want: "6.2.6 or newer\nCONNECTOR_LISTEN_PROTOCOL=API needs OpenCTI 6.5.7 or newer"},
		{name: "no keys", version: "7.260224.0", jwks: `{"keys":[]}`, environ: []string{listen, push}, want: "reading OpenCTI's keys (jwks): found none"},
		{
			name: "port taken", version: "6.9.28", environ: []string{listen, push, "CONNECTOR_LISTEN_PROTOCOL_API_PORT=" + port(t, taken.Addr().String())},
			want: "CONNECTOR_LISTEN_PROTOCOL_API_PORT: listening for OpenCTI's jobs: listen tcp",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Config: load(t, append(tt.environ, "MQ_HOST=127.0.0.1", "MQ_PORT=1")...), Logger: slog.New(slog.DiscardHandler)}
			carrier, err := carriers(o, nil, standing(t, tt.version, tt.jwks))(t.Context(), opencti.Registration{Listen: "listen"}, twoTopics)
			if err == nil {
				_ = carrier.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("carriers() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestCalledWithinTheProcess: a posted job goes to the first hop, and is answered when it has ended; when the session
// ends before, it stays with OpenCTI.
func TestCalledWithinTheProcess(t *testing.T) {
	t.Parallel()
	at := freePort(t)
	o := Options{
		Config: load(t, "CONNECTOR_QUEUE_PROTOCOL=api", "CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_PORT="+at),
		Logger: slog.New(slog.DiscardHandler),
	}
	session, end := context.WithCancel(t.Context())
	defer end()
	carrier, err := carriers(o, nil, standing(t, "6.9.28", ""))(session, opencti.Registration{}, twoTopics)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = carrier.Close()
		}
	}()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	post := func(work string) int {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://127.0.0.1:"+at+"/api/callback", strings.NewReader(string(jobOf(work))))
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Header.Set("Authorization", "Bearer "+plantedToken)
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	if status := post("early"); status != http.StatusServiceUnavailable {
		t.Errorf("status before the queues are there = %d, want 503", status)
	}
	if err := carrier.Declare(t.Context(), twoTopics...); err != nil {
		t.Fatal(err)
	}
	if err := carrier.Ready(); err != nil {
		t.Errorf("Ready() = %v, want nil", err)
	}
	jobs, err := carrier.Subscribe(t.Context(), "resolve")
	if err != nil {
		t.Fatal(err)
	}
	statuses := make(chan int)
	for _, work := range []string{"ends", "does not end"} {
		go func() { statuses <- post(work) }()
		msg := <-jobs
		if string(msg.Payload) != string(jobOf(work)) {
			t.Errorf("first hop got %s, want %s", msg.Payload, jobOf(work))
		}
		msg.Ack()
	}
	if err := carrier.Publish("resolve.poison", message.NewMessage("1", []byte("a dead letter"))); err != nil {
		t.Errorf("Publish(dead letter) = %v, want nil", err)
	}
	end()
	var seen []string
	observe := observed(carrier, func(outcome pipeline.Outcome) { seen = append(seen, outcome.Job.ID) })
	job := pipeline.Outcome{End: pipeline.Published}
	job.Job.ID = "ends/ipv4-addr--1"
	observe(job)
	if status := <-statuses; status != http.StatusAccepted || len(seen) != 1 {
		t.Errorf("status of the job that ended = %d, others were told of %q, want 202", status, seen)
	}
	poll(t, func() bool { return carrier.Ready() != nil }, func() string { return "Ready() = nil after the end of the session" })
	if status := post("late"); status != http.StatusServiceUnavailable {
		t.Errorf("status after the end of the session = %d, want 503", status)
	}
	closed = true
	if err := carrier.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	select {
	case status := <-statuses:
		if status != http.StatusServiceUnavailable {
			t.Errorf("status of the job that did not end = %d, want 503", status)
		}
	case <-time.After(time.Minute):
		t.Error("the job that did not end is not answered")
	}
}

// A token that is not ours may be that of a release which the platform has become: a new registration finds out, one a minute.
func TestAWrongTokenAsksForARegistration(t *testing.T) {
	t.Parallel()
	at := freePort(t)
	o := Options{
		Config: load(t, "CONNECTOR_QUEUE_PROTOCOL=api", "CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_PORT="+at),
		Logger: slog.New(slog.DiscardHandler),
	}
	p := standing(t, "6.9.28", "")
	carrier, err := carriers(o, nil, p)(t.Context(), opencti.Registration{}, twoTopics)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = carrier.Close() }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	asked := 0
	for range 3 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:"+at+"/api/callback", strings.NewReader(string(jobOf("x"))))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer of.another.kind")
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("status = %d, want 401", response.StatusCode)
		}
		select {
		case <-p.asked:
			asked++
		default:
		}
	}
	if asked != 1 {
		t.Errorf("asked for %d registrations after three wrong tokens, want one", asked)
	}
}

func TestObservedByNobodyElse(t *testing.T) {
	t.Parallel()
	if observed(pushing{}, nil) != nil {
		t.Error("observed(carrier that does not care, nil) is something, want nil")
	}
	inbox := newInbox("resolve", nil, true)
	observed(&called{inbox: inbox}, nil)(pipeline.Outcome{End: pipeline.Published}) // must not panic
	seen := 0
	observed(pushing{}, func(pipeline.Outcome) { seen++ })(pipeline.Outcome{})
	if seen != 1 {
		t.Errorf("observer called %d times, want once", seen)
	}
}

// TestCarriersNarrow: every carrier of ours passes on what the pipeline asks of those that can do it.
func TestCarriersNarrow(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{
		nil,
		{"CONNECTOR_QUEUE_PROTOCOL=api"},
		{"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_PORT=" + freePort(t)},
		{"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_PORT=" + freePort(t), "CONNECTOR_QUEUE_PROTOCOL=api"},
	} {
		o := Options{Config: load(t, append(environ, "MQ_HOST=127.0.0.1", "MQ_PORT=1")...), Logger: slog.New(slog.DiscardHandler)}
		carrier, err := carriers(o, nil, standing(t, "6.9.28", ""))(t.Context(), opencti.Registration{Listen: "listen"}, twoTopics)
		if err != nil {
			t.Fatalf("%q: %v", environ, err)
		}
		narrower, ok := carrier.(pipeline.Narrower)
		if !ok {
			t.Errorf("%q: carrier %T is no pipeline.Narrower", environ, carrier)
		} else {
			narrower.SetWindow("resolve", 0)
		}
		if err := carrier.Close(); err != nil {
			t.Errorf("%q: Close() = %v", environ, err)
		}
	}
}

// TestEmbeddedKeepsWhatWaits: no dead letters, but what a waiting room has comes back.
func TestEmbeddedKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	topics := append(slices.Clone(twoTopics), pipeline.Topic{Name: "resolve.later", Delay: time.Millisecond, Back: "resolve"})
	carrier := newEmbedded(Options{}, topics)
	defer func() { _ = carrier.Close() }()
	jobs, err := carrier.Subscribe(t.Context(), "resolve")
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"resolve.poison", "resolve.later"} {
		if err := carrier.Publish(topic, message.NewMessage("1", []byte(topic))); err != nil {
			t.Errorf("Publish(%s) = %v", topic, err)
		}
	}
	select {
	case msg := <-jobs:
		msg.Ack()
		if string(msg.Payload) != "resolve.later" {
			t.Errorf("handed out %s, want what waited", msg.Payload)
		}
	case <-time.After(time.Minute):
		t.Error("what waited does not come back")
	}
	if letters := carrier.DeadLetters("resolve.poison"); len(letters) > 0 {
		t.Errorf("%d dead letters are kept, want none", len(letters))
	}
}
