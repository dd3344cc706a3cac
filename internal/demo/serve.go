package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// crowd is how many different observables [Serve] asks about before it begins again.
const crowd = 10_000

// credits is what the account of the stand-in IPQS has at the beginning.
const credits = 25_000

// ServeOptions says where the stand-ins are served and what they do.
type ServeOptions struct {
	// AMQP is the URL of the RabbitMQ that the stand-in OpenCTI uses, and tells workers of.
	AMQP string
	// OpenCTI and IPQS are where the stand-ins listen, "host:port".
	OpenCTI, IPQS string
	// Rate is how many enrichments are asked for, each second; with 0 none are.
	Rate   float64
	Logger *slog.Logger
	// Listening is told where they listen, in case the ports were left to the machine. Nil means nobody is.
	Listening func(opencti, ipqs string)
}

// Serve is the world around workers that run as processes of their own: stand-ins for OpenCTI and IPQS, on ports, with a
// RabbitMQ between them and the workers. It asks for enrichments as long as ctx goes on, and returns nil then. Workers need
// what [Environ] says. What was enriched is kept in memory: this is for hours.
func Serve(ctx context.Context, o ServeOptions) error {
	broker := openctitest.AMQPBroker(o.AMQP)
	defer func() { _ = broker.Close() }()
	platform, err := openctitest.New(openctitest.Options{Token: standin.Token, Broker: broker, Logger: o.Logger})
	if err != nil {
		return fmt.Errorf("making a stand-in for OpenCTI: %w", err)
	}
	defer func() { _ = platform.Close() }()
	observables := observables(crowd)
	fake := ipqstest.New(ipqstest.Options{
		Key: standin.Key, Latency: 100 * time.Millisecond, LatencyJitter: 50 * time.Millisecond, Seed: 7, Credits: credits,
		Faults: ipqstest.FaultRates{Status500: 0.02, Throttled429: 0.01, Garbage: 0.005, HTML: 0.005},
	})
	script(fake, observables)

	var listeners [2]net.Listener
	for i, address := range []string{o.OpenCTI, o.IPQS} {
		if listeners[i], err = (&net.ListenConfig{}).Listen(ctx, "tcp", address); err != nil {
			return fmt.Errorf("listening for a stand-in: %w", err)
		}
		defer func() { _ = listeners[i].Close() }()
	}
	if o.Listening != nil {
		o.Listening(listeners[0].Addr().String(), listeners[1].Addr().String())
	}
	lookForBroker(ctx, o)
	group, ctx := errgroup.WithContext(ctx)
	for i, handler := range []http.Handler{platform, fake} {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { _ = server.Close() })
		group.Go(func() error {
			if err := server.Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving a stand-in: %w", err)
			}
			return nil
		})
	}
	if o.Rate > 0 {
		group.Go(func() error { return ask(ctx, platform, observables, o) })
	}
	return group.Wait()
}

// lookForBroker says so when nobody listens where RabbitMQ should be: whoever wants no more than enrich may not mind.
func lookForBroker(ctx context.Context, o ServeOptions) {
	uri, err := amqp.ParseURI(o.AMQP)
	if err != nil {
		return // the first registration is told
	}
	address := net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	link, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		o.Logger.WarnContext(ctx, "no connection to RabbitMQ: enrich works, run does not", slog.String("address", address))
		return
	}
	_ = link.Close()
}

// Environ is the configuration of a worker beside [Serve], as environment variables: what the stand-ins know it by.
func Environ(opencti, ipqs string) []string {
	return []string{
		"OPENCTI_URL=http://" + opencti, "OPENCTI_TOKEN=" + standin.Token, "CONNECTOR_ID=" + standin.ConnectorID,
		"CONNECTOR_AUTO=true", "IPQS_PRIVATE_KEY=" + standin.Key, "IPQS_BASE_URL=http://" + ipqs + "/api/json",
	}
}

// ask has one observable after the other enriched, as soon as a worker has registered.
func ask(ctx context.Context, platform *openctitest.Platform, observables []openctitest.Observable, o ServeOptions) error {
	if platform.Wait(ctx, func() bool { return platform.Registration(standin.ConnectorID) != nil }) != nil {
		return nil // the end came before a worker
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / o.Rate))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		observable, trigger := observables[i%len(observables)], openctitest.Auto
		if i%10 == 0 || observable.Type == outOfScope {
			trigger = openctitest.Manual
		}
		if _, err := platform.Enrich(ctx, platform.AddObservable(observable), trigger); err != nil && ctx.Err() == nil {
			o.Logger.WarnContext(ctx, "asking for an enrichment", slog.Any("error", err)) // RabbitMQ may be away for a while
		}
	}
}
