package telemetry

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// Job is what something is done for.
type Job struct {
	ID, WorkID, Hop string
	// Attempt counts the runs of the hop's stage, from 1; it is 0 before the first one.
	Attempt int
}

type jobContext struct{}

// WithJob returns a context in which every line of a logger made here says for which job it is.
func WithJob(ctx context.Context, j Job) context.Context {
	return context.WithValue(ctx, jobContext{}, j)
}

func jobOf(ctx context.Context) (Job, bool) {
	j, ok := ctx.Value(jobContext{}).(Job)
	return j, ok
}

// jobHandler adds to each record what its context knows: trace_id, also where nothing is traced, and span_id, and hop, work_id, job and attempt.
type jobHandler struct{ slog.Handler }

// Handle adds what the record does not say itself.
func (h jobHandler) Handle(ctx context.Context, r slog.Record) error {
	var more []slog.Attr
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		more = append(more, slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	} else if key, ok := ctx.Value(jobKey{}).(string); ok && key != "" { // what the trace would be called, were there one
		more = append(more, slog.String("trace_id", TraceID(key).String()))
	}
	if j, ok := jobOf(ctx); ok {
		more = append(more, slog.String("hop", j.Hop), slog.String("job", j.ID))
		if j.WorkID != "" {
			more = append(more, slog.String("work_id", j.WorkID))
		}
		if j.Attempt > 0 {
			more = append(more, slog.Int("attempt", j.Attempt))
		}
	}
	if len(more) == 0 {
		return h.Handler.Handle(ctx, r)
	}
	r.Attrs(func(a slog.Attr) bool {
		more = slices.DeleteFunc(more, func(m slog.Attr) bool { return m.Key == a.Key })
		return true
	})
	r = r.Clone()
	r.AddAttrs(more...)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs and WithGroup keep what the handler adds.
func (h jobHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return jobHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup is like WithAttrs.
func (h jobHandler) WithGroup(name string) slog.Handler { return jobHandler{h.Handler.WithGroup(name)} }
