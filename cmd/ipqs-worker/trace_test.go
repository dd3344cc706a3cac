package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/telemetry"
)

// jaegerWith is a query API of Jaeger that has the trace of each job, and finds traces by the tags of their jobs.
func jaegerWith(t *testing.T, jobs ...string) *httptest.Server {
	t.Helper()
	traces := make(map[string]string) // job by trace id
	for _, job := range jobs {
		traces[telemetry.TraceID(job).String()] = job
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if job, ok := traces[strings.TrimPrefix(r.URL.Path, "/api/traces/")]; ok {
			work, entity, _ := strings.Cut(job, "/")
			_, _ = fmt.Fprintf(w, `{"data":[{"traceID":%q,"processes":{"p1":{"serviceName":"ipqs-worker"}},"spans":[`+
				`{"spanID":"1","operationName":"hop lookup","startTime":1000,"duration":5,"processID":"p1","tags":[`+
				`{"key":"ipqs_worker.job.id","value":%q},{"key":"opencti.work.id","value":%q},{"key":"opencti.entity.id","value":%q}]}]}]}`,
				telemetry.TraceID(job), job, work, entity)
			return
		}
		if r.URL.Path != "/api/traces" || r.URL.Query().Get("service") != "ipqs-worker" {
			http.NotFound(w, r)
			return
		}
		var tags map[string]string
		if err := json.Unmarshal([]byte(r.URL.Query().Get("tags")), &tags); err != nil {
			t.Errorf("tags = %q: %v", r.URL.Query().Get("tags"), err)
		}
		var found []string
		for _, job := range jobs {
			work, entity, _ := strings.Cut(job, "/")
			if tags["ipqs_worker.job.id"] == job || tags["opencti.work.id"] == work || tags["opencti.entity.id"] == entity {
				found = append(found, fmt.Sprintf(`{"traceID":%q}`, telemetry.TraceID(job)))
			}
		}
		_, _ = fmt.Fprintf(w, `{"data":[%s]}`, strings.Join(found, ","))
	}))
	t.Cleanup(server.Close)
	return server
}

// TestTrace_ShowsEveryJobOfAWork: several jobs can share a work; the id of a job or a trace is that of one.
func TestTrace_ShowsEveryJobOfAWork(t *testing.T) {
	t.Parallel()
	const one, other, alone = "work_1/ipv4-addr--1", "work_1/ipv4-addr--2", "work_2/ipv4-addr--1"
	jaeger := jaegerWith(t, one, other, alone)
	tests := []struct {
		which string
		jobs  []string
	}{
		{"work_1", []string{one, other}},
		{"work_2", []string{alone}},
		{"ipv4-addr--1", []string{one, alone}},
		{other, []string{other}},
		{telemetry.TraceID(alone).String(), []string{alone}},
		{"work_3", nil},
		{"work_1/ipv4-addr--3", nil},
	}
	for _, tt := range tests {
		t.Run(tt.which, func(t *testing.T) {
			t.Parallel()
			var out, messages bytes.Buffer
			status := execute(t.Context(), func() {}, []string{"trace", tt.which}, stdio{strings.NewReader(""), &out, &messages},
				[]string{"TRACE_QUERY_URL=" + jaeger.URL})
			if tt.jobs == nil {
				if status != exitFailure || !strings.Contains(messages.String(), "no such trace") {
					t.Errorf("status = %d, says %q, want %d and that there is no such trace", status, messages.String(), exitFailure)
				}
				return
			}
			for _, job := range []string{one, other, alone} {
				want := 0
				for _, drawn := range tt.jobs {
					if drawn == job {
						want = 1
					}
				}
				if n := strings.Count(out.String(), "job "+job+"\n"); status != exitOK || n != want {
					t.Errorf("status = %d, job %s is shown %d times, want %d:\n%s%s", status, job, n, want, out.String(), messages.String())
				}
			}
		})
	}
}
