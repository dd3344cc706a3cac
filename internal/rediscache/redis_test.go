package rediscache

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/credit"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/ipqs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account  = "planted-key-4af1"
	password = "planted-pass-77d0"
)

// server is a Redis that wants a password.
func server(t *testing.T) *miniredis.Miniredis {
	t.Helper()
	s := miniredis.RunT(t)
	s.RequireUserAuth("worker", password)
	return s
}

// open is one process' connection to the server.
func open(t *testing.T, s *miniredis.Miniredis) (*Redis, *logtest.Log) {
	t.Helper()
	log := &logtest.Log{}
	r, err := Open(Options{
		URL: "redis://worker:" + password + "@" + s.Addr() + "/0", Account: account, Local: credit.NewMemory(100),
		Logger: log.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if strings.Contains(log.String(), password) || strings.Contains(log.String(), account) {
			t.Error("the log holds a secret")
		}
	})
	return r, log
}

func TestOpenRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://" + password + "@h", "redis://:" + password + "@h/x", "redis://:" + password + "@h:p"} {
		if _, err := Open(Options{URL: url}); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("Open(%s) = %v, want an error without the password", url, err)
		}
	}
	for _, url := range []string{"valkey://h", "valkeys://h:1/2", "rediss://h"} {
		r, err := Open(Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Errorf("Open(%s) = %v, want no error", url, err)
			continue
		}
		_ = r.Close()
	}
}

func TestValuesAreShared(t *testing.T) {
	t.Parallel()
	s := server(t)
	one, _ := open(t, s)
	two, _ := open(t, s)
	one.Put(t.Context(), "k", []byte("value"), time.Hour)
	if got, ok := two.Get(t.Context(), "k"); !ok || string(got) != "value" {
		t.Errorf("Get() = %q, %v, want what the other has put there", got, ok)
	}
	if got, ok := two.local.Get(t.Context(), "k"); !ok || string(got) != "value" {
		t.Errorf("Get() keeps %q, %v, want the value", got, ok)
	}
	if _, ok := two.Get(t.Context(), "other"); ok {
		t.Error("Get() of what was never there")
	}
	for _, key := range s.Keys() {
		if strings.Contains(key, account) || !strings.HasPrefix(key, "ipqs-worker:{") {
			t.Errorf("key %q, want a hash of the account in it", key)
		}
		if ttl := s.TTL(key); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s is kept for %v, want its life", key, ttl)
		}
	}
	s.FastForward(2 * time.Hour)
	three, _ := open(t, s)
	if _, ok := three.Get(t.Context(), "k"); ok {
		t.Error("Get() after its life")
	}
}

// Somebody else's value, or one that is cut short, is none.
func TestWhatCannotBeReadIsNotThere(t *testing.T) {
	t.Parallel()
	s := server(t)
	r, _ := open(t, s)
	for _, value := range []string{"", "short", "\x00\x00\x00\x00\x00\x00\x00\x01old"} {
		if err := s.Set(r.prefix+"k", value); err != nil {
			t.Fatal(err)
		}
		if got, ok := r.Get(t.Context(), "k"); ok {
			t.Errorf("Get() of %q = %q, want nothing", value, got)
		}
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	s := server(t)
	one, _ := open(t, s)
	two, _ := open(t, s)
	release, ok := one.Claim(t.Context(), "c", time.Minute)
	if !ok {
		t.Fatal("Claim() = false of the first")
	}
	releaseNothing, ok := two.Claim(t.Context(), "c", time.Minute)
	if ok {
		t.Fatal("Claim() = true of the second")
	}
	releaseNothing()
	if _, ok := two.Claim(t.Context(), "c", time.Minute); ok {
		t.Fatal("Claim() = true after somebody without the claim has given it back")
	}
	s.FastForward(2 * time.Minute)
	last, ok := two.Claim(t.Context(), "c", time.Minute)
	if !ok {
		t.Fatal("Claim() = false after its life")
	}
	release() // late: it is not the first's any more
	if _, ok := one.Claim(t.Context(), "c", time.Minute); ok {
		t.Error("Claim() = true of what another has claimed")
	}
	last()
	if _, ok := one.Claim(t.Context(), "c", time.Minute); !ok {
		t.Error("Claim() = false after it was given back")
	}
}

func TestCreditsAreCountedTogether(t *testing.T) {
	t.Parallel()
	s := server(t)
	one, _ := open(t, s)
	two, _ := open(t, s)
	ledgers := []*Ledger{NewLedger(one, 1), NewLedger(two, 1)}
	taking := credit.Taking{Day: "2026-11-22", Credits: 1, Limit: 10}
	var taken, refused int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			got := ledgers[i%2].Take(t.Context(), taking)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(got.Refused, ipqs.ErrBudget) {
				refused++
			} else if got.Refused == nil {
				taken++
			}
		})
	}
	all.Wait()
	if taken != 10 || refused != 20 {
		t.Errorf("%d taken and %d refused of 30, want 10 and 20", taken, refused)
	}
	back := taking
	back.Credits = -1
	if got := ledgers[0].Take(t.Context(), back); got.Spent != 9 || got.Refused != nil {
		t.Errorf("Take(-1) = %+v, want 9 spent", got)
	}
	if got := ledgers[1].Take(t.Context(), taking); got.Spent != 10 || got.Refused != nil {
		t.Errorf("Take(1) = %+v, want what was given back", got)
	}
	next := taking
	next.Day = "2026-11-23"
	if got := ledgers[0].Take(t.Context(), next); got.Spent != 1 || got.Refused != nil || got.LeftKnown {
		t.Errorf("Take() of the next day = %+v, want 1 spent", got)
	}
}

func TestTheReserveIsSharedToo(t *testing.T) {
	t.Parallel()
	s := server(t)
	one, _ := open(t, s)
	two, _ := open(t, s)
	a, b := NewLedger(one, 1), NewLedger(two, 1)
	a.SetLeft(t.Context(), 12)
	taking := credit.Taking{Day: "2026-11-22", Credits: 1, Reserve: 10}
	for _, ledger := range []*Ledger{a, b} {
		if got := ledger.Take(t.Context(), taking); got.Refused != nil || !got.LeftKnown {
			t.Errorf("Take() = %+v, want a credit", got)
		}
	}
	if got := a.Take(t.Context(), taking); !errors.Is(got.Refused, ipqs.ErrReserve) || got.Left != 10 || got.Spent != 2 {
		t.Errorf("Take() = %+v, want it refused with 10 left and 2 spent", got)
	}
	b.SetLeft(t.Context(), 1000)
	if got := a.Take(t.Context(), taking); got.Refused != nil || got.Left != 999 {
		t.Errorf("Take() after topping up = %+v, want a credit", got)
	}
}

func TestOneReadsTheAccount(t *testing.T) {
	t.Parallel()
	s := server(t)
	one, _ := open(t, s)
	two, _ := open(t, s)
	a, b := NewLedger(one, 1), NewLedger(two, 1)
	if !a.Turn(t.Context(), time.Minute) || b.Turn(t.Context(), time.Minute) || a.Turn(t.Context(), time.Minute) {
		t.Error("Turn() is not exactly one's")
	}
	s.FastForward(time.Minute)
	if !b.Turn(t.Context(), time.Minute) {
		t.Error("Turn() = false when it is time again")
	}
}

func TestThePaceIsShared(t *testing.T) {
	t.Parallel()
	s := server(t)
	one, _ := open(t, s)
	two, _ := open(t, s)
	pacers := []*Pacer{NewPacer(one, 50, nil), NewPacer(two, 50, nil)}
	began := time.Now()
	var all sync.WaitGroup
	for i := range 11 {
		all.Go(func() {
			if err := pacers[i%2].Wait(t.Context()); err != nil {
				t.Errorf("Wait() = %v", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took < 195*time.Millisecond {
		t.Errorf("11 at 50 a second took %v, want 10 intervals of 20 ms", took)
	}
	slow := NewPacer(one, 0.1, nil)
	if err := slow.Wait(t.Context()); err != nil {
		t.Errorf("Wait() = %v for the first place", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for range 3 {
		if err := slow.Wait(ctx); err == nil {
			t.Error("Wait() = nil for a place that comes too late")
		}
	}
	if left := s.TTL(one.prefix + "pace"); left > 12*time.Second {
		t.Errorf("the next place is kept for %v, want it where it was: who can't wait for it takes none", left)
	}
}

// Redis away costs the sharing and nothing else, and the log says so once.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	s := server(t)
	r, log := open(t, s)
	ledger, l3 := NewLedger(r, 1), NewLedger(r, 3)
	taking := credit.Taking{Day: "2026-11-22", Credits: 1, Limit: 5}
	for range 2 {
		ledger.Take(t.Context(), taking)
	}
	l3.Take(t.Context(), taking)
	ledger.Take(t.Context(), credit.Taking{Day: "2026-11-22", Limit: 5}) // hears of it
	r.Put(t.Context(), "before", []byte("1"), time.Hour)
	s.Close()

	began := time.Now()
	r.Put(t.Context(), "k", []byte("value"), time.Hour)
	for _, key := range []string{"before", "k"} {
		if _, ok := r.Get(t.Context(), key); !ok {
			t.Errorf("Get(%s) knows nothing, want what this process has", key)
		}
	}
	for range 20 {
		if _, ok := r.Get(t.Context(), "nothing"); ok {
			t.Error("Get() of what was never there")
		}
		if release, ok := r.Claim(t.Context(), "c", time.Minute); !ok {
			t.Error("Claim() = false, want to go on")
		} else {
			release()
		}
	}
	for i, want := range []error{nil, nil, ipqs.ErrBudget} {
		if got := ledger.Take(t.Context(), taking); !errors.Is(got.Refused, want) {
			t.Errorf("Take() %d = %+v, want %v: the count goes on from 3", i, got, want)
		}
	}
	// Three of them have the other two credits, and each day's five, together.
	if got := l3.Take(t.Context(), taking); !errors.Is(got.Refused, ipqs.ErrBudget) {
		t.Errorf("Take() = %+v, want less than one of the two that are left for one of three", got)
	}
	for i, want := range []error{nil, ipqs.ErrBudget} {
		taking.Day = "2026-11-23"
		if got := l3.Take(t.Context(), taking); !errors.Is(got.Refused, want) {
			t.Errorf("Take() %d of the next day = %+v, want %v: a third of five", i, got, want)
		}
	}
	taking.Limit = 0
	if got := l3.Take(t.Context(), taking); got.Refused != nil {
		t.Errorf("Take() without a limit = %+v, want a credit", got)
	}
	if !ledger.Turn(t.Context(), time.Minute) {
		t.Error("Turn() = false, want to go on")
	}
	if err := NewPacer(r, 1, credit.NewPacer(1000)).Wait(t.Context()); err != nil {
		t.Errorf("Wait() = %v, want this process' own pace", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("all that took %v, want Redis asked hardly ever", took)
	}
	if n := strings.Count(log.String(), "Redis does not answer"); n != 1 {
		t.Errorf("the log says %d times that Redis is gone, want once:\n%s", n, log.String())
	}
}

// A process that nobody asks anything knows all the same that Redis is gone, and that it is back.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := server(t)
	r, log := open(t, s)
	r.watchEvery = 5 * time.Millisecond
	if err := r.Ready(); err != nil {
		t.Errorf("Ready() = %v before anybody asked, want nil", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { r.Watch(ctx) })
	defer watching.Wait()
	defer cancel()
	await := func(what string, ready bool) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for (r.Ready() == nil) != ready {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-deadline:
				t.Fatalf("Ready() = %v, want it to notice that %s", r.Ready(), what)
			}
		}
	}
	s.Close()
	await("Redis is gone", false)
	if err := r.Ready(); err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "this process' own") {
		t.Errorf("Ready() = %v, want what it means", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	await("Redis is back", true)
	for _, line := range []string{"Redis does not answer", "Redis answers again"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("the log says %q %d times, want once:\n%s", line, n, log.String())
		}
	}
}
