package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	meternoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/health"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// Options is what [Run] needs beside its configuration.
type Options struct {
	Config config.Config
	Logger *slog.Logger
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	// Metrics shows what the meters have measured, beside /livez and /readyz; nil shows nothing.
	Metrics http.Handler
	// Level is what the logger goes by, and can be changed by at run time; nil can't.
	Level   *slog.LevelVar
	Version string
	// Hops are the names of those that this process runs, where others run the rest; empty runs all.
	Hops []string
	// Observe, if set, is told what came of every trip.
	Observe func(pipeline.Outcome)
	// PingEvery is how often OpenCTI is pinged; zero is every 40 seconds.
	PingEvery time.Duration
	// Now is the clock of the jobs; nil is the real one.
	Now func() time.Time
	// Connect makes the carrier that a registration leads to; nil is RabbitMQ. It is called again when a later
	// registration leads elsewhere, once the carrier before is closed.
	Connect func(ctx context.Context, to opencti.Registration, topics []pipeline.Topic) (Carrier, error)
}

// Carrier is a transport between the hops and the way into OpenCTI, closed together.
type Carrier interface {
	pipeline.Transport
	stages.Intake
}

// OptionsError is what is wrong with the options themselves, or with the files that they name: nothing was contacted.
type OptionsError struct{ Err error }

// Error is the text of Err.
func (e *OptionsError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *OptionsError) Unwrap() error { return e.Err }

// Run is the connector: it registers, pings and enriches until ctx ends; then it lets the jobs in hand finish within
// WORKER_SHUTDOWN_TIMEOUT and returns nil. As long as OpenCTI or its broker is away, it waits for it; where OpenCTI names
// another broker, it goes there. It returns an error only for what keeps it from ever beginning: an [*OptionsError], or what
// OpenCTI says of a wrong token.
func Run(ctx context.Context, o Options) error {
	w, err := newWorker(o)
	if err != nil {
		return &OptionsError{err}
	}
	defer w.risks.close()
	defer w.serve(ctx)()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.presence.run(ctx) })
	group.Go(func() error { return w.risks.run(ctx) })
	group.Go(func() error { return follow(ctx, w.presence, w.session) })
	return group.Wait()
}

// worker is what lasts from one session to the next.
type worker struct {
	options  Options
	log      *slog.Logger
	client   *opencti.Client
	works    *opencti.Works
	presence *presence
	risks    *risks
	broker   *broker
	meters   *meters
	pauses   pauses
	copies   *pipeline.Copies // of all sessions
	world    pipeline.World   // but for its Intake
	connect  func(ctx context.Context, to opencti.Registration, topics []pipeline.Topic) (Carrier, error)
}

// runs reports whether this process takes the jobs of a hop.
func (o Options) runs(hop string) bool { return len(o.Hops) == 0 || slices.Contains(o.Hops, hop) }

// withDefaults fills in what need not be given.
func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tracer == nil {
		o.Tracer = tracenoop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = meternoop.NewMeterProvider()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func newWorker(o Options) (*worker, error) {
	o = o.withDefaults()
	if len(o.Hops) > 0 && withoutRabbitMQ(o.Config.Connector) {
		return nil, errors.New("--hops: with CONNECTOR_LISTEN_PROTOCOL=API and CONNECTOR_QUEUE_PROTOCOL=api jobs stay within one process, " +
			"which has to run all hops")
	}
	meters, err := newMeters(o.Meter)
	if err != nil {
		return nil, err
	}
	client, err := newClient(o)
	if err != nil {
		return nil, err
	}
	chosen, err := choices(o.Config)
	if err != nil {
		return nil, err
	}
	risks, err := newRisks(o, func() { meters.opened.Add(context.Background(), 1) }, meters.asked)
	if err != nil {
		return nil, err
	}
	w := &worker{
		options:  o,
		log:      o.Logger,
		client:   client,
		works:    worksOf(o.Config.Connector, client),
		presence: newPresence(measuredPlatform{client, meters}, connector(o.Config.Connector), o.PingEvery, o.Logger),
		risks:    risks,
		broker:   newBroker(),
		meters:   meters,
		copies:   pipeline.NewCopies(),
		connect:  o.Connect,
	}
	if w.connect == nil {
		w.connect = carriers(o, client, w.presence)
	}
	w.world = pipeline.World{
		Entities:  client,
		Works:     works(o.Config.Connector, w.works),
		Playbooks: client,
		Risks:     explainedRisks{risks, risks.breaker.State, meters},
		Sources:   sources(o.Config.IPQS, client, client, chosen.guard),
		Labels:    newLabels(client, o.Logger),

		Indicators: indicators{client, o.Logger},
		Countries:  &countries{client: client, logger: o.Logger, now: o.Now},

		Envelope: envelope(o.Config.Connector, w.presence),
		Now:      o.Now,

		Posted: o.Config.Connector.Callback.On,

		Policy:     chosen.policy,
		Scoring:    chosen.scoring,
		Enrichment: chosen.enrichment,
		Lookups:    inHand(o.Config),
		InHand:     o.Config.Worker.Concurrency,

		Recents:        risks.recents,
		SkipOverBudget: o.Config.Credits.SkipOverBudget,
	}
	if o.Config.Connector.AutoUpdate {
		w.world.OwnWrites = stages.NewOwnWrites()
	}
	if !w.world.SkipOverBudget {
		w.world.Works = frank{Works: w.world.Works, why: risks.Budget().Over}
	}
	var breaker func() ipqs.State // of a process that asks IPQS nothing, it would say closed whatever happens
	if o.runs("lookup") {
		breaker = risks.breaker.State
	}
	return w, errors.Join(meters.watch(o.Version, breaker, w.standing, w.dependencies()), meters.watchCredits(risks.Stats))
}

// dependencies are what the worker needs and can be up or down.
func (w *worker) dependencies() []dependency {
	all := []dependency{
		{"opencti", w.presence.ready},
		{carrierName(w.options.Config.Connector), w.broker.ready},
		{"ipqs", w.risks.ready},
	}
	if w.risks.redis != nil {
		all = append(all, dependency{"redis", w.risks.redis.Ready})
	}
	return all
}

// checks are the dependencies of /readyz. Only those without which no job can be done decide whether the worker is ready.
func (w *worker) checks() []health.Check {
	var checks []health.Check
	for _, d := range w.dependencies() {
		// While IPQS or Redis is away jobs wait or cost more, and another worker would do no better.
		checks = append(checks, health.Check{Name: d.name, State: d.state, Informative: d.name == "ipqs" || d.name == "redis"})
	}
	// A hop that pauses is no reason to restart, move or replace the worker: see docs/reliability.md.
	return append(checks, health.Check{Name: "hops", State: w.pauses.state, Informative: true})
}

// standing is the connector's state in the words of OpenCTI's helper.
func (w *worker) standing() string {
	switch err := w.broker.ready(); {
	case errors.Is(err, errDraining):
		return stateStopped
	case err != nil:
		return stateIdle
	default:
		return stateRunning
	}
}

// serve tells over HTTP how the worker is, also while jobs in hand are finished after the end of ctx: until stop is called.
func (w *worker) serve(ctx context.Context) (stop func()) {
	c := w.options.Config
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	stop = func() {
		cancel()
		serving.Wait()
	}
	if c.Worker.DebugPort != 0 {
		address := net.JoinHostPort(c.Worker.DebugHost, strconv.Itoa(c.Worker.DebugPort))
		serving.Go(func() { health.ServeDebug(ctx, address, w.options.Level, w.log) })
	}
	if c.Connector.MetricsPort == 0 {
		return stop
	}
	server := health.New(health.Options{
		Address: net.JoinHostPort(c.Worker.MetricsHost, strconv.Itoa(c.Connector.MetricsPort)),
		Live:    w.presence.live,
		Ready:   w.checks(),
		Logger:  w.log,
	})
	if c.Connector.ExposeMetrics && w.options.Metrics != nil {
		server.Handle("GET /metrics", w.options.Metrics)
	}
	serving.Go(func() { server.Run(ctx) })
	return stop
}

// choice is what the operator chose, in the stages' terms.
type choice struct {
	policy     stages.Policy
	guard      egress.Guard
	scoring    stages.Scoring
	enrichment stages.Enrichment
}

func choices(c config.Config) (choice, error) {
	maxTLP, err := opencti.ParseTLP(c.IPQS.MaxTLP)
	if err != nil {
		return choice{}, fmt.Errorf("IPQS_MAX_TLP: %w", err)
	}
	defaultTLP, err := opencti.ParseTLP(c.IPQS.DefaultTLP)
	if err != nil {
		return choice{}, fmt.Errorf("IPQS_DEFAULT_TLP: %w", err)
	}
	exclusions, err := egress.ParseExclusions(c.IPQS.Exclude)
	if err != nil {
		return choice{}, fmt.Errorf("IPQS_EXCLUDE: %w", err)
	}
	guard := egress.New(exclusions, egress.URLForm(c.IPQS.URLSend))
	model := stages.Model(c.IPQS.RiskModel)
	flags := model != stages.Connector // whose labels are to be the same
	if c.IPQS.FlagLabels != nil {
		flags = *c.IPQS.FlagLabels
	}
	return choice{
		policy: stages.Policy{
			Scope:      c.Connector.Scope,
			MaxTLP:     maxTLP,
			DefaultTLP: defaultTLP,
			Guard:      guard,
			LiveOnly:   c.Connector.PushByAPI,
		},
		guard:   guard,
		scoring: stages.Scoring{Model: model, FlagLabels: flags},
		enrichment: stages.Enrichment{
			DefaultTLP:          defaultTLP,
			Confidence:          new(c.Connector.ConfidenceLevel),
			IPRelationships:     c.IPQS.IPAddRelationships,
			DomainRelationships: c.IPQS.DomainAddRelationships,
			Countries:           c.IPQS.IPAddCountry,
			Score:               stages.ScorePolicy(c.IPQS.ScorePolicy),
			IndicatorFrom:       c.IPQS.IndicatorMinScore,
			Revive:              stages.RevivePolicy(c.IPQS.IndicatorRevive),
			DetectFrom:          c.IPQS.DetectionMinScore,
			Personal:            c.IPQS.IncludePersonalData,
		},
	}, nil
}
