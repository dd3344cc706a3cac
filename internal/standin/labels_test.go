package standin_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/stix"
)

// A verdict that is another takes our older labels off the observable and off its indicator, on every release and in a
// draft, and leaves those of others.
func TestAnotherVerdictTakesItsOlderLabelsOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ version, draft string }{
		{"5.4.1", ""}, {"6.0.0", ""}, {"6.8.10", ""}, {"7.260817.0", ""}, {"6.8.10", "draft-1"}, {"7.260817.0", "draft-1"},
	} {
		t.Run(tt.version+tt.draft, func(t *testing.T) {
			t.Parallel()
			ctx := limited(t)
			world := connector(ctx, t, standin.Options{Version: tt.version}, nil, "IPQS_CACHE_TTL=0")
			const value = "https://example.com/turncoat"
			world.IPQS.Script(ipqs.KindURL, value,
				ipqstest.Response{Body: `{"success":true,"message":"Success.","risk_score":100,"malware":true}`},
				ipqstest.Response{Body: `{"success":true,"message":"Success.","risk_score":10,"malware":false,"parking":true}`})
			id := world.Platform.AddObservable(openctitest.Observable{
				Type: "Url", Value: value, CreatedAt: "2026-01-02T03:04:05.678Z", Labels: []string{"mine", `IPQS:RISK="HIGH"`},
				DraftID: tt.draft, // which alone has it
			})
			pattern, err := stix.Pattern("Url", value)
			if err != nil {
				t.Fatal(err)
			}
			has := func(want ...string) func() bool {
				return func() bool {
					o, _ := world.Platform.Observable(id)
					labels := slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(o.Labels), func(l string) bool { return l == "mine" })))
					indicator := slices.Sorted(slices.Values(world.Platform.IndicatorLabels(stix.IndicatorID(pattern))))
					return slices.Contains(o.Labels, "mine") && slices.Equal(labels, want) && slices.Equal(indicator, want)
				}
			}
			for _, want := range [][]string{
				{`IPQS:FLAG="malware"`, `IPQS:RISK="CRITICAL"`},
				{`IPQS:FLAG="parked"`, `IPQS:RISK="LOW"`},
			} {
				if _, err := world.Platform.EnrichInDraft(ctx, id, openctitest.Manual, tt.draft); err != nil {
					t.Fatal(err)
				}
				waiting, stop := context.WithTimeout(ctx, time.Minute)
				err := world.Platform.Wait(waiting, has(want...))
				stop()
				if err != nil {
					o, _ := world.Platform.Observable(id)
					t.Fatalf("labels of the observable = %q, of its indicator = %q, want %q on both and mine on the first",
						o.Labels, world.Platform.IndicatorLabels(stix.IndicatorID(pattern)), want)
				}
			}
			if complaints := world.Platform.Complaints(); len(complaints) > 0 {
				t.Errorf("OpenCTI complains: %q", complaints)
			}
		})
	}
}
