package credit

import (
	"context"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// Options are what a [Keeper] is made of.
type Options struct {
	// Key is the account's API key: what is kept is kept for the account.
	Key string
	// Store keeps answers; nil keeps none, those who ask at the same time share one all the same.
	Store Store
	// Life is for how long an answer of each kind is kept; those of other kinds are not.
	Life map[ipqs.Kind]time.Duration
	// Refusals is for how long it is kept that IPQS refuses a value for good; zero is not at all.
	Refusals time.Duration
	// Fingerprint says what else an answer of a kind depends on, such as IPQS' own options; nil is nothing.
	Fingerprint func(ipqs.Kind) string
	// Timeout is how long an answer of a kind may take; nil is [ipqs.DefaultTimeout].
	Timeout func(ipqs.Kind) time.Duration

	// Concurrency is how many questions may be under way at once, at most; at least 1.
	Concurrency int
	// Pacer spaces questions out; nil does not.
	Pacer Pacer

	// Ledger counts credits; nil counts those of this process.
	Ledger Ledger
	// DailyBudget is how many credits may be spent in a day of IPQS; zero is without bound.
	DailyBudget int
	// BudgetParts is how many processes that share no Ledger have the budget together: each spends an equal part of it, rounded
	// down. It is at most DailyBudget; zero and one are no others.
	BudgetParts int
	// Reserve is how many credits the account is to keep; zero is none.
	Reserve int
	// RetryReserve is when to look again whether the account has more credits: when it is read again.
	RetryReserve time.Duration

	// Now is the clock of days; nil is the real one.
	Now func() time.Time
	// Observe, if set, is told of each question, from many goroutines; it must not block. The context is that of who asked,
	// or of the first of those who share an answer.
	Observe func(context.Context, Observation)
}

// Keeper is everything of this package around a Lookuper. It is safe for concurrent use. Close it after use.
type Keeper struct {
	cache   *Cache
	limiter *Limiter
	budget  *Budget
	counts  *counts
}

var _ ipqs.Lookuper = (*Keeper)(nil)

// New puts a Keeper around next.
func New(next ipqs.Lookuper, o Options) *Keeper {
	counts := &counts{tell: o.Observe}
	if o.Ledger == nil {
		o.Ledger = NewLedger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Keeper{counts: counts}
	k.budget = &Budget{
		next: next, ledger: o.Ledger, counts: counts, daily: o.DailyBudget / max(o.BudgetParts, 1), whole: o.DailyBudget, reserve: o.Reserve, retryReserve: o.RetryReserve, now: o.Now,
	}
	k.limiter = newLimiter(k.budget, o.Concurrency, o.Pacer, counts)
	k.cache = newCache(k.limiter, o, counts)
	return k
}

// Lookup answers from what was kept, or asks.
func (k *Keeper) Lookup(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
	return k.cache.Lookup(ctx, q)
}

// Budget is the part that counts credits.
func (k *Keeper) Budget() *Budget { return k.budget }

// Close ends the questions under way that nobody waits for any more.
func (k *Keeper) Close() { k.cache.stop() }
