package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// stay is a session with a drain of ten seconds, and what was seen of such sessions.
type stay struct {
	mu     sync.Mutex
	events []string
}

const drain = 10 * time.Second

func (s *stay) note(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

func (s *stay) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// check compares what has been seen with what was to be, at this point of the test.
func (s *stay) check(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.seen()); diff != "" {
		t.Errorf("sessions %s (-want +got):\n%s", when, diff)
	}
}

func (s *stay) session(ctx context.Context, to opencti.Registration) (worked bool, err error) {
	s.note("at " + to.Connection.Host)
	<-ctx.Done()
	s.note("draining " + to.Connection.Host)
	<-time.After(drain)
	s.note("left " + to.Connection.Host)
	return true, nil
}

// pursue runs follow in a bubble; stop ends it and returns its error.
func pursue(t *testing.T, p *presence, session func(context.Context, opencti.Registration) (bool, error)) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- follow(ctx, p, session) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-done
	}
}

// At home until move is called; then where that says.
func movable(f *fakePlatform) (move func(host string)) {
	var to atomic.Value
	to.Store(home())
	f.register = func() (opencti.Registration, error) { return to.Load().(opencti.Registration), nil }
	return func(host string) {
		next := home()
		next.Connection.Host = host
		to.Store(next)
	}
}

func TestSessionGoesOnWhenNothingChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		p, _ := attend(t, f)
		var s stay
		stop := pursue(t, p, s.session)
		for range 10 {
			after(time.Minute)
			p.renew("test")
		}
		after(time.Minute)
		if diff := cmp.Diff([]string{"at rabbit"}, s.seen()); diff != "" || len(f.registered()) != 11 {
			t.Errorf("sessions after %d registrations (-want +got):\n%s", len(f.registered()), diff)
		}
		if err := stop(); err != nil {
			t.Errorf("follow() = %v, want nil once it is told to stop", err)
		}
		s.check(t, "after the stop", "at rabbit", "draining rabbit", "left rabbit")
	})
}

func TestSessionDrainsBeforeTheNextOneBegins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		move := movable(f)
		p, _ := attend(t, f)
		var s stay
		stop := pursue(t, p, s.session)
		after(time.Minute)
		move("other")
		p.renew("test")
		after(time.Second)
		s.check(t, "during the drain", "at rabbit", "draining rabbit")
		// Moved on again while it drains: it goes where OpenCTI points then.
		move("third")
		p.renew("test")
		after(time.Minute)
		s.check(t, "after the move", "at rabbit", "draining rabbit", "left rabbit", "at third")
		if err := stop(); err != nil {
			t.Errorf("follow() = %v, want nil", err)
		}
	})
}

// Jobs that OpenCTI can't be asked about wait in their queues.
func TestNoSessionWhileOpenCTIIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		away := f.outage()
		p, _ := attend(t, f)
		var s stay
		stop := pursue(t, p, s.session)
		after(30 * time.Second)
		away.Store(true)
		after(10*time.Second + 100*time.Millisecond) // one ping fails
		away.Store(false)
		after(time.Minute)
		s.check(t, "after one lost ping", "at rabbit")
		away.Store(true)
		after(time.Hour)
		s.check(t, "during an outage that no job has noticed", "at rabbit")
		p.look()
		after(time.Hour)
		s.check(t, "during the outage", "at rabbit", "draining rabbit", "left rabbit")
		away.Store(false)
		after(time.Minute)
		s.check(t, "after the outage", "at rabbit", "draining rabbit", "left rabbit", "at rabbit")
		if err := stop(); err != nil {
			t.Errorf("follow() = %v, want nil", err)
		}
	})
}

func TestNoticing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"OpenCTI away", fmt.Errorf("reading the entity: %w", unavailable()), 1},
		{"token refused", fmt.Errorf("reading the entity: %w", refused("AUTH_REQUIRED")), 1},
		{"no such entity", opencti.ErrNotFound, 0},
		{"IPQS away", &ipqs.APIError{Class: ipqs.ClassUnavailable}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			failed := 0
			hops := noticing([]pipeline.Hop{{Stage: stages.Stage{
				Run: func(_ context.Context, job stages.Job) (stages.Job, error) { job.ID += " done"; return job, tt.err },
			}}}, func() { failed++ })
			job, err := hops[0].Stage.Run(t.Context(), stages.Job{ID: "1"})
			if job.ID != "1 done" || !errors.Is(err, tt.err) || failed != tt.want {
				t.Errorf("Run() = %q, %v and %d noticed, want what the stage says and %d", job.ID, err, failed, tt.want)
			}
		})
	}
}

func TestPingsGoOnDuringADrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		move := movable(f)
		p, _ := attend(t, f)
		stop := pursue(t, p, func(ctx context.Context, _ opencti.Registration) (bool, error) {
			<-ctx.Done()
			<-time.After(15 * time.Minute)
			return true, nil
		})
		move("other")
		p.renew("test")
		after(10 * time.Minute)
		if n := len(f.pinged()); n < 15 {
			t.Errorf("%d pings in ten minutes of a drain, want 15", n)
		}
		if err := stop(); err != nil {
			t.Errorf("follow() = %v, want nil", err)
		}
	})
}

func TestSessionThatEndsByItself(t *testing.T) {
	t.Parallel()
	broken := errors.New("declaring the queues: EOF")
	for _, tt := range []struct {
		name   string
		first  bool // the first session works
		err    error
		ends   bool // it ends follow
		begins int  // sessions in 5 minutes, at least
	}{
		{"for a while", false, broken, false, 10},
		{"for a while, having worked before", true, broken, false, 10},
		{"for good, never having worked", false, unmendableError{broken}, true, 1},
		{"for good, having worked before", true, unmendableError{broken}, false, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakePlatform()
				p, log := attend(t, f)
				var begun atomic.Int64
				done := make(chan error, 1)
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					done <- follow(ctx, p, func(context.Context, opencti.Registration) (bool, error) {
						return begun.Add(1) == 1 && tt.first, tt.err
					})
				}()
				after(5 * time.Minute)
				if n := begun.Load(); n < int64(tt.begins) || n > 40 {
					t.Errorf("%d sessions in 5 minutes, want %d at the least, with pauses between", n, tt.begins)
				}
				if tt.ends {
					if err := <-done; !errors.Is(err, broken) {
						t.Errorf("follow() = %v, want %v", err, broken)
					}
					cancel()
					return
				}
				if !strings.Contains(log.String(), "EOF") || len(f.registered()) < 2 {
					t.Errorf("registered %d times, log %q: want the error there and another registration", len(f.registered()), log)
				}
				cancel()
				if err := <-done; err != nil {
					t.Errorf("follow() = %v, want nil", err)
				}
			})
		})
	}
}

// Nobody waits for a pause to end when OpenCTI names another broker.
func TestAMoveCutsThePauseShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		move := movable(f)
		p, _ := attend(t, f)
		var s stay
		stop := pursue(t, p, func(ctx context.Context, to opencti.Registration) (bool, error) {
			if to.Connection.Host == "rabbit" {
				return false, errors.New("no such vhost")
			}
			return s.session(ctx, to)
		})
		after(5 * time.Minute)
		move("other")
		p.renew("test")
		synctest.Wait()
		s.check(t, "at the moment of the move", "at other")
		if err := stop(); err != nil {
			t.Errorf("follow() = %v, want nil", err)
		}
	})
}

func TestStopBeforeTheFirstRegistration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		f.register = func() (opencti.Registration, error) { return opencti.Registration{}, unavailable() }
		p, _ := attend(t, f)
		var s stay
		stop := pursue(t, p, s.session)
		after(time.Minute)
		if err := stop(); err != nil || len(s.seen()) > 0 {
			t.Errorf("follow() = %v with sessions %q, want nil and none", err, s.seen())
		}
	})
}

func TestWatchAsksWhenTheBrokerStaysAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const patience = 40 * time.Second
		var away atomic.Bool
		var asked atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			watch(ctx, func() error {
				if away.Load() {
					return errors.New("not connected")
				}
				return nil
			}, patience, func(string) { asked.Add(1) })
		}()
		after(10 * time.Minute)
		away.Store(true)
		after(30 * time.Second) // a restart of the broker
		away.Store(false)
		after(time.Minute)
		if n := asked.Load(); n != 0 {
			t.Errorf("asked for %d registrations, want none for a broker that is back soon", n)
		}
		away.Store(true)
		after(patience + 10*time.Second)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked for %d registrations after %v without the broker, want 1", n, patience)
		}
		after(10 * patience)
		if n := asked.Load(); n < 9 || n > 11 {
			t.Errorf("asked for %d registrations in all, want one for each %v more", n, patience)
		}
		cancel()
		<-done
	})
}

// fakeCarrier is a carrier of which only the readiness is looked at.
type fakeCarrier struct {
	Carrier
	err error
}

func (f fakeCarrier) Ready() error { return f.err }

func TestBrokerReady(t *testing.T) {
	t.Parallel()
	up, down := fakeCarrier{}, fakeCarrier{err: errors.New("connection refused")}
	for _, tt := range []struct {
		name string
		then func(*broker)
		want string // "" for ready
	}{
		{"before the first registration", func(*broker) {}, "waiting for OpenCTI"},
		{"connecting", func(b *broker) { b.begin(down) }, "connection refused"},
		{"connected", func(b *broker) { b.begin(up) }, "not consuming yet"},
		{"running", func(b *broker) { b.begin(up); b.run(up) }, ""},
		{"connection lost", func(b *broker) { b.begin(up); b.run(down) }, "connection refused"},
		{"draining", func(b *broker) { b.begin(up); b.run(up); b.drain() }, "in hand"},
		{"drained", func(b *broker) { b.begin(up); b.run(up); b.drain(); b.end(nil) }, "waiting for OpenCTI"},
		{"failed", func(b *broker) { b.begin(up); b.drain(); b.end(errors.New("queue differs")) }, "queue differs"},
		{"running again", func(b *broker) { b.drain(); b.end(nil); b.begin(up); b.run(up) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBroker()
			tt.then(b)
			switch err := b.ready(); {
			case tt.want == "" && err != nil:
				t.Errorf("ready() = %v, want nil", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("ready() = %v, want one that says %q", err, tt.want)
			}
		})
	}
}
