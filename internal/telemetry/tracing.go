package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	// batchDelay is how long an ended span waits for others before all are sent: shorter than the SDK's 5 s, because what
	// waits is lost when the worker is killed. OTEL_BSP_SCHEDULE_DELAY overrides it.
	batchDelay = 250 * time.Millisecond
	// flushTimeout bounds how long the end of the worker waits for a collector to take the last spans.
	flushTimeout = 3 * time.Second
)

// Options says who is traced. How is said by the standard variables of OpenTelemetry: OTEL_SDK_DISABLED,
// OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME.
type Options struct {
	// ServiceName, Version and InstanceID become the resource attributes service.name, service.version and
	// service.instance.id. The variables win.
	ServiceName, Version, InstanceID string
	// Logger is told once when spans cannot be sent, and once when they can again; nil tells nobody.
	Logger *slog.Logger
	// Console is where the exporter called console writes; nil is standard error, as standard output is for results.
	Console io.Writer
	// Processors get every sampled span too, whatever the variables say: tests and the demo look at spans in memory.
	Processors []sdktrace.SpanProcessor
}

// Propagator returns how a trace travels in the headers of messages and requests: W3C Trace Context.
func Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

// Tracing returns a tracer provider and the function that sends what is left and ends it, within the context's time and a
// few seconds at most. The provider makes no spans when nothing takes them.
//
// Spans never stand in the worker's way: when the collector is slow or away, they wait in a bounded queue, and those for
// which there is no room are dropped. The error names the variable that has no usable value.
func Tracing(ctx context.Context, o Options) (trace.TracerProvider, func(context.Context) error, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	exporters, err := fromEnvironment(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if len(exporters) == 0 && len(o.Processors) == 0 {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	if err := checkSampler(); err != nil {
		return nil, nil, err
	}
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about(ctx, o)), sdktrace.WithIDGenerator(jobIDs{})}
	for _, e := range exporters {
		quiet := &quietExporter{SpanExporter: e, logger: o.Logger, life: life}
		var batch []sdktrace.BatchSpanProcessorOption
		if os.Getenv("OTEL_BSP_SCHEDULE_DELAY") == "" {
			batch = append(batch, sdktrace.WithBatchTimeout(batchDelay))
		}
		options = append(options, sdktrace.WithBatcher(quiet, batch...))
	}
	for _, p := range o.Processors {
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	provider := sdktrace.NewTracerProvider(options...)
	return provider, func(ctx context.Context) error {
		defer end(errors.New("the worker has ended"))
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("sending the last spans: %w", err)
		}
		return nil
	}, nil
}

// fromEnvironment returns the exporters that the standard variables ask for: by default one for OTLP if they name a
// collector. (The specification's default is a collector on this machine; most operators have none.)
func fromEnvironment(ctx context.Context, o Options) ([]sdktrace.SpanExporter, error) {
	if disabled() {
		return nil, nil
	}
	names := os.Getenv("OTEL_TRACES_EXPORTER")
	if names == "" && (os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "") {
		names = "otlp"
	}
	var exporters []sdktrace.SpanExporter
	for name := range strings.SplitSeq(names, ",") {
		var (
			e   sdktrace.SpanExporter
			err error
		)
		switch name = strings.TrimSpace(name); name {
		case "", "none":
			continue
		case "otlp":
			e, err = choose(signalTraces,
				func() (sdktrace.SpanExporter, error) { return otlptracegrpc.New(ctx) },
				func() (sdktrace.SpanExporter, error) { return otlptracehttp.New(ctx) })
		case "console":
			e, err = stdouttrace.New(stdouttrace.WithWriter(o.console()))
		default:
			err = fmt.Errorf("OTEL_TRACES_EXPORTER: found %q, want otlp, console or none", name)
		}
		if err != nil {
			return nil, err
		}
		exporters = append(exporters, e)
	}
	return exporters, nil
}
