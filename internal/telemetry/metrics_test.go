package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func scrape(t *testing.T, handler http.Handler, accept string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// An exemplar of a latency names the trace of one request that took so long, where that was sampled.
func TestMetricsHaveExemplars(t *testing.T) {
	unset(t)
	provider, handler, shutdown, err := Metrics(t.Context(), Options{ServiceName: "ipqs-worker", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	histogram, err := provider.Meter("test").Float64Histogram("ipqs_worker.test.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "sampled")
	histogram.Record(ctx, 0.2)
	span.End()
	text := scrape(t, handler, "application/openmetrics-text")
	if want := `trace_id="` + span.SpanContext().TraceID().String() + `"`; !strings.Contains(text, want) {
		t.Errorf("OpenMetrics has no exemplar %s:\n%s", want, text)
	}
	plain := scrape(t, handler, "text/plain")
	for _, want := range []string{"ipqs_worker_test_duration_seconds_count 1", "go_goroutines ", "process_open_fds ", `service_name="ipqs-worker"`} {
		if !strings.Contains(plain, want) {
			t.Errorf("/metrics has no %s:\n%s", want, plain)
		}
	}
	if err := shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMetricsByVariables(t *testing.T) {
	var console bytes.Buffer
	tests := []struct {
		name     string
		env      map[string]string
		wantNoop bool
		wantSent bool
		wantErr  string
	}{
		{name: "nothing set"},
		{name: "an address alone is for traces", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "HERE"}},
		{name: "an address of metrics", env: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "HERE/v1/metrics"}, wantSent: true},
		{name: "by name", env: map[string]string{"OTEL_METRICS_EXPORTER": "otlp, prometheus", "OTEL_EXPORTER_OTLP_ENDPOINT": "HERE"}, wantSent: true},
		{name: "none", env: map[string]string{"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "HERE"}},
		{name: "console", env: map[string]string{"OTEL_METRICS_EXPORTER": "console"}},
		{name: "gRPC, which connects to nothing yet", env: map[string]string{"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}},
		{name: "disabled", env: map[string]string{"OTEL_SDK_DISABLED": "true"}, wantNoop: true},
		{
			name: "unknown", env: map[string]string{"OTEL_METRICS_EXPORTER": "graphite"},
			wantErr: `OTEL_METRICS_EXPORTER: found "graphite", want otlp, prometheus, console or none`,
		},
		{
			name: "no URL", env: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "localhost:4318"},
			wantErr: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: found no usable address, want one such as http://localhost:4318",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			var got atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err == nil && r.URL.Path == "/v1/metrics" {
					got.Add(1)
				}
				w.Header().Set("Content-Type", "application/x-protobuf")
			}))
			defer server.Close()
			for k, v := range tt.env {
				t.Setenv(k, strings.Replace(v, "HERE", server.URL, 1))
			}
			provider, _, shutdown, err := Metrics(t.Context(), Options{Console: &console})
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("Metrics() error = %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatalf("Metrics() error = %v", err)
			}
			if _, is := provider.(noop.MeterProvider); is != tt.wantNoop {
				t.Errorf("Metrics() = %T, want no-op: %v", provider, tt.wantNoop)
			}
			counter, err := provider.Meter("test").Int64Counter("seen")
			if err != nil {
				t.Fatal(err)
			}
			counter.Add(t.Context(), 1)
			_ = shutdown(t.Context()) // with gRPC nobody is there
			if sent := got.Load() > 0; sent != tt.wantSent {
				t.Errorf("metrics were sent: %v, want %v", sent, tt.wantSent)
			}
		})
	}
	if !strings.Contains(console.String(), `"seen"`) {
		t.Errorf("the console shows %q, want the counter", console.String())
	}
}

// A collector that hangs makes neither measuring nor the end slow.
func TestACollectorOfMetricsThatIsAwayCostsNothing(t *testing.T) {
	unset(t)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", server.URL)
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "3600000") // who waited for it would wait an hour
	var log bytes.Buffer
	provider, _, shutdown, err := Metrics(t.Context(), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	counter, err := provider.Meter("test").Int64Counter("seen")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 10_000 {
		counter.Add(t.Context(), 1)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("10,000 additions took %v while the collector hangs", took)
	}
	began = time.Now()
	_ = shutdown(t.Context()) // it may say that the last metrics could not be sent
	if took := time.Since(began); took > flushTimeout+time.Minute {
		t.Errorf("shutdown took %v, want at most about %v", took, flushTimeout)
	}
}
