package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// A real collector with the configuration of deploy/ keeps the traces that it says, whole: those of jobs that failed, were
// put off or took long, and a hundredth of the others. What of it is changed here is where it listens and sends to, and how
// long it waits for the end of a trace. OTELCOL names its binary: `make test-collector` builds it.
func TestTailSamplingKeepsWhatFailed(t *testing.T) {
	kept := &collector{spans: map[string][]*tracev1.Span{}, changed: make(chan struct{})}
	in := startCollector(t, kept.serveGRPC(t))
	w := newWorld(t, ipqstest.Options{})
	list := observables(24)
	const brokenOf, parkedOf = 6, 12 // addresses
	w.ipqs.Script(ipqs.KindIP, list[brokenOf].Value, ipqstest.Refusal(ipqstest.MessageInvalidIP))
	w.ipqs.Script(ipqs.KindIP, list[parkedOf].Value, ipqstest.Response{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "4"}})
	for _, hops := range []string{"resolve,score,publish", "lookup,bundle"} { // spans of a trace come from several processes
		w.run([]string{"--hops", hops}, "OTEL_EXPORTER_OTLP_ENDPOINT="+in, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	}
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Registration(w.connector) != nil }); err != nil {
		t.Fatal(err)
	}
	jobs := w.enrich(list)

	spans := newSender(w.ctx, t, in)
	const ordinary = 3000
	for range ordinary {
		spans.send(time.Second, codes.Ok)
	}
	slow := spans.send(31*time.Second, codes.Ok)
	putOff := spans.send(time.Second, codes.Unset, attribute.String("ipqs_worker.outcome", "parked"))
	spans.flush()

	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	broken, parked := jobs[brokenOf].trace(), jobs[parkedOf].trace()
	whole := map[string]func() bool{
		"of the job that was given up": func() bool {
			return slices.Equal(kept.hops(broken), fiveHops[:2]) && kept.has(broken, "send lookup.poison")
		},
		// The second half of it comes when the decision is made.
		"of the job that was put off": func() bool { return slices.Equal(kept.hops(parked), fiveHops) && kept.has(parked, "wait lookup") },
		"that was slow":               func() bool { return kept.has(slow, "job") },
		"that says so":                func() bool { return kept.has(putOff, "job") },
	}
	for what, there := range whole {
		if err := kept.wait(w.ctx, there); err != nil {
			t.Errorf("the trace %s is not there, or not whole: hops %v and %v", what, kept.hops(broken), kept.hops(parked))
		}
	}
	// What comes after all that was decided on after it.
	last := spans.send(time.Second, codes.Error)
	spans.flush()
	if err := kept.wait(w.ctx, func() bool { return kept.has(last, "job") }); err != nil {
		t.Errorf("a trace that failed was not kept: %v", err)
	}
	others := 0
	for i, job := range jobs {
		if i != brokenOf && i != parkedOf && len(kept.hops(job.trace())) > 0 {
			others++
		}
	}
	if others > 5 {
		t.Errorf("%d of %d jobs without trouble were kept, want about a hundredth", others, len(jobs)-2)
	}
	if n := kept.named("job") - 3; n < 5 || n > 90 { // 30, give or take 5.5
		t.Errorf("%d of %d traces without trouble were kept, want about a hundredth", n, ordinary)
	}
}

// startCollector runs a collector that sends to an address, and returns where it listens for OTLP over gRPC.
func startCollector(t *testing.T, to string) string {
	t.Helper()
	program := os.Getenv("OTELCOL")
	if program == "" {
		t.Skip("OTELCOL names no OpenTelemetry collector: make test-collector builds one")
	}
	file, err := filepath.Abs("../../deploy/otel-collector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "validate", "--config="+file).CombinedOutput(); err != nil {
		t.Fatalf("the collector refuses deploy/otel-collector.yaml: %v\n%s", err, out)
	}
	in := "127.0.0.1:" + freePort(t)
	log := &logtest.Log{}
	cmd := exec.Command(program, "--config="+file,
		"--set=receivers.otlp.protocols.grpc.endpoint="+in, "--set=receivers.otlp.protocols.http.endpoint=127.0.0.1:"+freePort(t),
		"--set=exporters.otlp_grpc.endpoint="+to, "--set=processors.tail_sampling.decision_wait=3s", "--set=service.telemetry.metrics.level=none")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the collector's log:\n%s", log.Tail(3000))
		}
	})
	log.Await(t, "Everything is ready")
	return "http://" + in
}

// sender makes traces of one span.
type sender struct {
	t        *testing.T
	ctx      context.Context //nolint:containedctx // the test's
	provider *sdktrace.TracerProvider
}

func newSender(ctx context.Context, t *testing.T, to string) sender {
	t.Helper()
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(to))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(10_000)))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("sending the last spans: %v", err)
		}
	})
	return sender{t, ctx, provider}
}

// send sends a span that took so long, and returns its trace.
func (s sender) send(took time.Duration, status codes.Code, attributes ...attribute.KeyValue) string {
	now := time.Now()
	_, span := s.provider.Tracer("e2e").Start(s.ctx, "job", trace.WithTimestamp(now.Add(-took)), trace.WithAttributes(attributes...))
	span.SetStatus(status, "")
	span.End(trace.WithTimestamp(now))
	return span.SpanContext().TraceID().String()
}

func (s sender) flush() {
	s.t.Helper()
	if err := s.provider.ForceFlush(s.ctx); err != nil {
		s.t.Fatal(err)
	}
}

// grpcCollector is the collector over gRPC.
type grpcCollector struct {
	coltrace.UnimplementedTraceServiceServer
	*collector
}

func (g grpcCollector) Export(_ context.Context, request *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	g.add(request)
	return &coltrace.ExportTraceServiceResponse{}, nil
}

// serveGRPC returns where the collector listens for OTLP over gRPC.
func (c *collector) serveGRPC(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(server, grpcCollector{collector: c})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(fmt.Errorf("receiving spans: %w", err))
		}
	})
	return listener.Addr().String()
}

// has reports whether a trace has a span of that name.
func (c *collector) has(trace, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.spans[trace], func(s *tracev1.Span) bool { return s.GetName() == name })
}

// named counts the traces with a span of that name.
func (c *collector) named(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, spans := range c.spans {
		if slices.ContainsFunc(spans, func(s *tracev1.Span) bool { return s.GetName() == name }) {
			n++
		}
	}
	return n
}
