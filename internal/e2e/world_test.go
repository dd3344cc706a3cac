package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"opencti-ipqs-worker/internal/freeport"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// What the stand-ins know and nobody else may ever see.
const (
	token = "planted-token-5b1f6a"
	key   = "planted-key-9c2e77"
	// Accounts among the observables have logins that begin, and passwords that end, with these.
	login    = "planted-login-e41c"
	password = `planted'p@ss\w0rd`
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if every := os.Getenv(pingEvery); every != "" {
		return hurried(every)
	}
	dir, err := os.MkdirTemp("", "ipqs-worker-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "ipqs-worker")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds the program, with more flags for the Go command.
func build(path string, flags ...string) error {
	args := append(append([]string{"build", "-o", path}, flags...), "opencti-ipqs-worker/cmd/ipqs-worker")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("building the worker: %w\n%s", err, out)
	}
	return nil
}

// world is everything around a worker.
type world struct {
	t         *testing.T
	ctx       context.Context //nolint:containedctx // the world's own, which is its test's
	cancel    context.CancelFunc
	connector string
	platform  *openctitest.Platform
	ipqs      *ipqstest.Server
	collector *collector
	server    *httptest.Server // the platform's
	address   string           // of the platform
	logs      *logtest.Log
	program   string // the binary to start
	probe     *probe // nil where nobody asks how the worker is
}

func newWorld(t *testing.T, faults ipqstest.Options) *world {
	t.Helper()
	return newWorldOf(t, "", faults)
}

// newWorldOf is newWorld with an OpenCTI of a certain release.
func newWorldOf(t *testing.T, version string, faults ipqstest.Options) *world {
	t.Helper()
	url, connector := pipelinetest.AMQPURL(t), uuid.NewString()
	broker := openctitest.AMQPBroker(url)
	broker.Prefix = "e2e-" + connector[:8] + "_"
	t.Cleanup(func() {
		_ = broker.Close()
		forget(t, url, connector, broker.Coordinates(connector))
	})
	return newWorldOn(t, broker, connector, version, faults)
}

// newWorldOn is newWorldOf on a broker that somebody else closes and cleans.
func newWorldOn(t *testing.T, broker openctitest.Broker, connector, version string, faults ipqstest.Options) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, cancel: cancel, connector: connector, logs: &logtest.Log{}, program: binary}

	platform, err := openctitest.New(openctitest.Options{Version: version, Token: token, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	w.platform = platform
	w.server = httptest.NewServer(platform)
	w.address = w.server.URL

	faults.Key = key
	w.ipqs = ipqstest.NewServer(faults)
	w.collector = newCollector(t)
	t.Cleanup(func() {
		w.server.Close()
		_ = platform.Close()
		w.ipqs.Close()
		w.audit()
		if t.Failed() {
			t.Logf("the worker's log:\n%s", w.logs.Tail(8000))
		}
	})
	return w
}

// hangUp takes OpenCTI off the network: nobody listens, and connections break in the middle of whatever they carry.
func (w *world) hangUp() {
	w.server.CloseClientConnections()
	w.server.Close()
}

// pickUp has OpenCTI listen again where it did.
func (w *world) pickUp() {
	w.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", w.server.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: w.platform, ReadHeaderTimeout: 10 * time.Second}}
	w.server.Start()
}

// forget deletes the queues and exchanges of this test.
func forget(t *testing.T, url, connector string, c openctitest.Coordinates) {
	t.Helper()
	connection, err := amqp.Dial(url)
	if err != nil {
		t.Errorf("deleting the queues: %v", err)
		return
	}
	defer func() { _ = connection.Close() }()
	channel, err := connection.Channel()
	if err != nil {
		t.Errorf("deleting the queues: %v", err)
		return
	}
	queues := []string{c.Listen, c.Push}
	for _, topic := range pipeline.Topics(pipeline.Definition(pipeline.World{Posted: true})) {
		queues = append(queues, "ipqs-worker."+connector+"."+topic.Name)
	}
	for _, queue := range queues {
		if queue != c.Push && queue != c.Listen { // OpenCTI's own
			checkLeftovers(t, connection, queue)
		}
		if _, err := channel.QueueDelete(queue, false, false, false); err != nil {
			t.Errorf("deleting %s: %v", queue, err)
		}
	}
	for _, exchange := range []string{c.ListenExchange, c.PushExchange} {
		if err := channel.ExchangeDelete(exchange, false, false); err != nil {
			t.Errorf("deleting %s: %v", exchange, err)
		}
	}
}

// worker is one process of the program.
type worker struct {
	w    *world
	cmd  *exec.Cmd
	exit chan struct{} // closed when it has ended
	// began is when it was started.
	began time.Time
}

// start runs `ipqs-worker run` and waits until it has registered.
func (w *world) start(more ...string) *worker {
	w.t.Helper()
	p := w.launch(more...)
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Registration(w.connector) != nil }); err != nil {
		w.t.Fatalf("waiting for the worker to register: %v", err)
	}
	return p
}

// launch runs `ipqs-worker run`.
func (w *world) launch(more ...string) *worker {
	w.t.Helper()
	return w.run(nil, more...)
}

// run is launch with more arguments.
func (w *world) run(args []string, more ...string) *worker {
	w.t.Helper()
	cmd := exec.Command(w.program, append([]string{"run"}, args...)...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.TempDir(),
		"OPENCTI_URL=" + w.address, "OPENCTI_TOKEN=" + token,
		"CONNECTOR_ID=" + w.connector, "CONNECTOR_AUTO=true", "CONNECTOR_LOG_LEVEL=debug",
		"IPQS_PRIVATE_KEY=" + key, "IPQS_BASE_URL=" + w.ipqs.BaseURL,
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + w.collector.address, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_BSP_SCHEDULE_DELAY=20",
		"CONNECTOR_METRICS_PORT=0", "WORKER_DEBUG_PORT=0", // workers of other tests run beside it
	}, more...)
	cmd.Dir = w.t.TempDir()
	cmd.Stdout, cmd.Stderr = w.logs, w.logs
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	p := &worker{w: w, cmd: cmd, exit: make(chan struct{}), began: time.Now()}
	go func() {
		defer close(p.exit)
		_ = cmd.Wait() // how it ended is in its state
	}()
	w.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

// stop asks the process to end, and returns its exit status.
func (p *worker) stop() int {
	p.w.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.w.t.Fatal(err)
	}
	select {
	case <-p.exit:
		return p.cmd.ProcessState.ExitCode()
	case <-p.w.ctx.Done():
		p.w.t.Fatal("the worker did not stop")
		return -1
	}
}

// kill ends the process as a crash would.
func (p *worker) kill() {
	p.w.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.w.t.Fatal(err)
	}
	<-p.exit
}

// observables makes n of all types but files, each another. One in twelve is an account, every other of them with a password.
func observables(n int) []openctitest.Observable {
	makers := []func(i int) openctitest.Observable{
		func(i int) openctitest.Observable { return observable("IPv4-Addr", "198.18.%d.%d", i/256, i%256) },
		func(i int) openctitest.Observable { return observable("IPv6-Addr", "2001:db8::%x", i+1) },
		func(i int) openctitest.Observable { return observable("Email-Addr", "user-%d@example.com", i) },
		func(i int) openctitest.Observable {
			return observable("Url", "https://example.com/%d?a='b'&c=\"d\\e\"", i)
		},
		func(i int) openctitest.Observable { return observable("Domain-Name", "host-%d.example.org", i) },
		func(i int) openctitest.Observable { return observable("Phone-Number", "+1800555%05d", i) },
	}
	list := make([]openctitest.Observable, n)
	for i := range list {
		list[i] = makers[i%len(makers)](i)
		if i%12 == 11 {
			list[i] = account(fmt.Sprintf("%s-%d", login, i), "")
			if i%24 == 11 {
				list[i] = account(fmt.Sprintf("%s-%d", login, i), fmt.Sprint(i, password))
			}
		}
		if i%3 == 0 {
			list[i].Markings = []string{"TLP:GREEN"}
		}
	}
	return list
}

func observable(kind, format string, args ...any) openctitest.Observable {
	return openctitest.Observable{Type: kind, Value: fmt.Sprintf(format, args...), CreatedAt: "2026-01-02T03:04:05.678Z"}
}

func account(login, password string) openctitest.Observable {
	o := observable("User-Account", "%s", login)
	o.Account = &openctitest.Account{Login: login, Credential: password}
	return o
}

// job is an observable and the work that asks for it.
type job struct {
	openctitest.Observable
	id, work string
}

// trace is the id of the job's trace.
func (j job) trace() string { return telemetry.TraceID(j.work + "/" + j.id).String() }

// enrich has every observable enriched.
func (w *world) enrich(list []openctitest.Observable) []job {
	w.t.Helper()
	jobs := make([]job, len(list))
	for i, o := range list {
		trigger := openctitest.Auto
		if i%7 == 0 {
			trigger = openctitest.Manual
		}
		id := w.platform.AddObservable(o)
		work, err := w.platform.Enrich(w.ctx, id, trigger)
		if err != nil {
			w.t.Fatal(err)
		}
		jobs[i] = job{o, id, work}
	}
	return jobs
}

// complete counts the works that are.
func (w *world) complete() int {
	n := 0
	for _, work := range w.platform.Works() {
		if work.Status == "complete" {
			n++
		}
	}
	return n
}

// collector is a stand-in for an OpenTelemetry collector: OTLP over HTTP in, spans by trace out.
type collector struct {
	address string
	mu      sync.Mutex
	spans   map[string][]*tracev1.Span // by trace id, in hexadecimal
	changed chan struct{}
}

func newCollector(t *testing.T) *collector {
	c := &collector{spans: make(map[string][]*tracev1.Span), changed: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(server.Close)
	c.address = server.URL
	return c
}

func (c *collector) receive(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	var request coltrace.ExportTraceServiceRequest
	if _, err := body.ReadFrom(r.Body); err != nil || proto.Unmarshal(body.Bytes(), &request) != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.add(&request)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) add(request *coltrace.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				id := hex.EncodeToString(span.GetTraceId())
				c.spans[id] = append(c.spans[id], span)
			}
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// hops returns the hops of a trace in the order they began, each once.
func (c *collector) hops(trace string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	spans := slices.Clone(c.spans[trace])
	slices.SortFunc(spans, func(a, b *tracev1.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
	var hops []string
	for _, span := range spans {
		if name, ok := strings.CutPrefix(span.GetName(), "hop "); ok && !slices.Contains(hops, name) {
			hops = append(hops, name)
		}
	}
	return hops
}

// wait returns when done does; it is asked again whenever spans came.
func (c *collector) wait(ctx context.Context, done func() bool) error {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// texts returns everything that the spans say.
func (c *collector) texts() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, spans := range c.spans {
		for _, span := range spans {
			b.WriteString(span.String() + "\n")
		}
	}
	return b.String()
}

// freePort is one that nobody else gets before the end of the test.
func freePort(t *testing.T) string {
	t.Helper()
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release() })
	return strconv.Itoa(port)
}
