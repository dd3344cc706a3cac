package stages

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
)

func TestWhatReopenWritesOpens(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request opencti.Request
	}{
		{"manual", opencti.Request{
			WorkID: "work_1", ApplicantID: "someone", DraftID: "draft", Mode: "manual", Trigger: "create",
			EventType: "INTERNAL_ENRICHMENT", EntityID: "ipv4-addr--1", EntityType: "IPv4-Addr",
		}},
		{"an old release's", opencti.Request{EntityID: "1"}},
		{"playbook", opencti.Request{EntityID: "ipv4-addr--1", ApplicantID: "someone", Playbook: &opencti.Playbook{
			ExecutionID: "execution", EventID: "1-0", PlaybookID: "playbook", DataInstanceID: "ipv4-addr--1", StepID: "step",
			PreviousStepID: "before", Bundle: json.RawMessage(`{"objects":[{"name":"<&>","x":1.50}]}`),
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := Job{ID: tt.request.Key(), Request: &tt.request}
			message, err := Reopen(want)
			if err != nil {
				t.Fatalf("Reopen() error = %v", err)
			}
			if want.ID == "" { // no work, no playbook: the message identifies the job
				want.ID = opencti.BodyKey(message)
			}
			got, err := Open(message)
			if err != nil {
				t.Fatalf("Open(%s) error = %v", message, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Open(Reopen()) (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReopenNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, job := range []Job{{ID: "a"}, {ID: "a", Request: &opencti.Request{WorkID: "w"}}} {
		if _, err := Reopen(job); err == nil || !strings.Contains(err.Error(), "field request.id is missing") {
			t.Errorf("Reopen(%+v) error = %v, want the missing field named", job, err)
		}
	}
}
