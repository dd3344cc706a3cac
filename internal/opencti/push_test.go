package opencti

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPushMessage(t *testing.T) {
	t.Parallel()
	bundle := []byte(`{"type":"bundle","objects":[{"id":"x","value":"<&>"}]}`)
	const content = "eyJ0eXBlIjoiYnVuZGxlIiwib2JqZWN0cyI6W3siaWQiOiJ4IiwidmFsdWUiOiI8Jj4ifV19"
	tests := []struct {
		name, version string
		options       PushOptions
		want          string
	}{
		{
			"5.4: five keys and the work, update forced", "5.4.1",
			PushOptions{ApplicantID: "u", WorkID: "w", Sequence: 1},
			`{"applicant_id":"u","action_sequence":1,"entities_types":[],"content":"` + content + `","update":true,"work_id":"w"}`,
		},
		{
			"6.4: bundle_type, draft_id null", "6.4.0",
			PushOptions{ApplicantID: "u", WorkID: "w", Sequence: 2},
			`{"bundle_type":"QUEUE_BUNDLE","applicant_id":"u","action_sequence":2,"entities_types":[],"content":"` + content + `","update":false,"draft_id":null,"work_id":"w"}`,
		},
		{
			"newest: no_split", "7.260817",
			PushOptions{ApplicantID: "u", WorkID: "w", DraftID: "d", Sequence: 3},
			`{"bundle_type":"QUEUE_BUNDLE","applicant_id":"u","action_sequence":3,"entities_types":[],"content":"` + content + `","update":false,"draft_id":"d","no_split":false,"work_id":"w"}`,
		},
		{
			"untracked: work_id is absent, not null", "6.8.10",
			PushOptions{ApplicantID: "u", Sequence: 1},
			`{"bundle_type":"QUEUE_BUNDLE","applicant_id":"u","action_sequence":1,"entities_types":[],"content":"` + content + `","update":false,"draft_id":null,"no_split":false}`,
		},
		{
			"a draft is named whatever we know of the release", "5.4.1",
			PushOptions{ApplicantID: "u", DraftID: "d", Sequence: 1},
			`{"applicant_id":"u","action_sequence":1,"entities_types":[],"content":"` + content + `","update":true,"draft_id":"d"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.options.Capabilities = mustVersion(tt.version).Capabilities()
			got, err := PushMessage(tt.options, bundle)
			if err != nil {
				t.Fatalf("PushMessage() failed: %v", err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("PushMessage() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPushMessageRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, bundle, applicant, field string
	}{
		{"no JSON", `{`, "u", "bundle"},
		{"another type", `{"type":"report","objects":[{}]}`, "u", "bundle.type"},
		{"no object", `{"type":"bundle","objects":[]}`, "u", "bundle.objects"},
		{"two objects", `{"type":"bundle","objects":[{},{}]}`, "u", "bundle.objects"},
		{"nobody to import as", `{"type":"bundle","objects":[{}]}`, "", "applicant_id"},
	}
	for _, tt := range tests {
		_, err := PushMessage(PushOptions{ApplicantID: tt.applicant, Sequence: 1}, []byte(tt.bundle))
		var field *FieldError
		if !errors.As(err, &field) || field.Field != tt.field {
			t.Errorf("%s: PushMessage() error = %v, want a FieldError about %s", tt.name, err, tt.field)
		}
	}
}
