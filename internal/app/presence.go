package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"opencti-ipqs-worker/internal/opencti"
)

const (
	// pingEvery keeps the connector active in OpenCTI, which takes it for dead after five minutes; the period is the one of
	// OpenCTI's own helper.
	pingEvery = 40 * time.Second
	// pingTimeout and registerTimeout bound one request, so that one that hangs does not cost the next ones.
	pingTimeout     = 20 * time.Second
	registerTimeout = time.Minute
	// longestPause is the most that passes between two tries while OpenCTI is away.
	longestPause = 30 * time.Second
	// tolerated is how many rounds in a row may fail before OpenCTI counts as away. It is less than what a hop tolerates
	// before it gives a job up.
	tolerated = 1
	// lookGap is the least that passes between a round and one that somebody asks for whose request has failed.
	lookGap = 500 * time.Millisecond
	// stuckAfter is how long one round may take. Its requests have time limits that add up to less than half of it.
	stuckAfter = 5 * time.Minute
)

// platform is what a [presence] asks of OpenCTI.
type platform interface {
	About(ctx context.Context) (opencti.Version, error)
	Capabilities(ctx context.Context) (opencti.Capabilities, error)
	Register(ctx context.Context, connector opencti.Connector) (opencti.Registration, error)
	Ping(ctx context.Context, connectorID, state string) (newState string, err error)
}

var _ platform = (*opencti.Client)(nil)

// presence is our standing in OpenCTI: it registers the connector, pings, and registers again when there is reason to. It
// has a goroutine of its own and shares nothing with the jobs, so no load makes a ping late.
type presence struct {
	platform  platform
	connector opencti.Connector
	every     time.Duration // from ping to ping
	log       *slog.Logger
	asked     chan string   // reasons to register again
	looks     chan struct{} // to ping at once

	due string // why to register, "" when there is no reason; of the loop alone

	mu         sync.Mutex // the loop alone writes what is below, but for suffered
	latest     opencti.Registration
	version    opencti.Version // of the platform, at the latest registration
	has        opencti.Capabilities
	known      bool          // there has been a registration
	registered bool          // OpenCTI has not forgotten it since, as far as we know
	failures   int           // rounds in a row that failed
	err        error         // of the last round
	suffered   bool          // a request of a job has failed, too, since the last good round
	round      time.Time     // when the last one began
	over       chan struct{} // closed, and replaced, when latest is no longer of use
	back       chan struct{} // closed, and replaced, when it is again
}

func newPresence(platform platform, connector opencti.Connector, every time.Duration, log *slog.Logger) *presence {
	return &presence{
		platform: platform, connector: connector, every: cmp.Or(max(every, 0), pingEvery), log: log,
		asked: make(chan string, 1), looks: make(chan struct{}, 1),
		due:   "start",
		round: time.Now(),
		err:   errors.New("not asked yet"),
		over:  make(chan struct{}), back: make(chan struct{}),
	}
}

// run keeps the connector registered and active until ctx ends, and returns nil then. An outage of OpenCTI is a line in
// the log for each try. Before the first registration, a refusal that waiting cannot mend, such as of the token, is
// returned. Later ones are no end: the same request was good enough before, and jobs are in hand.
func (p *presence) run(ctx context.Context) error {
	pauses := pausesUpTo(min(longestPause, p.every))
	for ctx.Err() == nil {
		began := time.Now()
		err := p.goRound(ctx)
		wait := p.every - time.Since(began)
		switch {
		case err == nil:
			pauses.Reset()
		case ctx.Err() != nil: // told to stop
		case !p.known && lasting(err):
			return remedied(err)
		default:
			wait = pauses.NextBackOff()
			p.log.WarnContext(ctx, "OpenCTI does not answer as it should, trying again", slog.Any("error", err),
				slog.String("standing", p.standing()), slog.Duration("next_try_in", wait.Round(time.Millisecond)))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case why := <-p.asked:
			p.due = cmp.Or(p.due, why)
		case <-p.looks:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// goRound pings, if there is a registration to keep alive, and registers, if there is a reason to.
func (p *presence) goRound(ctx context.Context) (err error) {
	p.update(func() { p.round = time.Now() })
	defer func() {
		p.update(func() {
			if p.err = err; err == nil {
				p.failures, p.suffered = 0, false
			} else {
				p.failures++
			}
		})
	}()
	if p.registered {
		err := p.ping(ctx)
		switch {
		case errors.Is(err, opencti.ErrNotFound):
			p.log.WarnContext(ctx, "OpenCTI has forgotten the connector, registering again", slog.Any("error", err))
			p.update(func() { p.registered = false })
			p.due = "OpenCTI has forgotten the connector"
		case err != nil:
			// Who comes back may be another release, with another broker.
			p.due = cmp.Or(p.due, "a ping failed")
			return err
		}
	}
	if p.due == "" {
		return nil
	}
	return p.register(ctx)
}

// ping keeps the connector active. It asks for the version, too: an upgrade between two pings is heard of by nothing else, and
// what a release does not bear, such as works that are counted, must not go on.
func (p *presence) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	version, err := p.platform.About(ctx)
	if err != nil {
		return fmt.Errorf("asking OpenCTI for its version: %w", err)
	}
	if version.Compare(p.version) != 0 {
		p.due = cmp.Or(p.due, "OpenCTI was "+p.version.String()+" before")
	}
	state := p.latest.State
	next, err := p.platform.Ping(ctx, p.connector.ID, state)
	if err != nil {
		return fmt.Errorf("pinging: %w", err)
	}
	if next != state {
		p.log.InfoContext(ctx, "OpenCTI has reset the connector's state, taking it over")
		p.update(func() { p.latest.State = next })
	}
	return nil
}

func (p *presence) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	version, err := p.platform.About(ctx)
	if err != nil {
		return fmt.Errorf("asking OpenCTI for its version: %w", err)
	}
	registration, err := p.platform.Register(ctx, p.connector)
	if err != nil {
		return fmt.Errorf("registering the connector: %w", err)
	}
	has, err := p.platform.Capabilities(ctx) // not before: a registration may find out that there is less than the version says
	if err != nil {
		return fmt.Errorf("asking OpenCTI what it can do: %w", err)
	}
	if registration.State == "null" { // JSON's, which an earlier ping left there
		registration.State = ""
	}
	p.log.InfoContext(ctx, "registered", slog.String("platform", version.String()),
		slog.String("connector", p.connector.ID), slog.String("why", p.due))
	if changed := changes(p.latest, registration); p.known && len(changed) > 0 {
		// Their names only: some of the values are secrets.
		p.log.WarnContext(ctx, "OpenCTI names another broker or other queues", slog.Any("changed", changed))
	}
	p.due = ""
	p.update(func() { p.latest, p.version, p.has, p.known, p.registered = registration, version, has, true, true })
	return nil
}

// changes names what makes a registration lead elsewhere than another one.
func changes(from, to opencti.Registration) []string {
	var names []string
	for _, field := range []struct {
		name string
		same bool
	}{
		{"host", from.Connection.Host == to.Connection.Host},
		{"port", from.Connection.Port == to.Connection.Port},
		{"vhost", from.Connection.VHost == to.Connection.VHost},
		{"use_ssl", from.Connection.UseSSL == to.Connection.UseSSL},
		{"user", from.Connection.User == to.Connection.User},
		{"pass", from.Connection.Pass == to.Connection.Pass},
		{"listen", from.Listen == to.Listen},
		{"push", from.Push == to.Push},
		{"push_exchange", from.PushExchange == to.PushExchange},
		{"push_routing", from.PushRouting == to.PushRouting},
	} {
		if !field.same {
			names = append(names, field.name)
		}
	}
	return names
}

// renew asks for another registration, soon. It does not wait for it.
func (p *presence) renew(why string) {
	select {
	case p.asked <- why:
	default: // somebody has asked already
	}
}

// look is told that a request of a job has failed, and asks for a ping at once: if OpenCTI is away, that should be known
// before jobs are given up. It does not wait for it.
func (p *presence) look() {
	early := false
	p.update(func() {
		p.suffered = true
		early = time.Since(p.round) < min(lookGap, p.every/8)
	})
	if early {
		return // the next request to fail asks again
	}
	select {
	case p.looks <- struct{}{}:
	default:
	}
}

// registration waits until OpenCTI has registered us and is not away, and returns the latest registration. The channel is
// closed when OpenCTI is away, or a later registration leads to another broker or other queues: time to be there no more.
// ok is false when ctx ended first.
func (p *presence) registration(ctx context.Context) (to opencti.Registration, over <-chan struct{}, ok bool) {
	for {
		p.mu.Lock()
		usable, to, over, back := p.usable(), p.latest, p.over, p.back
		p.mu.Unlock()
		if usable {
			return to, over, true
		}
		select {
		case <-back:
		case <-ctx.Done():
			return to, nil, false
		}
	}
}

// answers says whether OpenCTI knows us and takes our pings. The lock is held.
func (p *presence) answers() bool { return p.known && p.failures <= tolerated }

// usable says whether there is any use in taking jobs: it is not enough that pings fail, which may have reasons of its own,
// nor that a job's request did. The lock is held.
func (p *presence) usable() bool { return p.known && (p.failures <= tolerated || !p.suffered) }

// update changes the state, and tells those who wait for what follows from it.
func (p *presence) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, at := p.usable(), p.latest
	change()
	if before && (!p.usable() || len(changes(at, p.latest)) > 0) {
		close(p.over)
		p.over = make(chan struct{})
	}
	if !before && p.usable() {
		close(p.back)
		p.back = make(chan struct{})
	}
}

// identity is what messages to OpenCTI are made by: what its release can read, and who imports them by default.
func (p *presence) identity() (has opencti.Capabilities, userID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.has, p.latest.ConnectorUserID
}

// ready returns nil while OpenCTI knows us and answers.
func (p *presence) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers() {
		return nil
	}
	return fmt.Errorf("%s: %w", p.standing(), p.err)
}

// live returns an error when the loop is stuck, which only a restart would mend.
func (p *presence) live() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since := time.Since(p.round); since > stuckAfter+p.every {
		return fmt.Errorf("the loop that pings OpenCTI has not come round for %v", since.Round(time.Second))
	}
	return nil
}

// standing says in words how we stand with OpenCTI. The lock is held, or it is the loop that asks.
func (p *presence) standing() string {
	switch {
	case !p.known:
		return "not registered yet"
	case !p.registered:
		return "not registered any more"
	case !p.answers():
		return "away"
	default:
		return "registered"
	}
}

// pausesUpTo returns growing pauses without end, with jitter: replicas must not come back in step.
func pausesUpTo(most time.Duration) backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(backoff.DefaultInitialInterval, most)),
		backoff.WithMaxInterval(most),
		backoff.WithMaxElapsedTime(0))
}

// remedied adds what helps against a refusal of the token, the one that an operator meets most.
func remedied(err error) error {
	if errors.Is(err, opencti.ErrAuth) {
		return fmt.Errorf("%w; set OPENCTI_TOKEN to the API token of the connector's user", err)
	}
	return err
}

// lasting reports whether err is a refusal that will be the same tomorrow.
func lasting(err error) bool {
	for _, refusal := range []error{opencti.ErrAuth, opencti.ErrForbidden, opencti.ErrRefused} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
