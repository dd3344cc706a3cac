package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Metrics returns a meter provider, the handler that shows what it has measured to Prometheus, and the function that sends
// what is left and ends it, within the context's time and a few seconds at most.
//
// The handler speaks Prometheus' text format, and OpenMetrics with exemplars to who asks for that: an exemplar names the
// trace of one request. Go's own metrics and the process' are beside ours. Metrics are sent to a collector too if
// OTEL_METRICS_EXPORTER says otlp (or console), or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT names one: not by
// OTEL_EXPORTER_OTLP_ENDPOINT alone, behind which there often is a Jaeger that takes traces only. A collector that is away
// costs nothing but what it would have been told. With OTEL_SDK_DISABLED nothing is measured.
func Metrics(ctx context.Context, o Options) (metric.MeterProvider, http.Handler, func(context.Context) error, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if disabled() {
		return noop.NewMeterProvider(), http.NotFoundHandler(), func(context.Context) error { return nil }, nil
	}
	exporters, err := metricExporters(ctx, o)
	if err != nil {
		return nil, nil, nil, err
	}
	registry := prometheus.NewRegistry()
	shown, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err == nil {
		err = errors.Join(registry.Register(collectors.NewGoCollector()),
			registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})))
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("registering with Prometheus' client: %w", err)
	}
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	options := []sdkmetric.Option{sdkmetric.WithResource(about(ctx, o)), sdkmetric.WithReader(shown)}
	for _, e := range exporters {
		quiet := &quietMetrics{Exporter: e, logger: o.Logger, life: life}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(quiet)))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		ErrorHandling:     promhttp.ContinueOnError,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	})
	return provider, handler, func(ctx context.Context) error {
		defer end(errors.New("the worker has ended"))
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("sending the last metrics: %w", err)
		}
		return nil
	}, nil
}

// metricExporters returns what sends metrics somewhere, as the standard variables ask for.
func metricExporters(ctx context.Context, o Options) ([]sdkmetric.Exporter, error) {
	names := os.Getenv("OTEL_METRICS_EXPORTER")
	if names == "" && os.Getenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") != "" {
		names = "otlp"
	}
	var exporters []sdkmetric.Exporter
	for name := range strings.SplitSeq(names, ",") {
		var e sdkmetric.Exporter
		var err error
		switch name = strings.TrimSpace(name); name {
		case "", "none", "prometheus": // which is served whenever CONNECTOR_EXPOSE_METRICS says so
			continue
		case "otlp":
			e, err = choose(signalMetrics,
				func() (sdkmetric.Exporter, error) { return otlpmetricgrpc.New(ctx) },
				func() (sdkmetric.Exporter, error) { return otlpmetrichttp.New(ctx) })
		case "console":
			e, err = stdoutmetric.New(stdoutmetric.WithWriter(o.console()))
		default:
			err = fmt.Errorf("OTEL_METRICS_EXPORTER: found %q, want otlp, prometheus, console or none", name)
		}
		if err != nil {
			return nil, err
		}
		exporters = append(exporters, e)
	}
	return exporters, nil
}

// quietMetrics is to metrics what [quietExporter] is to spans.
type quietMetrics struct {
	sdkmetric.Exporter
	logger  *slog.Logger
	failing atomic.Bool
	life    context.Context //nolint:containedctx // it is the exporter's life, not a call's
}

// Export sends metrics and returns nil; those that cannot be sent are gone, and the next ones have their sums.
func (e *quietMetrics) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.life, func() { cancel(context.Cause(e.life)) })()

	err := e.Exporter.Export(ctx, metrics)
	switch {
	case err != nil && !e.failing.Swap(true):
		e.logger.WarnContext(ctx, "metrics cannot be sent, /metrics has them all the same", slog.Any("error", err))
	case err == nil && e.failing.Swap(false):
		e.logger.InfoContext(ctx, "metrics can be sent again")
	}
	return nil
}
