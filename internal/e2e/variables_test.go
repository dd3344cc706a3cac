package e2e

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"opencti-ipqs-worker/ipqs/ipqstest"
)

// TestTheVariablesOfOthers sees the effect of documented variables that libraries read, not the worker: here those that no
// test of a package can set, for they belong to a process. (The others: internal/telemetry, and HTTP_PROXY in access_test.go.)
func TestTheVariablesOfOthers(t *testing.T) {
	t.Parallel()
	t.Run("OTEL_EXPORTER_OTLP_HEADERS", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, ipqstest.Options{})
		tenants := make(chan string, 100)
		collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case tenants <- r.Header.Get("X-Tenant"):
			default:
			}
			w.Header().Set("Content-Type", "application/x-protobuf")
		}))
		t.Cleanup(collector.Close)
		w.start("OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-tenant=seven,x-other=1")
		w.enrich(observables(1))
		select {
		case tenant := <-tenants:
			if tenant != "seven" {
				t.Errorf("the collector is told X-Tenant %q, want seven", tenant)
			}
		case <-w.ctx.Done():
			t.Fatal("no span came")
		}
	})
	t.Run("OTEL_TRACES_SAMPLER_ARG", func(t *testing.T) {
		t.Parallel()
		const n = 60
		w := newWorld(t, ipqstest.Options{})
		p := w.start("OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.5")
		w.enrich(observables(n))
		w.awaitEnds(n)
		if status := p.stop(); status != 0 { // the last spans are sent
			t.Errorf("exit status = %d after SIGTERM, want 0", status)
		}
		if got := w.collector.traces(); got == 0 || got >= n {
			t.Errorf("%d of %d jobs have a trace, want about half of them", got, n)
		}
	})
	t.Run("NO_PROXY", func(t *testing.T) {
		t.Parallel()
		fake := ipqstest.NewServer(ipqstest.Options{Key: key})
		t.Cleanup(fake.Close)
		target, err := url.Parse(fake.BaseURL)
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan string, 100)
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.URL.Host
			r.URL.Host, r.Host, r.RequestURI = target.Host, target.Host, ""
			response, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer func() { _ = response.Body.Close() }()
			w.WriteHeader(response.StatusCode)
			_, _ = io.Copy(w, response.Body)
		}))
		t.Cleanup(proxy.Close)
		enrich := func(more string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, "enrich", "198.51.100.7")
			cmd.Dir = t.TempDir()
			cmd.Env = []string{"IPQS_PRIVATE_KEY=" + key, "IPQS_BASE_URL=http://ipqs.invalid/api/json", "HTTP_PROXY=" + proxy.URL, more}
			return cmd.Run()
		}
		if err := enrich("NO_PROXY=elsewhere.invalid"); err != nil || len(asked) != 1 {
			t.Errorf("enrich through the proxy = %v, and the proxy was asked %d times, want once", err, len(asked))
		}
		if err := enrich("NO_PROXY=.example.com,ipqs.invalid"); err == nil || len(asked) != 1 {
			t.Errorf("enrich past the proxy = %v, and the proxy was asked %d times, want once: there is no such host", err, len(asked))
		}
	})
}
