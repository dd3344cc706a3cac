package credit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/ipqs"
)

func TestAnAnswerIsGivenAgainForItsLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &fake{}
		k := keeper(t, next, Options{})
		given := time.Now().UTC()
		first := must(t, k, ip("192.0.2.1"))
		if !first.AskedAt.Equal(given) {
			t.Errorf("AskedAt = %v, want %v", first.AskedAt, given)
		}
		time.Sleep(59 * time.Minute)
		again := must(t, k, ip("192.0.2.1"))
		if first.Cached || !again.Cached {
			t.Errorf("Cached = %v, then %v, want false, then true", first.Cached, again.Cached)
		}
		again.Cached = false // the only difference
		if diff := cmp.Diff(first, again, cmp.AllowUnexported(ipqs.Number{})); diff != "" {
			t.Errorf("Lookup() again (-first +again):\n%s", diff)
		}
		must(t, k, ip("192.0.2.2"))
		if next.times() != 2 {
			t.Errorf("IPQS was asked %d times about two values, want twice", next.times())
		}
		time.Sleep(2 * time.Minute)
		late := must(t, k, ip("192.0.2.1"))
		if next.times() != 3 || !late.AskedAt.Equal(given.Add(61*time.Minute)) || late.Cached {
			t.Errorf("IPQS was asked %d times, answer of %v; want a new answer after its life", next.times(), late.AskedAt)
		}
		if got := k.Stats().Events; got[Hit][ipqs.KindIP] != 1 || got[Asked][ipqs.KindIP] != 3 {
			t.Errorf("Stats().Events = %v, want 1 hit and 3 asked", got)
		}
	})
}

func TestWhatIsNotKept(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		q    ipqs.Query
		next func(context.Context, ipqs.Query) (*ipqs.Report, error)
		o    Options
	}{
		{"trouble", ip("192.0.2.1"), fails(ipqs.ClassUnavailable, 503), Options{Refusals: time.Hour}},
		{"too many requests", ip("192.0.2.1"), fails(ipqs.ClassThrottled, 429), Options{Refusals: time.Hour}},
		{"a refused key", ip("192.0.2.1"), fails(ipqs.ClassKey, 200), Options{Refusals: time.Hour}},
		{"unknown words", ip("192.0.2.1"), fails(ipqs.ClassUnknown, 200), Options{Refusals: time.Hour}},
		{"a refusal that is not to be kept", ip("192.0.2.1"), fails(ipqs.ClassItem, 200), Options{}},
		{"a refusal of our own", ip("192.0.2.1"), fails(ipqs.ClassItem, 0), Options{Refusals: time.Hour}},
		{"a kind without life", ipqs.Query{Kind: ipqs.KindURL, Value: "example.com"}, nil, Options{Refusals: time.Hour}},
		{"a question without a value", ipqs.Query{Kind: ipqs.KindIP}, nil, Options{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			next := &fake{answer: tt.next}
			k := keeper(t, next, tt.o)
			_, first := k.Lookup(t.Context(), tt.q)
			_, second := k.Lookup(t.Context(), tt.q)
			if next.times() != 2 {
				t.Errorf("IPQS was asked %d times, want each time", next.times())
			}
			if fmt.Sprint(first) != fmt.Sprint(second) {
				t.Errorf("Lookup() = %v, then %v", first, second)
			}
		})
	}
}

func TestARefusalIsKeptShortly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &fake{answer: fails(ipqs.ClassItem, 200)}
		k := keeper(t, next, Options{Refusals: 10 * time.Minute})
		first := refused(t, k, ip("nonsense"), ipqs.ErrItem)
		again := refused(t, k, ip("nonsense"), ipqs.ErrItem)
		if next.times() != 1 || first.Error() != again.Error() {
			t.Errorf("IPQS was asked %d times: %v, then %v; want the same again", next.times(), first, again)
		}
		afresh := ip("nonsense")
		afresh.Afresh = true
		_ = refused(t, k, afresh, ipqs.ErrItem)
		if next.times() != 2 {
			t.Errorf("IPQS was asked %d times, want again where a refusal is no answer", next.times())
		}
		time.Sleep(10 * time.Minute)
		_ = refused(t, k, ip("nonsense"), ipqs.ErrItem)
		if next.times() != 3 {
			t.Errorf("IPQS was asked %d times, want again after a while", next.times())
		}
	})
}

// A key says nothing of what it is about, and differs with everything that an answer depends on.
func TestChecklist09_KeysTellOptionsAndAccountsApart(t *testing.T) {
	t.Parallel()
	store := &spy{Memory: NewMemory(100)}
	life := map[ipqs.Kind]time.Duration{ipqs.KindLeakPassword: time.Hour, ipqs.KindLeakUsername: time.Hour}
	strict := ""
	o := Options{Store: store, Life: life, Fingerprint: func(ipqs.Kind) string { return strict }}
	next := &fake{}
	k := keeper(t, next, o)
	const secret = "hunter2-hunter2"
	ask := func() {
		for _, kind := range []ipqs.Kind{ipqs.KindLeakPassword, ipqs.KindLeakUsername} {
			must(t, k, ipqs.Query{Kind: kind, Value: secret})
			must(t, k, ipqs.Query{Kind: kind, Value: secret, Urgent: true})
		}
	}
	ask()
	strict = "strictness=2"
	ask()
	if next.times() != 4 {
		t.Errorf("IPQS was asked %d times, want once for each kind and option", next.times())
	}
	other := New(next, Options{Key: "another", Store: store, Life: life, Concurrency: 1})
	defer other.Close()
	must(t, other, ipqs.Query{Kind: ipqs.KindLeakPassword, Value: secret})
	if next.times() != 5 {
		t.Error("another account was given an answer that it did not pay for")
	}
	if len(store.keys) < 5 {
		t.Errorf("%d keys were used, want at least 5", len(store.keys))
	}
	for used := range store.keys {
		if strings.Contains(used, "hunter") {
			t.Errorf("the key %s shows what it is about", used)
		}
	}
	if Hide("k", "ab", "c") == Hide("k", "a", "bc") {
		t.Error("Hide() is the same for different parts")
	}
}

// spy remembers the keys of a store.
type spy struct {
	*Memory
	mu   sync.Mutex
	keys map[string]bool
}

func (s *spy) Put(ctx context.Context, key string, value []byte, life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[string]bool)
	}
	s.keys[key] = true
	s.Memory.Put(ctx, key, value, life)
}

// Those who ask the same at once share one answer, and one who leaves takes it from nobody.
func TestThoseWhoAskTheSameShareOneAnswer(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{time.Hour, 0} {
		t.Run(life.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := &fake{answer: after(time.Second)}
				k := keeper(t, next, Options{Life: map[ipqs.Kind]time.Duration{ipqs.KindIP: life}})
				ctx, leave := context.WithCancel(t.Context())
				leader := make(chan error, 1)
				go func() {
					_, err := k.Lookup(ctx, ip("192.0.2.1"))
					leader <- err
				}()
				synctest.Wait()
				results := make(chan error, 10)
				for range 10 {
					go func() {
						r, err := k.Lookup(t.Context(), ip("192.0.2.1"))
						if err == nil && r == nil {
							err = errors.New("no report")
						}
						results <- err
					}()
				}
				synctest.Wait()
				leave()
				if err := <-leader; !errors.Is(err, context.Canceled) {
					t.Errorf("Lookup() of who left = %v, want %v", err, context.Canceled)
				}
				for range 10 {
					if err := <-results; err != nil {
						t.Errorf("Lookup() of who stayed = %v, want the answer", err)
					}
				}
				if next.times() != 1 {
					t.Errorf("IPQS was asked %d times, want once", next.times())
				}
				if got := k.Stats().Events[Joined][ipqs.KindIP]; got != 10 {
					t.Errorf("joined = %d, want 10", got)
				}
			})
		})
	}
}

// What was asked and paid for is kept, also if nobody waits for it any more.
func TestAnAnswerThatNobodyWaitsForIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := &fake{answer: after(time.Second)}
		k := keeper(t, next, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := k.Lookup(ctx, ip("192.0.2.1")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lookup() = %v, want %v", err, context.DeadlineExceeded)
		}
		time.Sleep(2 * time.Second)
		must(t, k, ip("192.0.2.1"))
		if next.times() != 1 {
			t.Errorf("IPQS was asked %d times, want once", next.times())
		}
	})
}

// A panic comes out where somebody recovers it, in everybody who shares the answer.
func TestAPanicStaysWithWhoAsks(t *testing.T) {
	t.Parallel()
	next := &fake{answer: func(context.Context, ipqs.Query) (*ipqs.Report, error) { panic("a defect") }}
	k := keeper(t, next, Options{Concurrency: 1})
	for range 2 { // the second finds the one slot free again
		func() {
			defer func() {
				if p := recover(); p != "a defect" {
					t.Errorf("recovered %v, want the panic", p)
				}
			}()
			_, err := k.Lookup(t.Context(), ip("192.0.2.1"))
			t.Errorf("Lookup() = %v, want a panic", err)
		}()
	}
}

// Of two processes, one asks and the other waits for its answer; if there is none, it asks.
func TestProcessesShareOneAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer func(context.Context, ipqs.Query) (*ipqs.Report, error)
		line   time.Duration // to wait
		asked  int
	}{
		{"an answer", after(time.Second), 0, 1},
		{"an answer after a long wait in line", after(10 * time.Second), 29 * time.Second, 1},
		{"none", fails(ipqs.ClassUnavailable, 503), 0, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := &fake{answer: tt.answer}
				store := &claims{Memory: NewMemory(100), taken: make(map[string]time.Time)}
				var asking sync.WaitGroup
				for range 2 {
					k := keeper(t, next, Options{Store: store, Pacer: slowly(tt.line)})
					asking.Go(func() { _, _ = k.Lookup(t.Context(), ip("192.0.2.1")) })
				}
				asking.Wait()
				if next.times() != tt.asked {
					t.Errorf("IPQS was asked %d times, want %d", next.times(), tt.asked)
				}
			})
		})
	}
}

// slowly is a Pacer that lets everybody wait so long.
type slowly time.Duration

func (s slowly) Wait(context.Context) error {
	time.Sleep(time.Duration(s))
	return nil
}

// claims is a store of which claims are exclusive, for as long as they are meant to be.
type claims struct {
	*Memory
	mu    sync.Mutex
	taken map[string]time.Time // until when
}

func (c *claims) Claim(_ context.Context, key string, life time.Duration) (func(), bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.taken[key]) {
		return func() {}, false
	}
	c.taken[key] = time.Now().Add(life)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.taken, key)
	}, true
}

func TestMemoryForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(2)
		for _, k := range []string{"a", "b", "c"} {
			m.Put(t.Context(), k, []byte(k), time.Minute)
		}
		if _, ok := m.Get(t.Context(), "a"); ok || m.Len() != 2 {
			t.Errorf("the oldest of three is there: %v, %d kept, want two", ok, m.Len())
		}
		time.Sleep(time.Minute)
		if v, ok := m.Get(t.Context(), "c"); ok || m.Len() != 1 {
			t.Errorf("Get() = %s, %v after its life, %d kept", v, ok, m.Len())
		}
	})
}

func TestRecents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &spy{Memory: NewMemory(10)}
		r := Recents{Store: store, Key: key, Interval: time.Hour}
		if _, ok := r.Recent(t.Context(), "e", "2"); ok {
			t.Error("Recent() knows what was never enriched")
		}
		r.Enriched(t.Context(), "e", "1")
		time.Sleep(59 * time.Minute)
		if ago, ok := r.Recent(t.Context(), "e", "2"); !ok || ago != 59*time.Minute {
			t.Errorf("Recent() = %v, %v, want 59m", ago, ok)
		}
		if _, ok := r.Recent(t.Context(), "e", "1"); ok {
			t.Error("Recent() of the job that enriched it, want none")
		}
		if _, ok := r.Recent(t.Context(), "f", "2"); ok {
			t.Error("Recent() of another entity, want none")
		}
		time.Sleep(time.Minute)
		if _, ok := r.Recent(t.Context(), "e", "2"); ok {
			t.Error("Recent() after the interval, want none")
		}
		if store.keys["e"] || len(store.keys) != 1 {
			t.Errorf("keys = %v, want one that shows nothing", store.keys)
		}
	})
}
