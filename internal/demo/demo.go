package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
)

const (
	connectorID = "d3a0d3a0-0000-4000-8000-000000000001"
	token       = "demo-token"
	key         = "demo-key"
)

// Options says what a demo shows.
type Options struct {
	Out io.Writer
	// Terminal says that Out is one: progress is then a line that is written over.
	Terminal bool
	Logger   *slog.Logger
	// Jobs is how many observables are enriched.
	Jobs    int
	Version string
}

// Run shows the demo and writes its summary. It returns an error when a job is not accounted for.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	observables := observables(o.Jobs)
	fake := ipqstest.NewServer(ipqstest.Options{
		Key: key, Latency: 40 * time.Millisecond, LatencyJitter: 30 * time.Millisecond, Seed: 7,
		Faults: ipqstest.FaultRates{Status500: 0.02, Throttled429: 0.02, Throttled403: 0.01, Garbage: 0.01, HTML: 0.01},
	})
	defer fake.Close()
	script(fake.Fake, observables)

	broker := openctitest.MemoryBroker()
	platform, address, err := serve(ctx, openctitest.Options{Token: token, Broker: broker, Logger: o.Logger})
	if err != nil {
		return err
	}
	defer platform.Close()

	spans := tracetest.NewInMemoryExporter()
	tracer, shutdown, err := telemetry.Tracing(ctx, telemetry.Options{
		ServiceName: "ipqs-worker", Version: o.Version, Logger: o.Logger,
		Processors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(spans)},
	})
	if err != nil {
		return fmt.Errorf("setting up tracing: %w", err)
	}
	c, _, err := config.Load(config.Options{Environ: []string{
		"OPENCTI_URL=" + address, "OPENCTI_TOKEN=" + token, "CONNECTOR_ID=" + connectorID, "CONNECTOR_AUTO=true",
		"IPQS_PRIVATE_KEY=" + key, "IPQS_BASE_URL=" + fake.BaseURL,
	}})
	if err != nil {
		return fmt.Errorf("making the demo's configuration: %w", err)
	}

	tally := newTally(len(observables))
	progress := progress{out: o.Out, terminal: o.Terminal, total: len(observables)}
	began := time.Now()
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		return app.Run(running, app.Options{
			Config: c, Logger: o.Logger, Tracer: tracer, Version: o.Version,
			Observe: func(outcome pipeline.Outcome) { progress.show(tally.add(outcome)) },
			Connect: embedded(broker),
		})
	})
	group.Go(func() error {
		defer cancel() // the end of the feeding, good or bad, is the end of the demo
		return feed(running, platform.Platform, observables, tally)
	})
	err = group.Wait()
	progress.done()
	traced := spans.GetSpans() // shutting down empties the exporter
	if err := errors.Join(err, shutdownOf(shutdown)); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err := tally.summary(o.Out, platform.Platform, time.Since(began), traced); err != nil {
		return err
	}
	return tally.account(platform.Platform)
}

// shutdownOf ends the tracing, on a context of its own: the demo's has ended by then.
func shutdownOf(shutdown func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return shutdown(ctx)
}

// server is a stand-in platform on a loopback port.
type server struct {
	*openctitest.Platform
	http *http.Server
}

func serve(ctx context.Context, o openctitest.Options) (*server, string, error) {
	platform, err := openctitest.New(o)
	if err != nil {
		return nil, "", fmt.Errorf("making a stand-in for OpenCTI: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("listening for OpenCTI's stand-in: %w", err)
	}
	s := &server{platform, &http.Server{Handler: platform, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = s.http.Serve(listener) }() // ends with Close
	return s, "http://" + listener.Addr().String(), nil
}

func (s *server) Close() {
	_ = s.http.Close()
	_ = s.Platform.Close()
}

// feed waits for the connector, has every observable enriched, and waits until OpenCTI shows every work as complete and
// the pipeline has told of every job.
func feed(ctx context.Context, platform *openctitest.Platform, observables []openctitest.Observable, tally *tally) error {
	if err := platform.Wait(ctx, func() bool { return platform.Registration(connectorID) != nil }); err != nil {
		return fmt.Errorf("waiting for the registration: %w", err)
	}
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

// embedded carries jobs in this process: from the stand-in's listen queue to its push queue.
func embedded(broker *openctitest.Memory) func(context.Context, opencti.Registration, []pipeline.Topic) (app.Carrier, error) {
	return func(ctx context.Context, _ opencti.Registration, topics []pipeline.Topic) (app.Carrier, error) {
		ctx, cancel := context.WithCancel(ctx)
		c := &carrier{Transport: memory.New(memory.Options{Topics: topics}), broker: broker, cancel: cancel}
		c.listening.Go(func() { c.listen(ctx, topics[0].Name) })
		return c, nil
	}
}

type carrier struct {
	*memory.Transport
	broker    *openctitest.Memory
	cancel    context.CancelFunc
	listening sync.WaitGroup
}

func (c *carrier) listen(ctx context.Context, topic string) {
	for {
		select {
		case <-ctx.Done():
			return
		case body := <-c.broker.Jobs():
			msg := message.NewMessage(watermill.NewULID(), body)
			msg.SetContext(ctx)
			if c.Publish(topic, msg) != nil {
				return // closed
			}
		}
	}
}

// Push hands each message to the stand-in's importer.
func (c *carrier) Push(ctx context.Context, messages [][]byte) error {
	for _, m := range messages {
		if err := c.broker.Push(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Close stops listening and closes the transport.
func (c *carrier) Close() error {
	c.cancel()
	err := c.Transport.Close()
	c.listening.Wait()
	return err
}
