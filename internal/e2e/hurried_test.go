package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/telemetry"
)

// pingEvery is the variable that makes this test's own program be a worker that pings as often as it says. OpenCTI's
// period is 40 seconds and no option: what follows from pings would take minutes to see.
const pingEvery = "E2E_PING_EVERY"

// clockAt is the variable that tells such a worker what time it is when it starts, in RFC 3339: the day of IPQS turns at
// midnight only.
const clockAt = "E2E_CLOCK_AT"

// clock returns a clock that showed the time in text just now; without one it is the real one.
func clock(text string) (func() time.Time, error) {
	if text == "" {
		return time.Now, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	began := time.Now()
	return func() time.Time { return at.Add(time.Since(began)) }, err
}

// hurried is `ipqs-worker run` but for the period of its pings.
func hurried(every string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := runHurried(ctx, every); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runHurried(ctx context.Context, every string) error {
	period, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	now, err := clock(os.Getenv(clockAt))
	if err != nil {
		return err
	}
	c, _, err := config.Load(config.Options{Environ: os.Environ()})
	if err != nil {
		return err
	}
	logger := telemetry.NewLogger(os.Stderr, c.Connector.LogLevel, c.OpenCTI.JSONLogging)
	tracer, shutdown, err := telemetry.Tracing(ctx, telemetry.Options{ServiceName: "ipqs-worker", Version: "test", Logger: logger})
	if err != nil {
		return err
	}
	defer func() { _ = shutdown(context.Background()) }()
	return app.Run(ctx, app.Options{Config: c, Logger: logger, Tracer: tracer, Version: "test", PingEvery: period, Now: now})
}

// hurry makes the world's workers ping every period.
func (w *world) hurry() {
	w.t.Helper()
	program, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	w.program = program
}

// state is what a worker says of itself over HTTP.
type state struct {
	Ready        bool `json:"ready"`
	Dependencies map[string]struct {
		OK     bool   `json:"ok"`
		Reason string `json:"reason"`
		// Details are those of the hops that pause.
		Details []struct {
			Hop, Reason string
			Since       time.Time
			NextProbe   time.Time `json:"next_probe_at"`
		} `json:"details"`
	} `json:"dependencies"`
}

func (s state) lacks(dependency string) bool {
	d, known := s.Dependencies[dependency]
	return !s.Ready && known && !d.OK
}

// probe asks a worker how it is.
type probe struct {
	w      *world
	port   int
	client *http.Client
	said   logtest.Log // all that it answered
}

// newProbe picks a port for a worker: the variable to start it with is the probe's option.
func (w *world) newProbe() *probe {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.probe = &probe{
		w: w, port: port,
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	return w.probe
}

func (p *probe) options() []string {
	return []string{"WORKER_METRICS_HOST=127.0.0.1", "CONNECTOR_METRICS_PORT=" + strconv.Itoa(p.port)}
}

// get returns what a path answers, 0 when nobody listens.
func (p *probe) get(path string) (status int, body []byte) {
	response, err := p.client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", p.port, path))
	if err != nil {
		return 0, nil
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(response.Body)
	if err != nil {
		return 0, nil
	}
	_, _ = p.said.Write(body)
	return response.StatusCode, body
}

// await asks for the readiness until it is as wanted. The worker has to be alive all the while.
func (p *probe) await(what string, wanted func(state) bool) {
	p.w.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last string
	for {
		status, body := p.get("/readyz")
		if status != 0 {
			var s state
			if err := json.Unmarshal(body, &s); err != nil || s.Ready != (status == http.StatusOK) {
				p.w.t.Fatalf("GET /readyz = %d %s, %v: want JSON that agrees with the status", status, body, err)
			}
			if live, text := p.get("/livez"); live != http.StatusOK && live != 0 {
				p.w.t.Fatalf("GET /livez = %d %s, want 200", live, text)
			}
			if wanted(s) {
				return
			}
		}
		last = fmt.Sprintf("%d %s", status, body)
		select {
		case <-ticker.C:
		case <-p.w.ctx.Done():
			p.w.t.Fatalf("waiting until %s: the last answer was %s", what, last)
		}
	}
}

func (p *probe) awaitReady() {
	p.w.t.Helper()
	p.await("the worker is ready", func(s state) bool { return s.Ready })
}

func (p *probe) awaitLack(dependency string) {
	p.w.t.Helper()
	p.await("the worker lacks "+dependency, func(s state) bool { return s.lacks(dependency) })
}

// moving is a broker that OpenCTI's administrator moves. OpenCTI goes with it, and still imports what was published at
// the places where it was.
type moving struct {
	openctitest.Broker // for what these tests don't do
	places             []*openctitest.AMQP

	mu  sync.Mutex
	now int

	handling sync.Mutex
}

func newMoving(places ...*openctitest.AMQP) *moving {
	return &moving{Broker: places[0], places: places}
}

func (m *moving) move(place int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = place
}

func (m *moving) place() *openctitest.AMQP {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.places[m.now]
}

func (m *moving) Declare(ctx context.Context, connectorID string, scope []string) error {
	return m.place().Declare(ctx, connectorID, scope)
}

func (m *moving) PublishJob(ctx context.Context, connectorID string, body []byte) error {
	return m.place().PublishJob(ctx, connectorID, body)
}

func (m *moving) Coordinates(connectorID string) openctitest.Coordinates {
	return m.place().Coordinates(connectorID)
}

func (m *moving) ConsumePush(ctx context.Context, connectorID string, handle func(body []byte) error) error {
	var consuming sync.WaitGroup
	for _, place := range m.places {
		consuming.Go(func() {
			_ = place.ConsumePush(ctx, connectorID, func(body []byte) error { // it ends with ctx
				m.handling.Lock()
				defer m.handling.Unlock()
				return handle(body)
			})
		})
	}
	consuming.Wait()
	return ctx.Err()
}

func (m *moving) close(t *testing.T) {
	t.Helper()
	for _, place := range m.places {
		if err := place.Close(); err != nil {
			t.Errorf("closing a broker: %v", err)
		}
	}
}
