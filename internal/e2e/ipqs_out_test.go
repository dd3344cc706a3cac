//go:build unix

package e2e

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// concurrency is how many lookups a worker has under way at once, unless it is told otherwise.
const concurrency = 16

// While IPQS is out, or the account is, jobs wait in their queue: none is dead-lettered, IPQS sees a handful of probes
// instead of the backlog, and the worker says what it waits for. Then they are done as fast as any others. In `make chaos` it
// lasts three minutes, 2,000 jobs wait, and a used up quota is back when the day turns.
func TestNothingIsBurntWhileIPQSIsOut(t *testing.T) {
	t.Parallel()
	n, outage := 150, time.Second
	long := os.Getenv("CHAOS_JOBS") != ""
	if long {
		n, outage = 2000, 3*time.Minute
	}
	tests := []struct {
		mode   ipqstest.Mode
		reason string // of the pause
		// day is when the worker shall believe that it starts, empty for the time it is: the quota is back a while later.
		day string
	}{
		{mode: ipqstest.Down, reason: "circuit_open"},
		{mode: ipqstest.InvalidKey, reason: "auth"},
		{mode: ipqstest.NoCredits, reason: "credits"},
		{mode: ipqstest.QuotaExceeded, reason: "quota_exhausted", day: "2026-03-02T23:59:30-05:00"},
	}
	for _, tt := range tests {
		t.Run(string(tt.mode), func(t *testing.T) {
			t.Parallel()
			if tt.day != "" && !long {
				t.Skip("the probe after the turn of the day comes within two minutes: CHAOS_JOBS is not set")
			}
			w := newWorld(t, ipqstest.Options{Latency: 5 * time.Millisecond})
			w.extend(2*outage + 2*time.Minute)
			w.ipqs.SetMode(tt.mode)
			probe := w.newProbe()
			options := append(probe.options(), "CONNECTOR_LOG_LEVEL=info")
			if tt.day != "" {
				w.hurry()
				options = append(options, pingEvery+"=40s", clockAt+"="+tt.day)
			}
			began := time.Now()
			worker := w.start(options...)
			jobs := w.enrich(numbered(0, n))
			w.awaitLog("hop pauses", 1)
			probe.await("it says that it pauses, and why", func(s state) bool {
				hops := s.Dependencies["hops"]
				return s.Ready && !hops.OK && strings.Contains(hops.Reason, "("+tt.reason+")") && len(hops.Details) == 1 &&
					hops.Details[0].Hop == "lookup" && hops.Details[0].Reason == tt.reason && hops.Details[0].NextProbe.After(hops.Details[0].Since)
			})
			if tt.day != "" {
				w.untilTheDayTurns(began, tt.day)
			} else {
				w.pass(outage)
			}
			burnt := w.asked()
			w.ipqs.SetMode(ipqstest.Healthy)
			w.awaitLog("hop goes on", 1)
			recovered := time.Now()

			if err := w.platform.WaitWorks(w.ctx, n); err != nil {
				t.Fatalf("%+v of %d jobs: %v", w.platform.Totals(), n, err)
			}
			took := time.Since(recovered)
			if failed := w.those(jobs, func(work openctitest.Work) bool { return len(work.Errors) > 0 || work.ProcessedTimes != 1 }); len(failed) > 0 {
				t.Errorf("%d works ended in error or more than once, want none: %v", len(failed), failed[0])
			}
			// What was in hand when it began, each asked once or twice, and the probes.
			const handful = 10
			if burnt > 2*concurrency+handful {
				t.Errorf("IPQS was asked %d times while it was out, want at most %d in hand and %d probes", burnt, concurrency, handful)
			}
			if wasted := w.asked() - n; wasted > 2*concurrency+handful {
				t.Errorf("IPQS was asked %d times more than there are jobs, want at most %d", wasted, 2*concurrency+handful)
			}
			probe.await("it goes on", func(s state) bool { return s.Ready && s.Dependencies["hops"].OK })

			again := time.Now()
			w.enrich(numbered(n, n))
			if err := w.platform.WaitWorks(w.ctx, 2*n); err != nil {
				t.Fatalf("%+v of %d jobs: %v", w.platform.Totals(), 2*n, err)
			}
			usual := time.Since(again)
			t.Logf("%d jobs after %v: asked %d times meanwhile, the backlog done in %v; as many others took %v", n,
				recovered.Sub(began).Round(time.Second), burnt, took.Round(time.Millisecond), usual.Round(time.Millisecond))
			if took > 2*usual+5*time.Second {
				t.Errorf("the backlog was done %v after the recovery, and as many new jobs in %v: want it about as fast", took, usual)
			}
			if status := worker.stop(); status != 0 {
				t.Errorf("exit status = %d after SIGTERM, want 0", status)
			}
			w.program = binary // which has commands
			if letters := w.list(); len(letters) > 0 {
				t.Errorf("%d dead letters, want none: %+v", len(letters), letters[0])
			}
		})
	}
}

// untilTheDayTurns waits until it is midnight for the worker, which must not ask IPQS meanwhile.
func (w *world) untilTheDayTurns(began time.Time, day string) {
	w.t.Helper()
	at, err := time.Parse(time.RFC3339, day)
	if err != nil {
		w.t.Fatal(err)
	}
	midnight := time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, at.Location())
	w.pass(5 * time.Second) // what was in hand has been asked
	asked := w.asked()
	w.pass(time.Until(began.Add(midnight.Sub(at))))
	if more := w.asked() - asked; more > 0 {
		w.t.Errorf("IPQS was asked %d times between the end of the quota and that of the day, want not once", more)
	}
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
		w.t.Fatal(w.ctx.Err())
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
