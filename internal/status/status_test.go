package status_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/status"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// worker is one that says what it is told to.
type worker struct {
	*httptest.Server
	metrics, state atomic.Value // strings
}

func newWorker(t *testing.T, state, metrics string) *worker {
	t.Helper()
	w := &worker{}
	w.state.Store(state)
	w.metrics.Store(metrics)
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		text := w.state.Load().(string)
		if r.URL.Path == "/metrics" {
			text = w.metrics.Load().(string)
		}
		if text == "" {
			rw.WriteHeader(http.StatusNotFound)
		} else if strings.Contains(text, `"ready":false`) {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = rw.Write([]byte(text))
	}))
	t.Cleanup(w.Close)
	return w
}

const well = `{"ready":true,"dependencies":{"hops":{"ok":true,"informative":true},"opencti":{"ok":true}}}`

// metrics of a worker that has done so many jobs.
func metrics(done, faults, inHand int) string {
	return fmt.Sprintf(`# TYPE ipqs_worker_hop_duration_seconds histogram
ipqs_worker_hop_duration_seconds_bucket{hop="lookup",outcome="passed_on",le="+Inf"} %d
ipqs_worker_hop_duration_seconds_sum{hop="lookup",outcome="passed_on"} 1
ipqs_worker_hop_duration_seconds_count{hop="lookup",outcome="passed_on"} %[1]d
ipqs_worker_hop_duration_seconds_bucket{hop="lookup",outcome="parked",le="+Inf"} 70
ipqs_worker_hop_duration_seconds_sum{hop="lookup",outcome="parked"} 1
ipqs_worker_hop_duration_seconds_count{hop="lookup",outcome="parked"} 70
# TYPE ipqs_worker_faults_total counter
ipqs_worker_faults_total{class="transient",hop="lookup",reason="unavailable"} %d
ipqs_worker_faults_total{class="skip",hop="lookup",reason="tlp"} 900
# TYPE ipqs_worker_hop_in_flight gauge
ipqs_worker_hop_in_flight{hop="lookup"} %d
# TYPE ipqs_worker_queue_oldest_age_seconds gauge
ipqs_worker_queue_oldest_age_seconds{hop="lookup"} 93.4
ipqs_worker_queue_oldest_age_seconds{hop="resolve"} 12.1
ipqs_worker_queue_oldest_age_seconds{hop="publish"} 12.1
# TYPE ipqs_worker_queue_depth gauge
ipqs_worker_queue_depth{hop="lookup",queue="work"} 7
ipqs_worker_queue_depth{hop="lookup",queue="poison"} 2
# TYPE ipqs_worker_queue_consumers gauge
ipqs_worker_queue_consumers{hop="lookup"} 2
# TYPE ipqs_worker_breaker_state gauge
ipqs_worker_breaker_state{state="closed"} 0
ipqs_worker_breaker_state{state="open"} 1
ipqs_worker_budget_spent 120
ipqs_worker_budget_limit 1000
ipqs_worker_credits_left 4880
ipqs_worker_limiter_under_way 3
ipqs_worker_limiter_waiting{lane="urgent"} 1
ipqs_worker_limiter_waiting{lane="others"} 4
# TYPE ipqs_worker_build_info gauge
ipqs_worker_build_info{go_version="go1.26",version="1.2.3"} 1
`, done, faults, inHand)
}

// broker is one that knows every queue's depth by its name.
type broker struct{ down error }

func (b broker) Depth(_ context.Context, topic string) (messages, consumers int, err error) {
	if b.down != nil {
		return 0, 0, errors.New("not connected")
	}
	switch topic {
	case "lookup":
		return 40, 2, nil
	case "lookup.urgent":
		return 2, 2, nil
	case "lookup.poison":
		return 5, 0, nil
	case "lookup.retry.5s":
		return 3, 0, nil
	case "publish":
		return 8, 0, nil
	case "score":
		return 0, 0, errors.New("no queue")
	}
	return 0, 1, nil
}

func (b broker) Ready() error { return b.down }

// clock goes on by five seconds whenever somebody looks at it.
func clock() func() time.Time {
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	return func() time.Time {
		at = at.Add(5 * time.Second)
		return at
	}
}

func hop(t *testing.T, r status.Report, name string) status.Hop {
	t.Helper()
	for _, h := range r.Hops {
		if h.Name == name {
			return h
		}
	}
	t.Fatalf("report has no hop %s: %+v", name, r)
	return status.Hop{}
}

func TestLook(t *testing.T) {
	t.Parallel()
	first, second := newWorker(t, well, metrics(100, 10, 4)), newWorker(t, well, metrics(50, 0, 6))
	w := status.New(status.Options{Broker: broker{}, Workers: []string{first.URL, second.URL}, Now: clock()})
	before := hop(t, w.Look(t.Context()), "lookup")
	if before.Rate != nil || before.Faults != nil {
		t.Errorf("the first look tells rates %v and %v, want none: there is nothing to compare with", before.Rate, before.Faults)
	}
	first.metrics.Store(metrics(120, 15, 4))
	second.metrics.Store(metrics(3, 0, 6)) // it has begun anew
	r := w.Look(t.Context())
	got := hop(t, r, "lookup")
	want := status.Hop{
		Name: "lookup", Waiting: new(42), Retrying: new(3), Poison: new(5), Consumers: new(2), InHand: new(10), Oldest: new(93.4),
		Rate: new(4.0), Faults: new(1.0),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Look() of lookup (-want +got):\n%s", diff)
	}
	if score := hop(t, r, "score"); score.Waiting != nil || score.Consumers != nil {
		t.Errorf("Look() of a queue that can't be asked = %+v, want nothing known", score)
	}
	if resolve := hop(t, r, "resolve"); resolve.Rate != nil || resolve.Faults != nil || resolve.InHand != nil || resolve.Oldest != nil {
		t.Errorf("Look() of a hop that no worker runs = %+v, want no rates, nothing in hand and, as nothing waits, no age", resolve)
	}
	if publish := hop(t, r, "publish"); publish.Rate != nil || publish.Oldest == nil {
		t.Errorf("Look() of a hop that no worker runs, for which jobs wait = %+v, want no rate, and an age", publish)
	}
	if diff := cmp.Diff([]string{"broker: queue of score: no queue"}, r.Unknown); diff != "" {
		t.Errorf("Unknown (-want +got):\n%s", diff)
	}
	ipqs := &status.IPQS{
		Breaker: "open", SpentToday: new(120), DailyBudget: new(1000), Left: new(4880), UnderWay: new(6), WaitingTurns: new(10),
	}
	if diff := cmp.Diff(ipqs, r.IPQS); diff != "" {
		t.Errorf("IPQS (-want +got):\n%s", diff)
	}
}

// Whoever can't be asked is named, with the reason; the others' answers are there.
func TestLookWithoutSomebody(t *testing.T) {
	t.Parallel()
	talking := newWorker(t, well, metrics(1, 0, 4))
	silent := newWorker(t, well, "")
	other := newWorker(t, "<html>a shop</html>", "")
	gone := newWorker(t, well, "")
	gone.Close()
	r := status.New(status.Options{
		Broker: broker{down: errors.New("not connected to RabbitMQ: EOF")}, Workers: []string{talking.URL, silent.URL, other.URL, gone.URL}, Now: clock(),
	}).Look(t.Context())
	for i, want := range []string{
		"broker: not connected to RabbitMQ: EOF", silent.URL + ": it shows no metrics: CONNECTOR_EXPOSE_METRICS is false",
		other.URL + ": no worker answers there", gone.URL + ": no answer: ",
	} {
		if i >= len(r.Unknown) || !strings.HasPrefix(r.Unknown[i], want) {
			t.Errorf("Unknown = %q, want entry %d to begin with %q", r.Unknown, i, want)
		}
	}
	if got := hop(t, r, "lookup"); got.Waiting == nil || *got.Waiting != 7 || *got.Poison != 2 || *got.Consumers != 2 || got.Retrying != nil {
		t.Errorf("lookup = %+v, want what the worker counted", got)
	}
	if !r.Heard() {
		t.Error("Heard() = false, want true: one answered")
	}
	nobody := status.New(status.Options{NoBroker: "not asked", Workers: []string{gone.URL}}).Look(t.Context())
	if nobody.Heard() {
		t.Errorf("Heard() = true of %+v, want false", nobody)
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := status.Report{
		At: at,
		Hops: []status.Hop{
			{
				Name: "resolve", Waiting: new(1234), Retrying: new(0), Poison: new(0), Consumers: new(2), Oldest: new(0.2), InHand: new(4),
				Rate: new(12.34), Faults: new(0.0),
			},
			{
				Name: "lookup", Waiting: new(40), Retrying: new(3), Poison: new(5), Consumers: new(2), Oldest: new(3723.0), InHand: new(1), Rate: new(0.0), Faults: new(0.2),
				Pauses: []status.Pause{{Hop: "lookup", Reason: "credits", Since: at.Add(-95 * time.Second), NextProbe: at.Add(30 * time.Second)}},
			},
			{Name: "score", Waiting: new(3), Consumers: new(0)},
			{Name: "bundle"},
		},
		IPQS: &status.IPQS{Breaker: "half_open", SpentToday: new(10), DailyBudget: new(10), Left: new(90), Reserve: new(50), Reached: true, UnderWay: new(1), WaitingTurns: new(1)},
		Workers: []status.Worker{
			{Address: "http://worker-1:9095", Version: "1.2.3", Ready: new(true)},
			{Address: "http://worker-2:9095", Ready: new(false), Reasons: map[string]string{"rabbitmq": "EOF\x1b[2J", "hops": "said above"}},
			{Address: "http://worker-4:9095", Ready: new(true), Reasons: map[string]string{
				"ipqs": "circuit breaker is open; last failure: /ip: dial tcp [2001:db8:85a3:8d3:1319:8a2e:370:7348]:443: connect: connection refused",
			}},
			{Address: "http://worker-3:9095"},
		},
		Unknown: []string{"http://worker-3:9095: no answer: connection refused"},
	}
	for name, style := range map[string]status.Style{"plain": {}, "coloured": {Bad: "<bad>", Good: "<good>", Plain: "<plain>"}} {
		var out bytes.Buffer
		if err := status.Print(&out, r, style); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".golden.txt")
		if *update {
			if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("Print() %s (-want +got):\n%s", name, diff)
		}
	}
	if text, err := json.Marshal(r); err != nil || !strings.Contains(string(text), `"oldest_seconds":3723`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"worker-1:9095", "http://worker-1:9095"},
		{"https://worker.example.com/one/", "https://worker.example.com/one"},
		{"[::1]:9095", "http://[::1]:9095"},
		{"ftp://worker-1", ""},
		{"http://user:password@worker-1:9095", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got, err := status.Address(tt.text)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("Address(%q) = %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}

// empty is a broker that no worker has made its queues at.
type empty struct{ broker }

func (empty) Depth(context.Context, string) (messages, consumers int, err error) {
	return 0, 0, fmt.Errorf("reading: %w", rabbitmq.ErrNoQueue)
}

func TestQueuesThatNobodyHasMadeAreOneLine(t *testing.T) {
	t.Parallel()
	topics := len(pipeline.Topics(pipeline.Definition(pipeline.World{})))
	want := []string{fmt.Sprintf("broker: %d queues are not there yet: no worker has run", topics)}
	if diff := cmp.Diff(want, status.New(status.Options{Broker: empty{}}).Look(t.Context()).Unknown); diff != "" {
		t.Errorf("Look() (-want +got):\n%s", diff)
	}
}
