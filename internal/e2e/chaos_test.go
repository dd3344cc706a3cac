//go:build unix

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/ipqs"
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
// killed and restarted, IPQS answers a fifth of the lookups with errors, throttling, garbage or too late and refuses every
// fiftieth value, OpenCTI goes away for 20 seconds, and the workers' connections to the broker are cut and stalled. In the end
// each job has ended in one way, once; each that was given up has a dead letter; and a replay brings those home.
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
	list := numbered(0, n)
	refused := w.refuse(list, 50)
	jobs := w.enrich(list)
	c.rage()

	if err := w.platform.WaitWorks(w.ctx, n); err != nil {
		t.Fatalf("%+v of %d jobs: %v", w.platform.Totals(), n, err)
	}
	c.calm()
	published, failed, twice := c.tell(jobs)
	t.Logf("%d jobs: %d published, %d given up, %d ended more than once; %d kills", n, len(published), len(failed), twice, c.kills)
	if len(published)+len(failed) != n {
		t.Errorf("%d published and %d given up of %d jobs", len(published), len(failed), n)
	}
	c.checkLetters(failed, refused)

	w.ipqs.Recover()
	checkObjects(t, w, published)
	worker := w.launch(c.through...)
	stdout, stderr := w.operate(0, "replay", "--all")
	t.Logf("replay --all: %s%s", stdout, stderr)
	w.awaitImport(failed...)
	if left := w.list(); len(left) > 0 {
		t.Errorf("%d dead letters are left after the replay, want none: %+v", len(left), left[0])
	}
	checkObjects(t, w, jobs)
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if complaints := w.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI's stand-in complains: %q", complaints)
	}
	checkSecrets(t, w)
}

// refuse has IPQS refuse every nth of the observables, whenever it is asked, and returns them by their values.
func (w *world) refuse(list []openctitest.Observable, nth int) map[string]bool {
	kinds := map[string]ipqs.Kind{
		"IPv4-Addr": ipqs.KindIP, "IPv6-Addr": ipqs.KindIP, "Email-Addr": ipqs.KindEmail, "Phone-Number": ipqs.KindPhone,
		"Url": ipqs.KindURL, "Domain-Name": ipqs.KindURL,
	}
	refused := make(map[string]bool)
	for i := nth / 2; i < len(list); i += nth {
		o := list[i]
		kind, asked := kinds[o.Type], o.Value
		switch account := o.Account; {
		case account != nil && account.Credential != "":
			kind, asked = ipqs.KindLeakPassword, account.Credential
		case account != nil:
			kind = ipqs.KindLeakUsername
		}
		w.ipqs.Script(kind, asked, slices.Repeat([]ipqstest.Response{ipqstest.Refusal(ipqstest.MessageInvalidIP)}, 100)...)
		refused[o.Value] = true
	}
	return refused
}

// tell looks at the work of every job: complete, and ended well or in error, once. A kill may leave copies of a job that end
// within the same moment: all say the same then, and that is all that may be there more than once.
func (c *chaos) tell(jobs []job) (published, failed []job, twice int) {
	c.t.Helper()
	again := 0
	for _, j := range jobs {
		work, _ := c.w.platform.Work(j.work)
		switch {
		case work.Status != "complete" || work.ProcessedTimes == 0 || work.Forced:
			c.t.Errorf("work of %s %s = %+v, want it complete and ended", j.Type, j.Value, work)
		case ownErrors(work) > 0:
			failed = append(failed, j)
		default:
			published = append(published, j)
		}
		if work.ProcessedTimes > 1 {
			twice++
			again += work.ProcessedTimes - 1
			said := make(map[string]bool)
			for _, m := range slices.Concat(work.Messages, work.Errors) {
				// Reports on objects say nothing, and what is said on the way is no end: that the job is being worked on, or waits.
				if m.Message != "" && !strings.HasPrefix(m.Message, "IPQS: the job ") && !strings.HasPrefix(m.Message, "Publishing ") {
					said[ofOneDelivery.ReplaceAllString(m.Message, "")] = true
				}
			}
			if len(said) != 1 {
				c.t.Errorf("work of %s %s = %+v, want it ended once, or more often in the same words", j.Type, j.Value, work)
			}
		}
	}
	if again > c.kills {
		c.t.Errorf("%d works were ended again, %d times in all, want at most once for each of %d kills", twice, again, c.kills)
	}
	return published, failed, twice
}

// ofOneDelivery is what can differ between the ends of two copies of a job: a copy can have its answer from the cache, it publishes
// only what OpenCTI lacks then, and may have announced nothing.
var ofOneDelivery = regexp.MustCompile(`( (New answer|Answer from the cache[^.]*)\. \d+ objects? sent\.)?( \([^()]*\))?$`)

// checkLetters holds the dead letters against the works that ended in error: one for each, with the same reason, and those
// that IPQS refuses among them.
func (c *chaos) checkLetters(failed []job, refused map[string]bool) {
	c.t.Helper()
	letters := make(map[string]listed)
	for _, letter := range c.w.list() {
		if _, twin := letters[letter.WorkID]; twin {
			c.t.Errorf("work %s has two dead letters", letter.WorkID)
		}
		letters[letter.WorkID] = letter
	}
	for _, j := range failed {
		letter, ok := letters[j.work]
		work, _ := c.w.platform.Work(j.work)
		last := work.Errors[len(work.Errors)-1].Message
		if want := fmt.Sprintf("dead letter %s (%s).", letter.ID, letter.Reason); !ok || !strings.Contains(last, want) {
			c.t.Errorf("work of %s %s ended with %q, and its letter is %+v: want the letter named", j.Type, j.Value, last, letter)
		}
		if refused[j.Value] != (letter.Reason == "invalid_value") {
			c.t.Errorf("%s %s has a dead letter for %s", j.Type, j.Value, letter.Reason)
		}
		delete(letters, j.work)
		delete(refused, j.Value)
	}
	for _, letter := range letters {
		c.t.Errorf("dead letter %+v, whose work did not end in error", letter)
	}
	if len(refused) > 0 {
		c.t.Errorf("%d values that IPQS refuses were not given up", len(refused))
	}
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
