package openctitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	amber = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
	green = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
	clear = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"

	indicatorKey = "Indicator [ipv4-addr:value = '198.51.100.7']"
	systemID     = "autonomous-system--55555555-5555-5555-8555-555555555555"
	systemKey    = "Autonomous-System 64500"
)

func system(change stixObject) stixObject {
	o := stixObject{"type": "autonomous-system", "id": systemID, "number": 64500}
	maps.Copy(o, change)
	return o
}

func observable(change stixObject) stixObject {
	o := stixObject{"type": "ipv4-addr", "id": "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db", "value": address}
	maps.Copy(o, change)
	return o
}

// unread are the fields that the rows below do not compare: who wrote, and when.
var unread = cmpopts.IgnoreFields(Object{}, "InternalID", "StixIDs", "Creators", "UpdatedAt", "Modified", "CreatedAt", "Created")

// TestUpsert: what an object of ours does to one of another source. Each row is named after what it shows.
func TestUpsert(t *testing.T) {
	t.Parallel()
	vendors := indicator(vendorID, stixObject{
		"name": "C2 of group X", "x_opencti_score": 90, "confidence": 80, "valid_until": "2000-02-01T00:00:00Z", // synctest begins in 2000
		"description": "theirs", "x_opencti_detection": true, "object_marking_refs": []string{green}, "indicator_types": []string{"malicious-activity"},
	})
	ours := stixObject{"x_opencti_score": 30, "indicator_types": []string{"anomalous-activity"}}
	with := func(o stixObject, key string, value any) stixObject {
		changed := stixObject{key: value}
		for k, v := range o {
			if _, set := changed[k]; !set {
				changed[k] = v
			}
		}
		return changed
	}
	tests := []struct {
		name          string
		theirs, sent  stixObject
		key           string
		change        func(o *Object)
		confidenceMax int
	}{
		{
			"a lower confidence changes nothing but adds labels", vendors, indicator(ownID, with(with(ours, "confidence", 50), "labels", []string{"seen"})), indicatorKey,
			func(o *Object) { o.Labels = []string{"seen"} }, 100,
		},
		{"the user's highest confidence caps an object's", vendors, indicator(ownID, ours), indicatorKey, func(*Object) {}, 50},
		{
			"an equal confidence replaces all but the author", vendors, indicator(ownID, with(ours, "confidence", 80)), indicatorKey,
			func(o *Object) {
				o.Name, o.Score = address, new(30)
				o.IndicatorTypes = []string{"malicious-activity", "anomalous-activity"}
				o.Decay.BaseScore = 30
			}, 100,
		},
		{
			"no confidence is 100 and replaces all but description, detection and markings", vendors, indicator(ownID, ours), indicatorKey,
			func(o *Object) {
				o.Name, o.Score, o.Confidence, o.Author = address, new(30), new(100), "Organization IPQS"
				o.IndicatorTypes = []string{"malicious-activity", "anomalous-activity"}
				o.Decay.BaseScore = 30
			}, 100,
		},
		{
			"a lower marking changes nothing", vendors, indicator(ownID, stixObject{"x_opencti_score": 90, "confidence": 80, "name": "C2 of group X", "object_marking_refs": []string{clear}}),
			indicatorKey, func(*Object) {}, 100,
		},
		{
			"a higher marking replaces the lower one", vendors, indicator(ownID, stixObject{"x_opencti_score": 90, "confidence": 80, "name": "C2 of group X", "object_marking_refs": []string{amber}}),
			indicatorKey, func(o *Object) { o.Markings = []string{"TLP:AMBER"} }, 100,
		},
		{
			"the score of an observable has no protection", observable(stixObject{"x_opencti_score": 90, "created_by_ref": vendorID, "confidence": 100}),
			observable(stixObject{"x_opencti_score": 30, "confidence": 1}), addressKey, func(o *Object) { o.Score = new(30) }, 100,
		},
		{
			"nor has its author", observable(stixObject{"created_by_ref": vendorID}),
			observable(stixObject{"created_by_ref": ownID, "confidence": 1}), addressKey, func(o *Object) { o.Author = "Organization IPQS" }, 100,
		},
		{
			"an observable without an author and a marking gets both", observable(nil),
			observable(stixObject{"created_by_ref": ownID, "object_marking_refs": []string{clear}}), addressKey,
			func(o *Object) { o.Author, o.Markings = "Organization IPQS", []string{"TLP:CLEAR"} }, 100,
		},
		{
			"labels are added without regard to case", observable(stixObject{"labels": []string{"Tor"}}), observable(stixObject{"x_opencti_labels": []string{"tor", "vpn"}}),
			addressKey, func(o *Object) { o.Labels = []string{"Tor", "vpn"} }, 100,
		},
		{
			"an autonomous system takes author, name and higher marking", system(stixObject{"name": "Example Net", "object_marking_refs": []string{clear}, "created_by_ref": vendorID}),
			system(stixObject{"name": "One Customer", "object_marking_refs": []string{amber}, "created_by_ref": ownID}), systemKey,
			func(o *Object) {
				o.Name, o.Author, o.Markings = "One Customer", "Organization IPQS", []string{"TLP:AMBER"}
			}, 100,
		},
		{
			"an autonomous system with id and number alone is unchanged", system(stixObject{"name": "Example Net", "object_marking_refs": []string{clear}, "created_by_ref": vendorID}),
			system(nil), systemKey, func(*Object) {}, 100,
		},
		{"an empty value changes nothing", vendors, indicator(ownID, stixObject{"name": " ", "x_opencti_score": 90, "confidence": 80}), indicatorKey, func(*Object) {}, 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, _ := platform(t, "7.260817.0")
				write(t, p, vendor(), identity(vendorID, "Vendor"), tt.theirs)
				write(t, p, own(), identity(ownID, "IPQS"))
				before := p.Graph()
				write(t, p, Source{UserID: UserID, MaxConfidence: tt.confidenceMax}, tt.sent)
				after := p.Graph()
				want := before[tt.key]
				tt.change(&want)
				if diff := cmp.Diff(want, after[tt.key], unread, cmpopts.IgnoreFields(Object{}, "ValidFrom", "ValidUntil"),
					cmpopts.IgnoreFields(Decay{}, "BaseDate", "NextReaction", "History")); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.key, diff)
				}
				if len(after) != len(before) {
					t.Errorf("%d objects, want %d", len(after), len(before))
				}
			})
		})
	}
}

// TestNotes: a note with an id of its own is one note; one whose id follows from its content is a new one each time.
func TestNotes(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: address})
	write(t, p, own(), identity(ownID, "IPQS"), indicator(ownID, nil))
	send := func(noteID, content, created string) {
		write(t, p, own(), stixObject{
			"type": "note", "id": noteID, "abstract": "about " + content, "content": content, "created": created, "created_by_ref": ownID,
			"object_refs": []string{id, indicatorID}, "note_types": []string{"external"},
		})
	}
	var standard []string
	for i := range 4 {
		send(noteID, fmt.Sprintf("verdict %d", i), fmt.Sprintf("2026-01-0%dT00:00:00.000Z", i+1))
		o, ok := p.Object(noteID)
		want := Object{
			Type: typeNote, StandardID: o.StandardID, Abstract: fmt.Sprintf("about verdict %d", i), Content: fmt.Sprintf("verdict %d", i),
			Author: "Organization IPQS", Objects: []string{addressKey, indicatorKey}, NoteTypes: []string{"external"}, Confidence: new(100),
		}
		if diff := cmp.Diff(want, o, unread); !ok || diff != "" {
			t.Errorf("note (-want +got):\n%s", diff)
		}
		if o.Created != time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) || !slices.Contains(o.StixIDs, noteID) || slices.Contains(standard, o.StandardID) {
			t.Errorf("created %s, ids %s and %s, want the first time and a standard id of its own", o.Created, o.StandardID, o.StixIDs)
		}
		standard = append(standard, o.StandardID)
	}
	send("note--66666666-6666-5666-8666-666666666666", "verdict 4", "2026-01-01T00:00:00.000Z")
	send("note--77777777-7777-5777-8777-777777777777", "verdict 5", "2026-01-01T00:00:00.000Z")
	notes := 0
	for _, o := range p.Graph() {
		if o.Type == typeNote {
			notes++
		}
	}
	if notes != 3 {
		t.Errorf("%d notes, want the one of the fixed id and two more", notes)
	}
}

// TestExternalReferences: one by URL, whose description changes and whose external_id does not.
func TestExternalReferences(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	const url = "https://example.com/lookup/198.51.100.7"
	for _, n := range []string{"1", "2"} {
		write(t, p, own(), observable(stixObject{"x_opencti_external_references": []stixObject{
			{"source_name": "Example", "url": url, "description": "score " + n, "external_id": "request " + n},
		}}))
	}
	g := p.Graph()
	if refs := g[addressKey].ExternalReferences; !slices.Equal(refs, []string{"External-Reference " + url}) {
		t.Errorf("references = %q, want one", refs)
	}
	if r := g["External-Reference "+url]; r.Description != "score 2" || r.Reference != "request 1" || r.SourceName != "Example" {
		t.Errorf("reference = %+v, want the second description and the first id", r)
	}
}

// TestRelationships: one by type and ends, whatever its id; both ends must exist, in this message or before.
func TestRelationships(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	based := stixObject{"type": "relationship", "relationship_type": "based-on", "source_ref": indicatorID, "target_ref": observable(nil)["id"]}
	for _, id := range []string{"relationship--1", "relationship--2"} {
		based["id"] = id
		err := p.Write(t.Context(), own(), based)
		if id == "relationship--1" {
			if err == nil || !strings.Contains(err.Error(), "missing reference "+indicatorID) {
				t.Errorf("Write() of a relationship without ends = %v, want one about its source", err)
			}
			write(t, p, own(), identity(ownID, "IPQS"), observable(nil), indicator(ownID, nil), based)
		} else if err != nil {
			t.Error(err)
		}
	}
	var found []Object
	for _, o := range p.Graph() {
		if o.From != "" {
			found = append(found, o)
		}
	}
	if len(found) != 1 || found[0].From != indicatorKey || found[0].To != addressKey || !slices.Equal(found[0].StixIDs, []string{"relationship--1", "relationship--2"}) {
		t.Errorf("relationships = %+v, want one with both ids", found)
	}
	p.DeleteObject(indicatorID)
	if g := p.Graph(); len(g) != 2 {
		t.Errorf("%d objects after the indicator was deleted, want the observable and the author", len(g))
	}
}

// TestIndicatorTypesCanBeRemoved: types are only added by imports, and removed by a patch.
func TestIndicatorTypesCanBeRemoved(t *testing.T) {
	t.Parallel()
	for version, document := range map[string]string{
		"7.260817.0": `mutation { indicatorFieldPatch(id: "%s", input: [{key: "indicator_types", value: ["malicious-activity"], operation: remove}]) { indicator_types } }`,
		"5.4.1":      `mutation { indicatorEdit(id: "%s") { fieldPatch(input: [{key: "indicator_types", value: ["malicious-activity"], operation: remove}]) { id } } }`,
	} {
		p, _ := platform(t, version)
		write(t, p, own(), identity(ownID, "IPQS"))
		for _, kind := range []string{"malicious-activity", "anonymization", "unknown"} {
			write(t, p, own(), indicator(ownID, stixObject{"indicator_types": []string{kind}}))
		}
		if got := p.Graph()[indicatorKey].IndicatorTypes; len(got) != 3 {
			t.Errorf("types = %q, want three", got)
		}
		if _, code, text := ask(t, p, fmt.Sprintf(document, indicatorID), nil); code != "" {
			t.Fatalf("refused: %s %s", code, text)
		}
		if got := p.Graph()[indicatorKey].IndicatorTypes; !slices.Equal(got, []string{"anonymization", "unknown"}) {
			t.Errorf("types = %q, want the removed one gone", got)
		}
	}
}

// TestLabels_CreatedByImport: a label that nobody has made is made, without a colour of ours.
func TestLabels_CreatedByImport(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	write(t, p, own(), observable(stixObject{"labels": []string{"new"}}))
	if color, ok := p.Labels()["new"]; !ok || color != "" {
		t.Errorf("label = %q, %t, want one of the platform's own colour", color, ok)
	}
}

// TestDeletedObservableComesBack: an import creates again what a person has deleted, without what it had.
func TestDeletedObservableComesBack(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	write(t, p, vendor(), identity(vendorID, "Vendor"), observable(stixObject{"labels": []string{"theirs"}, "created_by_ref": vendorID, "x_opencti_score": 90}))
	id, _ := observable(nil)["id"].(string)
	p.DeleteObject(id)
	if _, ok := p.Observable(id); ok {
		t.Error("the observable is still there")
	}
	write(t, p, own(), observable(stixObject{"x_opencti_score": 30}))
	o, ok := p.Object(id)
	if want := (Object{Type: "IPv4-Addr", Value: address, Score: new(30), StandardID: id}); !ok || cmp.Diff(want, o, unread) != "" {
		t.Errorf("observable (-want +got):\n%s", cmp.Diff(want, o, unread))
	}
}

// TestAutoJobs: what is new is enriched when the connector asked for it, what has changed when it asked for that too.
func TestAutoJobs(t *testing.T) {
	t.Parallel()
	p, broker := platform(t, "7.260817.0")
	if _, code, text := ask(t, p, register, input("auto_update")); code != "" {
		t.Fatalf("refused: %s %s", code, text)
	}
	p.SetAutoJobs(true)
	for _, tt := range []struct {
		name   string
		change stixObject
		want   string // the job's trigger
	}{
		{"new", stixObject{"x_opencti_score": 10}, "create"},
		{"unchanged", stixObject{"x_opencti_score": 10}, ""},
		{"changed", stixObject{"x_opencti_score": 20}, "update"},
		{"a new label", stixObject{"labels": []string{"a"}}, "update"},
		{"the same label", stixObject{"labels": []string{"A"}, "x_opencti_score": 20}, ""},
	} {
		write(t, p, own(), observable(tt.change))
		var job struct {
			Internal struct{ Trigger, Mode string }
		}
		select {
		case body := <-broker.Jobs():
			if err := json.Unmarshal(body, &job); err != nil {
				t.Fatal(err)
			}
		default:
		}
		if job.Internal.Trigger != tt.want {
			t.Errorf("%s: a job with trigger %q, want %q", tt.name, job.Internal.Trigger, tt.want)
		}
	}
	write(t, p, own(), system(nil))
	if n := len(broker.Jobs()); n != 0 {
		t.Errorf("%d jobs about what the connector did not ask for, want none", n)
	}
}

// TestCountries: the platform's own have its names, and codes as aliases; an object with one of the names or codes is the same
// country and renames it.
func TestCountries(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	p.AddCountries()
	data, code, message := ask(t, p, `{ countries(first: 3) { edges { node { name x_opencti_aliases } } } }`, nil)
	one := func(name string, codes ...any) any {
		return map[string]any{"node": map[string]any{"name": name, "x_opencti_aliases": codes}}
	}
	want := map[string]any{"countries": map[string]any{"edges": []any{
		one("Czechia", "CZ", "CZE"), one("France", "FR", "FRA"), one("Germany", "DE", "DEU"),
	}}}
	if diff := cmp.Diff(want, data); code != "" || diff != "" {
		t.Errorf("%s %s (-want +got):\n%s", code, message, diff)
	}
	before := len(p.Graph())
	write(t, p, own(), stixObject{"type": "location", "id": "location--1", "name": "RU", "x_opencti_location_type": "Country"})
	if g := p.Graph(); len(g) != before || g["Country Russian Federation"].Name != "RU" {
		t.Errorf("%d objects, the country is named %q, want %d and the name that was sent", len(g), g["Country Russian Federation"].Name, before)
	}
	if complaints := p.Complaints(); len(complaints) > 0 {
		t.Errorf("complaints = %q", complaints)
	}
}

// TestDrafts: a draft changes its own copy.
func TestDrafts(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	write(t, p, vendor(), identity(vendorID, "Vendor"), observable(stixObject{"x_opencti_score": 90, "created_by_ref": vendorID}))
	before := p.Graph()
	write(t, p, Source{UserID: UserID, MaxConfidence: 100, DraftID: "draft-1"},
		identity(ownID, "IPQS"), indicator(ownID, nil), observable(stixObject{"x_opencti_score": 30}),
		stixObject{"type": "relationship", "id": "relationship--1", "relationship_type": "based-on", "source_ref": indicatorID, "target_ref": observable(nil)["id"]})
	if diff := cmp.Diff(before, p.Graph()); diff != "" {
		t.Errorf("outside of the draft (-before +after):\n%s", diff)
	}
	draft := p.GraphInDraft("draft-1")
	if len(draft) != len(before)+3 || *draft[addressKey].Score != 30 {
		t.Errorf("the draft has %d objects, the observable's score is %d, want %d and 30", len(draft), *draft[addressKey].Score, len(before)+3)
	}
}
