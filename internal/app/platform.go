package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stages"
)

// pingEvery keeps the connector active in OpenCTI, which takes it for dead after five minutes; the period is the one of
// OpenCTI's own helper.
const pingEvery = 40 * time.Second

// trackAlways is set to "true" by the linker for one test: see [opencti.Options].TrackAlways.
var trackAlways string

func newClient(o Options) (*opencti.Client, error) {
	headers := make(map[string]string, len(o.Config.OpenCTI.CustomHeaders))
	for name, value := range o.Config.OpenCTI.CustomHeaders {
		headers[name] = value.Reveal()
	}
	transport, err := platformTransport(o.Config.OpenCTI)
	if err != nil {
		return nil, fmt.Errorf("making the OpenCTI client: %w", err)
	}
	client, err := opencti.New(opencti.Options{
		URL:        o.Config.OpenCTI.URL,
		Token:      o.Config.OpenCTI.Token.Reveal(),
		UserAgent:  userAgent(o.Version),
		Headers:    headers,
		HTTPClient: &http.Client{Timeout: time.Minute, Transport: transport},
		Logger:     o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("making the OpenCTI client: %w", err)
	}
	return client, nil
}

// newRisks builds what stands around a call to IPQS, outermost first: the breaker, then the client.
func newRisks(c config.Config, version string, logger *slog.Logger) (ipqs.Lookuper, error) {
	client, err := ipqs.NewClient(ipqs.Options{
		BaseURL:   c.IPQS.BaseURL,
		Key:       c.IPQS.PrivateKey.Reveal(),
		UserAgent: userAgent(version),
	})
	if err != nil {
		return nil, fmt.Errorf("making the IPQS client: %w", err)
	}
	return ipqs.NewBreaker(client, ipqs.BreakerOptions{
		OnChange: func(from, to ipqs.State) {
			logger.Warn("circuit breaker around IPQS", slog.String("from", string(from)), slog.String("to", string(to)))
		},
	}), nil
}

func userAgent(version string) string { return "ipqs-worker/" + version }

// register asks OpenCTI for its version and registers the connector, again and again until it answers. Only a refusal
// that waiting cannot mend, such as a wrong token, ends it.
func register(ctx context.Context, client *opencti.Client, o Options) (opencti.Registration, error) {
	var registration opencti.Registration
	attempt := func() error {
		version, err := client.About(ctx)
		if err != nil {
			return lasting(fmt.Errorf("asking OpenCTI for its version: %w", err))
		}
		registration, err = client.Register(ctx, opencti.Connector{
			ID:             o.Config.Connector.ID,
			Name:           o.Config.Connector.Name,
			Scope:          o.Config.Connector.Scope,
			Auto:           o.Config.Connector.Auto,
			OnlyContextual: o.Config.Connector.OnlyContextual,
		})
		if err != nil {
			return lasting(fmt.Errorf("registering the connector: %w", err))
		}
		o.Logger.InfoContext(ctx, "registered", slog.String("platform", version.String()), slog.String("connector", o.Config.Connector.ID))
		return nil
	}
	waits := backoff.NewExponentialBackOff(backoff.WithMaxInterval(30*time.Second), backoff.WithMaxElapsedTime(0))
	err := backoff.RetryNotify(attempt, backoff.WithContext(waits, ctx), func(err error, wait time.Duration) {
		o.Logger.WarnContext(ctx, "OpenCTI does not answer yet", slog.Any("error", err), slog.Duration("next_try_in", wait.Round(time.Millisecond)))
	})
	return registration, err
}

func lasting(err error) error {
	for _, refusal := range []error{opencti.ErrAuth, opencti.ErrForbidden, opencti.ErrRefused} {
		if errors.Is(err, refusal) {
			return backoff.Permanent(err)
		}
	}
	return err
}

// keepAlive pings until ctx ends. A ping that fails is only worth a line: the next one may pass, and OpenCTI waits for
// five minutes.
func keepAlive(ctx context.Context, client *opencti.Client, registration opencti.Registration, o Options) error {
	state := registration.State
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		next, err := client.Ping(ctx, o.Config.Connector.ID, state)
		switch {
		case ctx.Err() != nil:
			return nil // told to stop
		case err != nil:
			o.Logger.WarnContext(ctx, "OpenCTI did not take the ping", slog.Any("error", err))
		default:
			state = next
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// envelope closes over what a message to OpenCTI needs beside the job: who imports it, if the job does not say.
func envelope(has opencti.Capabilities, registration opencti.Registration) stages.Envelope {
	return func(p opencti.PushOptions, bundle []byte) ([]byte, error) {
		p.Capabilities = has
		if p.ApplicantID == "" {
			p.ApplicantID = registration.ConnectorUserID
		}
		return opencti.PushMessage(p, bundle)
	}
}

// labels makes each of our few labels once per process instead of once per job.
type labels struct {
	client stages.Labels
	logger *slog.Logger
	mu     sync.Mutex
	made   map[string]bool
}

func newLabels(client stages.Labels, logger *slog.Logger) *labels {
	return &labels{client: client, logger: logger, made: make(map[string]bool)}
}

// EnsureLabel makes the label unless it has before. A token that may not make labels is no reason to hold a job: OpenCTI
// then makes the label itself on import, in a colour of its own.
func (l *labels) EnsureLabel(ctx context.Context, value, color string) error {
	if l.has(value) {
		return nil
	}
	// Not under the lock: making a label twice is harmless, waiting for one in line is not.
	err := l.client.EnsureLabel(ctx, value, color)
	switch {
	case err == nil:
	case errors.Is(err, opencti.ErrForbidden), errors.Is(err, opencti.ErrRefused):
		l.logger.WarnContext(ctx, "OpenCTI does not let us set the colour of a label",
			slog.String("label", value), slog.Any("error", err))
	default:
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made[value] = true
	return nil
}

func (l *labels) has(value string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[value]
}
