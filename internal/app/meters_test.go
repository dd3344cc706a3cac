package app

import (
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// A process that asks IPQS nothing would say for ever that its breaker is closed.
func TestTheBreakerIsShownWhereLookupRuns(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		hops []string
		want bool
	}{
		{"all hops", nil, true},
		{"lookup alone", []string{"lookup"}, true},
		{"others", []string{"resolve", "score"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reader := metric.NewManualReader()
			w, err := newWorker(Options{Config: load(t), Hops: tt.hops, Meter: metric.NewMeterProvider(metric.WithReader(reader))})
			if err != nil {
				t.Fatal(err)
			}
			defer w.risks.close()
			var all metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &all); err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			for _, scope := range all.ScopeMetrics {
				for _, m := range scope.Metrics {
					names[m.Name] = true
				}
			}
			if got := names["ipqs_worker.breaker.state"]; got != tt.want {
				t.Errorf("ipqs_worker.breaker.state is there: %v, want %v", got, tt.want)
			}
			if !names["ipqs_worker.dependency.up"] {
				t.Error("ipqs_worker.dependency.up is missing")
			}
		})
	}
}
