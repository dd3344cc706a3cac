package e2e

import (
	"net/http"
	"strings"
	"testing"

	"opencti-ipqs-worker/ipqs/ipqstest"
)

// A worker may be up long before OpenCTI is.
func TestWaitsForOpenCTI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	w.platform.SetDown(true)
	probe := w.newProbe()
	worker := w.launch(probe.options()...)
	probe.awaitLack("opencti")
	probe.await("it has tried", func(s state) bool {
		return strings.Contains(s.Dependencies["opencti"].Reason, "503") && s.lacks("rabbitmq") && s.Dependencies["ipqs"].OK
	})
	w.platform.SetDown(false)
	probe.awaitReady()
	if status, _ := probe.get("/nothing"); status != http.StatusNotFound {
		t.Errorf("GET /nothing = %d, want 404", status)
	}
	jobs := w.enrich(observables(10))
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	checkWorks(t, w, jobs, false)
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if tries := w.logs.Count("not registered yet"); tries == 0 {
		t.Error("the log says nothing of the tries to register")
	}
	checkSecrets(t, w)
}

func TestStopsWhileItWaitsForOpenCTI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	w.platform.SetDown(true)
	probe := w.newProbe()
	worker := w.launch(probe.options()...)
	probe.awaitLack("opencti")
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
}

func TestRegistersAgainWhenOpenCTIHasForgottenIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	w.hurry()
	probe := w.newProbe()
	worker := w.start(append(probe.options(), pingEvery+"=300ms")...)
	probe.awaitReady()
	w.platform.Forget(w.connector)
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Registration(w.connector) != nil }); err != nil {
		t.Fatalf("waiting for the second registration: %v", err)
	}
	probe.awaitReady()
	jobs := w.enrich(observables(10))
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	checkWorks(t, w, jobs, false)
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	// The queues are where they were: the pipeline never noticed.
	if begun := w.logs.Count(`"enriching"`); begun != 1 {
		t.Errorf("the pipeline began %d times, want once", begun)
	}
	checkSecrets(t, w)
}
