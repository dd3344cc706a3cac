package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// Jobs of every fate go through two workers over a real broker, and one worker is told to stop in the middle. Each job ends
// in its own way and once, nothing is asked of IPQS twice, and nothing that was looked up shows in a log or a header.
func TestEveryFateWhileAWorkerStops(t *testing.T) {
	t.Parallel()
	url := pipelinetest.AMQPURL(t)
	w := newWorld(t, ipqstest.Options{Latency: 20 * time.Millisecond, LatencyJitter: 10 * time.Millisecond})
	first, second := w.start(), w.launch()

	fates := map[string]openctitest.Observable{
		"skipped for its marking": observable("Email-Addr", "planted-marked@example.com"),
		"skipped for its type":    observable("Hostname", "planted-hostname"),
		"skipped as private":      observable("IPv4-Addr", "10.77.66.55"),
		"refused by IPQS":         observable("IPv4-Addr", "planted-no address.example"),
		"failing at first":        observable("Domain-Name", "planted-flaky.example.com"),
	}
	marked := fates["skipped for its marking"]
	marked.Markings = []string{"TLP:RED"}
	fates["skipped for its marking"] = marked
	w.ipqs.Script(ipqs.KindURL, "planted-flaky.example.com", ipqstest.Response{Status: 500}, ipqstest.Response{Status: 500})

	jobs := w.enrich(observables(120))
	works := map[string]string{}
	for name, o := range fates {
		id, err := w.platform.Enrich(w.ctx, w.platform.AddObservable(o), openctitest.Manual)
		if err != nil {
			t.Fatal(err)
		}
		works[name] = id
	}
	channel := dial(t, url)
	garbage := "\x00 not JSON at all"
	listen := "e2e-" + w.connector[:8] + "_listen_" + w.connector
	if err := channel.PublishWithContext(w.ctx, "", listen, true, false, amqp.Publishing{Body: []byte(garbage)}); err != nil {
		t.Fatal(err)
	}

	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Ended >= 20 }); err != nil {
		t.Fatal(err)
	}
	if status := first.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM in the middle, want 0", status)
	}
	if err := w.platform.WaitWorks(w.ctx, len(jobs)+len(fates)); err != nil {
		t.Fatalf("%+v: %v", w.platform.Totals(), err)
	}
	checkWorks(t, w, jobs, false)
	checkFates(t, w, works)
	asked := 0
	for _, n := range w.ipqs.Requests() {
		asked += n
	}
	if want := len(jobs) + 1 + 3; asked != want { // the refused one, and the flaky one three times
		t.Errorf("IPQS was asked %d times, want %d: each once, and the flaky one twice again", asked, want)
	}
	if status := second.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}

	letters := map[string]amqp.Delivery{}
	for _, topic := range pipeline.Topics(pipeline.Definition(pipeline.World{})) {
		letter, ok, err := channel.Get("ipqs-worker."+w.connector+"."+topic.Name, true)
		switch {
		case topic.Foreign:
			// OpenCTI's own queue has another name.
			channel = dial(t, url)
		case err != nil:
			t.Fatalf("reading %s: %v", topic.Name, err)
		case ok:
			letters[topic.Name] = letter
		}
	}
	if _, ok := letters["lookup.poison"]; !ok || len(letters) != 2 || string(letters["resolve.poison"].Body) != garbage {
		t.Errorf("letters are in %v, want the refused one in lookup.poison, and the garbage in resolve.poison as it came", keys(letters))
	}
	if reason := letters["lookup.poison"].Headers[pipeline.DeadLetterReason]; reason != "invalid_value" {
		t.Errorf("reason = %v, want invalid_value", reason)
	}
	if attempts := letters["lookup.poison"].Headers[pipeline.DeadLetterAttempts]; attempts != "1" {
		t.Errorf("attempts = %v, want 1: a stop costs none", attempts)
	}
	for name, letter := range letters {
		for key, value := range letter.Headers {
			if text, ok := value.(string); ok && planted(text) {
				t.Errorf("header %s of the letter in %s holds a value that was looked up, or a secret: %s", key, name, text)
			}
		}
	}
	if planted(w.logs.String()) || planted(w.collector.texts()) {
		t.Errorf("the log or a span holds a value that was looked up")
	}
	checkSecrets(t, w)
}

func checkFates(t *testing.T, w *world, works map[string]string) {
	t.Helper()
	tests := []struct {
		fate, message string
		inError       bool
	}{
		{"skipped for its marking", "(tlp)", false},
		{"skipped for its type", "(scope)", false},
		{"skipped as private", "(private_address)", false},
		{"refused by IPQS", "(invalid_value)", true},
		{"failing at first", "objects sent", false},
	}
	for _, tt := range tests {
		work, _ := w.platform.Work(works[tt.fate])
		said := work.Messages
		if tt.inError {
			said = work.Errors
		}
		if work.ProcessedTimes != 1 || len(said) == 0 || !strings.Contains(said[len(said)-1].Message, tt.message) {
			t.Errorf("%s: work = %+v, want it ended once with %q", tt.fate, work, tt.message)
		}
		if diff := cmp.Diff(tt.inError, len(work.Errors) > 0); diff != "" {
			t.Errorf("%s: in error (-want +got):\n%s", tt.fate, diff)
		}
	}
}

// planted reports whether the text holds a value that the test planted in an observable, or a secret.
func planted(text string) bool {
	return strings.Contains(text, "planted-") || strings.Contains(text, "10.77.66.55")
}

func dial(t *testing.T, url string) *amqp.Channel {
	t.Helper()
	connection, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	channel, err := connection.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

func keys(letters map[string]amqp.Delivery) []string {
	var names []string
	for name := range letters {
		names = append(names, name)
	}
	return names
}
