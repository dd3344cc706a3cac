package ipqs

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker"
)

// State is whether a [Breaker] lets lookups through.
type State string

// The states of a Breaker.
const (
	StateClosed   State = "closed"    // lookups go through
	StateOpen     State = "open"      // none does
	StateHalfOpen State = "half_open" // one at a time does, to see whether IPQS is back
)

const (
	// DefaultFailures is how many lookups in a row must fail before a Breaker opens.
	DefaultFailures = 5
	// DefaultOpenFor is how long a Breaker stays open before it lets a probe through.
	DefaultOpenFor = 30 * time.Second

	// probeWait is what a lookup is told to wait while another one's probe is under way, whose end nobody knows.
	probeWait = time.Second
)

// BreakerOptions are what a [Breaker] is made of. All have defaults.
type BreakerOptions struct {
	// Failures is how many lookups in a row must fail before it opens, default [DefaultFailures].
	Failures uint32
	// OpenFor is how long it stays open before the next lookup goes through as a probe, default [DefaultOpenFor].
	OpenFor time.Duration
	// OnChange is told every change of state, in order and one at a time, on the goroutine of some caller. It may call
	// the Breaker. An open Breaker becomes half open when somebody asks it after OpenFor, not by itself.
	OnChange func(from, to State)
}

// Breaker stops asking a [Lookuper] that fails, and finds out by single probes when to ask again. It is safe for
// concurrent use.
//
// No answer, a throttled one and an unreadable one ([ErrUnavailable], [ErrThrottled], [ErrMalformed]) are failures. A
// report and a refusal of the value ([ErrItem]) are successes. What says nothing about whether IPQS works is neither:
// the account is refused, the plan lacks the lookup, the words are unknown, the caller has gone.
//
// A probe that ends as neither leaves the breaker half open, and the next lookup is the next probe. The breaker of
// gobreaker knows successes and failures only, and a request that it admits half open and never hears of again blocks it
// for good. So it is asked for admission after such a probe, when there is something to tell it, and Breaker itself
// sees to it that there is one probe at a time.
type Breaker struct {
	next     Lookuper
	openFor  time.Duration
	onChange func(from, to State)

	mu      sync.Mutex // around every use of circuit: what it says holds until mu is released
	circuit *gobreaker.TwoStepCircuitBreaker
	probing bool
	until   time.Time // while open: when a probe is allowed
	changes []change  // not yet told to onChange
	telling bool
	last    string // why the last failure was one
}

type change struct{ from, to State }

var _ Lookuper = (*Breaker)(nil)

// NewBreaker puts a Breaker, closed, in front of next.
func NewBreaker(next Lookuper, o BreakerOptions) *Breaker {
	b := &Breaker{
		next:     next,
		openFor:  cmp.Or(max(o.OpenFor, 0), DefaultOpenFor),
		onChange: o.OnChange,
	}
	failures := cmp.Or(o.Failures, DefaultFailures)
	b.circuit = gobreaker.NewTwoStepCircuitBreaker(gobreaker.Settings{
		MaxRequests:   1,
		Timeout:       b.openFor,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		OnStateChange: b.changed,
	})
	return b
}

// changed runs under the lock of circuit, and of b: it only takes notes.
func (b *Breaker) changed(_ string, from, to gobreaker.State) {
	if to == gobreaker.StateOpen {
		b.until = time.Now().Add(b.openFor + time.Nanosecond) // circuit waits until its time is over, not up
	}
	if b.onChange != nil {
		b.changes = append(b.changes, change{stateOf(from), stateOf(to)})
	}
}

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return StateOpen
	case gobreaker.StateHalfOpen:
		return StateHalfOpen
	default:
		return StateClosed
	}
}

// State returns the state as of now.
func (b *Breaker) State() State {
	b.mu.Lock()
	s := stateOf(b.circuit.State())
	b.mu.Unlock()
	b.tell()
	return s
}

// Lookup asks the Lookuper behind the breaker, or returns [ErrCircuitOpen] with the time left until a probe is allowed.
func (b *Breaker) Lookup(ctx context.Context, q Query) (*Report, error) {
	settle, wait := b.admit()
	defer b.tell()
	if settle == nil {
		return nil, &APIError{Class: ClassCircuitOpen, Kind: q.Kind, RetryAfter: wait}
	}
	outcome := neither // also if the Lookuper panics
	defer func() { settle(outcome) }()
	report, err := b.next.Lookup(ctx, q)
	if outcome = outcomeOf(err); outcome == failure {
		b.mu.Lock()
		b.last = groundOf(err) // before it counts: it may be the one that opens the breaker
		b.mu.Unlock()
	}
	return report, err
}

// LastFailure says what the last failure was, such as "/ip: dial tcp 192.0.2.7:443: connect: connection refused", or "" if
// there was none yet. It is in our own words or the network's: neither the key nor anything of a question or an answer is in
// it.
func (b *Breaker) LastFailure() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// outcome is what a lookup says about whether IPQS works.
type outcome int

const (
	neither outcome = iota
	success
	failure
)

func outcomeOf(err error) outcome {
	if err == nil {
		return success
	}
	e, ok := errors.AsType[*APIError](err)
	if !ok {
		if errors.Is(err, context.Canceled) || errors.Is(err, ErrUpload) {
			return neither
		}
		return failure
	}
	switch e.Class {
	case ClassUnavailable, ClassThrottled, ClassMalformed:
		return failure
	case ClassItem:
		return success
	case ClassKey, ClassCredits, ClassQuota, ClassCapability, ClassUnknown, ClassCircuitOpen,
		ClassBudget, ClassReserve:
		return neither
	default:
		return neither
	}
}

// admit returns the function to call with the outcome of a lookup, or nil and how long to wait.
func (b *Breaker) admit() (settle func(outcome), wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return nil, max(time.Until(b.until), time.Millisecond)
	case gobreaker.StateHalfOpen:
		if b.probing {
			return nil, probeWait
		}
		b.probing = true
		return b.settleProbe, 0
	default:
		// Admitted now, so that circuit can ignore an outcome that comes after it has opened.
		done, err := b.circuit.Allow()
		if err != nil { // not in this state
			return nil, probeWait
		}
		return func(o outcome) {
			if o == neither {
				return
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			done(o == success)
		}, 0
	}
}

func (b *Breaker) settleProbe(o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if o == neither {
		return
	}
	if done, err := b.circuit.Allow(); err == nil {
		done(o == success)
	}
}

// tell calls onChange with what it has not been told yet, outside of every lock.
func (b *Breaker) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.telling {
		return // the goroutine that tells finds the new changes, too
	}
	b.telling = true
	defer func() { b.telling = false }()
	for len(b.changes) > 0 {
		c := b.changes[0]
		b.changes = b.changes[1:]
		b.tellOne(c)
	}
}

func (b *Breaker) tellOne(c change) {
	b.mu.Unlock()
	defer b.mu.Lock()
	b.onChange(c.from, c.to)
}
