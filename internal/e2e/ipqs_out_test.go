//go:build unix

package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// While IPQS is out, or the account is, jobs wait in their queue: none is dead-lettered, and IPQS sees a handful of probes
// instead of the backlog. In `make chaos` it lasts three minutes and 2,000 jobs wait.
func TestNothingIsBurntWhileIPQSIsOut(t *testing.T) {
	t.Parallel()
	n, outage := 150, time.Second
	if os.Getenv("CHAOS_JOBS") != "" {
		n, outage = 2000, 3*time.Minute
	}
	for _, mode := range []ipqstest.Mode{ipqstest.Down, ipqstest.InvalidKey, ipqstest.NoCredits} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ipqstest.Options{Latency: 5 * time.Millisecond})
			w.extend(outage + time.Minute)
			w.ipqs.SetMode(mode)
			worker := w.start("CONNECTOR_LOG_LEVEL=info")
			jobs := w.enrich(numbered(0, n))
			w.awaitLog("hop pauses", 1)
			time.AfterFunc(outage, func() { w.ipqs.SetMode(ipqstest.Healthy) })
			w.awaitLog("hop goes on", 1)
			asked := w.asked()

			if err := w.platform.WaitWorks(w.ctx, n); err != nil {
				t.Fatalf("%+v of %d jobs: %v", w.platform.Totals(), n, err)
			}
			if failed := w.those(jobs, func(work openctitest.Work) bool { return len(work.Errors) > 0 }); len(failed) > 0 {
				t.Errorf("%d works ended in error, want none", len(failed))
			}
			// Those in hand when it began, a few tries of each, and probes; some of the backlog may be through by now.
			inHand, through := 16, w.asked()-asked
			if wasted := w.asked() - n; wasted > 3*inHand {
				t.Errorf("IPQS was asked %d times more than there are jobs (%d at the end of the pause, %d since), want at most %d",
					wasted, asked, through, 3*inHand)
			}
			if status := worker.stop(); status != 0 {
				t.Errorf("exit status = %d after SIGTERM, want 0", status)
			}
		})
	}
}

// asked counts what IPQS has seen.
func (w *world) asked() int {
	total := 0
	for _, n := range w.ipqs.Requests() {
		total += n
	}
	return total
}

// extend gives the test more time.
func (w *world) extend(by time.Duration) {
	deadline, _ := w.ctx.Deadline()
	w.ctx, w.cancel = context.WithDeadline(context.Background(), deadline.Add(by))
	w.t.Cleanup(w.cancel)
}
