package pipeline

import (
	"context"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/stages"
)

// measured reports what came of each trip: to the observer, and to the log in one line.
func (p *Pipeline) measured(hop Hop) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			out, err := next(msg)
			trip := tripOf(msg)
			result := Outcome{
				Hop: hop.Name(), Job: trip.job, Attempts: trip.attempts, Took: p.Now().Sub(trip.began),
				Fault: trip.fault, Delay: trip.delay, Paused: trip.fate == paused, End: trip.end, Letter: trip.letter,
			}
			p.log(p.mark(msg.Context(), hop, trip), trip, result)
			p.Observe(result)
			return out, err
		}
	}
}

func (p *Pipeline) log(ctx context.Context, trip *trip, o Outcome) {
	level := slog.LevelDebug
	switch {
	case o.End == Skipped:
		level = slog.LevelInfo
	case o.End == DeadLettered:
		level = slog.LevelError
	case o.Fault != nil && o.Fault.Class != stages.Stopping && o.Fault.Class != stages.Pending && !o.Paused: // the pause itself has its line
		level = slog.LevelWarn
	}
	if !p.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("hop", o.Hop), slog.String("outcome", outcome(trip)), slog.String("job", o.Job.ID),
		slog.Int("attempts", o.Attempts), slog.Duration("took", o.Took),
	}
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		attrs = append(attrs, slog.String("trace_id", span.TraceID().String()))
	}
	if o.Fault != nil {
		attrs = append(attrs, slog.String("reason", string(o.Fault.Reason)), slog.String("class", string(o.Fault.Class)),
			slog.String("error", o.Fault.Error()))
	}
	if o.Delay > 0 {
		attrs = append(attrs, slog.Duration("again_in", o.Delay))
	}
	if o.Letter != "" {
		attrs = append(attrs, slog.String("dead_letter", o.Letter))
	}
	p.Logger.LogAttrs(ctx, level, "trip ended", attrs...)
}
