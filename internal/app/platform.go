package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stages"
)

// trackAlways is set to "true" by the linker for one test: see [opencti.Options].TrackAlways.
var trackAlways string

func newClient(o Options) (*opencti.Client, error) {
	transport, err := platformTransport(o.Config.OpenCTI)
	if err != nil {
		return nil, fmt.Errorf("making the OpenCTI client: %w", err)
	}
	told, err := telling(o, transport, "opencti", platformCall)
	if err != nil {
		return nil, fmt.Errorf("making the OpenCTI client: %w", err)
	}
	return clientOver(o, told)
}

// clientOver makes the client whose requests go over a transport.
func clientOver(o Options, transport http.RoundTripper) (*opencti.Client, error) {
	headers := make(map[string]string, len(o.Config.OpenCTI.CustomHeaders))
	for name, value := range o.Config.OpenCTI.CustomHeaders {
		headers[name] = value.Reveal()
	}
	client, err := opencti.New(opencti.Options{
		URL:        o.Config.OpenCTI.URL,
		Token:      o.Config.OpenCTI.Token.Reveal(),
		UserAgent:  userAgent(o.Version),
		Headers:    headers,
		HTTPClient: &http.Client{Timeout: time.Minute, Transport: transport},
		Logger:     o.Logger,

		TrackAlways: trackAlways == "true",
	})
	if err != nil {
		return nil, fmt.Errorf("making the OpenCTI client: %w", err)
	}
	return client, nil
}

func userAgent(version string) string { return "ipqs-worker/" + version }

// connector is what we register as.
func connector(c config.Connector) opencti.Connector {
	return opencti.Connector{
		ID:             c.ID,
		Name:           c.Name,
		Scope:          c.Scope,
		Auto:           c.Auto,
		AutoUpdate:     c.AutoUpdate,
		OnlyContextual: c.OnlyContextual,

		PlaybookCompatible: true,
		ListenCallbackURI:  callbackURI(c.Callback),
	}
}

// envelope adds what a message to OpenCTI needs beside the job: what its release can read, and who imports the message if
// the job does not say.
func envelope(c config.Connector, from *presence) stages.Envelope {
	if c.PushByAPI {
		return wrapPart
	}
	return func(p opencti.PushOptions, bundle []byte) ([]byte, error) {
		has, userID := from.identity()
		p.Capabilities = has
		if p.ApplicantID == "" {
			p.ApplicantID = userID
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

// RemoveLabel takes a label off. What OpenCTI does not let us, or no longer knows, is no reason to hold a job.
func (l *labels) RemoveLabel(ctx context.Context, id, labelID, draftID string) error {
	err := l.client.RemoveLabel(ctx, id, labelID, draftID)
	if notOurs(err) {
		l.logger.WarnContext(ctx, "OpenCTI does not let us take an outdated label off", slog.String("id", id), slog.Any("error", err))
		return nil
	}
	return err
}

// notOurs reports whether asking again would change nothing, and only for this one thing.
func notOurs(err error) bool {
	return errors.Is(err, opencti.ErrForbidden) || errors.Is(err, opencti.ErrRefused) || errors.Is(err, opencti.ErrNotFound)
}

func (l *labels) has(value string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[value]
}

// sources is what a lookup reads for itself. Its time limit is above all those of the client.
func sources(c config.IPQS, credentials stages.Credentials, files stages.Files, guard egress.Guard) stages.Sources {
	longest := time.Minute
	for _, kind := range ipqs.Kinds() {
		longest = max(longest, parameters(c).Timeout(kind)+10*time.Second)
	}
	return stages.Sources{
		Credentials: credentials, Files: files, Timeout: longest, Guard: guard,
		Scanning: stages.Scanning{On: c.Artifact.Scan, MaxSize: c.Artifact.MaxSize, Wait: c.Artifact.ScanWait},
	}
}

// parameters are the operator's choices in IPQS' terms.
func parameters(c config.IPQS) ipqs.Parameters {
	return ipqs.Parameters{
		IP: ipqs.IPParameters{
			Strictness: c.IP.Strictness, Fast: c.IP.Fast, AllowPublicAccessPoints: c.IP.AllowPublicAccessPoints,
			LighterPenalties: c.IP.LighterPenalties, Mobile: c.IP.Mobile,
		},
		Email: ipqs.EmailParameters{
			Timeout: c.Email.Timeout, Fast: c.Email.Fast, SuggestDomain: c.Email.SuggestDomain,
			Strictness: c.Email.Strictness, AbuseStrictness: c.Email.AbuseStrictness,
		},
		Phone: ipqs.PhoneParameters{
			Countries: c.Phone.Countries, Strictness: c.Phone.Strictness,
			EnhancedLineCheck: c.Phone.EnhancedLineCheck, SMSPumping: c.Phone.SMSPumping,
		},
		URL: ipqs.URLParameters{Strictness: c.URL.Strictness, Fast: c.URL.Fast, Timeout: c.URL.Timeout},
	}
}
