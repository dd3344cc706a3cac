package credit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	_ "time/tzdata" // the day of IPQS turns in New York, also where no zones are installed

	"opencti-ipqs-worker/ipqs"
)

// Budget spends no more credits in a day than it may, and leaves the account those that it is to keep. A question is paid
// for before it is asked, so that many who ask at once do not spend more together than each of them may; what IPQS does not
// charge for is given back.
//
// IPQS publishes no bill. What counts as charged is what others found out, and in doubt counts: a report, a refusal of the
// value, an answer that cannot be read, and none in time. A refused key, too many requests, no credits, trouble at the
// server and a network that fails are not.
type Budget struct {
	next           ipqs.Lookuper
	ledger         Ledger
	counts         *counts
	daily, reserve int
	whole          int // what daily is a part of
	retryReserve   time.Duration
	now            func() time.Time

	mu   sync.Mutex
	day  string // of last
	last Taken
	seen bool
}

var _ ipqs.Lookuper = (*Budget)(nil)

// Lookup asks, if there are credits for it. Else its error is [ipqs.ErrBudget] or [ipqs.ErrReserve].
func (b *Budget) Lookup(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
	cost := q.Kind.Credits()
	if cost == 0 {
		return b.next.Lookup(ctx, q)
	}
	now := b.now()
	taking := Taking{Day: day(now), Credits: cost, Limit: b.daily, Reserve: b.reserve}
	taken := b.take(ctx, taking)
	if taken.Refused != nil {
		event, class := Denied, ipqs.ClassBudget
		retry := untilTomorrow(now)
		if errors.Is(taken.Refused, ipqs.ErrReserve) {
			event, class, retry = Held, ipqs.ClassReserve, b.retryReserve
		}
		b.counts.add(ctx, Observation{Kind: q.Kind, Event: event})
		return nil, &ipqs.APIError{Class: class, Kind: q.Kind, Message: b.words(now, taken), RetryAfter: retry}
	}
	report, err := b.next.Lookup(ctx, q)
	if !charged(err) {
		taking.Credits = -cost
		b.take(context.WithoutCancel(ctx), taking)
		return report, err
	}
	b.counts.add(ctx, Observation{Kind: q.Kind, Event: Spent, Credits: cost})
	return report, err
}

func (b *Budget) take(ctx context.Context, t Taking) Taken {
	taken := b.ledger.Take(ctx, t)
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.Credits < 0 && b.last.Refused != nil {
		taken.Refused = b.last.Refused // what was given back may not be enough for the next
	}
	b.day, b.last, b.seen = t.Day, taken, true
	return taken
}

// Over returns why nothing may be spent at the moment, in a sentence, or "".
func (b *Budget) Over() string {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.seen || b.last.Refused == nil || errors.Is(b.last.Refused, ipqs.ErrBudget) && b.day != day(now) {
		return ""
	}
	return b.words(now, b.last)
}

// words say why nothing is spent. An analyst reads them.
func (b *Budget) words(now time.Time, t Taken) string {
	if errors.Is(t.Refused, ipqs.ErrReserve) {
		return fmt.Sprintf("the IPQS account has %d credits left, and the connector is to leave it %d", t.Left, b.reserve)
	}
	may := fmt.Sprintf("the %d credits that the connector may spend in a day", b.daily)
	if b.daily < b.whole {
		may = fmt.Sprintf("the %d credits that this worker may spend in a day, of %d for all,", b.daily, b.whole)
	}
	return fmt.Sprintf("%s are spent; the next day begins at %s", may, tomorrow(now).UTC().Format("2006-01-02 15:04 UTC"))
}

// charged reports whether IPQS may have charged for a question that ended so.
func charged(err error) bool {
	api, answered := errors.AsType[*ipqs.APIError](err)
	switch {
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return true
	case !answered || api.Status == 0:
		return false // nothing was asked, or nobody heard it
	default:
		return errors.Is(err, ipqs.ErrItem) || errors.Is(err, ipqs.ErrUnknown) || errors.Is(err, ipqs.ErrMalformed)
	}
}

// newYork is the zone of IPQS' time stamps: it does not say where its day turns. It is read once, as each question asks for the
// day, and reading a zone costs more than the rest of the question.
var newYork = sync.OnceValue(func() *time.Location {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		return time.UTC // not with the zones that we bring
	}
	return zone
})

func day(now time.Time) string { return now.In(newYork()).Format(time.DateOnly) }

func tomorrow(now time.Time) time.Time {
	now = now.In(newYork())
	return time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location())
}

func untilTomorrow(now time.Time) time.Duration { return tomorrow(now).Sub(now) }
