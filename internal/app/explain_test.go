package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// explained runs the score hop for a job in a span, and returns the span's attributes of ours.
func explained(t *testing.T, job stages.Job, values bool) map[string]string {
	t.Helper()
	m, err := newMeters(noop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	spans := tracetest.NewSpanRecorder()
	ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("").Start(context.Background(), "attempt score")
	hops := explaining([]pipeline.Hop{{Stage: stages.Score(stages.Scoring{Model: stages.Guidance})}}, slog.New(slog.DiscardHandler), m, values)
	if _, err := hops[0].Stage.Run(ctx, job); err != nil {
		t.Fatal(err)
	}
	span.End()
	said := map[string]string{}
	for _, a := range spans.Ended()[0].Attributes() {
		if name, ours := strings.CutPrefix(string(a.Key), "ipqs_worker."); ours {
			said[name] = fmt.Sprint(a.Value.AsInterface())
		}
	}
	return said
}

// A verdict says why, in the trace too.
func TestAVerdictIsInTheTrace(t *testing.T) {
	t.Parallel()
	ip := &ipqs.Report{Kind: ipqs.KindIP, IP: &ipqs.IP{FraudScore: ipqs.NumberOf(78), RecentAbuse: ipqs.True, Proxy: ipqs.True}}
	unknown := &ipqs.Report{Kind: ipqs.KindIP, IP: &ipqs.IP{Proxy: ipqs.True}}
	for _, tt := range []struct {
		report *ipqs.Report
		want   map[string]string
	}{
		{ip, map[string]string{
			"score": "78", "level": "HIGH RISK", "model": "guidance", "rule": "recent abuse, score 75 to 84", "signals": "[recent abuse proxy]",
		}},
		{unknown, map[string]string{"level": "", "model": "guidance", "rule": "", "signals": "[proxy]"}},
	} {
		got := explained(t, stages.Job{Risk: &stages.Risk{Report: tt.report}}, false)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
	}
}

// TRACE_OBSERVABLE_VALUES tells of values, but not of accounts, whose logins may be in a leak, nor of the credentials of URLs.
func TestNoAccountIsInATrace(t *testing.T) {
	t.Parallel()
	risk := &stages.Risk{Report: &ipqs.Report{Kind: ipqs.KindLeakUsername, Leak: &ipqs.Leak{Exposed: ipqs.True}}}
	for _, tt := range []struct {
		entity opencti.Entity
		values bool
		want   string
	}{
		{opencti.Entity{Value: "198.51.100.7"}, false, ""},
		{opencti.Entity{Value: "198.51.100.7"}, true, "198.51.100.7"},
		{opencti.Entity{Type: "Url", Value: "https://user:secret@example.com/x"}, true, "https://example.com/x"},
		{opencti.Entity{Value: "jdoe", Account: &opencti.Account{Login: "jdoe"}}, true, ""},
	} {
		if got := explained(t, stages.Job{Entity: &tt.entity, Risk: risk}, tt.values)["observable.value"]; got != tt.want {
			t.Errorf("value of %+v in the trace = %q, want %q", tt.entity, got, tt.want)
		}
	}
}

// answering is an IPQS that answers everything.
type answering struct{}

func (answering) Lookup(context.Context, ipqs.Query) (*ipqs.Report, error) {
	return new(ipqs.Report), nil
}

// The attempt's span says how the breaker stood when IPQS was to be asked.
func TestTheBreakerIsInTheTrace(t *testing.T) {
	t.Parallel()
	m, err := newMeters(noop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []ipqs.State{ipqs.StateClosed, ipqs.StateHalfOpen, ipqs.StateOpen} {
		spans := tracetest.NewSpanRecorder()
		ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("").Start(t.Context(), "attempt lookup")
		asked := explainedRisks{next: answering{}, state: func() ipqs.State { return state }, meters: m}
		if _, err := asked.Lookup(ctx, ipqs.Query{Kind: ipqs.KindEmail, Value: "jdoe@example.com"}); err != nil {
			t.Fatal(err)
		}
		span.End()
		got := map[string]string{}
		for _, a := range spans.Ended()[0].Attributes() {
			got[string(a.Key)] = a.Value.String()
		}
		want := map[string]string{"ipqs_worker.breaker.state": string(state), "ipqs_worker.lookup.kind": "email"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
	}
}
