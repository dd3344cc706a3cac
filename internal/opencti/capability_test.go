package opencti

import (
	"reflect"
	"testing"
)

// TestCapabilities names each line of the protocol's table of releases: what the last release before has not, the first
// one has, up to the newest unless the line says where it ends.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                string
		without, from, gone string // the last release before, the first with it, the first without it again ("" none)
		has                 func(Capabilities) bool
	}{
		{"playbook_compatible, playbookStepExecution, internal.playbook", "5.10.3", "5.11.0", "", func(c Capabilities) bool { return c.PlaybookCompatible }},
		{"markings, labels and organizations as lists", "5.12.23", "5.12.24", "", func(c Capabilities) bool { return c.ListMarkings }},
		{"decay history of indicators", "5.12.23", "5.12.24", "", func(c Capabilities) bool { return c.IndicatorDecay }},
		{"indicatorFieldPatch", "5.5.0", "5.6.0", "", func(c Capabilities) bool { return c.IndicatorFieldPatch }},
		{"update has to be forced before 6.0", "", "5.4.1", "6.0.0", func(c Capabilities) bool { return c.ForceUpdate }},
		{"users have a highest confidence", "5.12.33", "6.0.0", "", func(c Capabilities) bool { return c.MaxConfidence }},
		{"bundle_type in the envelope", "6.0.9", "6.0.10", "", func(c Capabilities) bool { return c.BundleType }},
		{"playbookStepExecution requires event_id", "6.0.10", "6.1.0", "", func(c Capabilities) bool { return c.EventID }},
		{"stixBundlePush", "6.2.5", "6.2.6", "", func(c Capabilities) bool { return c.BundlePush }},
		{"connectorInfo on ping", "6.2.11", "6.2.12", "", func(c Capabilities) bool { return c.ConnectorInfo }},
		{"drafts in jobs, headers and envelopes", "6.3.13", "6.4.0", "", func(c Capabilities) bool { return c.Drafts }},
		{"listen_callback_uri", "6.5.6", "6.5.7", "", func(c Capabilities) bool { return c.ListenCallbackURI }},
		{"stixBundlePush takes a work_id", "6.5.6", "6.5.7", "", func(c Capabilities) bool { return c.BundlePushWork }},
		{"worker honours no_split", "6.6.18", "6.7.0", "", func(c Capabilities) bool { return c.NoSplit }},
		{"works are tracked before works can die", "", "5.4.1", "6.8.7", func(c Capabilities) bool { return c.Tracked }},
		{"works are tracked again once force-closing keeps the key", "7.260507", "7.260510", "", func(c Capabilities) bool { return c.Tracked }},
		{"auto_update", "6.8.8", "6.8.9", "", func(c Capabilities) bool { return c.AutoUpdate }},
		{"enrichment_resolution", "6.8.8", "6.8.9", "", func(c Capabilities) bool { return c.EnrichmentResolution }},
		{"jwks and JWT for the callback", "7.260220", "7.260224", "", func(c Capabilities) bool { return c.CallbackJWT }},
		{"works are complete with more than was announced", "7.260417", "7.260422", "", func(c Capabilities) bool { return c.AtLeast }},
		{"toProcessed completes nothing", "7.260423", "7.260428", "7.260615", func(c Capabilities) bool { return c.CloseByReport }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check := func(text string, want bool) {
				t.Helper()
				if got := tt.has(mustVersion(text).Capabilities()); got != want {
					t.Errorf("%s has it = %t, want %t", text, got, want)
				}
			}
			if tt.without != "" {
				check(tt.without, false)
			}
			check(tt.from, true)
			check(tt.from+"-lts1", true)
			if tt.gone == "" {
				check("7.999999.0", true)
			} else {
				check(tt.gone, false)
			}
		})
	}
	if lines, fields := len(tests), reflect.TypeFor[Capabilities]().NumField(); lines != fields+1 { // Tracked has two lines
		t.Errorf("%d lines for %d capabilities, want one for each and two for Tracked", lines, fields)
	}
}

func TestTrackedHole(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"6.8.7", "6.8.10", "6.9.28", "7.260224", "7.260318", "7.260423", "7.260428", "7.260507"} {
		if mustVersion(text).Capabilities().Tracked {
			t.Errorf("%s is tracked: its worker drops objects of works whose counters the clean-up deletes", text)
		}
	}
}
