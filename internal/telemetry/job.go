package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// Job is what something is done for.
type Job struct {
	ID, WorkID, Hop string
	// Attempt counts the runs of the hop's stage, from 1; it is 0 before the first one.
	Attempt int

	sent *sent // what was sent for it since the first such context
}

type jobContext struct{}

// WithJob returns a context in which every line of a logger made here says for which job it is, and every request which
// repetition it is of one before: of those in this context, and in the ones that it is made of.
func WithJob(ctx context.Context, j Job) context.Context {
	if before, ok := jobOf(ctx); ok && before.ID == j.ID && before.Hop == j.Hop {
		j.sent = before.sent
	} else {
		j.sent = &sent{earlier: j.Attempt}
	}
	return context.WithValue(ctx, jobContext{}, j)
}

// sent is which requests a job has had sent while it was in hand.
type sent struct {
	earlier int // attempts before, when it was in hand elsewhere; they are taken to have sent each
	mu      sync.Mutex
	by      map[string]*repeated
}

type repeated struct {
	attempt, resends int
	failed           bool
}

// begin returns how often the request was sent before for the same purpose: in earlier attempts, and in this one if it
// failed there. Asking the same a second time after an answer is no repetition, but another question.
func (s *sent) begin(request string, attempt int) (resends int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[string]*repeated)
	}
	r := s.by[request]
	switch {
	case r == nil:
		r = &repeated{resends: s.earlier}
		s.by[request] = r
	case r.attempt != attempt, r.failed:
		r.resends++
	}
	r.attempt, r.failed = attempt, false
	return r.resends
}

func (s *sent) failed(request string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.by[request]; r != nil {
		r.failed = true
	}
}

func jobOf(ctx context.Context) (Job, bool) {
	j, ok := ctx.Value(jobContext{}).(Job)
	return j, ok
}

// jobHandler adds to each record what its context knows: trace_id, also where nothing is traced, and span_id, and hop,
// work_id, job and attempt.
type jobHandler struct{ slog.Handler }

// Handle adds what the record does not say itself.
func (h jobHandler) Handle(ctx context.Context, r slog.Record) error {
	var more []slog.Attr
	j, ok := jobOf(ctx)
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		more = append(more, slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	} else if key := cmp.Or(keyOf(ctx), j.ID); key != "" { // what the trace would be called, were there one
		more = append(more, slog.String("trace_id", TraceID(key).String()))
	}
	if ok {
		more = append(more, slog.String("hop", j.Hop), slog.String("job", j.ID), slog.Int("attempt", j.Attempt))
		if j.WorkID != "" {
			more = append(more, slog.String("work_id", j.WorkID))
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
