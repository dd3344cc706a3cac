package tracequery_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/tracequery"
)

const (
	trace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	before = "aaf92f3577b34da6a3ce929d0e0e4736"
)

// jaegerAnswer is what Jaeger answers about two spans: a hop that was tried again, and its failed attempt.
const jaegerAnswer = `{"data":[{"traceID":"` + trace + `","processes":{"p1":{"serviceName":"ipqs-worker","tags":[
	{"key":"service.instance.id","type":"string","value":"one"}]}},"spans":[
	{"traceID":"` + trace + `","spanID":"00000000000000b2","operationName":"attempt lookup","startTime":1767323045500000,"duration":250000,
	 "references":[{"refType":"CHILD_OF","traceID":"` + trace + `","spanID":"00000000000000a1"}],"processID":"p1",
	 "tags":[{"key":"error","type":"bool","value":true},{"key":"ipqs_worker.attempt","type":"int64","value":2}]},
	{"traceID":"` + trace + `","spanID":"00000000000000a1","operationName":"hop lookup","startTime":1767323045000000,"duration":1000000,
	 "references":[{"refType":"FOLLOWS_FROM","traceID":"` + before + `","spanID":"00000000000000c3"}],"processID":"p1",
	 "tags":[{"key":"ipqs_worker.job.id","type":"string","value":"work_1"}]}]}],"total":0,"limit":0,"offset":0,"errors":null}`

// tempoAnswer is the same as Tempo has it; under names its list of batches is called differently, and ids are encoded.
func tempoAnswer(open, end string, id func(string) string) string {
	return open + `[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"ipqs-worker"}},
	{"key":"service.instance.id","value":{"stringValue":"one"}}]},"scopeSpans":[{"scope":{"name":"x"},"spans":[
	{"traceId":"` + id(trace) + `","spanId":"` + id("00000000000000a1") + `","name":"hop lookup","kind":"SPAN_KIND_CONSUMER",
	 "startTimeUnixNano":"1767323045000000000","endTimeUnixNano":"1767323046000000000","status":{},
	 "attributes":[{"key":"ipqs_worker.job.id","value":{"stringValue":"work_1"}}],
	 "links":[{"traceId":"` + id(before) + `","spanId":"` + id("00000000000000c3") + `"}]},
	{"traceId":"` + id(trace) + `","spanId":"` + id("00000000000000b2") + `","parentSpanId":"` + id("00000000000000a1") + `","name":"attempt lookup",
	 "startTimeUnixNano":1767323045500000000,"endTimeUnixNano":"1767323045750000000","status":{"code":"STATUS_CODE_ERROR","message":"no"},
	 "attributes":[{"key":"ipqs_worker.attempt","value":{"intValue":"2"}}]}]}]}]` + end
}

func want() []tracequery.Span {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []tracequery.Span{
		{
			ID: "00000000000000a1", Name: "hop lookup", Service: "ipqs-worker", Instance: "one", Start: at, End: at.Add(time.Second),
			Attributes: map[string]string{"ipqs_worker.job.id": "work_1"},
			Links:      []tracequery.Link{{TraceID: before, SpanID: "00000000000000c3"}},
		},
		{
			ID: "00000000000000b2", Parent: "00000000000000a1", Name: "attempt lookup", Service: "ipqs-worker", Instance: "one",
			Start: at.Add(500 * time.Millisecond), End: at.Add(750 * time.Millisecond), Failed: true,
			Attributes: map[string]string{"ipqs_worker.attempt": "2"},
		},
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	asIs := func(id string) string { return id }
	base64d := func(id string) string {
		raw, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(raw)
	}
	tests := []struct{ name, body string }{
		{"Jaeger", jaegerAnswer},
		{"Tempo", tempoAnswer(`{"batches":`, `}`, base64d)},
		{"Tempo, second version", tempoAnswer(`{"trace":{"resourceSpans":`, `},"metrics":{}}`, base64d)},
		{"OTLP", tempoAnswer(`{"resourceSpans":`, `}`, asIs)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tracequery.Decode([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			for i := range got { // Jaeger says it in a tag
				delete(got[i].Attributes, "error")
			}
			if diff := cmp.Diff(want(), got); diff != "" {
				t.Errorf("Decode() (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(jaegerAnswer))
	f.Add([]byte(tempoAnswer(`{"batches":`, `}`, func(id string) string { return id })))
	f.Add([]byte(`{"data":[{"spans":[{"references":[null],"tags":[{"value":null}]}]}],"batches":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		spans, err := tracequery.Decode(body)
		if err != nil && spans != nil {
			t.Errorf("Decode() = %v with the error %v", spans, err)
		}
	})
}

func serve(t *testing.T, handler http.HandlerFunc) tracequery.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	base, err := tracequery.Address(server.URL + "/jaeger/api/traces/")
	if err != nil {
		t.Fatal(err)
	}
	return tracequery.Client{Base: base, HTTP: server.Client()}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		kind   string
		body   string
		want   string
		lost   bool
	}{
		{"there", 200, "application/json", jaegerAnswer, "", false},
		{"not there, says Jaeger", 404, "application/json", `{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}`, "no such trace: " + trace, true},
		{"not there, says Tempo", 404, "", "", "no such trace: " + trace, true},
		{"nothing in it", 200, "application/json", `{"batches":[]}`, "no such trace: " + trace, true},
		{"somebody else's address", 404, "text/html", "<html>", "HTTP 404", false},
		{"not allowed", 401, "", "", "HTTP 401", false},
		{"no JSON", 200, "text/html", "<html>", "the answer is neither Jaeger's nor Tempo's JSON", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/jaeger/api/traces/"+trace || r.Header.Get("Accept") != "application/json" {
					t.Errorf("asked for %s, accepting %q", r.URL.Path, r.Header.Get("Accept"))
				}
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			spans, err := client.Trace(t.Context(), trace)
			switch {
			case tt.want == "" && (err != nil || len(spans) != 2):
				t.Errorf("Trace() = %d spans, %v, want 2", len(spans), err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, tracequery.ErrNotFound) != tt.lost):
				t.Errorf("Trace() = %v, want an error with %q, ErrNotFound = %t", err, tt.want, tt.lost)
			}
		})
	}
	if _, err := (tracequery.Client{}).Trace(t.Context(), "../../secrets"); err == nil {
		t.Error("Trace() of what is no trace id = nil, want an error")
	}
}

func TestOfJob(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		has  string // the path that is there
		body string
	}{
		{"Jaeger", "/jaeger/api/traces", `{"data":[{"traceID":"` + trace + `"},{"traceID":"` + before + `"}]}`},
		{"Tempo", "/jaeger/api/search", `{"traces":[{"traceID":"` + trace + `"},{"traceID":"` + before + `"},{"traceID":"odd"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != tt.has {
					http.NotFound(w, r)
					return
				}
				if query := r.URL.Query().Get("tags"); !strings.Contains(query, "work_1") {
					t.Errorf("searched for %q, want the job", query)
				}
				_, _ = w.Write([]byte(tt.body))
			})
			got, err := client.OfJob(t.Context(), "", "work_1")
			if diff := cmp.Diff([]string{trace, before}, got); err != nil || diff != "" {
				t.Errorf("OfJob() = %v, %v", got, err)
			}
		})
	}
	client := serve(t, http.NotFound)
	if got, err := client.OfJob(t.Context(), "", "work_1"); err == nil {
		t.Errorf("OfJob() = %v where nothing can be searched, want an error", got)
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	if id, service := tracequery.Job(want()); id != "work_1" || service != "ipqs-worker" {
		t.Errorf("Job() = %q, %q, want work_1 of ipqs-worker", id, service)
	}
	if id, _ := tracequery.Job(nil); id != "" {
		t.Errorf("Job() of nothing = %q", id)
	}
}
