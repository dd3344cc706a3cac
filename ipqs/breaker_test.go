package ipqs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type lookupFunc func(context.Context, Query) (*Report, error)

func (f lookupFunc) Lookup(ctx context.Context, q Query) (*Report, error) { return f(ctx, q) }

var errDown = &APIError{Class: ClassUnavailable, Kind: KindIP}

// script is a Lookuper that returns one error after the other, then none, and counts.
type script struct {
	mu    sync.Mutex
	errs  []error
	calls int
}

func (s *script) Lookup(context.Context, Query) (*Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if len(s.errs) == 0 {
		return &Report{Kind: KindIP, IP: &IP{FraudScore: NumberOf(1)}}, nil
	}
	err := s.errs[0]
	s.errs = s.errs[1:]
	if err != nil {
		return nil, err
	}
	return &Report{Kind: KindIP, IP: &IP{}}, nil
}

var question = Query{Kind: KindIP, Value: "192.0.2.1"}

// open makes a breaker that has just opened, in front of a script that goes on with errs.
func open(t *testing.T, o BreakerOptions, errs ...error) (*Breaker, *script) {
	t.Helper()
	o.Failures = 1
	s := &script{errs: append([]error{errDown}, errs...)}
	b := NewBreaker(s, o)
	if _, err := b.Lookup(t.Context(), question); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("Lookup() = %v, want %v", err, ErrUnavailable)
	}
	if got := b.State(); got != StateOpen {
		t.Fatalf("State() = %s, want %s", got, StateOpen)
	}
	return b, s
}

// What opens a closed breaker, what lets it be, and what takes earlier failures back.
func TestBreaker_closed(t *testing.T) {
	t.Parallel()
	api := func(c Class) error { return &APIError{Class: c, Kind: KindIP} }
	repeat := func(n int, errs ...error) (all []error) {
		for range n {
			all = append(all, errs...)
		}
		return all
	}
	timeout := &APIError{Class: ClassUnavailable, Kind: KindIP, cause: context.DeadlineExceeded}
	cancelled := fmt.Errorf("looking up ip: %w", context.Canceled)
	tests := []struct {
		name string
		errs []error
		want State
	}{
		{"reports", repeat(10, nil), StateClosed},
		{"refused values", repeat(10, api(ClassItem)), StateClosed},
		{"no answer, one too few", repeat(4, errDown), StateClosed},
		{"no answer", repeat(5, errDown), StateOpen},
		{"timeouts", repeat(5, timeout), StateOpen},
		{"throttled", repeat(5, api(ClassThrottled)), StateOpen},
		{"unreadable", repeat(5, api(ClassMalformed)), StateOpen},
		{"wrapped", repeat(5, fmt.Errorf("more: %w", errDown)), StateOpen},
		{"of no class", repeat(5, errors.New("surprise")), StateOpen},
		{"mixed failures", []error{errDown, api(ClassThrottled), timeout, api(ClassMalformed), errDown}, StateOpen},
		{"a success in between", append(repeat(4, errDown), append([]error{nil}, repeat(4, errDown)...)...), StateClosed},
		{"a refused value in between", append(repeat(4, errDown), append([]error{api(ClassItem)}, repeat(4, errDown)...)...), StateClosed},
		{"key", repeat(10, api(ClassKey)), StateClosed},
		{"credits", repeat(10, api(ClassCredits)), StateClosed},
		{"quota", repeat(10, api(ClassQuota)), StateClosed},
		{"capability", repeat(10, api(ClassCapability)), StateClosed},
		{"unknown", repeat(10, api(ClassUnknown)), StateClosed},
		{"cancelled", repeat(10, cancelled), StateClosed},
		{"key is no success", append(repeat(4, errDown), api(ClassKey), errDown), StateOpen},
		{"cancelled is no success", append(repeat(4, errDown), cancelled, errDown), StateOpen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := NewBreaker(&script{errs: tt.errs}, BreakerOptions{})
			for i, want := range tt.errs {
				if _, err := b.Lookup(t.Context(), question); !errors.Is(err, want) {
					t.Fatalf("Lookup() no. %d = %v, want %v", i, err, want)
				}
			}
			if got := b.State(); got != tt.want {
				t.Errorf("State() = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBreaker_open(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, s := open(t, BreakerOptions{OpenFor: time.Minute})
		time.Sleep(20 * time.Second)
		report, err := b.Lookup(t.Context(), question)
		var e *APIError
		if report != nil || !errors.Is(err, ErrCircuitOpen) || !errors.As(err, &e) || e.Kind != KindIP {
			t.Fatalf("Lookup() = %v, %v, want %v", report, err, ErrCircuitOpen)
		}
		if want := 40*time.Second + time.Nanosecond; e.RetryAfter != want {
			t.Errorf("RetryAfter = %v, want %v", e.RetryAfter, want)
		}
		if s.calls != 1 {
			t.Errorf("calls = %d, want 1", s.calls)
		}
		// Who waits as long as told is let through.
		time.Sleep(e.RetryAfter)
		if _, err := b.Lookup(t.Context(), question); err != nil {
			t.Errorf("Lookup() after RetryAfter = %v, want no error", err)
		}
		if got := b.State(); got != StateClosed {
			t.Errorf("State() = %s, want %s", got, StateClosed)
		}
	})
}

// What the outcome of a probe makes of a half-open breaker.
func TestBreaker_probe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want State
	}{
		{"report", nil, StateClosed},
		{"refused value", &APIError{Class: ClassItem}, StateClosed},
		{"no answer", errDown, StateOpen},
		{"timed out", &APIError{Class: ClassUnavailable, cause: context.DeadlineExceeded}, StateOpen},
		{"throttled", &APIError{Class: ClassThrottled}, StateOpen},
		{"key", &APIError{Class: ClassKey}, StateHalfOpen},
		{"credits", &APIError{Class: ClassCredits}, StateHalfOpen},
		{"unknown", &APIError{Class: ClassUnknown}, StateHalfOpen},
		{"cancelled", context.Canceled, StateHalfOpen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, s := open(t, BreakerOptions{}, tt.err)
				time.Sleep(DefaultOpenFor + time.Second)
				if got := b.State(); got != StateHalfOpen {
					t.Fatalf("State() = %s, want %s", got, StateHalfOpen)
				}
				if _, err := b.Lookup(t.Context(), question); !errors.Is(err, tt.err) {
					t.Fatalf("Lookup() = %v, want %v", err, tt.err)
				}
				if got := b.State(); got != tt.want {
					t.Fatalf("State() = %s, want %s", got, tt.want)
				}
				// Half open or closed, the next lookup goes through, and now IPQS is well.
				_, err := b.Lookup(t.Context(), question)
				if tt.want == StateOpen {
					var e *APIError
					if !errors.As(err, &e) || e.Class != ClassCircuitOpen || e.RetryAfter != DefaultOpenFor+time.Nanosecond || s.calls != 2 {
						t.Errorf("Lookup() = %v after %d calls, want %v for %v after 2", err, s.calls, ErrCircuitOpen, DefaultOpenFor)
					}
					return
				}
				if err != nil || b.State() != StateClosed || s.calls != 3 {
					t.Errorf("Lookup() = %v, state %s, %d calls, want no error, %s, 3", err, b.State(), s.calls, StateClosed)
				}
			})
		})
	}
}

// While a probe is under way, nobody else gets through.
func TestBreaker_oneProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan error)
		calls := 0
		b := NewBreaker(lookupFunc(func(context.Context, Query) (*Report, error) {
			calls++
			if calls == 1 {
				return nil, errDown
			}
			return nil, <-release
		}), BreakerOptions{Failures: 1})
		_, _ = b.Lookup(t.Context(), question)
		time.Sleep(DefaultOpenFor + time.Second)

		for i, end := range []error{context.Canceled, &APIError{Class: ClassItem}} {
			probe := make(chan error, 1)
			go func() {
				_, err := b.Lookup(t.Context(), question)
				probe <- err
			}()
			synctest.Wait() // the probe is under way
			for range 3 {
				var e *APIError
				_, err := b.Lookup(t.Context(), question)
				if !errors.As(err, &e) || e.Class != ClassCircuitOpen || e.RetryAfter <= 0 {
					t.Fatalf("Lookup() beside probe %d = %v, want %v and a time to wait", i, err, ErrCircuitOpen)
				}
			}
			release <- end
			if err := <-probe; !errors.Is(err, end) {
				t.Fatalf("probe %d = %v, want %v", i, err, end)
			}
		}
		if got := b.State(); got != StateClosed || calls != 3 {
			t.Errorf("State() = %s after %d calls, want %s after 3", got, calls, StateClosed)
		}
	})
}

// A lookup from before the outage that ends after it says nothing about now.
func TestBreaker_late(t *testing.T) {
	t.Parallel()
	for _, late := range []error{nil, errDown} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan error)
			calls := 0
			b := NewBreaker(lookupFunc(func(context.Context, Query) (*Report, error) {
				calls++
				if calls == 1 {
					return nil, <-release
				}
				return nil, errDown
			}), BreakerOptions{Failures: 1})
			done := make(chan struct{})
			go func() {
				_, _ = b.Lookup(t.Context(), question)
				close(done)
			}()
			synctest.Wait()
			_, _ = b.Lookup(t.Context(), question)
			time.Sleep(DefaultOpenFor + time.Second)
			if got := b.State(); got != StateHalfOpen {
				t.Fatalf("State() = %s, want %s", got, StateHalfOpen)
			}
			release <- late
			<-done
			if got := b.State(); got != StateHalfOpen {
				t.Errorf("State() after a late %v = %s, want %s", late, got, StateHalfOpen)
			}
		})
	}
}

// A panic behind the breaker does not keep the probe's place for ever.
func TestBreaker_panic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := NewBreaker(lookupFunc(func(context.Context, Query) (*Report, error) {
			calls++
			switch calls {
			case 1:
				return nil, errDown
			case 2:
				panic("surprise")
			default:
				return &Report{}, nil
			}
		}), BreakerOptions{Failures: 1})
		_, _ = b.Lookup(t.Context(), question)
		time.Sleep(DefaultOpenFor + time.Second)
		func() {
			defer func() {
				if p := recover(); p != "surprise" {
					t.Errorf("recover() = %v, want the panic", p)
				}
			}()
			_, _ = b.Lookup(t.Context(), question)
		}()
		if _, err := b.Lookup(t.Context(), question); err != nil {
			t.Errorf("Lookup() after a panic = %v, want no error", err)
		}
	})
}

// OnChange sees every change once and in order, and may use the breaker.
func TestBreaker_OnChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type seen struct{ From, To, Now State }
		var (
			b   *Breaker
			got []seen
		)
		s := &script{errs: []error{errDown, errDown}}
		b = NewBreaker(s, BreakerOptions{Failures: 1, OnChange: func(from, to State) {
			got = append(got, seen{from, to, b.State()})
		}})
		_, _ = b.Lookup(t.Context(), question) // opens
		time.Sleep(DefaultOpenFor + time.Second)
		_, _ = b.Lookup(t.Context(), question) // half open, open
		time.Sleep(DefaultOpenFor + time.Second)
		b.State()                              // half open
		_, _ = b.Lookup(t.Context(), question) // closed
		want := []seen{
			{StateClosed, StateOpen, StateOpen},
			{StateOpen, StateHalfOpen, StateOpen}, // told when the probe has failed already
			{StateHalfOpen, StateOpen, StateOpen},
			{StateOpen, StateHalfOpen, StateHalfOpen},
			{StateHalfOpen, StateClosed, StateClosed},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

// Many lookups at once while IPQS goes away every other minute: an outage costs a handful of probes, changes come in
// order, and work goes on as soon as a probe may see that IPQS is back.
func TestBreaker_concurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const (
			callers, outages = 8, 3
			openFor          = 10 * time.Second
			latency          = 100 * time.Millisecond
		)
		var (
			mu      sync.Mutex
			changes []change
			failed  int
			served  int
			start   = time.Now()
		)
		b := NewBreaker(lookupFunc(func(context.Context, Query) (*Report, error) {
			time.Sleep(latency)
			mu.Lock()
			defer mu.Unlock()
			if time.Since(start)/time.Minute%2 == 0 {
				failed++
				return nil, errDown
			}
			served++
			return &Report{}, nil
		}), BreakerOptions{OpenFor: openFor, OnChange: func(from, to State) {
			mu.Lock()
			defer mu.Unlock()
			changes = append(changes, change{from, to})
		}})
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for time.Since(start) < 2*outages*time.Minute {
					_, err := b.Lookup(t.Context(), question)
					var e *APIError
					if errors.As(err, &e) && e.Class == ClassCircuitOpen {
						time.Sleep(e.RetryAfter)
					}
				}
			})
		}
		wg.Wait()

		state := StateClosed
		for i, c := range changes {
			if c.from != state || c.from == c.to {
				t.Fatalf("change %d = %v, want one from %s", i, c, state)
			}
			state = c.to
		}
		if want := 3 * outages; len(changes) < want {
			t.Errorf("%d changes, want at least %d", len(changes), want)
		}
		// In flight when IPQS goes, then one probe each time the breaker has been open long enough.
		if most := outages * (2*callers + int(time.Minute/openFor)); failed > most {
			t.Errorf("%d lookups met an IPQS that was down, want at most %d", failed, most)
		}
		if least := outages * callers * int((time.Minute-openFor-2*time.Second)/latency); served < least {
			t.Errorf("%d lookups were served, want at least %d", served, least)
		}
	})
}
