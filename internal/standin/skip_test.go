package standin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// Whatever a job is skipped for, its work is complete and says why. With CONNECTOR_SKIP_AS=error it ends in error if a setting
// of the administrator is the reason.
func TestSkippedJob_CompletesItsWork(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		observable openctitest.Observable
		reason     stages.Reason
		says       string
		inError    bool // with CONNECTOR_SKIP_AS=error
	}{
		{
			"scope",
			openctitest.Observable{Type: "Hostname", Value: value},
			stages.ReasonScope,
			"Hostname is not in the scope of this connector (IPv4-Addr, Domain-Name). Nothing was changed; skipped (scope).", true,
		},
		{
			"TLP",
			openctitest.Observable{Type: "Domain-Name", Value: value, Markings: []string{"TLP:RED"}},
			stages.ReasonTLP,
			"TLP:RED is above what this connector may look up (TLP:AMBER). Nothing was changed; skipped (tlp).", true,
		},
		{
			"private address",
			openctitest.Observable{Type: "IPv4-Addr", Value: "10.0.0.1"},
			stages.ReasonPrivate,
			"The value is or contains a private or reserved address. Nothing was changed; skipped (private_address).", false,
		},
		{
			"internal name",
			openctitest.Observable{Type: "Domain-Name", Value: "files.corp"},
			stages.ReasonInternalName,
			"The host name is under .corp, which is used in internal networks only. Nothing was changed; skipped (internal_name).", false,
		},
		{
			"network",
			openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.0/24"},
			stages.ReasonNetwork,
			"The value is a network of more than one address, and IPQS looks up single addresses only. Nothing was changed; skipped (network).", false,
		},
		{
			"excluded",
			openctitest.Observable{Type: "Domain-Name", Value: "www.example.org"},
			stages.ReasonExcluded,
			"The host name matches example.org of IPQS_EXCLUDE. Nothing was changed; skipped (excluded).", true,
		},
	}
	for _, version := range []string{"5.12.33", "6.9.28", "7.260428.0", "7.260817.0"} {
		for skipAs, inError := range map[string]bool{"complete": false, "error": true} {
			for _, tt := range tests {
				t.Run(version+"/"+skipAs+"/"+tt.name, func(t *testing.T) {
					t.Parallel()
					ctx := limited(t)
					ends, observe := endings()
					world := connector(ctx, t, standin.Options{Version: version}, observe,
						"CONNECTOR_SCOPE=IPv4-Addr,Domain-Name", "IPQS_EXCLUDE=example.org", "CONNECTOR_SKIP_AS="+skipAs)
					id, err := world.Platform.Enrich(ctx, world.Platform.AddObservable(tt.observable), openctitest.Manual)
					if err != nil {
						t.Fatal(err)
					}
					checkEnd(ctx, t, ends, pipeline.Skipped, tt.reason)
					if err := world.Platform.WaitWorks(ctx, 1); err != nil {
						t.Fatal(err)
					}
					work, _ := world.Platform.Work(id)
					said, other := work.Messages[1:], work.Errors
					if inError && tt.inError {
						said, other = work.Errors, work.Messages[1:]
					}
					var texts []string
					for _, message := range said {
						texts = append(texts, message.Message)
					}
					if diff := cmp.Diff([]string{tt.says + " (" + work.EntityID + ")"}, texts); diff != "" || len(other) > 0 || work.Status != "complete" {
						t.Errorf("work = %+v, want it complete with one message (-want +got):\n%s", work, diff)
					}
					if requests := world.IPQS.Requests(); len(requests) > 0 {
						t.Errorf("IPQS was asked %v, want nothing", requests)
					}
				})
			}
		}
	}
}
