package opencti_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

// TestRegisterInput: each release gets the fields that it knows, which the stand-in's schema of that release decides.
func TestRegisterInput(t *testing.T) {
	t.Parallel()
	tests := []struct {
		version string
		extra   []string
	}{
		{"5.4.1", nil},
		{"5.10.3", nil},
		{"5.11.0", []string{"playbook_compatible"}},
		{"6.5.6", []string{"playbook_compatible"}},
		{"6.8.8", []string{"playbook_compatible"}},
		{"6.8.9", []string{"playbook_compatible", "auto_update", "enrichment_resolution"}},
		{"7.260817.0", []string{"playbook_compatible", "auto_update", "enrichment_resolution"}},
	}
	for _, tt := range tests {
		t.Run(tt.version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.version)
			want := map[string]any{
				"id": connectorID, "name": "IPQS", "type": "INTERNAL_ENRICHMENT", "scope": []any{"IPv4-Addr"}, "auto": true, "only_contextual": false,
			}
			values := map[string]any{"playbook_compatible": true, "auto_update": true, "enrichment_resolution": "none"}
			for _, field := range tt.extra {
				want[field] = values[field]
			}
			if diff := cmp.Diff(want, r.platform.Registration(connectorID)); diff != "" {
				t.Errorf("registration (-want +got):\n%s", diff)
			}
			if n := r.platform.Requests()["Register"]; n != 1 || r.log.Len() > 0 {
				t.Errorf("%d registrations, log %q, want one and silence", n, r.log)
			}
		})
	}
}

// TestNamesComeFromRegistration: queues and exchanges are the platform's to name.
func TestNamesComeFromRegistration(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	got, err := r.client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS"})
	if err != nil {
		t.Fatal(err)
	}
	want := opencti.Registration{
		ConnectorUserID: openctitest.UserID,
		Connection:      opencti.Connection{Host: "memory.invalid", VHost: "/", Port: 5672, User: "memory", Pass: "memory"},
		Listen:          "listen_" + connectorID, ListenExchange: "amqp.connector.exchange", ListenRouting: "listen_routing_" + connectorID,
		Push: "push_" + connectorID, PushExchange: "amqp.worker.exchange", PushRouting: "push_routing_" + connectorID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Register() (-want +got):\n%s", diff)
	}
}

// TestState_entity: lists and edges, an entity in a draft, one that may not be seen.
func TestState_entity(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.4.1", "5.12.23", "5.12.24", "6.4.0", "7.260817.0"}, func(t *testing.T, r *rig) {
		score := 50
		const created, organization = "2026-08-20T10:00:00.000Z", "identity--581e880a-6582-5ba1-b558-f9aa8c2f8390"
		full := r.platform.AddObservable(openctitest.Observable{
			Type: "IPv4-Addr", Value: "198.51.100.7", Markings: []string{"TLP:GREEN", "PAP:AMBER"}, Labels: []string{"scanner", "tor"},
			Organizations: []string{organization}, Score: &score, CreatedAt: created,
		})
		plain := r.platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: "example.com", CreatedAt: created})
		hidden := r.platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: "hidden.example", Hidden: true})

		got, err := r.entity(full, "")
		if err != nil {
			t.Fatalf("State() failed: %v", err)
		}
		want := opencti.Entity{
			ID: got.ID, StandardID: full, Type: "IPv4-Addr", Value: "198.51.100.7", Score: &score, CreatedAt: created,
			Markings: []opencti.Marking{
				{ID: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", Type: "TLP", Definition: "TLP:GREEN", Order: 2},
				{ID: got.Markings[1].ID, Type: "PAP", Definition: "PAP:AMBER", Order: 3},
			},
			Labels:        []opencti.Label{{ID: "label-scanner", Value: "scanner"}, {ID: "label-tor", Value: "tor"}},
			Organizations: []string{organization},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("State() (-want +got):\n%s", diff)
		}
		if again, err := r.entity(got.ID, ""); err != nil || again.StandardID != full {
			t.Errorf("State() by internal id = %+v, %v, want the same", again, err)
		}
		got, err = r.entity(plain, "")
		want = opencti.Entity{ID: got.ID, StandardID: plain, Type: "Domain-Name", Value: "example.com", CreatedAt: created}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("State() without anything (-want +got, %v):\n%s", err, diff)
		}
		for _, id := range []string{hidden, "ipv4-addr--00000000-0000-4000-8000-000000000000"} {
			if _, err := r.entity(id, ""); !errors.Is(err, opencti.ErrNotFound) {
				t.Errorf("State(%s) error = %v, want ErrNotFound", id, err)
			}
		}
	})
}

// TestAlwaysSendDraftHeader: an entity that only a draft has is read in it, and no request ever leaves the draft open.
func TestAlwaysSendDraftHeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, "6.4.0")
	id := r.platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.7", DraftID: "draft-1"})
	if _, err := r.entity(id, ""); !errors.Is(err, opencti.ErrNotFound) {
		t.Errorf("State() outside the draft error = %v, want ErrNotFound", err)
	}
	if _, err := r.entity(id, "draft-1"); err != nil {
		t.Errorf("State() in the draft failed: %v", err)
	}
	if _, err := r.platform.EnrichInDraft(t.Context(), id, openctitest.Manual, "draft-1"); err != nil {
		t.Fatal(err)
	}
	if request, err := opencti.DecodeRequest(<-r.broker.Jobs()); err != nil || request.DraftID != "draft-1" {
		t.Errorf("DecodeRequest() = %+v, %v, want the draft", request, err)
	}
	if complaints := r.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("the platform complains: %q", complaints)
	}
}

// TestDecodeJobOfEachRelease: what the platform of each release sends on each trigger is what it meant.
func TestDecodeJobOfEachRelease(t *testing.T) {
	t.Parallel()
	triggers := []openctitest.Trigger{openctitest.Manual, openctitest.Auto, openctitest.AutoUpdate, openctitest.ByPlaybook}
	for _, version := range releases {
		for _, trigger := range triggers {
			t.Run(version+"/"+string(trigger), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, version)
				id := r.platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.7", Markings: []string{"TLP:GREEN"}})
				playbook := trigger == openctitest.ByPlaybook
				workID, err := r.platform.Enrich(t.Context(), id, trigger)
				if (trigger == openctitest.AutoUpdate && !r.has.AutoUpdate) || (playbook && !r.has.PlaybookCompatible) {
					if err == nil {
						t.Error("the stand-in sends what the release does not know")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := opencti.DecodeRequest(<-r.broker.Jobs())
				if err != nil {
					t.Fatalf("DecodeRequest() failed: %v", err)
				}
				if got.EntityID != id || (got.Playbook != nil) != playbook || (got.EventType != "") != (r.since("6.0.0") && !playbook) {
					t.Errorf("DecodeRequest() = %+v, want entity %s, playbook %t", got, id, playbook)
				}
				if playbook != (got.WorkID == "") || (!playbook && (got.WorkID != workID || got.Key() != workID+"/"+id)) {
					t.Errorf("DecodeRequest().WorkID = %q, want %q", got.WorkID, workID)
				}
				if wantType := r.since("6.0.0") && !playbook || r.since("7.260615") && playbook; wantType != (got.EntityType == "IPv4-Addr") {
					t.Errorf("DecodeRequest().EntityType = %q, want it: %t", got.EntityType, wantType)
				}
				if r.since("6.8.9") != (got.Mode != "") || r.since("6.8.9") != (got.Trigger != "") {
					t.Errorf("DecodeRequest() mode %q, trigger %q, want them: %t", got.Mode, got.Trigger, r.since("6.8.9"))
				}
				if manual5 := trigger == openctitest.Manual && !r.since("6.0.0"); (manual5 || playbook) != (got.ApplicantID != "") {
					t.Errorf("DecodeRequest().ApplicantID = %q, want one: %t", got.ApplicantID, manual5 || playbook)
				}
			})
		}
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.4.1", "6.2.11", "6.2.12", "7.260817.0"}, func(t *testing.T, r *rig) {
		state, err := r.client.Ping(t.Context(), connectorID, "")
		if err != nil || state != "" {
			t.Fatalf("Ping() = %q, %v, want no state", state, err)
		}
		const kept = `{"last":"2026-08-21"}`
		if state, err = r.client.Ping(t.Context(), connectorID, kept); err != nil || state != kept {
			t.Errorf("Ping() = %q, %v, want what was sent", state, err)
		}
		r.platform.ResetState(connectorID)
		if state, err = r.client.Ping(t.Context(), connectorID, kept); err != nil || state != "" {
			t.Errorf("Ping() after a reset = %q, %v, want none", state, err)
		}
		r.platform.Forget(connectorID)
		if _, err = r.client.Ping(t.Context(), connectorID, ""); !errors.Is(err, opencti.ErrNotFound) {
			t.Errorf("Ping() of a forgotten connector error = %v, want ErrNotFound", err)
		}
	})
}

func TestEnsureLabel(t *testing.T) {
	t.Parallel()
	const value = `IPQS:RISK="HIGH"`
	for version, want := range map[string]string{"5.4.1": "#000000", "7.260728.0": "#000000", "7.260807.0": "#F57C00"} {
		r := newRig(t, version)
		for _, color := range []string{"#F57C00", "#000000"} {
			if err := r.client.EnsureLabel(t.Context(), value, color); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.platform.Labels()[value]; got != want {
			t.Errorf("%s: colour after a second labelAdd = %s, want %s", version, got, want)
		}
	}
}

// TestRemoveLabel: a label comes off the observable or the indicator that it is on, and nothing else does.
func TestRemoveLabel(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.4.1", "6.4.0", "7.260817.0"}, func(t *testing.T, r *rig) {
		id := r.platform.AddObservable(openctitest.Observable{Type: "Url", Value: "https://example.com/", Labels: []string{"a", "b"}})
		entity, err := r.entity(id, "")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // once more is harmless
			if err := r.client.RemoveLabel(t.Context(), id, entity.Labels[0].ID, ""); err != nil {
				t.Fatalf("RemoveLabel() error = %v", err)
			}
		}
		if o, _ := r.platform.Observable(id); !slices.Equal(o.Labels, []string{"b"}) {
			t.Errorf("labels = %q, want b alone", o.Labels)
		}
		if err := r.client.RemoveLabel(t.Context(), "url--00000000-0000-4000-8000-000000000000", "label-a", ""); !errors.Is(err, opencti.ErrRefused) {
			t.Errorf("RemoveLabel() of nothing error = %v, want ErrRefused", err)
		}
	})
}

// TestAnswerPlaybook: one answer, with event_id where it is required and without where it is refused.
func TestAnswerPlaybook(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.11.0", "6.0.10", "6.1.0", "6.9.5", "6.9.6", "7.260817.0"}, func(t *testing.T, r *rig) {
		request := r.request("198.51.100.7", openctitest.ByPlaybook)
		bundle := []byte(`{"type":"bundle","id":"bundle--1","objects":[{"id":"note--1","content":"<b>&"}]}`)
		if err := r.client.AnswerPlaybook(t.Context(), *request.Playbook, time.Now(), bundle); err != nil {
			t.Fatalf("AnswerPlaybook() failed: %v", err)
		}
		answers := r.platform.PlaybookAnswers()
		if len(answers) != 1 || string(answers[0].Bundle) != string(bundle) || string(answers[0].Previous) != string(request.Playbook.Bundle) {
			t.Fatalf("answers = %+v, want our bundle and the one we were given, byte for byte", answers)
		}
		var result struct{ Objects []json.RawMessage }
		if err := json.Unmarshal(answers[0].Result, &result); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{false: 1, true: 2}[r.since("6.9.6")]; len(result.Objects) != want {
			t.Errorf("the playbook goes on with %d objects, want %d", len(result.Objects), want)
		}
		gone := *request.Playbook
		gone.StepID = "another"
		if err := r.client.AnswerPlaybook(t.Context(), gone, time.Now(), bundle); !errors.Is(err, opencti.ErrNotFound) {
			t.Errorf("AnswerPlaybook() of a step that is gone error = %v, want ErrNotFound", err)
		}
		if complaints := r.platform.Complaints(); len(complaints) > 0 {
			t.Errorf("the platform complains: %q", complaints)
		}
	})
}

func TestAnswerPlaybookOfAnOldRelease(t *testing.T) {
	t.Parallel()
	r := newRig(t, "5.10.3")
	err := r.client.AnswerPlaybook(t.Context(), opencti.Playbook{ExecutionID: "e"}, time.Now(), []byte(`{}`))
	if !errors.Is(err, opencti.ErrUnsupported) || errors.Is(err, opencti.ErrUnavailable) {
		t.Errorf("AnswerPlaybook() error = %v, want ErrUnsupported", err)
	}
}

// TestPlaybookWithoutPreviousStep: required by the platform's schema, possibly missing in its own message.
func TestPlaybookWithoutPreviousStep(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	request := r.request("198.51.100.7", openctitest.ByPlaybook)
	request.Playbook.PreviousStepID = ""
	if err := r.client.AnswerPlaybook(t.Context(), *request.Playbook, time.Now(), request.Playbook.Bundle); err != nil {
		t.Fatalf("AnswerPlaybook() failed: %v", err)
	}
	if got := r.platform.PlaybookAnswers()[0].PreviousStepID; got != request.Playbook.StepID {
		t.Errorf("previous_step_id = %q, want the step's own", got)
	}
}

// TestWrongToken: the platform says 200 and AUTH_REQUIRED.
func TestWrongToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.platform.FailNext("About", 1, "AUTH_REQUIRED")
	if _, err := r.client.About(t.Context()); !errors.Is(err, opencti.ErrAuth) {
		t.Errorf("About() error = %v, want ErrAuth", err)
	}
}
