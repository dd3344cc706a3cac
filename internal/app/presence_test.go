package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
)

func TestRegistersOnceOpenCTIAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		f.register = func() (opencti.Registration, error) {
			if time.Since(f.began) < 10*time.Minute {
				return opencti.Registration{}, unavailable()
			}
			return home(), nil
		}
		p, log := attend(t, f)
		after(9 * time.Minute)
		if err := p.ready(); err == nil || !strings.Contains(err.Error(), "not registered") || !strings.Contains(err.Error(), "502") {
			t.Errorf("ready() = %v before the first registration, want that and why", err)
		}
		if err := p.live(); err != nil {
			t.Errorf("live() = %v while OpenCTI is away, want nil: a restart would not help", err)
		}
		tries := len(f.registered())
		if lines := strings.Count(log.String(), "\n"); lines != tries || tries < 9*60/45 {
			t.Errorf("%d lines of %d tries in 9 minutes, want one each and two tries a minute at the least:\n%s", lines, tries, log)
		}
		for line := range strings.Lines(log.String()) {
			for _, want := range []string{"level=WARN", `standing="not registered yet"`, "error=", "502", "next_try_in="} {
				if !strings.Contains(line, want) {
					t.Errorf("a line is %q, want it to hold %q", line, want)
				}
			}
		}
		after(2 * time.Minute)
		if err := p.ready(); err != nil {
			t.Errorf("ready() = %v once OpenCTI answers, want nil", err)
		}
		to, _, ok := p.registration(t.Context())
		if diff := cmp.Diff(home(), to); diff != "" || !ok {
			t.Errorf("registration() ok %t (-want +got):\n%s", ok, diff)
		}
	})
}

func TestRefusalThatWaitingCannotMend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code string
		want error
	}{
		{"AUTH_REQUIRED", opencti.ErrAuth},
		{"FORBIDDEN_ACCESS", opencti.ErrForbidden},
		{"VALIDATION_ERROR", opencti.ErrRefused},
	} {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakePlatform()
				f.register = func() (opencti.Registration, error) { return opencti.Registration{}, refused(tt.code) }
				p := newPresence(f, opencti.Connector{ID: "1"}, 0, slog.New(slog.DiscardHandler))
				err := p.run(t.Context())
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "registering the connector") {
					t.Errorf("run() = %v, want what was refused: %v", err, tt.want)
				}
			})
		})
	}
}

// The token was good before: it may be again, and jobs are in hand.
func TestLaterRefusalIsNoEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		var bad atomic.Bool
		f.ping = func(_ context.Context, state string) (string, error) {
			if bad.Load() {
				return "", refused("AUTH_REQUIRED")
			}
			return state, nil
		}
		f.register = func() (opencti.Registration, error) {
			if bad.Load() {
				return opencti.Registration{}, refused("AUTH_REQUIRED")
			}
			return home(), nil
		}
		p, _ := attend(t, f)
		bad.Store(true)
		after(10 * time.Minute)
		if err := p.ready(); !errors.Is(err, opencti.ErrAuth) {
			t.Errorf("ready() = %v while OpenCTI refuses the token, want that", err)
		}
		bad.Store(false)
		after(time.Minute)
		if err := p.ready(); err != nil {
			t.Errorf("ready() = %v once it takes the token again, want nil", err)
		}
	})
}

func TestPingsEvery40Seconds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		took time.Duration
	}{{"answered at once", 0}, {"answered late", 15 * time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakePlatform()
				f.ping = func(_ context.Context, state string) (string, error) {
					<-time.After(tt.took)
					return state, nil
				}
				attend(t, f)
				after(5 * time.Minute)
				var want []time.Duration
				for at := 40 * time.Second; at <= 5*time.Minute; at += 40 * time.Second {
					want = append(want, at)
				}
				if diff := cmp.Diff(want, f.pinged()); diff != "" {
					t.Errorf("pings (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]time.Duration{0}, f.registered()); diff != "" {
					t.Errorf("registrations (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAdoptsARemoteStateReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		f.register = func() (opencti.Registration, error) {
			to := home()
			to.State = `{"cursor":1}`
			return to, nil
		}
		answers := []string{`{"cursor":1}`, "", "", `{"cursor":0}`, `{"cursor":0}`}
		f.ping = func(context.Context, string) (string, error) {
			next := answers[0]
			answers = answers[1:]
			return next, nil
		}
		_, log := attend(t, f)
		after(205 * time.Second)
		want := []string{`{"cursor":1}`, `{"cursor":1}`, "", "", `{"cursor":0}`}
		if diff := cmp.Diff(want, f.told()); diff != "" {
			t.Errorf("states told by the pings (-want +got):\n%s", diff)
		}
		if resets := strings.Count(log.String(), "has reset the connector's state"); resets != 2 {
			t.Errorf("%d resets in the log, want 2:\n%s", resets, log)
		}
	})
}

// What our own first ping leaves in OpenCTI is the text null, and no reset when it comes back.
func TestNullIsNoState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		f.register = func() (opencti.Registration, error) {
			to := home()
			to.State = "null"
			return to, nil
		}
		_, log := attend(t, f)
		after(time.Minute)
		if diff := cmp.Diff([]string{""}, f.told()); diff != "" || strings.Contains(log.String(), "reset") {
			t.Errorf("states told by the pings (-want +got):\n%s\n%s", diff, log)
		}
	})
}

func TestRegistersAgainWhenForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		var forgotten atomic.Bool
		f.ping = func(_ context.Context, state string) (string, error) {
			if forgotten.Load() {
				return "", forgottenError()
			}
			return state, nil
		}
		f.register = func() (opencti.Registration, error) {
			forgotten.Store(false)
			return home(), nil
		}
		p, log := attend(t, f)
		_, over, ok := p.registration(t.Context())
		if !ok {
			t.Fatal("there is no registration")
		}
		forgotten.Store(true)
		after(41 * time.Second)
		if diff := cmp.Diff([]time.Duration{0, 40 * time.Second}, f.registered()); diff != "" {
			t.Errorf("registrations (-want +got):\n%s", diff)
		}
		if err := p.ready(); err != nil || closed(over) {
			t.Errorf("ready() = %v, session over: %t, want nothing of it noticed", err, closed(over))
		}
		if !strings.Contains(log.String(), "forgotten") {
			t.Errorf("the log is %q, want it to say what happened", log)
		}
	})
}

func TestForgottenAndNotTakenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		f.ping = func(context.Context, string) (string, error) { return "", forgottenError() }
		var refusing atomic.Bool
		f.register = func() (opencti.Registration, error) {
			if refusing.Load() {
				return opencti.Registration{}, refused("FORBIDDEN_ACCESS")
			}
			return home(), nil
		}
		p, _ := attend(t, f)
		refusing.Store(true)
		after(42 * time.Second)
		if err := p.ready(); !errors.Is(err, opencti.ErrForbidden) || !strings.Contains(err.Error(), "not registered any more") {
			t.Errorf("ready() = %v, want that it is not registered any more, and why", err)
		}
		after(5 * time.Minute)
		if n := len(f.pinged()); n != 1 {
			t.Errorf("%d pings for a connector that OpenCTI does not know, want the one that it said so to", n)
		}
		refusing.Store(false)
		after(comeBack)
		if err := p.ready(); err != nil {
			t.Errorf("ready() = %v once it is registered again, want nil", err)
		}
	})
}

func TestOutageIsNoEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		var away atomic.Bool
		f.ping = func(ctx context.Context, state string) (string, error) {
			if away.Load() {
				<-ctx.Done() // it does not even refuse
				return "", &opencti.Error{Operation: "Ping", Message: "no answer"}
			}
			return state, nil
		}
		p, log := attend(t, f)
		_, over, _ := p.registration(t.Context())
		after(10 * time.Second)
		away.Store(true)
		after(50 * time.Second)
		if err := p.ready(); err != nil || closed(over) {
			t.Errorf("ready() = %v, session over %t after one ping that got no answer, want nothing of it noticed", err, closed(over))
		}
		after(time.Minute)
		if err := p.ready(); !errors.Is(err, opencti.ErrUnavailable) || closed(over) {
			t.Errorf("ready() = %v, session over %t after two minutes without an answer, want it known and no job disturbed", err, closed(over))
		}
		p.look()
		if !closed(over) {
			t.Error("the session is not over when jobs suffer, too")
		}
		after(time.Hour)
		if err := p.live(); err != nil {
			t.Errorf("live() = %v, want nil", err)
		}
		pings := f.pinged()
		for i, at := range pings[1:] {
			if gap := at - pings[i]; gap > time.Minute+5*time.Second {
				t.Errorf("%v passed between two pings, want a minute at most: 20 s for one, up to 45 s between", gap)
			}
		}
		away.Store(false)
		after(comeBack)
		if err := p.ready(); err != nil {
			t.Errorf("ready() = %v once OpenCTI is back, want nil", err)
		}
		// Who comes back may be another release or name another broker.
		if len(f.registered()) != 2 || !strings.Contains(log.String(), `why="a ping failed"`) {
			t.Errorf("registered at %v, want once at the start and once after the outage", f.registered())
		}
	})
}

func TestMovedWhenARegistrationLeadsElsewhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*opencti.Registration)
		want   string // in the log; "" for no move
	}{
		{"nothing", func(*opencti.Registration) {}, ""},
		{"state", func(r *opencti.Registration) { r.State = `{"a":1}` }, ""},
		{"user", func(r *opencti.Registration) { r.ConnectorUserID = "user-2" }, ""},
		{"host", func(r *opencti.Registration) { r.Connection.Host = "other" }, "[host]"},
		{"port", func(r *opencti.Registration) { r.Connection.Port = 5671 }, "[port]"},
		{"vhost", func(r *opencti.Registration) { r.Connection.VHost = "other" }, "[vhost]"},
		{"TLS flag", func(r *opencti.Registration) { r.Connection.UseSSL = true }, "[use_ssl]"},
		{"user of the broker", func(r *opencti.Registration) { r.Connection.User = "other" }, "[user]"},
		{"password", func(r *opencti.Registration) { r.Connection.Pass = plantedPass + "-2" }, "[pass]"},
		{"queue of jobs", func(r *opencti.Registration) { r.Listen = "other" }, "[listen]"},
		{"queue of objects", func(r *opencti.Registration) { r.Push = "other" }, "[push]"},
		{"exchange", func(r *opencti.Registration) { r.PushExchange = "other" }, "[push_exchange]"},
		{"routing key", func(r *opencti.Registration) { r.PushRouting = "other" }, "[push_routing]"},
		{"two", func(r *opencti.Registration) { r.Connection.Host, r.Connection.Port = "other", 1 }, `"[host port]"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakePlatform()
				var to atomic.Value
				to.Store(home())
				f.register = func() (opencti.Registration, error) { return to.Load().(opencti.Registration), nil }
				p, log := attend(t, f)
				_, moved, ok := p.registration(t.Context())
				if !ok {
					t.Fatal("there is no registration")
				}
				want := home()
				tt.change(&want)
				to.Store(want)
				p.renew("test")
				synctest.Wait()
				if closed(moved) != (tt.want != "") {
					t.Errorf("moved is closed: %t, want %t", closed(moved), tt.want != "")
				}
				if tt.want != "" && !strings.Contains(log.String(), "changed="+tt.want) {
					t.Errorf("the log is %q, want it to name %s", log, tt.want)
				}
				latest, again, ok := p.registration(t.Context())
				if diff := cmp.Diff(want, latest); diff != "" || !ok || closed(again) {
					t.Errorf("registration() after it: ok %t, moved %t (-want +got):\n%s", ok, closed(again), diff)
				}
				has, user := p.identity()
				if user != want.ConnectorUserID || !has.Drafts {
					t.Errorf("identity() = %+v, %q, want the latest", has, user)
				}
			})
		})
	}
}

// An upgrade between two pings that both go well is noticed with the next one.
func TestAnUpgradeBetweenTwoPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		f.become("6.8.6")
		p, log := attend(t, f)
		after(90 * time.Second)
		if has, _ := p.identity(); !has.Tracked || len(f.registered()) != 1 {
			t.Fatalf("identity() = %+v after %d registrations, want works tracked after one", has, len(f.registered()))
		}
		for _, release := range []string{"6.8.10", "7.260224.0"} {
			f.become(release)
			after(pingEvery)
			want, _ := opencti.ParseVersion(release)
			if has, _ := p.identity(); has != want.Capabilities() {
				t.Errorf("identity() = %+v one ping after the upgrade to %s, want its capabilities", has, release)
			}
		}
		if n := len(f.registered()); n != 3 || !strings.Contains(log.String(), "was 6.8.6 before") {
			t.Errorf("%d registrations, want one for each release, and why:\n%s", n, log)
		}
	})
}

func TestRenewIsOneRegistration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		var slow atomic.Bool
		answer := make(chan struct{})
		f.register = func() (opencti.Registration, error) {
			if slow.Load() {
				<-answer
			}
			return home(), nil
		}
		p, _ := attend(t, f)
		after(10 * time.Second)
		slow.Store(true)
		p.renew("test")
		synctest.Wait()
		for range 100 { // while that one is under way
			p.renew("test")
		}
		close(answer)
		after(100 * time.Second)
		if diff := cmp.Diff([]time.Duration{0, 10 * time.Second, 10 * time.Second}, f.registered()); diff != "" {
			t.Errorf("registered, want once for the first request and once for all others (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{50 * time.Second, 90 * time.Second}, slices.DeleteFunc(f.pinged(), func(at time.Duration) bool {
			return at == 10*time.Second
		})); diff != "" {
			t.Errorf("pings after it (-want +got):\n%s", diff)
		}
	})
}

// A request of a job has failed: whether OpenCTI is away is known long before the next ping is due.
func TestLookPingsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		away := f.outage()
		p, _ := attend(t, f)
		_, over, _ := p.registration(t.Context())
		after(10 * time.Second)
		p.look()
		after(5 * time.Second)
		if diff := cmp.Diff([]time.Duration{10 * time.Second}, f.pinged()); diff != "" || closed(over) {
			t.Errorf("pings when OpenCTI is there (-want +got), session over %t:\n%s", closed(over), diff)
		}
		away.Store(true)
		p.look()
		after(time.Second) // less than any hop tolerates
		if err := p.ready(); err == nil || !closed(over) {
			t.Errorf("ready() = %v, session over %t one second after it went away, want it known", err, closed(over))
		}
	})
}

// Every job may fail at once, or one request fail again and again that has nothing to do with OpenCTI being there.
func TestLooksAreFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		p, _ := attend(t, f)
		for range 10_000 {
			after(time.Millisecond)
			p.look()
		}
		if n := len(f.pinged()); n < 10 || n > 21 {
			t.Errorf("%d pings in 10 seconds of failing requests, want one each half second", n)
		}
	})
}

func TestLiveTellsAStuckLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakePlatform()
		release := make(chan struct{})
		f.ping = func(_ context.Context, state string) (string, error) {
			<-release // whatever its context says
			return state, nil
		}
		p, _ := attend(t, f)
		after(5 * time.Minute)
		if err := p.live(); err != nil {
			t.Errorf("live() = %v, want nil", err)
		}
		after(5 * time.Minute)
		if err := p.live(); err == nil {
			t.Error("live() = nil, want that the loop is stuck")
		}
		close(release)
		synctest.Wait()
		if err := p.live(); err != nil {
			t.Errorf("live() = %v once it goes round again, want nil", err)
		}
	})
}

// Hundreds of requests of jobs hang; the ping goes past them.
func TestPingDoesNotWaitBehindJobs(t *testing.T) {
	t.Parallel()
	const jobs = 200
	hanging := make(chan struct{}, jobs)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var document bytes.Buffer
		if _, err := document.ReadFrom(r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.Contains(document.String(), "about"):
			_, _ = fmt.Fprint(w, `{"data":{"about":{"version":"6.8.10"}}}`)
		case strings.Contains(document.String(), "pingConnector"):
			_, _ = fmt.Fprint(w, `{"data":{"pingConnector":{"connector_state":"null"}}}`)
		default:
			hanging <- struct{}{}
			<-release
		}
	}))
	defer server.Close()
	client, err := newClient(Options{Config: config.Config{OpenCTI: config.OpenCTI{URL: server.URL, Token: config.NewSecret("token")}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range jobs {
		asking.Go(func() { _, _ = client.State(ctx, opencti.StateQuery{EntityID: "ipv4-addr--1"}) })
	}
	for range jobs {
		<-hanging
	}
	p := newPresence(client, opencti.Connector{ID: "1"}, 0, slog.New(slog.DiscardHandler))
	if err := p.ping(ctx); err != nil {
		t.Errorf("ping() = %v while %d requests hang, want nil", err, jobs)
	}
	close(release)
	cancel()
	asking.Wait()
}
