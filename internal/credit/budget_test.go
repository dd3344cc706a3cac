package credit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// noon is a moment at which it is the same day in New York and in Greenwich.
var noon = time.Date(2026, time.March, 4, 17, 0, 0, 0, time.UTC)

// clock is one that stands where it is put.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// never keeps nothing.
func never() map[ipqs.Kind]time.Duration { return map[ipqs.Kind]time.Duration{ipqs.KindURL: time.Hour} }

func TestChecklist08_NoMoreIsSpentThanADaysBudget(t *testing.T) {
	t.Parallel()
	at := &clock{now: noon}
	next := &fake{}
	k := keeper(t, next, Options{DailyBudget: 3, Now: at.Now, Life: never()})
	for range 3 {
		must(t, k, ip("192.0.2.1"))
	}
	if k.Budget().Over() != "" {
		t.Errorf("Over() = %q before anything was refused", k.Budget().Over())
	}
	err := refused(t, k, ip("192.0.2.1"), ipqs.ErrBudget)
	const words = "the 3 credits that the connector may spend in a day are spent; the next day begins at 2026-03-05 05:00 UTC"
	if err.Message != words || err.RetryAfter != 12*time.Hour || next.times() != 3 {
		t.Errorf("Lookup() = %q, after %v, %d asked; want %q, after 12h, 3 asked", err.Message, err.RetryAfter, next.times(), words)
	}
	if k.Budget().Over() != words {
		t.Errorf("Over() = %q, want %q", k.Budget().Over(), words)
	}
	stats := k.Stats()
	if stats.SpentToday != 3 || stats.DailyBudget != 3 || stats.Credits != 3 || stats.Over == "" || stats.Events[Denied][ipqs.KindIP] != 1 {
		t.Errorf("Stats() = %+v, want 3 of 3 spent, and 1 denied", stats)
	}

	at.set(time.Date(2026, time.March, 5, 4, 59, 59, 0, time.UTC)) // not yet in New York
	_ = refused(t, k, ip("192.0.2.1"), ipqs.ErrBudget)
	at.set(time.Date(2026, time.March, 5, 5, 0, 0, 0, time.UTC))
	if stats := k.Stats(); stats.Over != "" || stats.SpentToday != 0 {
		t.Errorf("Stats() = %+v on the next day, want nothing spent", stats)
	}
	must(t, k, ip("192.0.2.1"))
	if stats := k.Stats(); stats.SpentToday != 1 || stats.Credits != 4 {
		t.Errorf("Stats() = %+v, want 1 of this day's spent and 4 in all", stats)
	}
}

// The day of the change of the clocks has 25 hours.
func TestTheDayIsNewYorks(t *testing.T) {
	t.Parallel()
	for now, want := range map[time.Time]time.Duration{
		time.Date(2026, time.November, 1, 4, 0, 0, 0, time.UTC): 25 * time.Hour,
		time.Date(2026, time.March, 8, 5, 0, 0, 0, time.UTC):    23 * time.Hour,
		time.Date(2026, time.July, 4, 4, 0, 0, 0, time.UTC):     24 * time.Hour,
	} {
		if got := untilTomorrow(now); got != want {
			t.Errorf("untilTomorrow(%v) = %v, want %v", now, got, want)
		}
	}
}

func TestManyAtOnceDoNotSpendMoreTogether(t *testing.T) {
	t.Parallel()
	next := &fake{}
	k := keeper(t, next, Options{DailyBudget: 10, Life: never()})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { _, _ = k.Lookup(t.Context(), ip(string(rune('a'+i)))) })
	}
	all.Wait()
	if next.times() != 10 {
		t.Errorf("IPQS was asked %d times, want 10", next.times())
	}
}

func TestWhatCounts(t *testing.T) {
	t.Parallel()
	timeout := func(_ context.Context, q ipqs.Query) (*ipqs.Report, error) {
		return nil, errors.Join(&ipqs.APIError{Class: ipqs.ClassUnavailable, Kind: q.Kind}, context.DeadlineExceeded)
	}
	file := func(context.Context, ipqs.Query) (*ipqs.Report, error) { return nil, ipqs.ErrUpload }
	tests := []struct {
		name   string
		q      ipqs.Query
		answer func(context.Context, ipqs.Query) (*ipqs.Report, error)
		want   int
	}{
		{"a report", ip("x"), nil, 1},
		{"a refused value", ip("x"), fails(ipqs.ClassItem, 200), 1},
		{"words nobody knows", ip("x"), fails(ipqs.ClassUnknown, 200), 1},
		{"an answer that cannot be read", ip("x"), fails(ipqs.ClassMalformed, 200), 1},
		{"no answer in time", ip("x"), timeout, 1},
		{"a value that we refuse", ip("x"), fails(ipqs.ClassItem, 0), 0},
		{"trouble at the server", ip("x"), fails(ipqs.ClassUnavailable, 503), 0},
		{"no connection", ip("x"), fails(ipqs.ClassUnavailable, 0), 0},
		{"too many requests", ip("x"), fails(ipqs.ClassThrottled, 429), 0},
		{"a refused key", ip("x"), fails(ipqs.ClassKey, 200), 0},
		{"no credits", ip("x"), fails(ipqs.ClassCredits, 200), 0},
		{"an open breaker", ip("x"), fails(ipqs.ClassCircuitOpen, 0), 0},
		{"a file that cannot be read", ipqs.Query{Kind: ipqs.KindFileScan}, file, 0},
		{"a scan", ipqs.Query{Kind: ipqs.KindFileScan}, nil, 10},
		{"a look at a scan", ipqs.Query{Kind: ipqs.KindFileResult, Value: "r"}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := keeper(t, &fake{answer: tt.answer}, Options{DailyBudget: 100})
			_, _ = k.Lookup(t.Context(), tt.q)
			if stats := k.Stats(); stats.SpentToday != tt.want || stats.Credits != uint64(tt.want) {
				t.Errorf("%d spent today and %d in all, want %d", stats.SpentToday, stats.Credits, tt.want)
			}
		})
	}
}

// What costs more than is left is refused, while something cheaper goes on.
func TestAScanNeedsItsWholePrice(t *testing.T) {
	t.Parallel()
	k := keeper(t, &fake{}, Options{DailyBudget: 10})
	must(t, k, ip("192.0.2.1"))
	_ = refused(t, k, ipqs.Query{Kind: ipqs.KindFileScan}, ipqs.ErrBudget)
	must(t, k, ip("192.0.2.2"))
}

// Who shares no ledger spends a part, so that all together spend no more than the budget.
func TestEachSpendsItsPartOfTheBudget(t *testing.T) {
	t.Parallel()
	at := &clock{now: noon}
	next := &fake{}
	const budget, parts = 11, 3
	for range parts {
		k := keeper(t, next, Options{DailyBudget: budget, BudgetParts: parts, Now: at.Now, Life: never()})
		for range 3 {
			must(t, k, ip("192.0.2.1"))
		}
		err := refused(t, k, ip("192.0.2.1"), ipqs.ErrBudget)
		const words = "the 3 credits that this worker may spend in a day, of 11 for all, are spent; the next day begins at 2026-03-05 05:00 UTC"
		if err.Message != words || k.Budget().Over() != words {
			t.Errorf("Lookup() = %q, Over() = %q, want %q", err.Message, k.Budget().Over(), words)
		}
		if stats := k.Stats(); stats.DailyBudget != 3 || stats.SpentToday != 3 {
			t.Errorf("Stats() = %+v, want 3 of 3 spent", stats)
		}
	}
	if next.times() != 9 {
		t.Errorf("IPQS was asked %d times, want 9 of %d", next.times(), budget)
	}
}

func TestTheReserveIsKept(t *testing.T) {
	t.Parallel()
	ledger := NewLedger()
	next := &fake{}
	k := keeper(t, next, Options{Reserve: 50, RetryReserve: 10 * time.Minute, Ledger: ledger, Life: never()})
	must(t, k, ip("x")) // nobody knows yet how many there are
	ledger.SetLeft(t.Context(), 51)
	must(t, k, ip("x"))
	err := refused(t, k, ip("x"), ipqs.ErrReserve)
	const words = "the IPQS account has 50 credits left, and the connector is to leave it 50"
	if err.Message != words || err.RetryAfter != 10*time.Minute || next.times() != 2 || k.Budget().Over() != words {
		t.Errorf("Lookup() = %q after %v, Over() = %q, %d asked; want %q after 10m, 2 asked", err.Message, err.RetryAfter, k.Budget().Over(), next.times(), words)
	}
	stats := k.Stats()
	if stats.Left == nil || *stats.Left != 50 || stats.Reserve != 50 || stats.Events[Held][ipqs.KindIP] != 1 {
		t.Errorf("Stats() = %+v, want 50 left, and 1 held", stats)
	}
	ledger.SetLeft(t.Context(), 1000)
	must(t, k, ip("x"))
	if k.Budget().Over() != "" {
		t.Errorf("Over() = %q after topping up", k.Budget().Over())
	}
}

// A reserve of 0 only shows what there is, also where a plan without a count says that there is nothing.
func TestNoReserveHoldsNothingBack(t *testing.T) {
	t.Parallel()
	ledger := NewLedger()
	ledger.SetLeft(t.Context(), 0)
	k := keeper(t, &fake{}, Options{Ledger: ledger})
	must(t, k, ip("192.0.2.1"))
	if stats := k.Stats(); stats.Left == nil {
		t.Errorf("Stats() = %+v, want what was read of the account", stats)
	}
}

// reader is an account that says one thing after the other.
type reader struct {
	answers []any // an error, or a number of credits
	asked   atomic.Int32
}

func (r *reader) Account(context.Context) (ipqs.Account, error) {
	answer := r.answers[min(int(r.asked.Add(1)), len(r.answers))-1]
	switch a := answer.(type) {
	case error:
		return ipqs.Account{}, a
	case int:
		return ipqs.Account{Credits: ipqs.NumberOf(float64(a))}, nil
	default:
		return ipqs.Account{}, nil
	}
}

func TestTheAccountIsReadSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		trouble := &ipqs.APIError{Class: ipqs.ClassUnavailable, Kind: "account", Message: "no answer"}
		account := &reader{answers: []any{100, trouble, trouble, "no number", 80}}
		ledger := NewLedger()
		w := &Watch{Account: account, Ledger: ledger, Every: 10 * time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		for i, want := range []int{100, 100, 100, 100, 80} {
			synctest.Wait()
			if got := ledger.Take(t.Context(), Taking{}); got.Left != want || !got.LeftKnown || account.asked.Load() != int32(i+1) {
				t.Errorf("after look %d of %d: %+v left, want %d", i+1, account.asked.Load(), got, want)
			}
			time.Sleep(10 * time.Minute)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		if n := strings.Count(log.String(), "cannot be read"); n != 1 || !strings.Contains(log.String(), "can be read again") {
			t.Errorf("the log says %d times that the account cannot be read, want once, and that it can again:\n%s", n, log.String())
		}
	})
}
