package rabbitmq_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
	"opencti-ipqs-worker/stages"
)

// A job that RabbitMQ does not take for the next hop, because its queue is full or is not there, is a fault in the span, in
// the metrics and in one line of the log; it waits, and goes on when it is taken.
func TestAJobThatRabbitMQDoesNotTake(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// Change and refuse have the queue of the topic last take nothing, and accept has it take what comes.
		change func(*rabbitmq.Options)
		refuse func(*testing.T, *rabbitmq.Transport)
		accept func(*testing.T, *rabbitmq.Transport)
		want   string // in the error
	}{
		{
			name: "refused (basic.nack)",
			change: func(o *rabbitmq.Options) {
				o.Arguments = func(topic string) amqp.Table {
					if topic == "last" {
						return amqp.Table{"x-max-length": int64(1), "x-overflow": "reject-publish"}
					}
					return nil
				}
			},
			refuse: func(t *testing.T, transport *rabbitmq.Transport) {
				t.Helper()
				declareTopic(t, transport, pipeline.Topic{Name: "last", Prefetch: 4})
				publish(t, transport, "last", text("as many as there is room for"))
			},
			accept: func(t *testing.T, transport *rabbitmq.Transport) {
				t.Helper()
				if _, err := direct(t).QueuePurge(transport.Queue("last"), false); err != nil {
					t.Fatal(err)
				}
			},
			want: "refused the message",
		},
		{
			name:   "returned (basic.return)",
			change: func(o *rabbitmq.Options) { o.Foreign["last"] = o.Prefix + ".nobody-s" },
			refuse: func(*testing.T, *rabbitmq.Transport) {},
			accept: func(t *testing.T, transport *rabbitmq.Transport) {
				t.Helper()
				makeQueue(t, transport.Queue("last"), nil)
			},
			want: "no queue takes the message",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pass := func(_ context.Context, job stages.Job) (stages.Job, error) { return job, nil }
			hops := []pipeline.Hop{hop("first", pass), hop("last", pass)}
			hops[0].Retry.Later = []time.Duration{time.Second}
			transport := open(t, func(o *rabbitmq.Options) {
				o.Foreign = map[string]string{"first": o.Prefix + ".listen"}
				tt.change(o)
				o.Topics = pipeline.Topics(hops)
			})
			makeQueue(t, transport.Queue("first"), nil)
			tt.refuse(t, transport)
			for _, topic := range pipeline.Topics(hops) {
				if topic.Name != "first" && topic.Name != "last" {
					declareTopic(t, transport, topic)
				}
			}
			spans, reader, log := tracetest.NewSpanRecorder(), metric.NewManualReader(), &logtest.Log{}
			trips := make(chan pipeline.Outcome, 100)
			p, err := pipeline.New(pipeline.Options{
				Hops: hops, Only: []string{"first"}, Transport: transport, Ends: &ends{}, Drain: patience,
				Logger:  slog.New(slog.NewTextHandler(log, nil)),
				Tracer:  sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
				Meter:   metric.NewMeterProvider(metric.WithReader(reader)),
				Observe: func(o pipeline.Outcome) { trips <- o },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			<-p.Running()
			publish(t, transport, "first", text(`{"internal":{"work_id":"work_1"},"event":{"entity_id":"x"}}`))

			o := nextTrip(t, trips)
			if o.Fault == nil || o.Fault.Reason != stages.ReasonBroker || o.Fault.Class != stages.Transient || o.Delay != time.Second {
				t.Errorf("outcome = %+v, want a fault of the broker that may pass, and again in a second", o)
			} else if !strings.Contains(o.Fault.Error(), tt.want) {
				t.Errorf("fault = %v, want %q in it", o.Fault, tt.want)
			}
			tt.accept(t, transport)
			for again := nextTrip(t, trips); again.Fault != nil; again = nextTrip(t, trips) { // it may have been on its way
				if again.Fault.Reason != stages.ReasonBroker {
					t.Fatalf("outcome = %+v, want it handed on", again)
				}
			}
			eventually(t, "the job did not arrive", func() bool { return depth(t, transport, "last") == 1 })
			stop()
			if err := <-done; err != nil {
				t.Errorf("Run() = %v", err)
			}
			checkRefusal(t, spans.Ended(), reader, log.String())
		})
	}
}

func nextTrip(t *testing.T, trips <-chan pipeline.Outcome) pipeline.Outcome {
	t.Helper()
	select {
	case o := <-trips:
		return o
	case <-time.After(patience):
		t.Fatal("no trip ended")
		return pipeline.Outcome{}
	}
}

// checkRefusal looks at what was told of a job that was not taken at first.
func checkRefusal(t *testing.T, spans []sdktrace.ReadOnlySpan, reader *metric.ManualReader, log string) {
	t.Helper()
	refused, hop := 0, false
	for _, s := range spans {
		set := attribute.NewSet(s.Attributes()...)
		switch {
		case s.Name() == "send last" && s.Status().Code == codes.Error:
			refused++
		case s.Name() == "hop first" && s.Status().Code == codes.Error:
			outcome, _ := set.Value(pipeline.AttributeOutcome)
			reason, _ := set.Value(pipeline.AttributeReason)
			hop = hop || outcome.AsString() == "parked" && reason.AsString() == "broker"
		}
	}
	if refused < 2 || !hop {
		t.Errorf("%d spans of failed sends, and one of the hop that was parked by the broker: %v; want some, and one", refused, hop)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	faults := int64(0)
	for _, m := range all.ScopeMetrics[0].Metrics {
		if m.Name != "ipqs_worker.faults" {
			continue
		}
		for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
			if reason, _ := point.Attributes.Value(pipeline.LabelReason); reason.AsString() == "broker" {
				faults += point.Value
			}
		}
	}
	lines := int64(0)
	for line := range strings.Lines(log) {
		if strings.Contains(line, "reason=broker") {
			lines++
			for _, want := range []string{"level=WARN", "hop=first", "outcome=parked", "job=work_1", "again_in=1s"} {
				if !strings.Contains(line, want) {
					t.Errorf("logged %q, want %s", line, want)
				}
			}
		}
	}
	if faults < 1 || lines != faults {
		t.Errorf("%d faults of the broker in the metrics and %d lines, want one line for each:\n%s", faults, lines, log)
	}
}
