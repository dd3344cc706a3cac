package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// drawn lists the spans as a tree, indented, children in the order they began and ended. A span whose parent is missing is
// marked with an exclamation mark, one that failed with a cross.
func drawn(spans tracetest.SpanStubs) string {
	known := map[trace.SpanID]bool{}
	for _, s := range spans {
		known[s.SpanContext.SpanID()] = true
	}
	children := map[trace.SpanID]tracetest.SpanStubs{}
	for _, s := range spans {
		children[s.Parent.SpanID()] = append(children[s.Parent.SpanID()], s)
	}
	var b strings.Builder
	var draw func(parent trace.SpanID, depth int)
	draw = func(parent trace.SpanID, depth int) {
		below := children[parent]
		slices.SortStableFunc(below, func(a, b tracetest.SpanStub) int {
			if c := a.StartTime.Compare(b.StartTime); c != 0 {
				return c
			}
			return strings.Compare(a.Name, b.Name)
		})
		for _, s := range below {
			mark := ""
			if s.Parent.SpanID().IsValid() && !known[s.Parent.SpanID()] {
				mark = "!"
			}
			if s.Status.Code == codes.Error {
				mark += "x "
			}
			fmt.Fprintf(&b, "%s%s%s", strings.Repeat("  ", depth), mark, s.Name)
			for _, link := range s.Links {
				fmt.Fprintf(&b, " (%s)", value(link.Attributes, pipeline.AttributeLink))
			}
			b.WriteString("\n")
			draw(s.SpanContext.SpanID(), depth+1)
		}
	}
	draw(trace.SpanID{}, 0)
	return b.String()
}

func value(set []attribute.KeyValue, key attribute.Key) string {
	for _, kv := range set {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return ""
}

func named(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q in\n%s", name, drawn(spans))
	return tracetest.SpanStub{}
}

func TestTheTraceOfAJob(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		asked := time.Now().Add(-3 * time.Second).UTC().Format("2006-01-02T15:04:05.000Z")
		failures := 2
		flaky := func(_ context.Context, job stages.Job) (stages.Job, error) {
			if failures--; failures >= 0 {
				return job, errors.New("hiccup")
			}
			return job, nil
		}
		l := start(t, &told{}, step("a", 1, pass), patient("b", flaky, 5*time.Second), step("c", 1, pass))
		l.send("work_1_" + asked)
		l.end()
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		spans := slices.DeleteFunc(l.spans.GetSpans(), func(s tracetest.SpanStub) bool { // what the milliseconds of a time stamp leave over
			return strings.HasPrefix(s.Name, "wait") && s.EndTime.Sub(s.StartTime) < time.Millisecond
		})
		want := `wait a
  hop a
    attempt a
    send b
      hop b
        x attempt b
        x attempt b
        send b.retry.5s
          wait b
          hop b (retry)
            attempt b
            send c
              hop c
                attempt c
`
		// The first trip of b has failed for now, the job has not.
		got := strings.Replace(drawn(spans), "x hop b\n", "hop b\n", 1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("trace (-want +got):\n%s", diff)
		}
		for _, s := range spans {
			if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
				t.Errorf("%s is in another trace", s.Name)
			}
		}
		wait := named(t, spans, "wait a")
		if took := wait.EndTime.Sub(wait.StartTime); took != 3*time.Second {
			t.Errorf("wait a took %v, want the 3 s since OpenCTI asked", took)
		}
		again := named(t, spans, "wait b")
		if took := again.EndTime.Sub(again.StartTime).Truncate(time.Millisecond); took != 5*time.Second || value(again.Attributes, pipeline.AttributeDelivery) != "retry" {
			t.Errorf("wait b took %v as %v, want the 5 s of the waiting room as a retry", took, again.Attributes)
		}
		hop := named(t, spans, "hop c")
		for key, want := range map[attribute.Key]string{
			"messaging.system": "watermill", "messaging.operation.type": "process", "messaging.destination.name": "c",
			"messaging.message.conversation_id": "work_1_" + asked + "/ipv4-addr--1",
			pipeline.AttributeOutcome:           "published", pipeline.AttributeWorkID: "work_1_" + asked, pipeline.AttributeAttempts: "1",
			pipeline.AttributeEntity: "ipv4-addr--1", pipeline.AttributeType: "IPv4-Addr",
		} {
			if got := value(hop.Attributes, key); got != want {
				t.Errorf("hop c: %s = %q, want %q", key, got, want)
			}
		}
		if hop.SpanKind != trace.SpanKindConsumer || named(t, spans, "send c").SpanKind != trace.SpanKindProducer {
			t.Error("a hop is to be a consumer's span and a send a producer's")
		}
	})
}

// A panic is an attempt that failed, and has its span.
func TestTheTraceOfADeadLetterAndOfItsReplay(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		broken := true
		l := start(t, &told{}, step("a", 1, pass), step("b", 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
			if broken {
				panic("planted")
			}
			return job, nil
		}))
		l.send("work_1")
		l.end()
		before := l.spans.GetSpans()
		letter := pipeline.ReadDeadLetter("b.poison", l.transport.DeadLetters("b.poison")[0])
		if got := before[0].SpanContext.TraceID().String(); letter.TraceID != got {
			t.Errorf("the letter's trace is %s, want %s", letter.TraceID, got)
		}
		l.spans.Reset()
		broken = false
		replay, err := letter.Replay("b")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.transport.Publish("b", replay); err != nil {
			t.Fatal(err)
		}
		l.end()
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		if got, want := drawn(before), "hop a\n  attempt a\n  send b\n    x hop b\n      x attempt b\n      send b.poison\n"; got != want {
			t.Errorf("trace = \n%s, want\n%s", got, want)
		}
		after := l.spans.GetSpans()
		if got, want := drawn(after), "hop b (replay)\n  attempt b\n"; got != want {
			t.Errorf("trace of the replay = \n%s, want\n%s", got, want)
		}
		hop := named(t, after, "hop b")
		if hop.SpanContext.TraceID() == before[0].SpanContext.TraceID() {
			t.Error("the replay is in the trace of the dead letter, want one of its own")
		}
		if got, want := hop.Links[0].SpanContext.TraceID(), before[0].SpanContext.TraceID(); got != want {
			t.Errorf("the replay links to trace %s, want %s", got, want)
		}
		attempt := named(t, before, "attempt b")
		if got := value(attempt.Attributes, pipeline.AttributeReason); got != "panic" || strings.Contains(fmt.Sprint(attempt), "planted") {
			t.Errorf("the attempt that panicked says %q, want the reason panic and nothing of what it said: %v", got, attempt)
		}
	})
}
