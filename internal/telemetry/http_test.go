package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestTransport(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/api/slow":
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, "secret answer about 192.0.2.1")
	}))
	t.Cleanup(server.Close)
	tests := []struct {
		path       string
		attempt    int
		wantSpan   map[string]string
		wantStatus codes.Code
		wantErr    bool
	}{
		{
			path: "/api/ip?ip=192.0.2.1", attempt: 2, // those of an earlier trip
			wantSpan: map[string]string{
				"http.request.method": "GET", "url.template": "/route", "http.response.status_code": "200", "server.address": "127.0.0.1",
				"service.peer.name": "ipqs", "http.request.resend_count": "2", "url.full": server.URL + "/route?REDACTED", "error.type": "",
				"graphql.operation.name": "Ask", "graphql.operation.type": "mutation",
			},
		},
		{path: "/api/down", wantSpan: map[string]string{"http.response.status_code": "503", "error.type": "503", "http.request.resend_count": ""}, wantStatus: codes.Error},
		{path: "/api/slow", wantSpan: map[string]string{"error.type": "timeout", "http.response.status_code": ""}, wantStatus: codes.Error, wantErr: true},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			spans, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
			var log bytes.Buffer
			base := http.DefaultTransport.(*http.Transport).Clone()
			defer base.CloseIdleConnections()
			transport, err := NewTransport(HTTPOptions{
				Base: base, Peer: "ipqs",
				Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)),
				Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
				Logger: NewLogger(&log, slog.LevelDebug, true),
				Call:   func(*http.Request) Call { return Call{Route: "/route", Operation: "Ask", Mutation: true} },
				Show:   func(body []byte) string { return fmt.Sprintf("%d bytes seen", len(body)) },
			})
			if err != nil {
				t.Fatal(err)
			}
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
			around, attempt := tracer.Tracer("test").Start(t.Context(), "attempt")
			ctx, cancel := context.WithTimeout(WithJob(around, Job{ID: "j", WorkID: "w", Hop: "lookup", Attempt: tt.attempt}), time.Second)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := (&http.Client{Transport: transport}).Do(request)
			if (err != nil) != tt.wantErr {
				t.Fatalf("Do() error = %v, want one: %v", err, tt.wantErr)
			}
			if err == nil {
				if _, err := io.ReadAll(response.Body); err != nil {
					t.Error(err)
				}
				_ = response.Body.Close()
			}
			ended := spans.GetSpans()
			if attempt.End(); len(ended) == 1 && ended[0].Parent.SpanID() != attempt.SpanContext().SpanID() {
				t.Errorf("the request is no child of what it is part of: %+v", ended[0])
			}
			if len(ended) != 1 || ended[0].Name != "GET /route" || ended[0].Status.Code != tt.wantStatus || ended[0].Status.Description != "" {
				t.Fatalf("spans = %+v, want one called GET /route with status %v", ended, tt.wantStatus)
			}
			got := map[string]string{}
			for key := range tt.wantSpan {
				got[key] = ""
			}
			for _, kv := range ended[0].Attributes {
				if _, asked := got[string(kv.Key)]; asked {
					got[string(kv.Key)] = kv.Value.String()
				}
			}
			if diff := cmp.Diff(tt.wantSpan, got); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			var all metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &all); err != nil {
				t.Fatal(err)
			}
			points := all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Histogram[float64]).DataPoints
			if all.ScopeMetrics[0].Metrics[0].Name != "http.client.request.duration" || len(points) != 1 || points[0].Count != 1 {
				t.Errorf("metrics = %+v, want one request in http.client.request.duration", all.ScopeMetrics)
			}
			for _, said := range []string{log.String(), fmt.Sprint(ended), fmt.Sprint(all)} {
				if strings.Contains(said, "192.0.2.1") || strings.Contains(said, "secret") {
					t.Errorf("the value or the answer is in %s", said)
				}
			}
			for _, want := range []string{`"work_id":"w"`, `"hop":"lookup"`, `"trace_id":"` + ended[0].SpanContext.TraceID().String(), `"message":"answer"`} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("log = %s, want %s in it", log.String(), want)
				}
			}
		})
	}
}

func TestFailureNamesFewThings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err    error
		status int
		want   string
	}{
		{nil, 200, ""},
		{nil, 302, ""},
		{nil, 404, "404"},
		{fmt.Errorf("x: %w", context.Canceled), 0, "canceled"},
		{context.DeadlineExceeded, 200, "timeout"},
		{errors.New("malformed HTTP response \"secret\""), 0, "other"},
	}
	for _, tt := range tests {
		if got := failure(tt.err, tt.status); got != tt.want {
			t.Errorf("failure(%v, %d) = %q, want %q", tt.err, tt.status, got, tt.want)
		}
	}
}

// http.request.resend_count is how often the same was sent before, and absent the first time.
func TestResendCount(t *testing.T) {
	t.Parallel()
	type request struct {
		path    string
		attempt int
		want    string // of the attribute; "" is none
	}
	tests := []struct {
		name    string
		earlier int // attempts before the job was in hand here
		sends   []request
	}{
		{"the first time", 0, []request{{"/work", 1, ""}, {"/expect", 1, ""}}},
		{"a retry", 0, []request{{"/down", 1, ""}, {"/down", 2, "1"}, {"/down", 3, "2"}}},
		{"what the first attempt did not come to", 0, []request{{"/down", 1, ""}, {"/down", 2, "1"}, {"/work", 2, ""}, {"/work", 3, "1"}}},
		{"an attempt that asked nothing between", 0, []request{{"/work", 1, ""}, {"/work", 3, "1"}}},
		{"the same question twice is no repetition", 0, []request{{"/work", 1, ""}, {"/work", 1, ""}}},
		{"a repetition within an attempt", 0, []request{{"/down", 1, ""}, {"/down", 1, "1"}, {"/down", 1, "2"}}},
		{"back from a waiting room", 2, []request{{"/work", 3, "2"}, {"/work", 4, "3"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/down" {
					w.WriteHeader(http.StatusBadGateway)
				}
			}))
			defer server.Close()
			spans := tracetest.NewSpanRecorder()
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
			base := http.DefaultTransport.(*http.Transport).Clone()
			defer base.CloseIdleConnections()
			transport, err := NewTransport(HTTPOptions{
				Base: base, Tracer: tracer, Meter: noop.NewMeterProvider(), Logger: slog.New(slog.DiscardHandler),
				Call: func(r *http.Request) Call { return Call{Route: r.URL.Path} },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, span := tracer.Tracer("").Start(t.Context(), "hop")
			defer span.End()
			ctx = WithJob(ctx, Job{ID: "j", Hop: "publish", Attempt: tt.earlier})
			for i, r := range tt.sends {
				request, err := http.NewRequestWithContext(WithJob(ctx, Job{ID: "j", Hop: "publish", Attempt: r.attempt}), http.MethodGet, server.URL+r.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := (&http.Client{Transport: transport}).Do(request)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				got := ""
				for _, kv := range spans.Ended()[i].Attributes() {
					if kv.Key == "http.request.resend_count" {
						got = kv.Value.String()
					}
				}
				if got != r.want {
					t.Errorf("request %d, %s in attempt %d: http.request.resend_count = %q, want %q", i+1, r.path, r.attempt, got, r.want)
				}
			}
		})
	}
}
