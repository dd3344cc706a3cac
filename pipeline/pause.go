package pipeline

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"
	_ "time/tzdata" // the day of IPQS turns in New York, also where no zones are installed

	"github.com/cenkalti/backoff/v4"

	"opencti-ipqs-worker/stages"
)

// Waits of a hop that pauses, until it lets a probe through.
const (
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute // without anybody asking for more
	mostAsked    = time.Hour       // that somebody may ask for
	dayJitter    = 2 * time.Minute // added to the turn of the day
	// clockEvery is how often a pause looks at the clock, which may be set, or stand still while a machine sleeps.
	clockEvery = time.Second
)

// PauseState is why and until when a hop takes no jobs.
type PauseState struct {
	// Since is when it paused, Until when it lets the next probe through; that is past while one is under way.
	Since, Until time.Time
	// Probes is how many it has let through since.
	Probes int
	Reason stages.Reason
	// Error is what the last job met, without secrets.
	Error string
}

// Paused returns the hops that take no jobs at the moment, by name.
func (p *Pipeline) Paused() map[string]PauseState {
	all := make(map[string]PauseState)
	for name, gate := range p.gates {
		if state, ok := gate.paused(); ok {
			all[name] = state
		}
	}
	return all
}

// pauses reports whether no other job of the hop can do better for now, so that the hop had better wait than its jobs be
// used up. Where somebody waits for the jobs, or the transport can't be told to hold them back, no hop pauses.
func (p *Pipeline) pauses(fault *stages.Fault) bool {
	if p.narrower == nil || p.Attended {
		return false
	}
	return fault.Class == stages.AccountWide || fault.Class == stages.Throttled && fault.Reason == stages.ReasonCircuitOpen
}

// verdict is what a trip says about whether its hop's jobs can be done.
type verdict int

const (
	silent   verdict = iota // nothing: its stage has not run, or was interrupted
	works                   // it can be asked, whatever it said about this job
	fails                   // a job could not be done, another one may
	hopeless                // none can
)

func (p *Pipeline) verdict(trip *trip, err error) verdict {
	fault := stages.AsFault(err)
	switch {
	case !trip.ran:
		return silent
	case fault == nil, trip.done, fault.Class == stages.Pending:
		return works
	case p.pauses(fault):
		return hopeless
	case fault.Class == stages.Stopping:
		return silent
	case fault.Class == stages.Permanent && fault.Reason != stages.ReasonTimeout, fault.Class == stages.Skip:
		return works
	default:
		return fails
	}
}

// A gate lets the jobs of one hop in, none of them, or one at a time to see whether they can be done again. Its transitions
// are counted, so that of many jobs that fail at once only the first one changes anything.
type gate struct {
	hop      Hop
	narrower Narrower // nil if the hop can't pause
	now      func() time.Time
	log      *slog.Logger
	stopping <-chan struct{} // set before any job comes

	mu      sync.Mutex
	mode    mode
	epoch   int
	probing bool // a probe is under way
	keeping bool // keep runs
	state   PauseState
	waits   *backoff.ExponentialBackOff
	changed chan struct{} // closed, and replaced, with every change
	keepers sync.WaitGroup
}

type mode int

const (
	open mode = iota
	shut
	ajar // for one at a time
)

func newGate(p *Pipeline, hop Hop) *gate {
	return &gate{
		hop: hop, narrower: p.narrower, now: p.Now, log: p.Logger, changed: make(chan struct{}),
		waits: backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstPause), backoff.WithMultiplier(2),
			backoff.WithMaxInterval(longestPause), backoff.WithMaxElapsedTime(0)),
	}
}

func (g *gate) paused() (PauseState, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state, g.mode != open
}

// enter asks for admission. A job that is not let in has waited a moment, so that one which a slow transport hands out all
// the same does not run in circles. The ticket is for leave.
func (g *gate) enter() (ticket int, ok bool) {
	late := false
	timer := time.NewTimer(clockEvery)
	defer timer.Stop()
	for {
		g.mu.Lock()
		if g.mode == open || g.mode == ajar && !g.probing {
			g.probing = g.mode == ajar
			ticket = g.epoch
			g.mu.Unlock()
			return ticket, true
		}
		changed := g.changed
		g.mu.Unlock()
		if late {
			return 0, false
		}
		select {
		case <-changed:
		case <-timer.C:
			late = true
		case <-g.stopping:
			late = true
		}
	}
}

// leave says what came of a job that was let in. What began before the last transition changes nothing.
// It returns true for a probe that has failed.
func (g *gate) leave(ticket int, v verdict, fault *stages.Fault) (failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.narrower == nil || ticket != g.epoch {
		return false
	}
	probe := g.mode == ajar
	if probe {
		g.probing = false
	}
	switch {
	case v == hopeless, v == fails && probe:
		if !probe {
			g.state = PauseState{Since: g.now()}
			g.waits.Reset()
		}
		g.state.Until = g.now().Add(g.wait(fault))
		g.state.Reason, g.state.Error = fault.Reason, fault.Error()
		g.turn(shut)
		if !g.keeping {
			g.keeping = true
			g.keepers.Go(g.keep)
		}
	case v == works && probe:
		g.turn(open)
	case probe:
		g.turn(ajar) // the next one is the probe
	}
	return probe && (v == hopeless || v == fails)
}

// shutUntil reports whether no job is let in before a deadline, if there is one.
func (g *gate) shutUntil(deadline time.Time) bool {
	state, shut := g.paused()
	return shut && !deadline.IsZero() && !state.Until.Before(deadline)
}

// turn wants the lock held.
func (g *gate) turn(to mode) {
	g.mode = to
	g.epoch++
	close(g.changed)
	g.changed = make(chan struct{})
}

// wait is how long the hop pauses after a fault: as long as it asks for, else longer each time. The requests of a day are
// back when the day turns, which is not documented where; so a probe has a look every now and then.
func (g *gate) wait(fault *stages.Fault) time.Duration {
	switch {
	case fault.Reason == stages.ReasonBudget && fault.After > 0: // to look whether there is some again costs nothing
		return jittered(min(fault.After, longestPause))
	case fault.Reason == stages.ReasonQuotaExhausted:
		return min(untilTomorrow(g.now())+rand.N(dayJitter), longestPause)
	case fault.After > 0:
		return jittered(min(fault.After, mostAsked))
	default:
		return g.waits.NextBackOff()
	}
}

// untilTomorrow is how long the day of IPQS goes on. Its time stamps are in New York's time.
func untilTomorrow(now time.Time) time.Duration {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		zone = time.UTC // not with the zones that we bring
	}
	now = now.In(zone)
	return time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, zone).Sub(now)
}

// keep makes the transport follow the gate while it is not open, one goroutine at most.
func (g *gate) keep() {
	for {
		state, _ := g.paused()
		g.log.LogAttrs(context.Background(), slog.LevelWarn, "hop pauses, its jobs wait in their queue",
			slog.String("hop", g.hop.Name()), slog.String("reason", string(state.Reason)), slog.String("error", state.Error),
			slog.Duration("next_try_in", state.Until.Sub(state.Since).Round(time.Second)))
		for g.shutThenAjar() {
			continue
		}
		if closed(g.stopping) {
			return
		}
		g.narrow(math.MaxInt)
		state, _ = g.paused()
		g.log.LogAttrs(context.Background(), slog.LevelInfo, "hop goes on", slog.String("hop", g.hop.Name()),
			slog.Int("probes", state.Probes), slog.Duration("after", g.now().Sub(state.Since).Round(time.Second)))
		g.mu.Lock()
		if g.mode == open {
			g.keeping = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
	}
}

// narrow makes every topic of the hop as wide as that, or as it may be.
func (g *gate) narrow(n int) {
	for _, lane := range g.hop.lanes() {
		g.narrower.SetWindow(lane.topic(), min(n, lane.Prefetch))
	}
}

// shutThenAjar waits for the time of a probe and for what comes of it. It returns false when the gate is open, or the
// pipeline stops.
func (g *gate) shutThenAjar() (again bool) {
	g.narrow(0)
	if !g.waitUntil() {
		return false
	}
	g.mu.Lock()
	g.state.Probes++
	g.turn(ajar)
	g.mu.Unlock()
	g.narrow(1)
	for {
		g.mu.Lock()
		mode, changed := g.mode, g.changed
		g.mu.Unlock()
		if mode != ajar {
			return mode == shut
		}
		select {
		case <-changed:
		case <-g.stopping:
			return false
		}
	}
}

// waitUntil returns true when the clock says so, false when the pipeline stops.
func (g *gate) waitUntil() bool {
	for {
		state, _ := g.paused()
		left := state.Until.Sub(g.now())
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(min(left, clockEvery))
		select {
		case <-timer.C:
		case <-g.stopping:
			timer.Stop()
			return false
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
