package app

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
)

// plantedPass is a password that must not be seen anywhere.
const plantedPass = "planted-pass-71c0d5"

// fakePlatform is an OpenCTI that answers as its functions say; nil ones answer well.
type fakePlatform struct {
	register func() (opencti.Registration, error)
	ping     func(ctx context.Context, state string) (string, error)

	mu            sync.Mutex
	release       string // "6.8.10" when empty
	began         time.Time
	pings         []time.Duration // when, since the fake was made
	registrations []time.Duration
	states        []string // that pings told
}

var _ platform = (*fakePlatform)(nil)

func newFakePlatform() *fakePlatform { return &fakePlatform{began: time.Now()} }

func (f *fakePlatform) About(context.Context) (opencti.Version, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return opencti.ParseVersion(cmp.Or(f.release, "6.8.10"))
}

func (f *fakePlatform) Capabilities(ctx context.Context) (opencti.Capabilities, error) {
	version, err := f.About(ctx)
	return version.Capabilities(), err
}

// outage has every ping fail as long as the value that it returns is true.
func (f *fakePlatform) outage() (away *atomic.Bool) {
	away = new(atomic.Bool)
	f.ping = func(_ context.Context, state string) (string, error) {
		if away.Load() {
			return "", unavailable()
		}
		return state, nil
	}
	return away
}

// become makes it another release, as an upgrade does that nobody notices.
func (f *fakePlatform) become(release string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release = release
}

func (f *fakePlatform) Register(context.Context, opencti.Connector) (opencti.Registration, error) {
	f.mu.Lock()
	f.registrations = append(f.registrations, time.Since(f.began))
	f.mu.Unlock()
	if f.register == nil {
		return home(), nil
	}
	return f.register()
}

func (f *fakePlatform) Ping(ctx context.Context, _, state string) (string, error) {
	f.mu.Lock()
	f.pings = append(f.pings, time.Since(f.began))
	f.states = append(f.states, state)
	f.mu.Unlock()
	if f.ping == nil {
		return state, nil
	}
	return f.ping(ctx, state)
}

func (f *fakePlatform) pinged() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.pings)
}

func (f *fakePlatform) registered() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.registrations)
}

func (f *fakePlatform) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.states)
}

// home is where the connector is first.
func home() opencti.Registration {
	return opencti.Registration{
		ConnectorUserID: "user-1",
		Connection:      opencti.Connection{Host: "rabbit", Port: 5672, VHost: "/", User: "opencti", Pass: plantedPass},
		Listen:          "listen_1", ListenExchange: "connectors", ListenRouting: "listen_routing_1",
		Push: "push_1", PushExchange: "workers", PushRouting: "push_routing_1",
	}
}

func unavailable() error { return &opencti.Error{Operation: "Ping", Status: http.StatusBadGateway} }

func refused(code string) error {
	return &opencti.Error{Operation: "Register", Code: code, Status: http.StatusOK, Message: "no"}
}

// attend runs a presence in a bubble until the test ends, and checks that it ends well and kept its secrets.
func attend(t *testing.T, f *fakePlatform) (*presence, *logtest.Log) {
	t.Helper()
	log := &logtest.Log{}
	p := newPresence(f, opencti.Connector{ID: "1"}, 0, log.Logger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run() = %v, want nil once it is told to stop", err)
		}
		if strings.Contains(log.String(), plantedPass) {
			t.Error("the log holds the broker's password")
		}
	})
	synctest.Wait()
	return p, log
}

// comeBack is the most that passes until OpenCTI is found to be back: the end of a ping that began before it was, and the
// pause then, which is up to half as long again.
const comeBack = pingTimeout + longestPause*3/2 + time.Second

// after lets time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func forgottenError() error {
	return &opencti.Error{Operation: "Ping", Code: "NULL", Status: http.StatusOK, Message: "No connector found"}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
