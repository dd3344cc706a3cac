package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// What a worker under load shows to Prometheus: all that is promised, and nothing in a label that there may be any number
// of. SCRAPE, if set, is where it is kept for promtool and for the check of dashboard and rules.
func TestMetricsUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{Credits: 10_000})
	list := observables(60)
	w.ipqs.Script(ipqs.KindIP, list[0].Value, ipqstest.Response{Status: http.StatusInternalServerError})
	w.ipqs.Script(ipqs.KindIP, list[6].Value, ipqstest.Refusal(ipqstest.MessageInvalidIP))
	probe := w.newProbe()
	worker := w.start(append(probe.options(), "IPQS_CREDIT_RESERVE=100", "IPQS_DAILY_BUDGET=100000")...)
	probe.awaitReady()
	jobs := w.enrich(list)
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	var text string
	poll(w.ctx, t, "waiting for the queues to be counted after the last job", func() bool {
		status, body := probe.get("/metrics")
		text = string(body)
		return status == http.StatusOK && strings.Contains(text, `ipqs_worker_queue_depth{hop="lookup",queue="poison"} 1`) &&
			strings.Contains(text, `ipqs_worker_jobs_total{end="published",reason=""} 59`)
	})
	for _, want := range []string{
		`ipqs_worker_jobs_total{end="dead_lettered",reason="invalid_value"} 1`,
		`ipqs_worker_dead_letters_total{hop="lookup",reason="invalid_value"} 1`,
		`ipqs_worker_retries_total{hop="lookup",how="in_hand",reason="unavailable"} 1`,
		`ipqs_worker_hop_duration_seconds_count{hop="publish",outcome="published"} 59`,
		`ipqs_worker_attempt_duration_seconds_count{hop="lookup",outcome="transient"} 1`,
		`ipqs_worker_queue_wait_seconds_count{delivery="first",hop="resolve"} 60`,
		`ipqs_worker_job_duration_seconds_count{end="published"} 59`,
		`ipqs_worker_hop_in_flight{hop="resolve"} 0`, `ipqs_worker_hop_paused{hop="lookup"} 0`,
		`ipqs_worker_queue_oldest_age_seconds{hop="publish"} 0`, `ipqs_worker_queue_consumers{hop="resolve"} 1`,
		`ipqs_worker_breaker_state{state="closed"} 1`, `ipqs_worker_breaker_opened_total 0`,
		`ipqs_worker_dependency_up{dependency="opencti"} 1`, `ipqs_worker_build_info{go_version="go`,
		`http_client_request_duration_seconds_count{graphql_operation_name="State",`,
		`ipqs_worker_lookups_total{event="asked",kind="ip"} `, "ipqs_worker_credits_spent_total ", "ipqs_worker_credits_left ",
		"ipqs_worker_credits_reserve 100", "ipqs_worker_budget_limit 100000", "ipqs_worker_budget_spent ", "ipqs_worker_budget_reached 0",
		"ipqs_worker_limiter_wait_seconds_count ", "ipqs_worker_limiter_window ", "ipqs_worker_limiter_under_way 0",
		`ipqs_worker_limiter_waiting{lane="urgent"} 0`,
		"bundles_sent_total ", "records_sent_total ", "runs_total 60", "ping_api_total ", "ping_api_errors_total 0", "errors_total ",
		`state{state="running"} 1`, "client_errors_total 2", "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	// Ids and values in labels would make a series for each job.
	for _, j := range jobs {
		if strings.Contains(text, j.work) || strings.Contains(text, j.Value) || strings.Contains(text, j.id) {
			t.Errorf("/metrics has something of job %s", j.work)
		}
	}
	checkLabels(t, text)
	checkExemplars(t, w, probe)
	if series := strings.Count(text, "\n"); series > 2500 {
		t.Errorf("/metrics has %d lines, want no more than a thousand or two", series)
	}
	if found := regexp.MustCompile(`otel_scope_\w+`).FindString(text); found != "" {
		t.Errorf("/metrics has %s on every line", found)
	}
	if t.Failed() {
		t.Log(text)
	}
	if path := os.Getenv("SCRAPE"); path != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	for _, secret := range []string{token, key} {
		if strings.Contains(text, secret) {
			t.Error("/metrics has a secret")
		}
	}
}

// checkExemplars sees that the latencies of requests lead to traces that are there.
func checkExemplars(t *testing.T, w *world, probe *probe) {
	t.Helper()
	request, err := http.NewRequestWithContext(w.ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", probe.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	response, err := probe.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range []string{"ipqs", "opencti"} {
		line := regexp.MustCompile(`(?m)^http_client_request_duration_seconds_bucket\{[^}]*service_peer_name="` + peer + `"[^}]*\} \d+ # \{[^}]*trace_id="([0-9a-f]{32})"`)
		found := line.FindAllSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("OpenMetrics has no exemplar of a request to %s", peer)
		}
		for _, f := range found {
			if err := w.collector.wait(w.ctx, func() bool { return len(w.collector.hops(string(f[1]))) > 0 }); err != nil {
				t.Errorf("the exemplar of a request to %s leads to trace %s, which is not there: %v", peer, f[1], err)
			}
		}
	}
}

// checkLabels sees that every label is one that we know, with a value out of a set that we know.
func checkLabels(t *testing.T, text string) {
	t.Helper()
	reasons := []string{""}
	for _, reason := range stages.Reasons() {
		reasons = append(reasons, string(reason))
	}
	closed := map[string][]string{
		"hop": pipeline.HopNames(), "reason": reasons,
		"class":   {"skip", "transient", "throttled", "account_wide", "permanent", "pending", "stopping"},
		"outcome": {"ok", "skip", "transient", "throttled", "account_wide", "permanent", "pending", "stopping", "passed_on", "published", "skipped", "dead_lettered", "parked", "paused", "returned", "dropped"},
		"how":     {"in_hand", "parked", "paused"}, "delivery": {"first", "retry", "redelivery"}, "queue": {"work", "retry", "poison"},
		"end": {"published", "skipped", "dead_lettered"}, "dependency": {"opencti", "rabbitmq", "ipqs", "redis", "callback"},
		"kind":  {"ip", "email", "phone", "url", "leaked/email", "leaked/username", "leaked/password"},
		"event": {"hit", "joined", "asked", "spent", "denied", "held"}, "lane": {"urgent", "others"},
		"service_peer_name": {"ipqs", "opencti"}, "http_request_method": {"GET", "POST"}, "server_address": {"127.0.0.1"},
		"url_template": {"/graphql", "/ip", "/email", "/phone", "/url", "/leaked/username", "/leaked/password", "/leaked/email"},
	}
	open := map[string]*regexp.Regexp{ // by their form
		"le": regexp.MustCompile(`^(\+Inf|[0-9.e+-]+)$`), "quantile": regexp.MustCompile(`^[0-9.]+$`),
		"state":                     regexp.MustCompile(`^(closed|half_open|open|idle|running|stopped)$`),
		"http_response_status_code": regexp.MustCompile(`^[1-5]\d\d$`), "error_type": regexp.MustCompile(`^([45]\d\d|timeout|network|canceled|other)$`),
		"graphql_operation_name": regexp.MustCompile(`^[A-Z][A-Za-z]{1,30}$`),
		"version":                regexp.MustCompile(`^\S{1,60}$`), "go_version": regexp.MustCompile(`^go1\.\d+`),
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, family := range families {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") || name == "target_info" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				form, formed := open[l.GetName()]
				if formed && !form.MatchString(l.GetValue()) || !formed && !slices.Contains(closed[l.GetName()], l.GetValue()) {
					t.Errorf("%s has the label %s=%q, which is in no closed set", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
}
