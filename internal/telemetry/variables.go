package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// disabled reports whether all of telemetry is switched off.
func disabled() bool { return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") }

// console is where the exporters called console write.
func (o Options) console() io.Writer {
	if o.Console != nil {
		return o.Console
	}
	return os.Stderr
}

// about says who is traced and measured, as far as can be found out.
func about(ctx context.Context, o Options) *resource.Resource {
	r, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(
			semconv.ServiceName(o.ServiceName),
			semconv.ServiceVersion(o.Version),
			semconv.ServiceInstanceID(o.InstanceID),
		),
		resource.WithFromEnv(),
	)
	if err != nil {
		o.Logger.WarnContext(ctx, "telemetry tells less about this process", slog.Any("error", err))
	}
	return r
}

// signal is the part of the names of variables that are about one kind of telemetry.
type signal string

const (
	signalTraces  signal = "TRACES"
	signalMetrics signal = "METRICS"
)

// choose makes the exporter for the protocol that the variables name, having checked the address that they name. None of
// the exporters connects before it has something to send.
func choose[E any](of signal, grpc, http func() (E, error)) (exporter E, err error) {
	switch protocol := first("OTEL_EXPORTER_OTLP_"+string(of)+"_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "grpc":
		if err := checkEndpoint(of, "4317", func(*url.URL) bool { return true }); err != nil { // there are many schemes
			return exporter, err
		}
		return grpc()
	case "", "http/protobuf", "http/json":
		if err := checkEndpoint(of, "4318", func(u *url.URL) bool {
			return u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
		}); err != nil {
			return exporter, err
		}
		return http()
	default:
		return exporter, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: found %q, want grpc, http/protobuf or http/json", protocol)
	}
}

// checkEndpoint refuses an address that the exporters cannot use: they would log that and send to localhost instead.
func checkEndpoint(of signal, port string, usable func(*url.URL) bool) error {
	for _, env := range []string{"OTEL_EXPORTER_OTLP_" + string(of) + "_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		v := os.Getenv(env)
		if u, err := url.Parse(v); v != "" && (err != nil || !usable(u)) { // v may hold a password
			return fmt.Errorf("%s: found no usable address, want one such as http://localhost:%s", env, port)
		}
	}
	return nil
}

// first returns the value of the first variable that is set.
func first(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

// samplers are those of the SDK.
var samplers = []string{
	"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// checkSampler refuses what the SDK would only complain of, keeping all jobs where a hundredth was meant.
func checkSampler() error {
	sampler := strings.ToLower(strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER")))
	if sampler == "" {
		return nil
	}
	if !slices.Contains(samplers, sampler) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER: found %q, want one of %s", sampler, strings.Join(samplers, ", "))
	}
	arg := strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER_ARG"))
	if arg == "" || !strings.HasSuffix(sampler, "traceidratio") {
		return nil
	}
	if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) { // nor what is no number
		return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: found %q, want a number from 0 to 1", arg)
	}
	return nil
}
