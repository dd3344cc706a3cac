package pipeline

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/stages"
)

// Attributes of a hop's span.
const (
	AttributeHop      = attribute.Key("ipqs_worker.hop")
	AttributeJob      = attribute.Key("ipqs_worker.job.id")
	AttributeOutcome  = attribute.Key("ipqs_worker.outcome")
	AttributeReason   = attribute.Key("ipqs_worker.reason")
	AttributeAttempts = attribute.Key("ipqs_worker.attempts")
	AttributeRepeated = attribute.Key("ipqs_worker.repeated")
	AttributeWorkID   = attribute.Key("opencti.work.id")
	AttributeEntity   = attribute.Key("opencti.entity.id")
	AttributeType     = attribute.Key("opencti.entity.type")
)

// traced makes the hop's span: a child of the one that the message carries, else the first of the job's trace. The one of a
// replay is the first of a new trace, with a link to the trace of the dead letter.
func (p *Pipeline) traced(hop Hop) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			trip := tripOf(msg)
			ctx := p.propagator.Extract(msg.Context(), carrier(msg))
			options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
			if !trace.SpanContextFromContext(ctx).IsValid() {
				if link, replayed := p.replayed(msg); replayed {
					options = append(options, trace.WithLinks(link))
				} else {
					ctx = p.Root(ctx, trip.job.ID)
				}
			}
			ctx, span := p.tracer.Start(ctx, "hop "+hop.Name(), options...)
			defer span.End()
			msg.SetContext(ctx)
			out, err := next(msg)
			if span.IsRecording() {
				describe(span, hop, trip)
			}
			for _, m := range out {
				p.propagator.Inject(ctx, carrier(m))
			}
			return out, err
		}
	}
}

func (p *Pipeline) replayed(msg *message.Message) (trace.Link, bool) {
	original := propagation.MapCarrier{"traceparent": msg.Metadata.Get(MetadataReplayed)}
	span := trace.SpanContextFromContext(p.propagator.Extract(context.Background(), original))
	return trace.Link{SpanContext: span}, span.IsValid()
}

func describe(span trace.Span, hop Hop, trip *trip) {
	span.SetAttributes(
		AttributeHop.String(hop.Name()),
		AttributeJob.String(trip.job.ID),
		AttributeAttempts.Int(trip.attempts),
		AttributeRepeated.Bool(trip.repeated),
		AttributeOutcome.String(outcome(trip)),
	)
	if r := trip.job.Request; r != nil {
		span.SetAttributes(AttributeWorkID.String(r.WorkID), AttributeEntity.String(r.EntityID), AttributeType.String(r.EntityType))
	}
	if trip.fault == nil {
		return
	}
	span.SetAttributes(AttributeReason.String(string(trip.fault.Reason)))
	if trip.fault.Class != stages.Skip && trip.fault.Class != stages.Pending {
		span.RecordError(trip.fault)
		span.SetStatus(codes.Error, trip.fault.Error())
	}
}

// outcome names what came of a trip, for spans and logs: how the job ended, or that it went on or back.
func outcome(trip *trip) string {
	switch {
	case trip.end != "":
		return string(trip.end)
	case trip.fate != "":
		return string(trip.fate)
	case trip.fault != nil:
		return string(returned)
	default:
		return "passed_on"
	}
}

func carrier(msg *message.Message) propagation.TextMapCarrier {
	return propagation.MapCarrier(msg.Metadata)
}
