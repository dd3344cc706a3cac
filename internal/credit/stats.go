package credit

import (
	"context"
	"maps"
	"sync"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// Event is what happened to a question.
type Event string

// The events. A question that is not [Asked] is one of Hit and Joined; one that is asked may be Denied or Held, and is
// Spent if IPQS may have charged for it.
const (
	Hit    Event = "hit"    // answered from what was kept
	Joined Event = "joined" // shares the answer to somebody else's question
	Asked  Event = "asked"  // its turn has come
	Spent  Event = "spent"  // IPQS may have charged for it
	Denied Event = "denied" // not asked: the day's budget is spent
	Held   Event = "held"   // not asked: the account's credits are held back
)

// Events returns all events.
func Events() []Event { return []Event{Hit, Joined, Asked, Spent, Denied, Held} }

// Observation is one event.
type Observation struct {
	Kind    ipqs.Kind
	Event   Event
	Waited  time.Duration // for its turn: Asked
	Credits int           // Spent
}

// Stats is how a [Keeper] is at a moment.
type Stats struct {
	// Events counts what has happened since the start, by kind.
	Events map[Event]map[ipqs.Kind]uint64
	// Credits is how many this process has spent since the start.
	Credits uint64

	// SpentToday is how many credits are spent since IPQS' day began, by all who share the ledger; DailyBudget is how many may
	// be, zero without bound. It is as of the last question.
	SpentToday, DailyBudget int
	// Left is how many credits the account has, if it was read; Reserve is how many it is to keep.
	Left    *int
	Reserve int
	// Over says why nothing may be spent, or is empty.
	Over string

	// Window is how many questions may be under way at once, MostWindow the most that it can be, UnderWay how many are.
	Window, MostWindow, UnderWay int
	// WaitingUrgent and Waiting are how many wait for their turn, in the two lanes.
	WaitingUrgent, Waiting int
}

// Stats returns how it is now.
func (k *Keeper) Stats() Stats {
	s := Stats{DailyBudget: k.budget.daily, Reserve: k.budget.reserve, Over: k.budget.Over(), MostWindow: k.limiter.window.most}
	s.Events, s.Credits = k.counts.snapshot()
	s.Window, s.UnderWay = k.limiter.window.state()
	s.WaitingUrgent, s.Waiting = k.limiter.line.waiting()
	k.budget.mu.Lock()
	defer k.budget.mu.Unlock()
	if k.budget.day == day(k.budget.now()) {
		s.SpentToday = k.budget.last.Spent
	}
	if last := k.budget.last; last.LeftKnown {
		s.Left = &last.Left
	}
	return s
}

// counts adds up observations.
type counts struct {
	tell func(context.Context, Observation)

	mu      sync.Mutex
	events  map[Event]map[ipqs.Kind]uint64
	credits uint64
}

func (c *counts) add(ctx context.Context, o Observation) {
	c.mu.Lock()
	if c.events == nil {
		c.events = make(map[Event]map[ipqs.Kind]uint64)
	}
	if c.events[o.Event] == nil {
		c.events[o.Event] = make(map[ipqs.Kind]uint64)
	}
	c.events[o.Event][o.Kind]++
	c.credits += uint64(max(o.Credits, 0))
	c.mu.Unlock()
	if c.tell != nil {
		c.tell(ctx, o)
	}
}

func (c *counts) snapshot() (map[Event]map[ipqs.Kind]uint64, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	copied := make(map[Event]map[ipqs.Kind]uint64, len(c.events))
	for event, kinds := range c.events {
		copied[event] = maps.Clone(kinds)
	}
	return copied, c.credits
}
