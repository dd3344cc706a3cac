package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/status"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// command runs a command of the program as an operator of this world would, and returns its exit status and both outputs.
func (w *world) command(environ []string, args ...string) (exit int, stdout, stderr string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, w.program, args...)
	cmd.Dir = w.t.TempDir()
	cmd.Env = append([]string{
		"HOME=" + cmd.Dir, "OPENCTI_URL=" + w.address, "OPENCTI_TOKEN=" + token, "CONNECTOR_ID=" + w.connector, "CONNECTOR_AUTO=true",
		"IPQS_PRIVATE_KEY=" + key, "IPQS_BASE_URL=" + w.ipqs.BaseURL,
	}, environ...)
	var out, errs logtest.Log
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // how it ended is in its state
	for _, secret := range []string{token, key} {
		if strings.Contains(out.String()+errs.String(), secret) {
			w.t.Errorf("%v shows %q", args, secret)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// status is what the command says.
func (w *world) status(environ ...string) status.Report {
	w.t.Helper()
	exit, out, errs := w.command(environ, "status", "--output", "json")
	var report status.Report
	if err := json.Unmarshal([]byte(out), &report); exit != 0 || err != nil {
		w.t.Fatalf("status ended with %d, %v: %s%s", exit, err, out, errs)
	}
	return report
}

// The commands of somebody who looks after a pipeline, beside one that works, and beside one where nobody takes the jobs.
func TestStatusAndDoctorBesideAWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{Credits: 1000})
	probe := w.newProbe()
	worker := w.start(probe.options()...)
	probe.awaitReady()
	jobs := w.enrich(observables(20))
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	before := w.ipqs.Credits()
	exit, out, errs := w.command(nil, "doctor")
	told := strings.Join(strings.Fields(out), " ") // lines are broken for people
	// The one warning is that IPQS is a stand-in.
	if exit != 0 || strings.Contains(told, "fail ") || strings.Count(told, "warn ") != 1 || !strings.Contains(told, "One worker takes jobs now") {
		t.Errorf("doctor ended with %d: %s%s, want all well, and a worker", exit, out, errs)
	}
	if after := w.ipqs.Credits(); after != before {
		t.Errorf("doctor spent %d credits, want none", before-after)
	}
	report := w.status(probe.options()...)
	if len(report.Unknown) > 0 || len(report.Workers) != 1 || report.Workers[0].Ready == nil || !*report.Workers[0].Ready || report.IPQS == nil || report.IPQS.Breaker != "closed" {
		t.Errorf("status = %+v, want one worker that is ready, and nothing unknown", report)
	}
	for _, h := range report.Hops {
		for name, n := range map[string]*int{"waiting": h.Waiting, "retrying": h.Retrying, "poison": h.Poison, "in hand": h.InHand} {
			if n == nil || *n != 0 {
				t.Errorf("status of %s: %s = %v, want 0", h.Name, name, n)
			}
		}
		if h.Consumers == nil || *h.Consumers != 1 || h.Rate == nil || h.Faults == nil || h.Oldest == nil {
			t.Errorf("status of %s = %+v, want one consumer, and rates", h.Name, h)
		}
	}
	if exit := worker.stop(); exit != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", exit)
	}
	w.enrich(observables(5))
	poll(w.ctx, t, "waiting for the jobs to be in the queue", func() bool {
		report = w.status(probe.options()...)
		i := slices.IndexFunc(report.Hops, func(h status.Hop) bool { return h.Name == "resolve" })
		return i >= 0 && report.Hops[i].Waiting != nil && *report.Hops[i].Waiting == 5 && *report.Hops[i].Consumers == 0
	})
	if len(report.Unknown) != 1 || !strings.Contains(report.Unknown[0], "no answer") {
		t.Errorf("Unknown = %q, want the worker that has ended", report.Unknown)
	}
}

// checkTraceCommand has the command draw all traces of a job, so many, and looks for a sentence below them.
func checkTraceCommand(t *testing.T, w *world, j jaeger, asked job, want string, traces int) {
	t.Helper()
	exit, out, errs := w.command([]string{"TRACE_QUERY_URL=http://" + j.query}, "trace", "--follow", asked.work)
	if exit != 0 || !strings.Contains(out, want) || strings.Count(out, "job "+asked.work) != traces || !strings.Contains(out, "hop lookup") {
		t.Errorf("trace of %s ended with %d: %s%s, want %d traces, and %q", asked.work, exit, out, errs, traces, want)
	}
	if strings.Contains(out, asked.Value) {
		t.Errorf("trace of %s shows the value of the observable", asked.work)
	}
}

// The log level of a worker that runs is changed, and changed back, without a restart.
func TestTheLogLevelIsChangedWhileItRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	port := freePort(t)
	probe := w.newProbe()
	worker := w.start(append(probe.options(), "CONNECTOR_LOG_LEVEL=info", "WORKER_DEBUG_PORT="+port)...)
	probe.awaitReady()
	list, done := observables(3), 0
	// told runs a job at a level, and reports whether the log has its requests.
	told := func(level string) bool {
		t.Helper()
		request, err := http.NewRequestWithContext(w.ctx, http.MethodPut, "http://127.0.0.1:"+port+"/log-level", strings.NewReader(level))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("PUT /log-level %s = %s", level, response.Status)
		}
		job := w.enrich(list[done : done+1])[0]
		done++
		if err := w.platform.WaitWorks(w.ctx, done); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(w.logs.String()) {
			if strings.Contains(line, `"work_id":"`+job.work) && strings.Contains(line, `"message":"request"`) {
				return true
			}
		}
		return false
	}
	for _, tt := range []struct {
		level string
		want  bool
	}{{"info", false}, {"debug", true}, {"info", false}} {
		if got := told(tt.level); got != tt.want {
			t.Errorf("requests are in the log at level %s: %v, want %v", tt.level, got, tt.want)
		}
	}
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
}
