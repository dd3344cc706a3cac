package openctitest

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestJobs: the fields of each release's message, value by value.
func TestJobs(t *testing.T) {
	t.Parallel()
	const kind = "INTERNAL_ENRICHMENT"
	tests := []struct {
		name, version   string
		trigger         Trigger
		draft           string
		internal, event map[string]any
	}{
		{
			"5.4 manual: two ids and the applicant", "5.4.1", Manual, "",
			map[string]any{"work_id": true, "applicant_id": manualUser},
			map[string]any{"entity_id": true},
		},
		{
			"5.4 auto: no applicant", "5.4.1", Auto, "",
			map[string]any{"work_id": true, "applicant_id": nil},
			map[string]any{"entity_id": true},
		},
		{
			"6.0: event_type and entity_type", "6.0.0", Manual, "",
			map[string]any{"work_id": true, "applicant_id": nil},
			map[string]any{"entity_id": true, "event_type": kind, "entity_type": "IPv4-Addr"},
		},
		{
			"6.4: draft_id", "6.4.0", Manual, "draft-1",
			map[string]any{"work_id": true, "applicant_id": nil, "draft_id": "draft-1"},
			map[string]any{"entity_id": true, "event_type": kind, "entity_type": "IPv4-Addr"},
		},
		{
			"6.8.9 manual: mode, trigger and the entity", "6.8.9", Manual, "",
			map[string]any{"work_id": true, "applicant_id": nil, "draft_id": nil, "mode": "manual", "trigger": "update"},
			map[string]any{"entity_id": true, "event_type": kind, "entity_type": "IPv4-Addr", "stix_entity": true, "stix_objects": nil},
		},
		{
			"newest auto", "7.260817.0", Auto, "",
			map[string]any{"work_id": true, "applicant_id": nil, "draft_id": nil, "mode": "auto", "trigger": "create"},
			map[string]any{"entity_id": true, "event_type": kind, "entity_type": "IPv4-Addr", "stix_entity": true, "stix_objects": nil},
		},
		{
			"5.11 playbook: no event_id", "5.11.0", ByPlaybook, "",
			map[string]any{"work_id": nil, "applicant_id": automationUser, "playbook": []string{"data_instance_id", "execution_id", "playbook_id", "previous_step_id", "step_id"}},
			map[string]any{"entity_id": true, "bundle": true},
		},
		{
			"newest playbook: event_id and entity_type, no event_type", "7.260817.0", ByPlaybook, "",
			map[string]any{
				"work_id": nil, "applicant_id": automationUser, "mode": "auto", "trigger": "create",
				"playbook": []string{"data_instance_id", "event_id", "execution_id", "playbook_id", "previous_step_id", "step_id"},
			},
			map[string]any{"entity_id": true, "entity_type": "IPv4-Addr", "bundle": true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, broker := platform(t, tt.version)
			var extra []string
			if tt.trigger == ByPlaybook {
				extra = []string{"playbook_compatible"}
			}
			if _, code, text := ask(t, p, register, input(extra...)); code != "" {
				t.Fatalf("registration refused: %s %s", code, text)
			}
			score := 50
			id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7", Score: &score, Markings: []string{"TLP:GREEN"}})
			if _, err := p.EnrichInDraft(t.Context(), id, tt.trigger, tt.draft); err != nil {
				t.Fatal(err)
			}
			var got struct{ Internal, Event map[string]any }
			if err := json.Unmarshal(<-broker.Jobs(), &got); err != nil {
				t.Fatal(err)
			}
			// Ids and contents that differ each time are compared by their presence.
			for _, part := range []struct {
				m    map[string]any
				keys []string
			}{{got.Internal, []string{"work_id"}}, {got.Event, []string{"entity_id", "stix_entity", "bundle"}}} {
				for _, key := range part.keys {
					if part.m[key] != nil {
						part.m[key] = true
					}
				}
			}
			if step, ok := got.Internal["playbook"].(map[string]any); ok {
				var keys []string
				for _, key := range []string{"data_instance_id", "event_id", "execution_id", "playbook_id", "previous_step_id", "step_id"} {
					if step[key] != nil {
						keys = append(keys, key)
					}
				}
				got.Internal["playbook"] = keys
			}
			if diff := cmp.Diff(tt.internal, got.Internal); diff != "" {
				t.Errorf("internal (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.event, got.Event); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEnrichRefuses: jobs that the platform would not send.
func TestEnrichRefuses(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "6.3.0")
	address := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
	page := p.AddObservable(Observable{Type: "Url", Value: "https://example.com/"})
	refused := func(name, id string, trigger Trigger, draft string) {
		t.Helper()
		if _, err := p.EnrichInDraft(t.Context(), id, trigger, draft); err == nil {
			t.Errorf("%s: the job was sent", name)
		}
	}
	refused("no connector", address, Manual, "")
	if _, code, text := ask(t, p, register, input()); code != "" {
		t.Fatalf("registration refused: %s %s", code, text)
	}
	refused("unknown observable", "ipv4-addr--none", Manual, "")
	refused("out of scope", page, Auto, "")
	refused("release without auto_update", address, AutoUpdate, "")
	refused("connector not made for playbooks", address, ByPlaybook, "")
	refused("release without drafts", address, Manual, "draft-1")
	if n := len(p.Works()); n != 0 {
		t.Errorf("%d works were made for jobs that were not sent", n)
	}
	if _, err := p.Enrich(t.Context(), page, Manual); err != nil {
		t.Errorf("a user may pick the connector for anything, Enrich() failed: %v", err)
	}
}

// TestAutomaticJobsOfEachRelease: filters replace auto from 6.2.0 on, and what the connector's user may not see is left out
// from 7.260529 on.
func TestAutomaticJobsOfEachRelease(t *testing.T) {
	t.Parallel()
	for version, want := range map[string][3]bool{ // wanted by the filter, not wanted by it, hidden
		"6.1.13": {true, true, true}, "6.2.0": {true, false, true}, "7.260527.0": {true, false, true}, "7.260529.0": {true, false, false},
	} {
		p, _ := platform(t, version)
		if _, code, text := ask(t, p, register, input()); code != "" {
			t.Fatalf("registration refused: %s %s", code, text)
		}
		hidden := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.9", Hidden: true})
		_, err := p.Enrich(t.Context(), hidden, Auto)
		got := [3]bool{2: err == nil}
		for id := range p.connectors {
			p.SetTriggerFilter(id, func(o Observable) bool { return o.Value == "198.51.100.7" })
		}
		for i, value := range []string{"198.51.100.7", "198.51.100.8"} {
			_, err := p.Enrich(t.Context(), p.AddObservable(Observable{Type: "IPv4-Addr", Value: value}), Auto)
			got[i] = err == nil
		}
		if got != want {
			t.Errorf("%s: sent %v, want %v", version, got, want)
		}
	}
}

// TestStixEntity: OpenCTI's own types have their labels and score at the top, the others in the extension.
func TestStixEntity(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	score := 7
	for _, kind := range []string{"Domain-Name", "Phone-Number"} {
		id := p.AddObservable(Observable{Type: kind, Value: "+1", Score: &score, Labels: []string{"l"}, Organizations: []string{"identity--1"}})
		o, _ := p.Observable(id)
		converted := p.stix(&o)
		_, atTop := converted["score"]
		extensions, _ := converted["extensions"].(map[string]any)
		observable, _ := extensions[extensionObservable].(map[string]any)
		_, inExtension := observable["score"]
		if own := kind == "Phone-Number"; atTop != own || inExtension == own {
			t.Errorf("%s: score at the top %t, in the extension %t, want one of them", kind, atTop, inExtension)
		}
		if general, _ := extensions[extensionOpenCTI].(map[string]any); general["granted_refs"] == nil || general["type"] != kind {
			t.Errorf("%s: extension = %v, want its type and who it is shared with", kind, general)
		}
	}
}

// TestStixEntityOfAnAccount: the platform sends it whole, with its password.
func TestStixEntityOfAnAccount(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	o, _ := p.Observable(p.AddObservable(Observable{Type: "User-Account", Account: &Account{Login: "jdoe", Credential: "pw"}}))
	if got := p.stix(&o); got["account_login"] != "jdoe" || got["credential"] != "pw" || got["value"] != nil || got["user_id"] != nil {
		t.Errorf("the account is sent as %v, want its login and password", got)
	}
}

func TestStandardIDs(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "")
	// The address is the protocol's own example.
	if got, want := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7"}), "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"; got != want {
		t.Errorf("id of an address = %s, want %s", got, want)
	}
	if a, b := labelID("Tor "), labelID("tor"); a != b {
		t.Errorf("labels that the platform takes for one have ids %s and %s", a, b)
	}
}
