package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// quietExporter sends spans and keeps its trouble to itself: it logs that spans cannot be sent when that begins, and that
// they can when it ends. The SDK would hand every batch's error to a handler that is global to the process.
type quietExporter struct {
	sdktrace.SpanExporter
	logger  *slog.Logger
	failing atomic.Bool
	// life ends what is being sent when it ends: the SDK lets that go on for half a minute after it was told to stop.
	life context.Context //nolint:containedctx // it is the exporter's life, not a call's
}

// ExportSpans sends spans and returns nil; those that cannot be sent are gone.
func (e *quietExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.life, func() { cancel(context.Cause(e.life)) })()

	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !e.failing.Swap(true):
		e.logger.WarnContext(ctx, "traces cannot be sent and are lost until they can", slog.Any("error", err))
	case err == nil && e.failing.Swap(false):
		e.logger.InfoContext(ctx, "traces can be sent again")
	}
	return nil
}
