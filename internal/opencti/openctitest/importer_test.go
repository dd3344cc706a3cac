package openctitest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// registered returns a platform with one connector.
func registered(t *testing.T, version string) (*Platform, *Memory) {
	t.Helper()
	p, broker := platform(t, version)
	if _, code, message := ask(t, p, register, input()); code != "" {
		t.Fatalf("registration refused: %s %s", code, message)
	}
	return p, broker
}

func until(t *testing.T, p *Platform, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Wait(ctx, done); err != nil {
		t.Fatalf("waiting until %s: %v; complaints %q, works %+v", what, err, p.Complaints(), p.Works())
	}
}

// message is a published object. change edits envelope and bundle before they are encoded.
func message(t *testing.T, workID, object string, change func(envelope, bundle map[string]any)) []byte {
	t.Helper()
	bundle := map[string]any{
		"type": "bundle", "id": "bundle--0f7b1d4e-6f3c-4d55-9c8e-5b6a7c8d9e0f", "spec_version": "2.1", "x_opencti_seq": 1,
		"objects": []any{json.RawMessage(object)},
	}
	envelope := map[string]any{
		"bundle_type": "QUEUE_BUNDLE", "applicant_id": UserID, "action_sequence": 1, "entities_types": []string{}, "update": false,
	}
	if workID != "" {
		envelope["work_id"] = workID
	}
	if change != nil {
		change(envelope, bundle)
	}
	if _, set := envelope["content"]; !set {
		content, err := json.Marshal(bundle)
		if err != nil {
			t.Fatal(err)
		}
		envelope["content"] = base64.StdEncoding.EncodeToString(content)
	}
	body, err := json.Marshal(envelope)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func push(t *testing.T, broker *Memory, bodies ...[]byte) {
	t.Helper()
	for _, body := range bodies {
		if err := broker.Push(t.Context(), body); err != nil {
			t.Fatal(err)
		}
	}
}

func note(id string) string { return `{"type":"note","id":"note--` + id + `","content":"x"}` }

// edit sends a mutation of a work.
func edit(t *testing.T, p *Platform, workID, mutation string) {
	t.Helper()
	if _, code, text := ask(t, p, `mutation M($id: ID!) { workEdit(id: $id) { `+mutation+` } }`, map[string]any{"id": workID}); code != "" {
		t.Fatalf("%s refused: %s %s", mutation, code, text)
	}
}

// enrich makes an observable, a work for it, and takes the job.
func enrich(t *testing.T, p *Platform, broker *Memory, value string) (workID, standardID string) {
	t.Helper()
	standardID = p.AddObservable(Observable{Type: "IPv4-Addr", Value: value, Labels: []string{"scanner"}})
	workID, err := p.Enrich(t.Context(), standardID, Manual)
	if err != nil {
		t.Fatal(err)
	}
	if body := <-broker.Jobs(); !strings.Contains(string(body), workID) {
		t.Fatalf("job = %s, want one of %s", body, workID)
	}
	return workID, standardID
}

// TestImporterComplains: each thing that would make the platform's worker lose a message, or that no connector should send.
func TestImporterComplains(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, want string
		change     func(envelope, bundle map[string]any)
	}{
		{"no applicant", "applicant_id", func(e, _ map[string]any) { delete(e, "applicant_id") }},
		{"no sequence", "action_sequence", func(e, _ map[string]any) { delete(e, "action_sequence") }},
		{"no types", "entities_types", func(e, _ map[string]any) { delete(e, "entities_types") }},
		{"no update", "update", func(e, _ map[string]any) { delete(e, "update") }},
		{"another bundle_type", "bundle_type", func(e, _ map[string]any) { e["bundle_type"] = "X" }},
		{"work_id null as a string", "", func(e, _ map[string]any) { e["work_id"] = "null" }}, // any string is an id: dropped, as its work is dead
		{"work_id empty", "work_id", func(e, _ map[string]any) { e["work_id"] = "" }},
		{"base64 without padding", "base64", func(e, _ map[string]any) { e["content"] = "eyJ" }},
		{"base64 of the URL alphabet", "base64", func(e, _ map[string]any) { e["content"] = "_-__" }},
		{"content is no bundle", "bundle", func(e, _ map[string]any) { e["content"] = "W10=" }},
		{"no sequence number", "x_opencti_seq", func(_, b map[string]any) { delete(b, "x_opencti_seq") }},
		{"two objects", "2 objects", func(_, b map[string]any) {
			b["objects"] = []any{json.RawMessage(note("1")), json.RawMessage(note("2"))}
		}},
		{"no STIX 2.1", "2.1", func(_, b map[string]any) { b["spec_version"] = "2.0" }},
		{"object without id", "id", func(_, b map[string]any) { b["objects"] = []any{map[string]any{"type": "note"}} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, broker := registered(t, "7.260817.0")
			push(t, broker, message(t, "", note("1"), tt.change), message(t, "", note("last"), nil))
			until(t, p, "the last is imported", func() bool { return p.Imported()["note--last"].Times == 1 })
			complaints := p.Complaints()
			if tt.want == "" {
				if len(complaints) > 0 {
					t.Errorf("complaints = %q, want none", complaints)
				}
				return
			}
			if len(complaints) != 1 || !strings.Contains(complaints[0], tt.want) {
				t.Errorf("complaints = %q, want one about %s", complaints, tt.want)
			}
			if n := len(p.Imported()); n != 1 {
				t.Errorf("%d objects imported, want only the last", n)
			}
		})
	}
	p, broker := registered(t, "7.260817.0")
	push(t, broker, []byte("{"), message(t, "", note("last"), nil))
	until(t, p, "the last is imported", func() bool { return p.Imported()["note--last"].Times == 1 })
	if complaints := p.Complaints(); len(complaints) != 1 {
		t.Errorf("complaints = %q, want one about no JSON", complaints)
	}
}

// TestImport: what an object does to the platform, and what its message said.
func TestImport(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "7.260817.0")
	workID, id := enrich(t, p, broker, "198.51.100.7")
	edit(t, p, workID, "addExpectations(expectations: 5)")
	author := `{"type":"identity","id":"identity--1","name":"IPQS"}`
	indicator := `{"type":"indicator","id":"indicator--1","created_by_ref":"identity--1","object_marking_refs":["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"],"labels":["IPQS:RISK=\"HIGH\""],"x_opencti_score":88}`
	relationship := `{"type":"relationship","id":"relationship--1","relationship_type":"based-on","source_ref":"indicator--1","target_ref":"` + id + `"}`
	observable := `{"type":"ipv4-addr","id":"` + id + `","value":"198.51.100.7","x_opencti_score":88,"x_opencti_labels":["new","Scanner"]}`
	// The relationship comes first: it waits for what it names, as the platform's worker has it wait.
	push(t, broker, message(t, workID, relationship, nil), message(t, workID, observable, nil), message(t, workID, indicator, nil),
		message(t, workID, author, func(e, _ map[string]any) { e["update"] = true }),
		message(t, workID, note("1"), func(e, _ map[string]any) { e["draft_id"] = "draft-1" }))
	until(t, p, "the work is complete", func() bool { w, _ := p.Work(workID); return w.Status == statusComplete })

	imported := p.Imported()
	if len(imported) != 5 || imported["relationship--1"].Times != 1 || imported["note--1"].DraftID != "draft-1" || !imported["identity--1"].Update {
		t.Errorf("imported = %+v, want five objects, one of them in a draft", imported)
	}
	if works := imported["indicator--1"].Works; len(works) != 1 || works[0] != workID {
		t.Errorf("works of the indicator = %q, want %s", works, workID)
	}
	o, _ := p.Observable(id)
	if o.Score == nil || *o.Score != 88 || fmt.Sprint(o.Labels) != "[scanner new]" {
		t.Errorf("observable = %+v, want score 88 and the labels merged", o)
	}
	if w, _ := p.Work(workID); w.Imported != 5 || w.Processed != 5 || len(w.Errors) > 0 {
		t.Errorf("work = %+v, want five objects without errors", w)
	}
}

// TestImportRefuses: the object is reported in error, and the work still counts it.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	const indicator = `{"type":"indicator","id":"indicator--1","x_opencti_score":%s}`
	tests := []struct{ name, object, want string }{
		{"a float", fmt.Sprintf(indicator, "88.5"), "non-integer"},
		{"a string", fmt.Sprintf(indicator, `"88"`), "non-integer"},
		{"too high", fmt.Sprintf(indicator, "101"), "between"},
		{"nobody knows the reference", `{"type":"note","id":"note--1","object_refs":["ipv4-addr--none"]}`, "missing reference ipv4-addr--none"},
		{"observable without value", `{"type":"ipv4-addr","id":"%ID%"}`, "identifies"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, broker := registered(t, "7.260817.0")
			workID, id := enrich(t, p, broker, "198.51.100.7")
			edit(t, p, workID, "addExpectations(expectations: 2)")
			push(t, broker, message(t, workID, strings.ReplaceAll(tt.object, "%ID%", id), nil), message(t, workID, note("last"), nil))
			until(t, p, "the last is imported", func() bool { return p.Imported()["note--last"].Times == 1 })
			p.Tick() // gives up on references
			w, _ := p.Work(workID)
			if len(w.Errors) != 1 || !strings.Contains(w.Errors[0].Message, tt.want) || w.Errors[0].Source == "" {
				t.Errorf("errors = %+v, want one about %q with its source", w.Errors, tt.want)
			}
			if w.Status != statusComplete || len(p.Imported()) != 1 {
				t.Errorf("work is %s with %d objects, want complete with the last one only", w.Status, len(p.Imported()))
			}
		})
	}
}

// TestExtensionLabelsWin: x_opencti_labels is ignored while the observable extension still has labels.
func TestExtensionLabelsWin(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "7.260817.0")
	_, id := enrich(t, p, broker, "198.51.100.7")
	push(t, broker, message(t, "", `{"type":"ipv4-addr","id":"`+id+`","value":"198.51.100.7","x_opencti_labels":["ignored"],
		"extensions":{"`+extensionObservable+`":{"labels":["seen"],"score":7}}}`, nil))
	until(t, p, "it is imported", func() bool { return p.Imported()[id].Times == 1 })
	o, _ := p.Observable(id)
	if fmt.Sprint(o.Labels) != "[scanner seen]" || o.Score == nil || *o.Score != 7 {
		t.Errorf("labels = %q, score %v, want those of the extension", o.Labels, o.Score)
	}
}

func TestImportingPauses(t *testing.T) {
	t.Parallel()
	p, broker := registered(t, "7.260817.0")
	p.SetImporting(false)
	push(t, broker, message(t, "", note("1"), nil))
	if n := len(p.Imported()); n != 0 {
		t.Errorf("%d objects imported while paused, want none", n)
	}
	p.SetImporting(true)
	until(t, p, "it is imported", func() bool { return len(p.Imported()) == 1 })
}
