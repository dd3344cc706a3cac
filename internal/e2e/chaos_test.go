//go:build unix

package e2e

import (
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// chaosJobs is how many jobs go through the chaos: few in the tests, CHAOS_JOBS in `make chaos`.
func chaosJobs(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CHAOS_JOBS")
	if text == "" {
		return 600
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 100 {
		t.Fatalf("CHAOS_JOBS is %q, want a number from 100 on", text)
	}
	return n
}

// TestChaos puts jobs through three workers while everything fails that can: a worker is killed every second, the broker is
// killed and started twice, IPQS answers a fifth of the lookups with errors, throttling, garbage or too late, OpenCTI goes
// away, and the workers' connections to the broker are cut and stalled. In the end each job has ended, in one way.
func TestChaos(t *testing.T) {
	t.Parallel()
	pipelinetest.AMQPURL(t) // where there is no broker for the others, there is none for this one
	n := chaosJobs(t)
	node := ownNode(t)
	broker := openctitest.AMQPBroker(node.URL())
	t.Cleanup(func() { _ = broker.Close() })
	w := newWorldOn(t, broker, uuid.NewString(), "", ipqstest.Options{
		Latency: 20 * time.Millisecond, LatencyJitter: 20 * time.Millisecond, Seed: 1,
		Faults: ipqstest.FaultRates{Status500: 0.06, Throttled429: 0.04, Throttled403: 0.02, Slow: 0.02, Garbage: 0.04, HTML: 0.02},
	})
	w.extend(time.Duration(n) * 100 * time.Millisecond)
	proxy := pipelinetest.NewFaultProxy(t, node.Addr())
	through := throughProxy(t, proxy, node)

	c := &chaos{t: t, w: w, node: node, proxy: proxy, through: through, dice: rand.New(rand.NewPCG(1, 2))}
	for range 3 {
		c.launch()
	}
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Registration(w.connector) != nil }); err != nil {
		t.Fatal(err)
	}
	jobs := w.enrich(numbered(0, n))
	c.rage()

	if err := w.platform.WaitWorks(w.ctx, n); err != nil {
		t.Fatalf("%+v of %d jobs: %v", w.platform.Totals(), n, err)
	}
	c.calm()
	published, deadLettered := 0, 0
	for _, j := range jobs {
		work, _ := w.platform.Work(j.work)
		switch {
		case work.Status != "complete" || work.ProcessedTimes == 0 || work.Forced:
			t.Errorf("work of %s %s = %+v, want it complete and ended", j.Type, j.Value, work)
		case ownErrors(work) > 0:
			deadLettered++
		default:
			published++
		}
	}
	t.Logf("%d jobs: %d published, %d dead-lettered; %d kills", n, published, deadLettered, c.kills)
	if published+deadLettered != n {
		t.Errorf("%d published and %d dead-lettered of %d jobs", published, deadLettered, n)
	}
	if complaints := w.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI's stand-in complains: %q", complaints)
	}
	checkSecrets(t, w)
}

// ownErrors counts the errors that the worker left: OpenCTI's importers name the object.
func ownErrors(work openctitest.Work) int {
	n := 0
	for _, e := range work.Errors {
		if e.Source == "" {
			n++
		}
	}
	return n
}

// throughProxy is how a worker is told to reach the broker by the proxy.
func throughProxy(t *testing.T, proxy *pipelinetest.FaultProxy, node *rabbitnode.Node) []string {
	t.Helper()
	at, err := url.Parse(proxy.Through(t, node.URL()))
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"MQ_HOST=" + host, "MQ_PORT=" + port, "CONNECTOR_LOG_LEVEL=warn"}
}

// chaos is what goes wrong while jobs go through.
type chaos struct {
	t       *testing.T
	w       *world
	node    *rabbitnode.Node
	proxy   *pipelinetest.FaultProxy
	through []string
	dice    *rand.Rand

	workers []*worker
	kills   int
}

func (c *chaos) launch() { c.workers = append(c.workers, c.w.launch(c.through...)) }

// rage lets everything go wrong until nine tenths of the jobs have ended all the same, and at least once through all of it:
// a worker is killed every second, and in some seconds something else happens.
func (c *chaos) rage() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	total := len(c.w.platform.Works())
	const last = 30
	events := map[int]func(){
		1:    c.proxy.Cut,
		2:    func() { c.w.platform.SetDown(true) },
		4:    c.proxy.Stall,
		7:    c.proxy.Resume,
		10:   func() { c.must(c.node.Kill()) },
		11:   func() { c.must(c.node.Start(c.w.ctx)) },
		16:   c.proxy.Cut,
		22:   func() { c.w.platform.SetDown(false) },
		25:   func() { c.must(c.node.Restart(c.w.ctx)) },
		last: c.proxy.Cut,
	}
	for second := 1; second <= last || c.w.platform.Totals().Ended < total*9/10; second++ {
		select {
		case <-tick.C:
		case <-c.w.ctx.Done():
			c.t.Fatalf("the chaos did not end: %+v", c.w.platform.Totals())
		}
		victim := c.dice.IntN(len(c.workers))
		c.workers[victim].kill()
		c.kills++
		c.workers[victim] = c.w.launch(c.through...)
		if event := events[second]; event != nil {
			event()
		}
	}
}

// calm stops the workers in order. One that was started a moment ago may not listen for signals yet.
func (c *chaos) calm() {
	for _, worker := range c.workers {
		young := time.Since(worker.began) < 5*time.Second
		if status := worker.stop(); status != 0 && !young {
			c.t.Errorf("exit status = %d after SIGTERM, want 0", status)
		}
	}
}

func (c *chaos) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}
