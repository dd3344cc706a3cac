package app

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/health"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/ipqs"
)

// Each thing that the worker depends on has its name in /readyz, and only what no job can do without decides.
func TestReadyzNamesWhatTheWorkerDependsOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		environ []string
		want    map[string]bool // whether it decides
	}{
		{"RabbitMQ", nil, map[string]bool{"opencti": true, "rabbitmq": true, "ipqs": false, "hops": false}},
		{
			"a Redis",
			[]string{"CACHE_URL=redis://cache.test:6379/0"},
			map[string]bool{"opencti": true, "rabbitmq": true, "ipqs": false, "redis": false, "hops": false},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, err := newWorker(Options{Config: load(t, tt.environ...)})
			if err != nil {
				t.Fatal(err)
			}
			defer w.risks.close()
			got := map[string]bool{}
			for _, check := range w.checks() {
				got[check.Name] = !check.Informative
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("checks() (-want +got):\n%s", diff)
			}
			for _, d := range w.dependencies() {
				if _, known := tt.want[d.name]; !known {
					t.Errorf("ipqs_worker_dependency_up has %s, which /readyz has not", d.name)
				}
			}
		})
	}
}

// A Redis that does not answer is named with what that means, and leaves the worker as ready as it was.
func TestALostRedisIsNamedAndDoesNotDecide(t *testing.T) {
	t.Parallel()
	w, err := newWorker(Options{Config: load(t, "CACHE_URL=redis://127.0.0.1:1/0")}) // where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	defer w.risks.close()
	for range 3 {
		w.risks.redis.Get(t.Context(), "anything")
	}
	var checks []health.Check
	for _, check := range w.checks() {
		if check.Informative {
			checks = append(checks, check)
		}
	}
	answer := httptest.NewRecorder()
	health.New(health.Options{Ready: checks}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	want := `"redis":{"ok":false,"informative":true,"reason":"Redis does not answer: answers, credits and pace are this process' own until it does"}`
	if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), want) {
		t.Errorf("GET /readyz = %d %s, want 200 with %s", answer.Code, answer.Body, want)
	}
}

// Who reads the log, /readyz or status learns why IPQS is not asked, and nothing of what was asked or of the key.
func TestAnOpenBreakerSaysWhy(t *testing.T) {
	t.Parallel()
	var log logtest.Log
	w, err := newWorker(Options{Config: load(t, "IPQS_BASE_URL=http://127.0.0.1:1/api/json"), Logger: log.Logger()}) // where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	defer w.risks.close()
	const value = "198.51.100.77"
	for range ipqs.DefaultFailures {
		if _, err := w.risks.breaker.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindIP, Value: value}); !errors.Is(err, ipqs.ErrUnavailable) {
			t.Fatalf("Lookup() = %v, want %v", err, ipqs.ErrUnavailable)
		}
	}
	const why = "/ip: dial tcp 127.0.0.1:1: connect: connection refused"
	state, line := w.risks.ready(), log.Await(t, "IPQS fails")
	if want := "circuit breaker is open; last failure: " + why; state == nil || state.Error() != want {
		t.Errorf("ready() = %v, want %q", state, want)
	}
	if !strings.Contains(line, `last_failure="`+why+`"`) {
		t.Errorf("logged %q, want it with %q", line, why)
	}
	for _, secret := range []string{value, plantedKey} {
		if strings.Contains(state.Error()+line, secret) {
			t.Errorf("%q shows up in %q or %q", secret, state, line)
		}
	}
}

// An outage is one warning when it begins and one line when it ends, however many probes fail meanwhile.
func TestTheBreakerWarnsOncePerOutage(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := telemetry.NewLogger(&log, nil, false)
	shut, half, open := ipqs.StateClosed, ipqs.StateHalfOpen, ipqs.StateOpen
	for _, change := range [][2]ipqs.State{{shut, open}, {open, half}, {half, open}, {open, half}, {half, open}, {open, half}, {half, shut}, {shut, open}} {
		logBreaker(logger, change[0], change[1], "/ip: no answer")
	}
	var got []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, " ") // without the time
		level, _, _ := strings.Cut(line, " ")
		got = append(got, level)
	}
	if diff := cmp.Diff([]string{"level=WARN", "level=INFO", "level=WARN"}, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s\n%s", diff, log.String())
	}
}
