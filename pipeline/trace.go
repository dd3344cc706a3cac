package pipeline

import (
	"cmp"
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/stages"
)

// Attributes of the pipeline's spans, beside those of OpenTelemetry's conventions for messaging.
const (
	AttributeHop      = attribute.Key("ipqs_worker.hop")
	AttributeJob      = attribute.Key("ipqs_worker.job.id")
	AttributeOutcome  = attribute.Key("ipqs_worker.outcome")
	AttributeReason   = attribute.Key("ipqs_worker.reason")
	AttributeClass    = attribute.Key("ipqs_worker.class")
	AttributeAttempt  = attribute.Key("ipqs_worker.attempt")
	AttributeAttempts = attribute.Key("ipqs_worker.attempts")
	AttributeRepeated = attribute.Key("ipqs_worker.repeated")
	AttributeDelivery = attribute.Key("ipqs_worker.delivery")    // what the message waited as: first, retry, redelivery
	AttributeAgainIn  = attribute.Key("ipqs_worker.again_in_ms") // how long a waiting room keeps the job
	AttributeLetter   = attribute.Key("ipqs_worker.dead_letter.id")
	AttributeLink     = attribute.Key("ipqs_worker.link") // of a link: retry or replay
	AttributeWorkID   = attribute.Key("opencti.work.id")
	AttributeEntity   = attribute.Key("opencti.entity.id")
	AttributeType     = attribute.Key("opencti.entity.type")
	AttributeMode     = attribute.Key("opencti.mode")    // manual, auto or playbook
	AttributeTrigger  = attribute.Key("opencti.trigger") // create or update
	AttributePlaybook = attribute.Key("opencti.playbook.id")
	AttributeRun      = attribute.Key("opencti.playbook.execution.id")
)

// Mark says what something is done for.
type Mark struct {
	Hop    string
	JobID  string
	WorkID string // empty for a playbook's job
	// Attempt counts the runs of the hop's stage, from 1; it is 0 before the first one.
	Attempt int
}

func (p *Pipeline) mark(ctx context.Context, hop Hop, trip *trip) context.Context {
	return p.Mark(ctx, Mark{Hop: hop.Name(), JobID: trip.job.ID, WorkID: trip.job.WorkID(), Attempt: trip.attempts})
}

// traced makes the hop's span, "hop lookup", and before it the one of the time that the message waited, "wait lookup". Both
// are children of the span that sent the message. A message that no span of ours sent begins the job's trace: with the time
// that it waited, if that is known. The trip of a job that comes back has a link to the trip before; the one of a replay
// is in a new trace, with a link to that of the dead letter.
func (p *Pipeline) traced(hop Hop) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			trip := tripOf(msg)
			ctx := p.propagator.Extract(msg.Context(), carrier(msg))
			links := links(msg)
			begins := !trace.SpanContextFromContext(ctx).IsValid()
			if begins && len(links) == 0 {
				ctx = p.Root(ctx, traceKey(msg, trip))
			}
			if waited := p.waitSpan(ctx, hop, trip); begins && waited.SpanContext().IsValid() {
				ctx = trace.ContextWithSpan(ctx, waited)
			}
			ctx, span := p.tracer.Start(ctx, "hop "+hop.Name(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...))
			defer span.End()
			msg.SetContext(p.mark(ctx, hop, trip))
			out, err := next(msg)
			if span.IsRecording() {
				p.describe(span, hop, msg, trip)
			}
			return out, err
		}
	}
}

// traceKey is what the id of a job's trace follows from: the job's, or where none can be read the message's.
func traceKey(msg *message.Message, trip *trip) string { return cmp.Or(trip.job.ID, msg.UUID) }

// links are those of a job that has been here before, or that a dead letter was made of.
func links(msg *message.Message) []trace.Link {
	var links []trace.Link
	for _, link := range []struct{ key, kind string }{{MetadataReplayed, "replay"}, {MetadataTriedIn, "retry"}} {
		parent := msg.Metadata.Get(link.key)
		if parent == "" {
			continue
		}
		original := propagation.MapCarrier{"traceparent": parent}
		span := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), original))
		if span.IsValid() {
			links = append(links, trace.Link{SpanContext: span, Attributes: []attribute.KeyValue{AttributeLink.String(link.kind)}})
		}
	}
	return links
}

// waitSpan returns the span of the time that a message waited in its queue or in a waiting room. It has ended.
func (p *Pipeline) waitSpan(ctx context.Context, hop Hop, trip *trip) trace.Span {
	parent := trace.SpanContextFromContext(ctx)
	if trip.enqueued.IsZero() || !trip.enqueued.Before(trip.began) || parent.IsValid() && !parent.IsSampled() {
		return trace.SpanFromContext(context.Background())
	}
	_, span := p.tracer.Start(ctx, "wait "+hop.Name(), trace.WithTimestamp(trip.enqueued))
	if span.IsRecording() {
		span.SetAttributes(AttributeHop.String(hop.Name()), AttributeJob.String(trip.job.ID), AttributeDelivery.String(trip.delivery))
	}
	span.End(trace.WithTimestamp(trip.began))
	return span
}

// attempt runs the stage once, in a span of its own.
func (p *Pipeline) attempt(ctx context.Context, hop Hop, trip *trip, job stages.Job) (out stages.Job, err error) {
	ctx = p.mark(ctx, hop, trip)
	if trip.last != nil {
		p.meters.retried(ctx, hop, trip.last)
	}
	began := p.Now()
	ctx, span := p.tracer.Start(ctx, "attempt "+hop.Name())
	if span.IsRecording() {
		span.SetAttributes(AttributeHop.String(hop.Name()), AttributeJob.String(job.ID), AttributeAttempt.Int(trip.attempts))
	}
	trip.last = stages.Panicked()
	defer func() { // also when it panics; a span that is ended by defer itself would say what the panic said
		p.meters.tried(ctx, hop, p.Now().Sub(began), trip.last)
		if span.IsRecording() {
			span.SetAttributes(AttributeOutcome.String(attemptOutcome(trip.last)))
			fail(span, trip.last)
		}
		span.End()
	}()
	out, err = hop.Stage.Run(ctx, job)
	trip.last = stages.AsFault(err)
	return out, err
}

// fail puts a fault on a span. What is no failure of ours leaves its status alone.
func fail(span trace.Span, fault *stages.Fault) {
	if fault == nil {
		return
	}
	span.SetAttributes(AttributeReason.String(string(fault.Reason)), AttributeClass.String(string(fault.Class)))
	switch fault.Class {
	case stages.Skip, stages.Pending, stages.Stopping:
	default:
		span.SetAttributes(semconv.ErrorTypeKey.String(string(fault.Reason)))
		span.RecordError(fault)
		span.SetStatus(codes.Error, fault.Error())
	}
}

// produce publishes a message in a span of its own, "send lookup", which the message carries on.
func (p *Pipeline) produce(ctx context.Context, topic string, msg *message.Message) error {
	ctx, span := p.tracer.Start(ctx, "send "+topic, trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(p.messaging(topic, msg)...)
		span.SetAttributes(semconv.MessagingOperationName("publish"), semconv.MessagingOperationTypeSend)
	}
	p.propagator.Inject(ctx, carrier(msg))
	msg.SetContext(ctx)
	err := p.Transport.Publish(topic, msg)
	if err != nil {
		fail(span, stages.AsFault(err))
	}
	return err
}

// messaging are the attributes of a message, as OpenTelemetry's conventions have them.
func (p *Pipeline) messaging(topic string, msg *message.Message) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemKey.String(p.System),
		semconv.MessagingDestinationName(p.Queue(topic)),
		semconv.MessagingMessageID(msg.UUID),
		semconv.MessagingMessageBodySize(len(msg.Payload)),
	}
}

func (p *Pipeline) describe(span trace.Span, hop Hop, msg *message.Message, trip *trip) {
	span.SetAttributes(p.messaging(hop.Name(), msg)...)
	span.SetAttributes(
		semconv.MessagingOperationName("process"),
		semconv.MessagingOperationTypeProcess,
		semconv.MessagingMessageConversationID(trip.job.ID),
		AttributeHop.String(hop.Name()),
		AttributeJob.String(trip.job.ID),
		AttributeAttempts.Int(trip.attempts),
		AttributeRepeated.Bool(trip.repeated),
		AttributeDelivery.String(trip.delivery),
		AttributeOutcome.String(outcome(trip)),
	)
	set := func(key attribute.Key, value string) {
		if value != "" {
			span.SetAttributes(key.String(value))
		}
	}
	set(AttributeLetter, trip.letter)
	if trip.delay > 0 {
		span.SetAttributes(AttributeAgainIn.Int64(trip.delay.Milliseconds()))
	}
	if r := trip.job.Request; r != nil {
		set(AttributeWorkID, r.WorkID)
		set(AttributeEntity, r.EntityID)
		set(AttributeType, r.EntityType)
		set(AttributeMode, r.Mode)
		set(AttributeTrigger, r.Trigger)
		if r.Playbook != nil {
			set(AttributeMode, "playbook")
			set(AttributePlaybook, r.Playbook.PlaybookID)
			set(AttributeRun, r.Playbook.ExecutionID)
		}
	}
	fail(span, trip.fault)
}

// outcome names what came of a trip, for spans, logs and metrics: how the job ended, or that it went on or back.
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
