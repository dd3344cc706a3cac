package opencti

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	workID   = "work_0d0c7a2c-2f9e-4f11-8c3e-1f1d7e6d4b10_2026-08-21T09:12:33.120Z"
	entityID = "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"
)

func playbookMessage(without string) []byte {
	step := map[string]any{
		"execution_id": "e1", "event_id": "1-0", "playbook_id": "p1", "data_instance_id": entityID, "step_id": "s2", "previous_step_id": "s1",
	}
	event := map[string]any{"entity_id": entityID, "entity_type": "IPv4-Addr", "bundle": map[string]any{"type": "bundle"}}
	delete(step, without)
	delete(event, without)
	text, _ := json.Marshal(map[string]any{
		"internal": map[string]any{"work_id": nil, "playbook": step, "applicant_id": "a1", "trigger": "create", "mode": "auto"},
		"event":    event,
	})
	return text
}

func TestDecodeRequest(t *testing.T) {
	t.Parallel()
	step := &Playbook{
		ExecutionID: "e1", EventID: "1-0", PlaybookID: "p1", DataInstanceID: entityID, StepID: "s2", PreviousStepID: "s1",
		Bundle: json.RawMessage(`{"type":"bundle"}`),
	}
	old := *step
	old.EventID, old.PreviousStepID = "", ""
	tests := []struct {
		name, body string
		want       Request
	}{
		{
			"5.4: two ids and an applicant", `{"internal":{"work_id":"` + workID + `","applicant_id":"u1"},"event":{"entity_id":"3f2c0c7e"}}`,
			Request{WorkID: workID, ApplicantID: "u1", EntityID: "3f2c0c7e"},
		},
		{
			"6.0: type of event and entity",
			`{"internal":{"work_id":"` + workID + `","applicant_id":null},"event":{"event_type":"INTERNAL_ENRICHMENT","entity_id":"` + entityID + `","entity_type":"IPv4-Addr"}}`,
			Request{WorkID: workID, EventType: "INTERNAL_ENRICHMENT", EntityID: entityID, EntityType: "IPv4-Addr"},
		},
		{
			"7.x: draft, mode, trigger, an entity that is not kept",
			`{"internal":{"work_id":"` + workID + `","applicant_id":null,"draft_id":"d1","mode":"manual","trigger":"update"},
			  "event":{"event_type":"INTERNAL_ENRICHMENT","entity_id":"` + entityID + `","entity_type":"IPv4-Addr","stix_entity":"{}","stix_objects":null}}`,
			Request{WorkID: workID, DraftID: "d1", Mode: "manual", Trigger: "update", EventType: "INTERNAL_ENRICHMENT", EntityID: entityID, EntityType: "IPv4-Addr"},
		},
		{
			"unknown fields of any kind are ignored",
			`{"configuration":[1],"internal":{"work_id":"w","new":{"a":1}},"event":{"entity_id":"x","stix_entity":""}}`,
			Request{WorkID: "w", EntityID: "x"},
		},
		{
			"what is only told may become anything",
			`{"internal":{"work_id":"w","mode":{"a":1},"trigger":7},"event":{"entity_id":"x","event_type":["a"],"entity_type":true}}`,
			Request{WorkID: "w", EntityID: "x"},
		},
		{
			"no work", `{"internal":{"work_id":null},"event":{"entity_id":"x"}}`,
			Request{EntityID: "x"},
		},
		{
			"playbook", string(playbookMessage("")),
			Request{ApplicantID: "a1", Mode: "auto", Trigger: "create", EntityID: entityID, EntityType: "IPv4-Addr", Playbook: step},
		},
		{
			"playbook without entity_id: its object is meant", string(playbookMessage("entity_id")),
			Request{ApplicantID: "a1", Mode: "auto", Trigger: "create", EntityID: entityID, EntityType: "IPv4-Addr", Playbook: step},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := DecodeRequest([]byte(tt.body))
			if err != nil {
				t.Fatalf("DecodeRequest() failed: %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("DecodeRequest() (-want +got):\n%s", diff)
			}
			travelled := Request{}
			text, err := json.Marshal(got)
			if err != nil || json.Unmarshal(text, &travelled) != nil {
				t.Fatalf("the request does not travel: %v", err)
			}
			if diff := cmp.Diff(got, travelled); diff != "" {
				t.Errorf("after a hop (-want +got):\n%s", diff)
			}
		})
	}
	for _, field := range []string{"event_id", "previous_step_id"} {
		if _, err := DecodeRequest(playbookMessage(field)); err != nil {
			t.Errorf("DecodeRequest() of a playbook without %s failed: %v", field, err)
		}
	}
}

func TestStixEntity(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`{"event":{"stix_entity":"{\"type\":\"url\"}"}}`: `{"type":"url"}`,
		`{"event":{"stix_entity":""}}`:                   "",
		`{"event":{"stix_entity":null}}`:                 "",
		`{"event":{"stix_entity":{}}}`:                   "",
		`{"event":{}}`:                                   "",
		`[]`:                                             "",
		`{`:                                              "",
		`{"event":{"stix_entity":"` + strings.Repeat("x", 256<<10) + `"}}`: "",
	} {
		if got := string(StixEntity([]byte(message))); got != want {
			t.Errorf("StixEntity(%.60s) = %.60q, want %q", message, got, want)
		}
	}
}

func TestDecodeRequestBroken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, field string
		work              string // what has to be known of the work all the same
	}{
		{"nothing", ``, "job message", ""},
		{"no JSON", `work_1`, "job message", ""},
		{"an array", `[1,2]`, "job message", ""},
		{"null", `null`, "job message", ""},
		{"cut short after the work", `{"internal":{"applicant_id":null,"work_id":"w1","draft`, "job message", "w1"},
		{"cut short, event first", `{"event":{"a":[{"work_id":"no"}],"work_id":"no"},"internal":{"x":[1,[2]],"work_id":"w1"`, "job message", "w1"},
		{"cut short in an array", `[{"internal":{"work_id":"no"`, "job message", ""},
		{"a work_id elsewhere is not ours", `{"work_id":"no","internal":"work_id","x":{"work_id":"no"},`, "job message", ""},
		{"internal is a string", `{"internal":"x","event":{"entity_id":"e"}}`, "internal", ""},
		{"work_id is a number", `{"internal":{"work_id":7},"event":{"entity_id":"e"}}`, "internal.work_id", ""},
		{"draft_id is an object", `{"internal":{"work_id":"w1","draft_id":{}},"event":{"entity_id":"e"}}`, "internal.draft_id", "w1"},
		{"no event", `{"internal":{"work_id":"w1"}}`, "event.entity_id", "w1"},
		{"entity_id is null", `{"internal":{"work_id":"w1"},"event":{"entity_id":null}}`, "event.entity_id", "w1"},
		{"entity_id is empty", `{"internal":{"work_id":"w1"},"event":{"entity_id":""}}`, "event.entity_id", "w1"},
		{"entity_id is huge", `{"internal":{"work_id":"w1"},"event":{"entity_id":"` + strings.Repeat("x", maxText+1) + `"}}`, "event.entity_id", "w1"},
		{"playbook is a string", `{"internal":{"playbook":"x"},"event":{"entity_id":"e"}}`, "internal.playbook", ""},
		{"playbook without bundle", string(playbookMessage("bundle")), "event.bundle", ""},
		{"playbook without execution_id", string(playbookMessage("execution_id")), "internal.playbook.execution_id", ""},
		{"playbook without step_id", string(playbookMessage("step_id")), "internal.playbook.step_id", ""},
		{"playbook without playbook_id", string(playbookMessage("playbook_id")), "internal.playbook.playbook_id", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := DecodeRequest([]byte(tt.body))
			var field *FieldError
			if !errors.As(err, &field) || field.Field != tt.field || field.Found == "" || field.Want == "" {
				t.Fatalf("DecodeRequest() error = %v, want a whole FieldError about %s", err, tt.field)
			}
			if got.WorkID != tt.work {
				t.Errorf("DecodeRequest().WorkID = %q, want %q", got.WorkID, tt.work)
			}
		})
	}
}

func TestDecodeRequestTooLong(t *testing.T) {
	t.Parallel()
	body := []byte(`{"internal":{"work_id":"w1"},"event":{"x":"` + strings.Repeat("x", MaxRequestBytes) + `"}}`)
	got, err := DecodeRequest(body)
	var field *FieldError
	if !errors.As(err, &field) || got.WorkID != "w1" {
		t.Errorf("DecodeRequest() = %+v, %v, want work w1 and a FieldError", got, err)
	}
}

// TestDecodeRequestWithAFile: an Artifact's stix_entity may have the content of its file. Reading the rest costs no memory for it.
func TestDecodeRequestWithAFile(t *testing.T) { //nolint:paralleltest // counts what the process allocates
	const size = 32 << 20
	body := []byte(`{"internal":{"work_id":"w1"},"event":{"stix_entity":"{\"payload_bin\":\"` + strings.Repeat("QUJD", size/4) + `\"}","entity_id":"e"}}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := DecodeRequest(body)
	runtime.ReadMemStats(&after)
	if diff := cmp.Diff(Request{WorkID: "w1", EntityID: "e"}, got); err != nil || diff != "" {
		t.Errorf("DecodeRequest() error = %v (-want +got):\n%s", err, diff)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > size/8 {
		t.Errorf("DecodeRequest() allocated %d bytes for a message of %d, want a small part of it", taken, len(body))
	}
}

func TestRequestKey(t *testing.T) {
	t.Parallel()
	playbook, err := DecodeRequest(playbookMessage(""))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := playbook.Key(), "e1/s2/"+entityID; got != want {
		t.Errorf("Key() of a playbook = %q, want %q", got, want)
	}
	for _, tt := range []struct {
		request Request
		want    string
	}{
		{Request{WorkID: "w1", EntityID: "e"}, "w1/e"},
		{Request{WorkID: "w1", EntityID: "f"}, "w1/f"},
		{Request{WorkID: "w1", EntityID: "e", DraftID: "d"}, "w1/e/d"},
		{Request{WorkID: "w1"}, ""},
		{Request{EntityID: "e", Mode: "auto"}, ""},
		{Request{WorkID: "w1", EntityID: "e", Playbook: &Playbook{ExecutionID: "e1"}}, ""},
	} {
		if got := tt.request.Key(); got != tt.want {
			t.Errorf("Key() of %+v = %q, want %q", tt.request, got, tt.want)
		}
	}
}

func TestBodyKey(t *testing.T) {
	t.Parallel()
	const want = "request-44136fa355b3678a1146ad16f7e8649e" // printf '{}' | sha256sum | cut -c 1-32
	if got := BodyKey([]byte("{}")); got != want {
		t.Errorf("BodyKey({}) = %q, want %q", got, want)
	}
	if BodyKey([]byte("{ }")) == want {
		t.Error("BodyKey() of two bodies is the same, want two")
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"internal":{"work_id":"w","draft_id":null},"event":{"entity_id":"e","stix_entity":"{}"}}`))
	f.Add(playbookMessage(""))
	f.Add([]byte(`{"internal":{"work_id":"w","pl`))
	f.Add([]byte(`[[{"a":]`))
	f.Add([]byte(`{"internal":{"playbook":{}},"event":{"bundle":"{}"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := DecodeRequest(body)
		if err != nil {
			var field *FieldError
			if !errors.As(err, &field) || field.Field == "" || field.Found == "" || field.Want == "" {
				t.Fatalf("error = %v, want a whole FieldError", err)
			}
			return
		}
		if r.EntityID == "" || (r.WorkID != "" || r.Playbook != nil) && r.Key() == "" {
			t.Fatalf("accepted without entity or key: %+v", r)
		}
		if p := r.Playbook; p != nil && (p.StepID == "" || !json.Valid(p.Bundle)) {
			t.Fatalf("accepted a playbook that cannot be answered: %+v", p)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("does not travel: %v", err)
		}
		var travelled Request
		if err := json.Unmarshal(text, &travelled); err != nil || travelled.Key() != r.Key() {
			t.Fatalf("Key() = %q after a hop, want %q (%v)", travelled.Key(), r.Key(), err)
		}
	})
}
