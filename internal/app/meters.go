package app

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// meters are the worker's instruments beside those of the pipeline and of requests. Those without "ipqs_worker" in their
// names are what OpenCTI's Python helper has, for dashboards that are there already.
type meters struct {
	meter metric.Meter

	bundles, records, runs, pings, pingErrors, errors, clientErrors metric.Int64Counter
	opened, lookups, credits                                        metric.Int64Counter
	scores                                                          metric.Int64Histogram
	turns                                                           metric.Float64Histogram
}

func newMeters(provider metric.MeterProvider) (*meters, error) {
	m := &meters{meter: provider.Meter("opencti-ipqs-worker")}
	var problems []error
	counter := func(name, description string) metric.Int64Counter {
		c, err := m.meter.Int64Counter(name, metric.WithDescription(description))
		problems = append(problems, err)
		if err == nil {
			c.Add(context.Background(), 0)
		}
		return c
	}
	m.bundles = counter("bundles_sent", "Messages sent to OpenCTI, one STIX object each.")
	m.records = counter("records_sent", "STIX objects sent to OpenCTI.")
	m.runs = counter("runs", "Jobs that ended.")
	m.pings = counter("ping_api", "Pings of OpenCTI.")
	m.pingErrors = counter("ping_api_errors", "Pings of OpenCTI that failed.")
	m.errors = counter("errors", "Times that a job could not be done, for now or for good.")
	m.clientErrors = counter("client_errors", "Lookups that IPQS did not answer.")
	m.opened = counter("ipqs_worker.breaker.opened", "Times that the circuit breaker around IPQS has opened.")
	m.lookups = counter("ipqs_worker.lookups", "Questions to IPQS, by what happened to them: one may be asked and spent, or held.")
	m.credits = counter("ipqs_worker.credits.spent", "Credits that IPQS may have charged to this process.")
	turns, err := m.meter.Float64Histogram("ipqs_worker.limiter.wait", metric.WithUnit("s"),
		metric.WithDescription("Time that a question to IPQS waited for its turn."),
		metric.WithExplicitBucketBoundaries(.001, .01, .1, .5, 1, 5, 10, 20, 60))
	m.turns = turns
	problems = append(problems, err)
	scores, err := m.meter.Int64Histogram("ipqs_worker.score", metric.WithDescription("Scores concluded, 0 to 100."),
		metric.WithExplicitBucketBoundaries(0, 24, 49, 74, 84, 89, 94, 99))
	m.scores = scores
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("making the worker's metrics: %w", err)
	}
	return m, nil
}

// Labels of the worker's own metrics; their values are closed sets.
const (
	labelState      = attribute.Key("state")
	labelDependency = attribute.Key("dependency")
)

// dependency is something that may be up or down.
type dependency struct {
	name  string
	state func() error
}

// watch registers what is read whenever metrics are. Without a breaker, none is shown.
func (m *meters) watch(version string, breaker func() ipqs.State, standing func() string, dependencies []dependency) error {
	var problems []error
	gauge := func(name, description string) metric.Int64ObservableGauge {
		g, err := m.meter.Int64ObservableGauge(name, metric.WithDescription(description))
		problems = append(problems, err)
		return g
	}
	info := gauge("ipqs_worker.build_info", "1, with what runs here in its labels.")
	up := gauge("ipqs_worker.dependency.up", "1 while the dependency is as it should be; /readyz says why it is not.")
	circuit := gauge("ipqs_worker.breaker.state", "1 for the state of the circuit breaker around IPQS, 0 for the others.")
	state := gauge("state", "1 for the connector's state, 0 for the others.")
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(info, 1, metric.WithAttributes(attribute.String("version", version), attribute.String("go_version", runtime.Version())))
		for _, d := range dependencies {
			o.ObserveInt64(up, oneIf(d.state() == nil), metric.WithAttributes(labelDependency.String(d.name)))
		}
		if breaker != nil {
			is := breaker()
			for _, s := range []ipqs.State{ipqs.StateClosed, ipqs.StateHalfOpen, ipqs.StateOpen} {
				o.ObserveInt64(circuit, oneIf(s == is), metric.WithAttributes(labelState.String(string(s))))
			}
		}
		stands := standing()
		for _, s := range []string{stateIdle, stateRunning, stateStopped} {
			o.ObserveInt64(state, oneIf(s == stands), metric.WithAttributes(labelState.String(s)))
		}
		return nil
	}, info, up, circuit, state)
	if err := errors.Join(append(problems, err)...); err != nil {
		return fmt.Errorf("registering the worker's metrics: %w", err)
	}
	return nil
}

// The states of a connector, as OpenCTI's helper calls them.
const (
	stateIdle    = "idle"    // waiting for OpenCTI or its broker
	stateRunning = "running" // taking jobs
	stateStopped = "stopped" // told to stop
)

func oneIf(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// observe counts what came of trips.
func (m *meters) observe(next func(pipeline.Outcome)) func(pipeline.Outcome) {
	quiet := []stages.Class{stages.Skip, stages.Stopping, stages.Pending}
	return func(o pipeline.Outcome) {
		if o.End != "" {
			m.runs.Add(context.Background(), 1)
		}
		if o.Fault != nil && !o.Paused && !slices.Contains(quiet, o.Fault.Class) {
			m.errors.Add(context.Background(), 1)
		}
		if next != nil {
			next(o)
		}
	}
}

// measuredIntake counts what goes into OpenCTI.
type measuredIntake struct {
	stages.Intake
	meters *meters
}

// Push publishes messages, each with one object.
func (i measuredIntake) Push(ctx context.Context, messages [][]byte) error {
	err := i.Intake.Push(ctx, messages)
	if err == nil {
		i.meters.bundles.Add(ctx, int64(len(messages)))
		i.meters.records.Add(ctx, int64(len(messages)))
	}
	return err
}

// measuredPlatform counts pings.
type measuredPlatform struct {
	platform
	meters *meters
}

// Ping keeps the connector active in OpenCTI.
func (p measuredPlatform) Ping(ctx context.Context, connectorID, state string) (string, error) {
	newState, err := p.platform.Ping(ctx, connectorID, state)
	p.meters.pings.Add(ctx, 1)
	if err != nil && !errors.Is(err, opencti.ErrNotFound) {
		p.meters.pingErrors.Add(ctx, 1)
	}
	return newState, err
}
