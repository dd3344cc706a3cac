package e2e

import (
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"opencti-ipqs-worker/ipqs/ipqstest"
)

// From 6.8.7 to 7.260507 OpenCTI's clean-up deletes the counters of a work as soon as a younger one has finished, and its
// importers then drop what the older work still has in the queue. Jobs that overtake each other, as they do between
// several workers, lose data that way unless their objects name no work.
const deletingRelease = "6.8.10"

func TestSixWorkersLoseNothingWhereOpenCTIDeletesCounters(t *testing.T) {
	w := newWorldOf(t, deletingRelease, ipqstest.Options{Latency: 15 * time.Millisecond, LatencyJitter: 15 * time.Millisecond})
	jobs := crowd(t, w, 2000)
	err := w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Ended == len(jobs) })
	if err == nil {
		sent := w.sent()
		err = w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Imported >= sent })
	}
	if err != nil {
		t.Fatalf("%+v of %d jobs, %d objects sent: %v", w.platform.Totals(), len(jobs), w.sent(), err)
	}
	for _, work := range w.platform.Works() {
		if work.Status != "complete" || work.Dropped > 0 || work.ProcessedTimes != 1 || len(work.Errors) > 0 {
			t.Errorf("work = %+v, want it complete, ended once, nothing dropped", work)
		}
	}
	checkObjects(t, w, jobs)
	if complaints := w.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI's stand-in complains: %q", complaints)
	}
}

// The same load in a build that lets objects name their work all the same: the stand-in drops some, so the test above can
// fail.
func TestSixWorkersWouldLoseObjectsIfTheyNamedTheirWorks(t *testing.T) {
	tracking := filepath.Join(t.TempDir(), "ipqs-worker")
	if err := build(tracking, "-ldflags", "-X opencti-ipqs-worker/internal/app.trackAlways=true"); err != nil {
		t.Fatal(err)
	}
	w := newWorldOf(t, deletingRelease, ipqstest.Options{Latency: 15 * time.Millisecond, LatencyJitter: 15 * time.Millisecond})
	w.program = tracking
	crowd(t, w, 2000)
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Dropped > 0 }); err != nil {
		t.Errorf("nothing was dropped: %+v: %v", w.platform.Totals(), err)
	}
}

// crowd gives n jobs to six workers, with an importer that begins late and a clean-up that runs all the time.
func crowd(t *testing.T, w *world, n int) []job {
	t.Helper()
	for range 6 {
		w.start("CONNECTOR_LOG_LEVEL=warn", "OTEL_SDK_DISABLED=true")
	}
	w.platform.SetImporting(false)
	jobs := w.enrich(observables(n))
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Ended >= n/10 }); err != nil {
		t.Fatalf("%+v: %v", w.platform.Totals(), err)
	}
	w.platform.SetImporting(true)
	w.every(50, w.platform.Tick)
	return jobs
}

// every calls do after each so many objects that were imported, until the test ends.
func (w *world) every(objects int, do func()) {
	stopped := make(chan struct{})
	w.t.Cleanup(func() { w.cancel(); <-stopped })
	go func() {
		defer close(stopped)
		for next := objects; ; next = w.platform.Totals().Imported + objects {
			if w.platform.Wait(w.ctx, func() bool { return w.platform.Totals().Imported >= next }) != nil {
				return
			}
			do()
		}
	}()
}

// objectsSent is in the message of a job that was published.
var objectsSent = regexp.MustCompile(`(\d+) objects? sent\.`)

// sent adds up how many objects the works say were sent.
func (w *world) sent() int {
	total := 0
	for _, work := range w.platform.Works() {
		for _, m := range work.Messages {
			if match := objectsSent.FindStringSubmatch(m.Message); match != nil {
				n, err := strconv.Atoi(match[1])
				if err != nil {
					w.t.Error(err)
				}
				total += n
			}
		}
	}
	return total
}
