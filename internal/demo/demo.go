package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
)

// Options says what a demo shows.
type Options struct {
	Out io.Writer
	// Progress is where to show how far it is; Terminal says that this is one, so that a line is written over.
	Progress io.Writer
	Terminal bool
	Logger   *slog.Logger
	// Jobs is how many observables are enriched.
	Jobs    int
	Version string
	// Stall is how long nothing may come to an end before the demo gives up, because a job is lost; zero is a minute.
	Stall time.Duration

	// For a test of this package that loses something, and does not wait for Stall once every job has ended.
	tamper    func(*standin.World)
	impatient bool
}

// Run shows the demo and writes its summary. It returns an error when a job is not accounted for.
func Run(ctx context.Context, o Options) error {
	interrupted := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	observables := observables(o.Jobs)
	world, err := standin.New(ctx, standin.Options{Logger: o.Logger, IPQS: ipqstest.Options{
		Latency: 40 * time.Millisecond, LatencyJitter: 30 * time.Millisecond, Seed: 7,
		Faults: ipqstest.FaultRates{Status500: 0.02, Throttled429: 0.02, Throttled403: 0.01, Garbage: 0.01, HTML: 0.01},
	}})
	if err != nil {
		return err
	}
	defer world.Close()
	script(world.IPQS.Fake, observables)

	spans := tracetest.NewInMemoryExporter()
	tracer, shutdown, err := telemetry.Tracing(ctx, telemetry.Options{
		ServiceName: "ipqs-worker", Version: o.Version, Logger: o.Logger,
		Processors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(spans)},
	})
	if err != nil {
		return fmt.Errorf("setting up tracing: %w", err)
	}
	// No file: one that lies here is for another OpenCTI.
	c, _, err := config.Load(config.Options{Path: os.DevNull, Environ: append(world.Environ(), "CONNECTOR_METRICS_PORT=0")})
	if err != nil {
		return fmt.Errorf("making the demo's configuration: %w", err)
	}

	if o.tamper != nil {
		o.tamper(world)
	}
	tally := newTally(len(observables))
	stall := cmp.Or(o.Stall, time.Minute)
	stalled := time.AfterFunc(stall, cancel)
	defer stalled.Stop()
	progress := progress{out: o.Progress, terminal: o.Terminal, total: len(observables)}
	began := time.Now()
	group, running := errgroup.WithContext(ctx)
	if o.impatient {
		group.Go(func() error {
			select {
			case <-tally.all:
				stalled.Reset(0)
			case <-running.Done():
			}
			return nil
		})
	}
	group.Go(func() error {
		return app.Run(running, app.Options{
			Config: c, Logger: o.Logger, Tracer: tracer, Version: o.Version,
			Observe: func(outcome pipeline.Outcome) {
				stalled.Reset(stall)
				progress.show(tally.add(outcome))
			},
			Connect: world.Connect,
		})
	})
	group.Go(func() error {
		defer cancel() // the end of the feeding, good or bad, is the end of the demo
		return feed(running, world, observables, tally)
	})
	err = group.Wait()
	progress.done()
	traced := spans.GetSpans() // shutting down empties the exporter
	if err := errors.Join(err, shutdownOf(shutdown)); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if ended := tally.ended(); ended < len(observables) && interrupted.Err() != nil {
		return fmt.Errorf("interrupted after %d of %d jobs", ended, len(observables))
	}
	if err := tally.summary(o.Out, world.Platform, time.Since(began), traced); err != nil {
		return err
	}
	return tally.account(world.Platform)
}

// shutdownOf ends the tracing, on a context of its own: the demo's has ended by then.
func shutdownOf(shutdown func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return shutdown(ctx)
}

// feed waits for the connector, has every observable enriched, and waits until OpenCTI shows every work as complete and
// the pipeline has told of every job.
func feed(ctx context.Context, world *standin.World, observables []openctitest.Observable, tally *tally) error {
	if err := world.Registered(ctx); err != nil {
		return fmt.Errorf("waiting for the registration: %w", err)
	}
	platform := world.Platform
	for i, observable := range observables {
		trigger := openctitest.Auto
		if i%10 == 0 || observable.Type == outOfScope {
			trigger = openctitest.Manual
		}
		if _, err := platform.Enrich(ctx, platform.AddObservable(observable), trigger); err != nil {
			return fmt.Errorf("asking for an enrichment: %w", err)
		}
	}
	if err := platform.WaitWorks(ctx, len(observables)); err != nil {
		return fmt.Errorf("waiting for the works to end: %w", err)
	}
	select {
	case <-tally.all:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
