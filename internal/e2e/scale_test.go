//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/redisnode"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

var attemptsOf = regexp.MustCompile(`"attempts":"?(\d+)`)

// Workers come and go while there is work, as an autoscaler has them: each leaves with status 0, every job is done once and
// by its first attempt, and nothing is asked of IPQS twice.
func TestWorkersComeAndGoUnderLoad(t *testing.T) {
	t.Parallel()
	const portion = 100
	w := newWorld(t, ipqstest.Options{Latency: 40 * time.Millisecond, LatencyJitter: 20 * time.Millisecond})
	few := []string{"--concurrency", "lookup=4,publish=8", "--concurrency", "resolve=8"}
	workers := []*worker{w.run(few)}
	launched, underLoad := 1, 0
	w.awaitLog(`"enriching"`, launched)
	var jobs []job
	for _, change := range []int{+3, -1, +1, -2, +3, -3, -1} { // one is left
		jobs = append(jobs, w.enrich(numbered(len(jobs), portion))...)
		for ; change > 0; change-- {
			workers = append(workers, w.run(few))
			launched++
		}
		w.awaitLog(`"enriching"`, launched)
		for ; change < 0; change++ {
			if w.platform.Totals().Ended < len(jobs) {
				underLoad++
			}
			if status := workers[0].stop(); status != 0 {
				t.Errorf("exit status = %d after SIGTERM under load, want 0", status)
			}
			workers = workers[1:]
		}
	}
	if underLoad < 4 {
		t.Errorf("%d of 7 workers were stopped while there was work: it shows less than it should", underLoad)
	}
	n := len(jobs)
	w.awaitEnds(n)
	if asked := w.asked(); asked != n {
		t.Errorf("IPQS was asked %d times for %d jobs, want each once", asked, n)
	}
	checkWorks(t, w, jobs, false)
	checkObjects(t, w, jobs)
	for _, worker := range workers {
		if status := worker.stop(); status != 0 {
			t.Errorf("exit status = %d after SIGTERM, want 0", status)
		}
	}
	trips := attemptsOf.FindAllStringSubmatch(w.logs.String(), -1)
	for _, trip := range trips {
		if trip[1] != "1" {
			t.Errorf("a hop says that it took %s attempts, want 1 everywhere", trip[1])
		}
	}
	if want := n * len(fiveHops); len(trips) != want {
		t.Errorf("the hops say %d times how many attempts they took, want %d", len(trips), want)
	}
	if letters := w.list(); len(letters) > 0 {
		t.Errorf("%d dead letters, want none: %+v", len(letters), letters[0])
	}
}

// The number of jobs at once is the hop's own, in each process.
func TestConcurrencyIsWhatTheCommandLineSays(t *testing.T) {
	t.Parallel()
	const n, latency = 24, 50 * time.Millisecond
	w := newWorld(t, ipqstest.Options{Latency: latency})
	w.run([]string{"--concurrency", "lookup=2"}, "WORKER_CONCURRENCY=lookup=64,publish=3", "WORKER_LOOKUP_CONCURRENCY=128")
	w.awaitLog(`"enriching"`, 1)
	jobs := w.enrich(observables(n))
	w.awaitEnds(n)
	checkWorks(t, w, jobs, false)
	log := w.ipqs.Log()
	if took, least := log[len(log)-1].At.Sub(log[0].At), (n/2-1)*latency; took < least {
		t.Errorf("%d lookups of %v, two at once, began within %v, want %v at least", n, latency, took, least)
	}
}

// repeating makes n observables, four in ten of which were there before: a moment, or long before.
func repeating(n int) (list []openctitest.Observable, distinct int) {
	for i := range n {
		which := distinct
		switch {
		case i%5 == 1 && distinct > 0:
			which = distinct - 1
		case i%5 == 3 && distinct > 0:
			which = (i * 7) % distinct
		default:
			distinct++
		}
		o := observable("Domain-Name", "host-%d.example.com", which)
		if which%2 == 1 {
			o = observable("Email-Addr", "user-%d@example.org", which)
		}
		list = append(list, o)
	}
	return list, distinct
}

// Two processes that share a Redis ask each question once. Without it, from the middle on, they ask what each does not know
// by itself, and lose nothing.
func TestTwoWorkersShareARedis(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %t", kill), func(t *testing.T) {
			t.Parallel()
			redis := ownRedis(t)
			w := newWorld(t, ipqstest.Options{Latency: 10 * time.Millisecond, LatencyJitter: 5 * time.Millisecond})
			options := []string{"CACHE_URL=" + redis.URL(), "CONNECTOR_LOG_LEVEL=debug"} // which tells of every operation that fails
			workers := []*worker{w.start(options...), w.start(options...)}
			list, distinct := repeating(1000)
			if distinct != 600 {
				t.Fatalf("the test asks about %d values, want 600", distinct)
			}
			jobs := w.enrich(list[:500])
			if kill {
				if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Ended >= 250 }); err != nil {
					t.Fatalf("%+v: %v", w.platform.Totals(), err)
				}
				redis.Kill()
			}
			jobs = append(jobs, w.enrich(list[500:])...)
			w.awaitEnds(len(jobs))
			checkWorks(t, w, jobs, false)
			most := distinct
			if late := w.logs.Count("an operation of Redis failed"); late > 0 { // then each asks by itself, as it should
				if !kill {
					t.Logf("the machine is so busy that Redis did not answer %d times within its two seconds: this shows little", late)
				}
				most = len(jobs)
			}
			if asked := w.asked(); asked < distinct || asked > most {
				t.Errorf("IPQS was asked %d times, want %d to %d", asked, distinct, most)
			}
			if kill {
				w.awaitLog("Redis does not answer", 1)
				if err := redis.Start(w.ctx); err != nil {
					t.Fatal(err)
				}
				// It is asked again after a while, for a job that comes then.
				more := 0
				for !w.logged("Redis answers again") {
					more++
					w.enrich([]openctitest.Observable{observable("Domain-Name", "later-%d.example.com", more)})
					w.awaitEnds(len(jobs) + more)
					w.pass(200 * time.Millisecond)
				}
			}
			if letters := w.list(); len(letters) > 0 {
				t.Errorf("%d dead letters, want none: %+v", len(letters), letters[0])
			}
			for _, worker := range workers {
				if status := worker.stop(); status != 0 {
					t.Errorf("exit status = %d after SIGTERM, want 0", status)
				}
			}
			checkSecrets(t, w)
		})
	}
}

// A limit is for all processes together: counted in Redis where there is one, else each takes its part.
func TestLimitsAreForAllWorkersTogether(t *testing.T) {
	t.Parallel()
	const perSecond, n = 20, 60
	tests := []struct {
		name    string
		options func(t *testing.T) []string
	}{
		{"shared", func(t *testing.T) []string { return []string{"CACHE_URL=" + ownRedis(t).URL()} }},
		{"divided", func(*testing.T) []string { return []string{"IPQS_RATE_SHARE=2"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ipqstest.Options{})
			options := append(tt.options(t), fmt.Sprint("IPQS_RATE_LIMIT=", perSecond), "OTEL_SDK_DISABLED=true")
			w.start(options...)
			w.start(options...)
			w.awaitLog(`"enriching"`, 2)
			began := time.Now() // and not the first lookup, which may be late and those after it not
			jobs := w.enrich(observables(n))
			w.awaitEnds(n)
			checkWorks(t, w, jobs, false)
			log := w.ipqs.Log()
			// Each process may begin with one at once.
			if took, least := log[len(log)-1].At.Sub(began), (n-4)*time.Second/perSecond; took < least {
				t.Errorf("%d lookups began within %v, want %v at least: %d a second", n, took, least, perSecond)
			}
		})
	}
}

// A budget is for all processes together, too.
func TestTheBudgetIsForAllWorkersTogether(t *testing.T) {
	t.Parallel()
	const n, budget = 60, 25
	tests := []struct {
		name        string
		least, most int // questions
		options     func(t *testing.T) []string
	}{
		{"shared", budget, budget, func(t *testing.T) []string { return []string{"CACHE_URL=" + ownRedis(t).URL()} }},
		// How many jobs each gets is RabbitMQ's.
		{"divided", budget / 2, budget / 2 * 2, func(*testing.T) []string { return []string{"IPQS_RATE_SHARE=2"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ipqstest.Options{Latency: 5 * time.Millisecond})
			options := append(tt.options(t), fmt.Sprint("IPQS_DAILY_BUDGET=", budget), "IPQS_OVER_BUDGET=skip",
				"CONNECTOR_SKIP_AS=error", "OTEL_SDK_DISABLED=true")
			w.start(options...)
			w.start(options...)
			w.awaitLog(`"enriching"`, 2)
			jobs := w.enrich(observables(n))
			w.awaitEnds(n)
			skipped := w.those(jobs, func(work openctitest.Work) bool { return len(work.Errors) > 0 })
			if asked := w.asked(); asked < tt.least || asked > tt.most || len(skipped) != n-asked {
				t.Errorf("IPQS was asked %d times and %d jobs were skipped, want %d to %d and the rest", asked, len(skipped), tt.least, tt.most)
			}
		})
	}
}

// ownRedis starts a Redis for one test. Where none is installed the test is skipped, or fails where CI=true.
func ownRedis(t *testing.T) *redisnode.Server {
	t.Helper()
	server, err := redisnode.Start(t.Context())
	if errors.Is(err, redisnode.ErrNotInstalled) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func (w *world) logged(text string) bool { return strings.Contains(w.logs.String(), text) }

// awaitEnds waits until n works are complete, and the worker has told their ends.
func (w *world) awaitEnds(n int) {
	w.t.Helper()
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Ended >= n && w.complete() >= n }); err != nil {
		w.t.Fatalf("%+v of %d: %v", w.platform.Totals(), n, err)
	}
}
