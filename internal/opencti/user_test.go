package opencti_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

func TestMe(t *testing.T) {
	t.Parallel()
	half := 50
	for _, version := range releases {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, version)
			r.platform.SetUser(openctitest.User{
				Name: "A user", Capabilities: []string{"CONNECTORAPI", "KNOWLEDGE_KNUPDATE"}, Markings: []string{"TLP:GREEN"}, MaxConfidence: &half,
			})
			release, err := opencti.ParseVersion(version)
			if err != nil {
				t.Fatal(err)
			}
			want := opencti.User{ID: openctitest.UserID, Name: "A user", Capabilities: []string{"CONNECTORAPI", "KNOWLEDGE_KNUPDATE"}, Markings: []string{"TLP:GREEN"}}
			if release.Capabilities().MaxConfidence {
				want.MaxConfidence, want.ConfidenceKnown = &half, true
			}
			got, err := r.client.Me(t.Context())
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Me() = error %v, difference (-want +got):\n%s", err, diff)
			}
			r.platform.SetUser(openctitest.User{})
			if got, err := r.client.Me(t.Context()); err != nil || got.MaxConfidence != nil {
				t.Errorf("Me() = %+v, %v, want no highest confidence", got, err)
			}
		})
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		has  []string
		asks string
		want bool
	}{
		{"it has it", []string{"APIACCESS_USETOKEN", "CONNECTORAPI"}, "CONNECTORAPI", true},
		{"one within it", []string{"KNOWLEDGE_KNUPDATE_KNDELETE"}, "KNOWLEDGE_KNUPDATE", true},
		{"the one around it", []string{"KNOWLEDGE"}, "KNOWLEDGE_KNUPDATE", false},
		{"one that begins alike", []string{"SETTINGS_SETLABELSX"}, "SETTINGS_SETLABELS", false},
		{"all", []string{"BYPASS"}, "CONNECTORAPI", true},
		{"none", nil, "CONNECTORAPI", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := (opencti.User{Capabilities: tt.has}).May(tt.asks); got != tt.want {
				t.Errorf("May(%q) = %t, want %t", tt.asks, got, tt.want)
			}
		})
	}
}
