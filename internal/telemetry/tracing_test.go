package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// unset takes the variables of OpenTelemetry that a developer may have out of a test. Tests that use it, or set
// variables, cannot run in parallel.
func unset(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME",
		"OTEL_RESOURCE_ATTRIBUTES", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT",
	} {
		t.Setenv(name, "")
	}
}

// received collects what a stand-in for a collector is sent.
type received struct {
	collector.UnimplementedTraceServiceServer
	mu       sync.Mutex
	resource map[string]string
	names    []string
}

func (r *received) Export(_ context.Context, q *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range q.GetResourceSpans() {
		r.resource = map[string]string{}
		for _, kv := range rs.GetResource().GetAttributes() {
			r.resource[kv.GetKey()] = kv.GetValue().GetStringValue()
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.names = append(r.names, s.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *received) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var export collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &export); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = r.Export(q.Context(), &export)
}

func TestTracingSends(t *testing.T) {
	tests := []struct {
		name  string
		serve func(*testing.T, *received) (endpoint string)
		env   map[string]string
	}{
		{
			name: "HTTP by default",
			serve: func(t *testing.T, r *received) string {
				t.Helper()
				s := httptest.NewServer(r)
				t.Cleanup(s.Close)
				return s.URL
			},
		},
		{
			name: "gRPC by variable",
			serve: func(t *testing.T, r *received) string {
				t.Helper()
				listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				s := grpc.NewServer()
				collector.RegisterTraceServiceServer(s, r)
				go func() { _ = s.Serve(listener) }()
				t.Cleanup(s.Stop)
				return "http://" + listener.Addr().String()
			},
			env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			var r received
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", tt.serve(t, &r))
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=2")
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			provider, shutdown, err := Tracing(t.Context(), Options{ServiceName: "ipqs-worker", Version: "1", InstanceID: "i1"})
			if err != nil {
				t.Fatalf("Tracing() error = %v", err)
			}
			_, span := provider.Tracer("test").Start(t.Context(), "hop resolve")
			span.End()
			if err := shutdown(t.Context()); err != nil {
				t.Fatalf("shutdown() error = %v", err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if diff := cmp.Diff([]string{"hop resolve"}, r.names); diff != "" {
				t.Errorf("the collector got spans (-want +got):\n%s", diff)
			}
			for key, want := range map[string]string{
				"service.name": "ipqs-worker", "service.version": "2", "service.instance.id": "i1",
				"deployment.environment.name": "test", "telemetry.sdk.language": "go",
			} {
				if r.resource[key] != want {
					t.Errorf("resource attribute %s = %q, want %q", key, r.resource[key], want)
				}
			}
		})
	}
}

func TestTracingByVariables(t *testing.T) {
	var console bytes.Buffer
	tests := []struct {
		name     string
		env      map[string]string
		wantNoop bool
		wantErr  string
	}{
		{name: "nothing set", wantNoop: true},
		{name: "none", env: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, wantNoop: true},
		{name: "disabled", env: map[string]string{"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"}, wantNoop: true},
		{name: "console", env: map[string]string{"OTEL_TRACES_EXPORTER": "console"}},
		{name: "OTLP to the default address", env: map[string]string{"OTEL_TRACES_EXPORTER": " otlp , none "}},
		{name: "JSON", env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}},
		{name: "own variable of traces", env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL": "x"}},
		{name: "target of gRPC", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "dns:///collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}},
		{
			name: "unknown exporter", env: map[string]string{"OTEL_TRACES_EXPORTER": "jaeger"},
			wantErr: `OTEL_TRACES_EXPORTER: found "jaeger", want otlp, console or none`,
		},
		{
			name: "unknown protocol", env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "thrift"},
			wantErr: `OTEL_EXPORTER_OTLP_PROTOCOL: found "thrift", want grpc, http/protobuf or http/json`,
		},
		{
			name: "no URL", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
			wantErr: "OTEL_EXPORTER_OTLP_ENDPOINT: found no usable address, want one such as http://localhost:4318",
		},
		{
			name: "no URL for gRPC", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
			wantErr: "OTEL_EXPORTER_OTLP_ENDPOINT: found no usable address, want one such as http://localhost:4317",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			unset(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			provider, shutdown, err := Tracing(t.Context(), Options{Console: &console})
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("Tracing() error = %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatalf("Tracing() error = %v", err)
			}
			if _, ok := provider.(noop.TracerProvider); ok != tt.wantNoop {
				t.Errorf("Tracing() = %T, want no-op: %v", provider, tt.wantNoop)
			}
			if tt.name == "console" {
				_, span := provider.Tracer("test").Start(t.Context(), "seen on the console")
				span.End()
			}
			if err := shutdown(t.Context()); err != nil {
				t.Errorf("shutdown() error = %v", err)
			}
		})
	}
	if !strings.Contains(console.String(), "seen on the console") {
		t.Errorf("the console got %q, want the span", console.String())
	}
}

// TestSamplerVariables sees that the SDK reads its variables: which of 2,000 jobs are kept, and of 2,000 that somebody sent
// along whose trace is sampled, or is not. What is not usable is refused by its name.
func TestSamplerVariables(t *testing.T) {
	const none, all = "none", "all"
	const some = "a tenth"
	tests := []struct {
		sampler, arg               string
		began, sampled, notSampled string
		wantErr                    string
	}{
		{sampler: "", began: all, sampled: all, notSampled: none}, // parentbased_always_on
		{sampler: "always_on", began: all, sampled: all, notSampled: all},
		{sampler: "always_off", began: none, sampled: none, notSampled: none},
		{sampler: "traceidratio", arg: "0.1", began: some, sampled: some, notSampled: some},
		{sampler: "traceidratio", arg: "1", began: all, sampled: all, notSampled: all},
		{sampler: "traceidratio", arg: "0", began: none, sampled: none, notSampled: none},
		{sampler: "parentbased_always_on", began: all, sampled: all, notSampled: none},
		{sampler: "parentbased_always_off", began: none, sampled: all, notSampled: none},
		{sampler: "parentbased_traceidratio", arg: "0.1", began: some, sampled: all, notSampled: none},
		{sampler: "parentbased_traceidratio", arg: " 0.1 ", began: some, sampled: all, notSampled: none},
		{sampler: "traceidratio", arg: "", began: all, sampled: all, notSampled: all},
		{sampler: "always_on", arg: "2", began: all, sampled: all, notSampled: all}, // which has no argument
		{sampler: "traceidratio", arg: "a tenth", wantErr: `OTEL_TRACES_SAMPLER_ARG: found "a tenth", want a number from 0 to 1`},
		{sampler: "traceidratio", arg: "-1", wantErr: `OTEL_TRACES_SAMPLER_ARG: found "-1", want a number from 0 to 1`},
		{sampler: "traceidratio", arg: "NaN", wantErr: `OTEL_TRACES_SAMPLER_ARG: found "NaN", want a number from 0 to 1`},
		{sampler: "parentbased_traceidratio", arg: "2", wantErr: `OTEL_TRACES_SAMPLER_ARG: found "2", want a number from 0 to 1`},
		{
			sampler: "sometimes",
			wantErr: `OTEL_TRACES_SAMPLER: found "sometimes", want one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio`,
		},
	}
	const jobs = 2000
	for _, tt := range tests {
		t.Run(tt.sampler+" "+tt.arg, func(t *testing.T) {
			unset(t)
			t.Setenv("OTEL_TRACES_SAMPLER", tt.sampler)
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", tt.arg)
			provider, shutdown, err := Tracing(t.Context(), Options{Processors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(tracetest.NewInMemoryExporter())}})
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("Tracing() error = %v, want %s", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tracer := provider.Tracer("test")
			kept := map[string]int{}
			for i := range jobs {
				job := WithJobKey(t.Context(), fmt.Sprintf("work_%d", i))
				for name, flags := range map[string]trace.TraceFlags{"sampled": trace.FlagsSampled, "not sampled": 0} {
					parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: TraceID(strconv.Itoa(i)), SpanID: trace.SpanID{1}, TraceFlags: flags, Remote: true})
					_, span := tracer.Start(trace.ContextWithSpanContext(job, parent), "hop")
					kept[name] += sampled(span)
				}
				_, span := tracer.Start(job, "hop")
				kept["began"] += sampled(span)
				if got, want := span.SpanContext().TraceID(), TraceID(fmt.Sprintf("work_%d", i)); got != want {
					t.Fatalf("trace id = %s, want %s, also of what is not kept", got, want)
				}
			}
			for name, want := range map[string]string{"began": tt.began, "sampled": tt.sampled, "not sampled": tt.notSampled} {
				got := some
				switch n := kept[name]; {
				case n == 0:
					got = none
				case n == jobs:
					got = all
				case n < jobs/20 || n > jobs/5: // a tenth is 200, give or take 13
					got = strconv.Itoa(n)
				}
				if got != want {
					t.Errorf("of jobs that %s are kept %s, want %s", name, got, want)
				}
			}
			if err := shutdown(t.Context()); err != nil {
				t.Errorf("shutdown() error = %v", err)
			}
		})
	}
}

func sampled(span trace.Span) int {
	defer span.End()
	if span.SpanContext().IsSampled() && span.IsRecording() {
		return 1
	}
	return 0
}

// TestCollectorThatHangs has a collector that takes connections and never answers: spans end at once all the same, and so
// does the worker.
func TestCollectorThatHangs(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			unset(t)
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000") // who waited for it would wait an hour
			provider, shutdown, err := Tracing(t.Context(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			for range 20_000 { // ten times what the queue holds
				_, span := provider.Tracer("test").Start(t.Context(), "hop")
				span.End()
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("20,000 spans took %v, want them not to wait", took)
			}
			begin = time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("shutdown() error = %v, want the deadline", err)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("shutdown() took %v, want it within its context", took)
			}
		})
	}
}

// fakeExporter answers with one error after the other.
type fakeExporter struct {
	sdktrace.SpanExporter
	answers []error
}

func (f *fakeExporter) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	err := f.answers[0]
	f.answers = f.answers[1:]
	return err
}

func TestTroubleIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	away := errors.New("connection refused")
	fake := &fakeExporter{answers: []error{nil, away, away, away, nil, nil, away}}
	e := &quietExporter{SpanExporter: fake, logger: NewLogger(&log, slog.LevelDebug, false), life: t.Context()}
	for range len(fake.answers) {
		if err := e.ExportSpans(t.Context(), nil); err != nil {
			t.Errorf("ExportSpans() error = %v, want nil", err)
		}
	}
	var got []string
	for line := range strings.Lines(log.String()) {
		_, message, _ := strings.Cut(line, " ") // without the time
		got = append(got, strings.TrimSpace(message))
	}
	want := []string{
		`level=WARN msg="traces cannot be sent and are lost until they can" error="connection refused"`,
		`level=INFO msg="traces can be sent again"`,
		`level=WARN msg="traces cannot be sent and are lost until they can" error="connection refused"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
}
