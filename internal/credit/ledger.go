package credit

import (
	"context"
	"sync"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// Ledger counts credits. It never fails: whoever shares one and cannot reach it counts alone. Implementations are safe for
// concurrent use.
type Ledger interface {
	// Take adds credits to a day's count and takes them from what the account has left, unless that would break a rule of t;
	// all at once, whoever else takes some. Negative credits are given back, whatever the rules say.
	Take(ctx context.Context, t Taking) Taken
	// SetLeft notes how many credits the account has left, as read from IPQS.
	SetLeft(ctx context.Context, left int)
	// Turn reports whether it is the caller's turn, of all who share the ledger, to read the account: it is once in a while.
	Turn(ctx context.Context, every time.Duration) bool
}

// Taking is what somebody wants to spend, and the rules.
type Taking struct {
	Day     string // such as "2026-11-22"
	Credits int
	Limit   int // credits that may be spent in a day, zero is without bound
	Reserve int // credits that the account is to keep, zero is none
}

// Taken is what came of a [Taking].
type Taken struct {
	// Refused is ErrBudget or ErrReserve of package ipqs where a rule would be broken: nothing is taken then. Else it is nil.
	Refused error
	Spent   int // credits, this day
	Left    int // credits of the account, as far as LeftKnown
	// LeftKnown says that the account was read.
	LeftKnown bool
}

// MemoryLedger is a [Ledger] of one process.
type MemoryLedger struct {
	mu    sync.Mutex
	day   string
	spent int
	left  *int
}

var _ Ledger = (*MemoryLedger)(nil)

// NewLedger makes a MemoryLedger that counts from zero.
func NewLedger() *MemoryLedger { return new(MemoryLedger) }

// Take takes credits.
func (l *MemoryLedger) Take(_ context.Context, t Taking) Taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Day > l.day { // ISO 8601 sorts
		l.day, l.spent = t.Day, 0
	}
	var refused error
	switch {
	case t.Credits > 0 && t.Limit > 0 && l.spent+t.Credits > t.Limit:
		refused = ipqs.ErrBudget
	case t.Credits > 0 && t.Reserve > 0 && l.left != nil && *l.left-t.Credits < t.Reserve:
		refused = ipqs.ErrReserve
	default:
		if t.Day == l.day { // what was taken yesterday is not given back today
			l.spent += t.Credits
		}
		if l.left != nil {
			*l.left -= t.Credits
		}
	}
	taken := Taken{Refused: refused, Spent: l.spent}
	if l.left != nil {
		taken.Left, taken.LeftKnown = *l.left, true
	}
	return taken
}

// SetLeft notes what the account has left.
func (l *MemoryLedger) SetLeft(_ context.Context, left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = &left
}

// Note takes over what a shared ledger counts, to go on from there without it.
func (l *MemoryLedger) Note(day string, taken Taken) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case day > l.day:
		l.day, l.spent = day, taken.Spent
	case day == l.day:
		l.spent = taken.Spent
	}
	if taken.LeftKnown {
		l.left = &taken.Left
	}
}

// Turn is always the caller's.
func (l *MemoryLedger) Turn(context.Context, time.Duration) bool { return true }
