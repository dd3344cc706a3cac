package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// readOnly is a command that must not register the connector.
type readOnly struct {
	args []string
	exit int
	says string // in one of the two outputs
}

// jaegerOf is the address of a Jaeger that answers every query with one trace of one span.
func jaegerOf(t *testing.T, trace string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"data":[{"traceID":%[1]q,"processes":{"p1":{"serviceName":"ipqs-worker","tags":[]}},"spans":[
			{"traceID":%[1]q,"spanID":"00000000000000a1","operationName":"hop lookup","startTime":1767323045000000,"duration":1000000,
			 "references":[],"processID":"p1","tags":[{"key":"ipqs_worker.job.id","type":"string","value":"work_1"}]}]}]}`, trace)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// registrations is how often the connector was registered.
func (w *world) registrations() int {
	requests := w.platform.Requests()
	return requests["Register"] + requests["RegisterForCallback"]
}

// runReadOnly runs the commands and checks that none of them registers the connector.
func (w *world) runReadOnly(environ []string, commands []readOnly) {
	w.t.Helper()
	before, sent := w.platform.Registration(w.connector), w.registrations()
	for _, c := range commands {
		exit, out, errs := w.command(environ, c.args...)
		told := strings.Join(strings.Fields(out+errs), " ") // lines are broken for people
		if exit != c.exit || !strings.Contains(told, c.says) {
			w.t.Errorf("%v ended with %d, want %d and %q:\n%s%s", c.args, exit, c.exit, c.says, out, errs)
		}
		if diff := cmp.Diff(before, w.platform.Registration(w.connector)); diff != "" {
			w.t.Errorf("%v changed the registration (-before +after):\n%s", c.args, diff)
		}
		if now := w.registrations(); now != sent {
			w.t.Errorf("%v registered the connector %d times", c.args, now-sent)
		}
	}
}

// TestReadOnlyCommandsDoNotRegister runs every command but run and demo, beside a worker, with a configuration that differs
// from the worker's in every field of the registration.
func TestReadOnlyCommandsDoNotRegister(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5.12.33", "6.6.0", ""} {
		t.Run("OpenCTI "+version, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, version, ipqstest.Options{Credits: 1000})
			refused := observable("IPv4-Addr", "198.18.7.1")
			w.ipqs.Script(ipqs.KindIP, refused.Value, ipqstest.Refusal(ipqstest.MessageInvalidIP))
			probe := w.newProbe()
			worker := w.start(probe.options()...)
			jobs := w.enrich([]openctitest.Observable{observable("IPv4-Addr", "198.18.7.2"), refused})
			if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
				t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
			}
			probe.awaitReady()
			letter := w.list()[0].ID
			file := filepath.Join(t.TempDir(), "letters.jsonl")
			const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
			differing := []string{
				"CONNECTOR_NAME=Another name", "CONNECTOR_SCOPE=Url", "CONNECTOR_AUTO=false", "CONNECTOR_AUTO_UPDATE=true",
				"CONNECTOR_ONLY_CONTEXTUAL=true", "CONNECTOR_CONFIDENCE_LEVEL=11",
				"TRACE_QUERY_URL=" + jaegerOf(t, trace),
			}
			if version != "5.12.33" { // it has no callback
				differing = append(differing, "CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_URI=http://worker.example.com:7070")
			}
			w.runReadOnly(append(differing, probe.options()...), []readOnly{
				{[]string{"status", "--interval", "200ms"}, 0, "lookup"},
				{[]string{"status", "--interval", "200ms", "--output", "json"}, 0, `"poison":1`},
				{[]string{"doctor"}, 0, "auto is registered as true and configured as false (CONNECTOR_AUTO)"},
				{[]string{"dead-letters", "list"}, 0, letter},
				{[]string{"dead-letters", "show", letter}, 0, "invalid_value"},
				{[]string{"dead-letters", "export", file}, 0, "exported: 1"},
				{[]string{"dead-letters", "replay", "--all", "--dry-run"}, 0, letter},
				{[]string{"dead-letters", "drop", letter, "--yes"}, 0, "dropped: 1"},
				{[]string{"dead-letters", "import", file}, 0, "imported 1"},
				{[]string{"dead-letters", "replay", "--all", "--from", "resolve"}, 0, "replayed: 1"},
				{[]string{"trace", trace}, 0, "hop lookup"},
				{[]string{"health"}, 0, ""},
				{[]string{"enrich", "198.18.7.3"}, 0, "198.18.7.3"},
			})
			w.awaitImport(jobs...)
			if status := worker.stop(); status != 0 {
				t.Errorf("exit status = %d after SIGTERM, want 0", status)
			}
		})
	}
}

// TestReadOnlyCommandsBeforeTheFirstRegistration: the commands that need a registration say that there is none and what to do.
func TestReadOnlyCommandsBeforeTheFirstRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{Credits: 1000})
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	const says = "the connector is not registered with OpenCTI yet: start `ipqs-worker run` once, then repeat"
	environ := []string{"CONNECTOR_METRICS_PORT=" + freePort(t), "TRACE_QUERY_URL=" + jaegerOf(t, "4bf92f3577b34da6a3ce929d0e0e4736")}
	w.runReadOnly(environ, []readOnly{
		{[]string{"status", "--interval", "200ms"}, 1, says},
		{[]string{"doctor"}, 0, "the connector is not registered with OpenCTI yet → start `ipqs-worker run` once, then repeat"},
		{[]string{"dead-letters", "list"}, 1, says},
		{[]string{"dead-letters", "show", "01NOSUCHLETTER"}, 1, says},
		{[]string{"dead-letters", "export", file}, 1, says},
		{[]string{"dead-letters", "replay", "--all"}, 1, says},
		{[]string{"dead-letters", "drop", "--hop", "lookup", "--yes"}, 1, says},
		{[]string{"dead-letters", "import", "-"}, 1, says},
		{[]string{"trace", "4bf92f3577b34da6a3ce929d0e0e4736"}, 0, "hop lookup"},
		{[]string{"health"}, 1, "connection refused"},
		{[]string{"enrich", "198.18.7.3"}, 0, "198.18.7.3"},
	})
	for operation, n := range w.platform.Requests() {
		switch operation {
		case "About", "Me", "Registered":
		default:
			t.Errorf("OpenCTI was asked for %s %d times", operation, n)
		}
	}
}
