package credit

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"opencti-ipqs-worker/ipqs"
)

func TestNoMoreAtOnceThanAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &fake{answer: after(time.Second)}
		k := keeper(t, next, Options{Concurrency: 4, Life: never()})
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { _, _ = k.Lookup(t.Context(), ip(strconv.Itoa(i))) })
		}
		synctest.Wait()
		if stats := k.Stats(); stats.UnderWay != 4 || stats.Waiting != 15 || stats.Window != 4 || stats.MostWindow != 4 {
			t.Errorf("Stats() = %+v, want 4 under way, one about to be, and 15 in line", stats)
		}
		began := time.Now()
		all.Wait()
		if took := time.Since(began); next.most != 4 || took != 5*time.Second {
			t.Errorf("%d at once in %v, want 4 in 5s", next.most, took)
		}
		if stats := k.Stats(); stats.UnderWay != 0 || stats.Waiting != 0 {
			t.Errorf("Stats() = %+v, want nothing under way", stats)
		}
	})
}

// Of what waits, the urgent goes first; each sort goes in the order it came.
func TestTheUrgentGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &fake{answer: after(time.Second)}
		k := keeper(t, next, Options{Concurrency: 1, Life: never()})
		var all sync.WaitGroup
		for _, q := range []ipqs.Query{ip("under way"), ip("next"), ip("a"), ip("b"), {Kind: ipqs.KindIP, Value: "u1", Urgent: true}, ip("c"), {Kind: ipqs.KindIP, Value: "u2", Urgent: true}} {
			all.Go(func() { _, _ = k.Lookup(t.Context(), q) })
			synctest.Wait()
		}
		if stats := k.Stats(); stats.WaitingUrgent != 2 || stats.Waiting != 3 {
			t.Errorf("Stats() = %+v, want 2 urgent and 3 others in line", stats)
		}
		all.Wait()
		var got []string
		for _, q := range next.asked {
			got = append(got, q.Value)
		}
		if want := []string{"under way", "next", "u1", "u2", "a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("asked in the order %q, want %q", got, want)
		}
	})
}

func TestWhoLeavesTheLineHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l line
		if err := l.enter(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		left, turn := make(chan error, 2), make(chan error, 1)
		for _, urgent := range []bool{true, false} {
			go func() { left <- l.enter(ctx, urgent) }()
		}
		synctest.Wait()
		go func() { turn <- l.enter(t.Context(), false) }()
		synctest.Wait()
		leave()
		for range 2 {
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("enter() = %v, want %v", err, context.Canceled)
			}
		}
		l.leave()
		if err := <-turn; err != nil {
			t.Errorf("enter() = %v, want the turn", err)
		}
		l.leave()
		if err := l.enter(t.Context(), true); err != nil {
			t.Errorf("enter() of an empty line = %v", err)
		}
	})
}

// Half as many at once when IPQS refuses for there being too many, however many of those refusals come together; then one
// more for each round that goes well.
func TestChecklist07_TheWindowFollowsWhatIPQSBears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := window{most: 16, size: 16, freed: make(chan struct{}, 1)}
		end := func(err error, took time.Duration, times int) int {
			for range times {
				if err := w.acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.release(err, took)
			}
			size, _ := w.state()
			return size
		}
		throttled := &ipqs.APIError{Class: ipqs.ClassThrottled}
		time.Sleep(time.Hour)
		steps := []struct {
			what  string
			err   error
			took  time.Duration
			times int
			pause time.Duration
			want  int
		}{
			{"well", nil, time.Second, 100, 0, 16},
			{"too many, at once", throttled, 0, 10, 0, 8},
			{"too many, later", throttled, 0, 1, 2 * time.Second, 4},
			{"trouble", &ipqs.APIError{Class: ipqs.ClassUnavailable}, 0, 100, 0, 4},
			{"well, and slow", nil, 9 * time.Second, 100, 0, 4},
			{"a round of four", nil, time.Second, 5, 0, 5},
			{"a refused value", &ipqs.APIError{Class: ipqs.ClassItem}, time.Second, 4, 0, 5},
			{"again", nil, time.Second, 1, 0, 6},
			{"too many", throttled, 0, 1, 2 * time.Second, 3},
			{"too many", throttled, 0, 1, 2 * time.Second, 1},
			{"too many", throttled, 0, 1, 2 * time.Second, 1},
			{"well for long", nil, time.Second, 1000, 0, 16},
		}
		for _, s := range steps {
			time.Sleep(s.pause)
			if got := end(s.err, s.took, s.times); got != s.want {
				t.Errorf("%s: window = %d, want %d", s.what, got, s.want)
			}
		}
	})
}

func TestThePaceIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var waited []time.Duration
		next := &fake{}
		k := keeper(t, next, Options{Pacer: NewPacer(2), Life: never(), Observe: func(_ context.Context, o Observation) {
			if o.Event == Asked {
				waited = append(waited, o.Waited)
			}
		}})
		began := time.Now()
		for i := range 5 {
			must(t, k, ip(strconv.Itoa(i)))
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("5 at 2 a second took %v, want 2s", took)
		}
		if len(waited) != 5 || waited[0] != 0 || waited[4] != 500*time.Millisecond {
			t.Errorf("waited %v, want 0 and then 500ms each", waited)
		}
	})
}

// Waiting for long is told as such: it is no failure, and costs the job nothing.
func TestWhoWaitsTooLongComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &fake{answer: after(50 * time.Second)}
		k := keeper(t, next, Options{Concurrency: 1, Life: never()})
		go func() { _, _ = k.Lookup(t.Context(), ip("slow")) }()
		synctest.Wait()
		began := time.Now()
		err := refused(t, k, ip("x"), ipqs.ErrThrottled)
		if took := time.Since(began); took != patience || err.RetryAfter != comeBack || next.times() != 1 {
			t.Errorf("Lookup() = %v after %v, asked %d times; want to come back in %v", err, took, next.times(), comeBack)
		}
		slow := newLimiter(next, 1, NewPacer(0.01), &counts{})
		_ = slow.pacer.Wait(t.Context())
		if _, err := slow.Lookup(t.Context(), ip("y")); !errors.Is(err, ipqs.ErrThrottled) {
			t.Errorf("Lookup() = %v at a pace that is too slow, want %v", err, ipqs.ErrThrottled)
		}
		if _, inUse := slow.window.state(); inUse != 0 {
			t.Errorf("%d under way after nothing was asked", inUse)
		}
		time.Sleep(time.Minute)
	})
}
