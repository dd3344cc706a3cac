package telemetry

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestTraceID(t *testing.T) {
	t.Parallel()
	// printf 'ipqs-worker/trace/%s' KEY | sha256sum | cut -c 1-32
	tests := map[string]string{
		"work_4711": "248d30a5f0aa6ed78f5782e3a5a72857",
		"":          "746e13b8d1701b09cfc55e6b5b6efa44",
	}
	for key, want := range tests {
		if got := TraceID(key).String(); got != want {
			t.Errorf("TraceID(%q) = %s, want %s", key, got, want)
		}
	}
}

// TestJobIsOneTrace makes a job's first span twice, as a redelivery does, and a span without a job.
func TestJobIsOneTrace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	provider, shutdown, err := Tracing(t.Context(), Options{
		ServiceName: "test", Processors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(spans)},
	})
	if err != nil {
		t.Fatal(err)
	}
	tracer := provider.Tracer("test")
	job := WithJobKey(t.Context(), "work_4711")
	for range 2 {
		ctx, root := tracer.Start(job, "root")
		_, child := tracer.Start(ctx, "child")
		child.End()
		root.End()
	}
	for range 2 {
		_, other := tracer.Start(WithJobKey(t.Context(), ""), "other") // nor has what cannot be read a job
		other.End()
	}
	got := spans.GetSpans()
	if err := shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 6 {
		t.Fatalf("%d spans, want 6", len(got))
	}
	ids := map[trace.SpanID]bool{}
	for i, s := range got {
		ids[s.SpanContext.SpanID()] = true
		if inJob := s.SpanContext.TraceID() == TraceID("work_4711"); inJob != (i < 4) {
			t.Errorf("span %d (%s) has trace id %s, want the job's: %v", i, s.Name, s.SpanContext.TraceID(), i < 4)
		}
	}
	if got[4].SpanContext.TraceID() == got[5].SpanContext.TraceID() {
		t.Errorf("two spans without a job have the same trace id %s", got[4].SpanContext.TraceID())
	}
	if len(ids) != 6 {
		t.Errorf("%d different span ids, want 6", len(ids))
	}
	if got[0].Parent.SpanID() != got[1].SpanContext.SpanID() {
		t.Errorf("the child's parent is %s, want %s", got[0].Parent.SpanID(), got[1].SpanContext.SpanID())
	}
}

// TestParentWins continues a trace that a message carried, whatever the context says about the job.
func TestParentWins(t *testing.T) {
	t.Parallel()
	provider, shutdown, err := Tracing(t.Context(), Options{
		Processors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(tracetest.NewInMemoryExporter())},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shutdown(context.WithoutCancel(t.Context())) }()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := Propagator().Extract(WithJobKey(t.Context(), "work_4711"), propagation.MapCarrier{"traceparent": parent})
	_, span := provider.Tracer("test").Start(ctx, "hop")
	defer span.End()
	if got, want := span.SpanContext().TraceID().String(), "0af7651916cd43dd8448eb211c80319c"; got != want {
		t.Errorf("trace id = %s, want %s", got, want)
	}
}
