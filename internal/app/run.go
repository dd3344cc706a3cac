package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// Options is what [Run] needs beside its configuration.
type Options struct {
	Config  config.Config
	Logger  *slog.Logger
	Tracer  trace.TracerProvider
	Version string
	// Observe, if set, is told what came of every trip.
	Observe func(pipeline.Outcome)
	// Connect makes the carrier that a registration leads to; nil is RabbitMQ.
	Connect func(ctx context.Context, to opencti.Registration, topics []pipeline.Topic) (Carrier, error)
}

// Carrier is a transport between the hops and the way into OpenCTI, closed together.
type Carrier interface {
	pipeline.Transport
	stages.Intake
}

// Run is the connector: it registers, pings and enriches until ctx ends; then it lets the jobs in hand finish within
// WORKER_SHUTDOWN_TIMEOUT and returns nil. As long as OpenCTI does not answer at start, it keeps asking.
func Run(ctx context.Context, o Options) error {
	client, err := newClient(o)
	if err != nil {
		return err
	}
	registration, err := register(ctx, client, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before there was anything to stop
		}
		return err
	}
	has, err := client.Capabilities(ctx)
	if err != nil {
		return fmt.Errorf("asking OpenCTI for its version: %w", err)
	}
	risks, err := newRisks(o.Config, o.Version, o.Logger)
	if err != nil {
		return err
	}
	policy, enrichment, err := choices(o.Config)
	if err != nil {
		return err
	}
	works := opencti.NewWorks(client)
	world := pipeline.World{
		Entities: client,
		Works:    works,
		Risks:    risks,
		Labels:   newLabels(client, o.Logger),
		Envelope: envelope(has, registration),
		Now:      time.Now,

		Policy:     policy,
		Enrichment: enrichment,
		Lookups:    o.Config.Worker.LookupConcurrency,
	}
	connect := o.Connect
	if connect == nil {
		connect = rabbitMQ(o)
	}
	carrier, err := connect(ctx, registration, pipeline.Topics(pipeline.Definition(world)))
	if err != nil {
		return fmt.Errorf("connecting to the broker: %w", err)
	}
	defer func() {
		if err := carrier.Close(); err != nil {
			o.Logger.WarnContext(ctx, "closing the broker connection", slog.Any("error", err))
		}
	}()
	world.Intake = carrier

	p, err := pipeline.New(pipeline.Options{
		Hops:      pipeline.Definition(world),
		Transport: carrier,
		Ends:      stages.Ending{Works: works, Playbooks: client, Now: time.Now},
		Logger:    o.Logger,
		Router:    telemetry.NewWatermillLogger(o.Logger),
		Tracer:    o.Tracer,
		Root:      telemetry.WithJobKey,
		Observe:   o.Observe,
		Version:   o.Version,
		Drain:     o.Config.Worker.ShutdownTimeout,
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Run(ctx) })
	group.Go(func() error { return keepAlive(ctx, client, registration, o) })
	group.Go(func() error {
		select {
		case <-p.Running():
			o.Logger.InfoContext(ctx, "enriching", slog.String("queue", registration.Listen), slog.Any("scope", o.Config.Connector.Scope))
		case <-ctx.Done():
		}
		return nil
	})
	return group.Wait()
}

// choices are what the operator chose, in the stages' terms.
func choices(c config.Config) (stages.Policy, stages.Enrichment, error) {
	maxTLP, err := opencti.ParseTLP(c.IPQS.MaxTLP)
	if err != nil {
		return stages.Policy{}, stages.Enrichment{}, fmt.Errorf("IPQS_MAX_TLP: %w", err)
	}
	defaultTLP, err := opencti.ParseTLP(c.IPQS.DefaultTLP)
	if err != nil {
		return stages.Policy{}, stages.Enrichment{}, fmt.Errorf("IPQS_DEFAULT_TLP: %w", err)
	}
	policy := stages.Policy{
		Scope:       c.Connector.Scope,
		MaxTLP:      maxTLP,
		DefaultTLP:  defaultTLP,
		SkipPrivate: c.IPQS.SkipPrivate,
	}
	return policy, stages.Enrichment{
		DefaultTLP:          defaultTLP,
		Confidence:          c.Connector.ConfidenceLevel,
		IPRelationships:     c.IPQS.IPAddRelationships,
		DomainRelationships: c.IPQS.DomainAddRelationships,
	}, nil
}
