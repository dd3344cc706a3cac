package stix

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	address = "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"
	phone   = "phone-number--00000000-0000-5000-8000-000000000001"
)

// bundled is a playbook's bundle around objects.
func bundled(objects ...string) string {
	return `{"id":"bundle--1","spec_version":"2.1","type":"bundle","objects":[` + strings.Join(objects, ",") + `]}`
}

// short writes the keys of extensions so that a person can read them, and long takes it back.
func short(text string) string {
	return strings.NewReplacer(openCTIExtension, "OCTI", observableExtension, "SCO").Replace(text)
}

func long(text string) string {
	return strings.NewReplacer(`"OCTI"`, `"`+openCTIExtension+`"`, `"SCO"`, `"`+observableExtension+`"`).Replace(text)
}

func assessment(kind, id string, score *int, labels ...string) Observable {
	o, _ := NewObservable(kind, id, "v")
	o.Score, o.Labels = score, labels
	return o
}

func TestMergePutsScoreAndLabelsWhereThePlatformReadsThem(t *testing.T) {
	t.Parallel()
	observable := func(rest string) string {
		return `{"id":"` + address + `","type":"ipv4-addr","value":"198.51.100.7"` + rest + `}`
	}
	number := func(rest string) string {
		return `{"id":"` + phone + `","type":"phone-number","value":"+1"` + rest + `}`
	}
	ours := assessment("IPv4-Addr", address, new(87), `IPQS:RISK="CRITICAL"`)
	ourNumber := assessment("Phone-Number", phone, new(3), "IPQS:a")
	tests := []struct {
		name string
		ours Object
		// in and want are the object in the bundle before and after, with short keys.
		in, want string
	}{
		{
			"extensions", ours,
			observable(`,"extensions":{"OCTI":{"extension_type":"property-extension","id":"3f2c"},"SCO":{"extension_type":"property-extension","labels":["scanner"],"score":50}},"created_by_ref":"identity--1"`),
			observable(`,"extensions":{"OCTI":{"extension_type":"property-extension","id":"3f2c"},"SCO":{"extension_type":"property-extension","labels":["scanner","IPQS:RISK=\"CRITICAL\""],"score":87}},"created_by_ref":"identity--1"`),
		},
		{
			"extensions without either", ours,
			observable(`,"extensions":{"SCO":{"extension_type":"property-extension"}}`),
			observable(`,"extensions":{"SCO":{"extension_type":"property-extension","score":87,"labels":["IPQS:RISK=\"CRITICAL\""]}}`),
		},
		{
			"no extensions", ours,
			observable(``),
			observable(`,"extensions":{"SCO":{"extension_type":"property-extension","score":87,"labels":["IPQS:RISK=\"CRITICAL\""]}}`),
		},
		{
			"null for nothing", ours,
			observable(`,"extensions":{"SCO":null},"labels":null`),
			observable(`,"extensions":{"SCO":{"extension_type":"property-extension","score":87,"labels":["IPQS:RISK=\"CRITICAL\""]}},"labels":null`),
		},
		{
			"a label that is there, in another case", ours,
			observable(`,"extensions":{"SCO":{"labels":["a"," ipqs:risk=\"critical\" "]}}`),
			observable(`,"extensions":{"SCO":{"labels":["a"," ipqs:risk=\"critical\" "],"score":87}}`),
		},
		{
			"properties give way to extensions", ours,
			observable(`,"x_opencti_score":1,"x_opencti_labels":["mine"]`),
			observable(`,"x_opencti_score":87,"extensions":{"SCO":{"extension_type":"property-extension","score":87,"labels":["mine","IPQS:RISK=\"CRITICAL\""]}}`),
		},
		{
			"a list at the top is the one that is read", ours,
			observable(`,"labels":["top"],"score":1,"extensions":{"OCTI":{"score":2},"SCO":{"labels":["hidden"]}}`),
			observable(`,"labels":["top","IPQS:RISK=\"CRITICAL\""],"score":87,"extensions":{"OCTI":{"score":87},"SCO":{"labels":["hidden","IPQS:RISK=\"CRITICAL\""],"score":87}}`),
		},
		{
			"the score alone", assessment("IPv4-Addr", address, new(0)),
			observable(`,"extensions":{"SCO":{"labels":["a"],"score":50}}`),
			observable(`,"extensions":{"SCO":{"labels":["a"],"score":0}}`),
		},
		{
			"nothing to say", assessment("IPv4-Addr", address, nil),
			observable(` , "x_opencti_score" : 1.0, "x_opencti_labels": [ ]`),
			observable(` , "x_opencti_score" : 1.0, "x_opencti_labels": [ ]`),
		},
		{
			"a type that only OpenCTI has", ourNumber,
			number(`,"labels":["a"],"score":50,"extensions":{"OCTI":{"extension_type":"property-extension"},"SCO":{"extension_type":"new-sco"}}`),
			number(`,"labels":["a","IPQS:a"],"score":3,"extensions":{"OCTI":{"extension_type":"property-extension"},"SCO":{"extension_type":"new-sco"}}`),
		},
		{
			"a type that only OpenCTI has, bare", ourNumber,
			number(``),
			number(`,"score":3,"labels":["IPQS:a"]`),
		},
		{
			"somebody else's indicator of the same pattern", func() Object {
				i := NewIndicator("[ipv4-addr:value = 'v']", at)
				i.ID, i.Name, i.CreatedByRef, i.Score, i.Labels = "indicator--1", "ours", "identity--ipqs", new(87), []string{"IPQS:a"}
				i.ObjectMarkingRefs = []string{"marking-definition--1"}
				return i
			}(),
			`{"id":"indicator--1","type":"indicator","name":"theirs","labels":["b"],"extensions":{"OCTI":{"extension_type":"property-extension","score":10,"detection":true}}}`,
			`{"id":"indicator--1","type":"indicator","name":"theirs","labels":["b","IPQS:a"],"extensions":{"OCTI":{"extension_type":"property-extension","score":87,"detection":true}}}`,
		},
		{
			"anything else stays", func() Object {
				o := NewIdentity("IPQS", "organization", at)
				o.ID, o.GrantedRefs = "identity--1", []string{"identity--2"}
				return o
			}(),
			`{"id":"identity--1", "type":"identity", "name":"theirs"}`,
			`{"id":"identity--1", "type":"identity", "name":"theirs"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const before, after = `{"id":"report--1","b":1 , "a":[ 1.50,"\u00e9<>" ]}`, `{"id":"x"}`
			got, err := Merge([]byte(long(bundled(before, tt.in, after))), []Object{tt.ours}, nil)
			if err != nil {
				t.Fatalf("Merge() error = %v", err)
			}
			if diff := cmp.Diff(bundled(before, tt.want, after), short(string(got))); diff != "" {
				t.Errorf("Merge() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeAddsWhatIsNewInThePlatformsForm(t *testing.T) {
	t.Parallel()
	granted := Sharing{ObjectMarkingRefs: []string{"marking-definition--1"}, GrantedRefs: []string{"identity--org"}}
	tests := []struct {
		name string
		ours Object
		want string
	}{
		{
			"identity", func() Object {
				o := NewIdentity("IPQS", "organization", at)
				o.Sharing = granted
				return o
			}(),
			`{"type":"identity","spec_version":"2.1","id":"` + IdentityID("IPQS", "organization") + `","created":"2026-03-04T05:07:08.009Z","modified":"2026-03-04T05:07:08.009Z",` +
				`"name":"IPQS","identity_class":"organization","object_marking_refs":["marking-definition--1"],` +
				`"extensions":{"OCTI":{"extension_type":"property-extension","type":"Organization","granted_refs":["identity--org"]}}}`,
		},
		{
			"indicator", func() Object {
				o := NewIndicator("[url:value = 'a<b']", at)
				o.Score, o.Labels, o.MainObservableType, o.Sharing = new(87), []string{"IPQS:a"}, "Url", granted
				return o
			}(),
			`{"type":"indicator","spec_version":"2.1","id":"` + IndicatorID("[url:value = 'a<b']") + `","created":"2026-03-04T05:07:08.009Z","modified":"2026-03-04T05:07:08.009Z",` +
				`"pattern":"[url:value = 'a<b']","pattern_type":"stix","pattern_version":"2.1","valid_from":"2026-03-04T05:07:08.009Z","labels":["IPQS:a"],"object_marking_refs":["marking-definition--1"],` +
				`"extensions":{"OCTI":{"extension_type":"property-extension","type":"Indicator","score":87,"main_observable_type":"Url","granted_refs":["identity--org"]}}}`,
		},
		{
			"relationship", NewRelationship(BasedOn, "indicator--1", "url--1", at),
			`{"type":"relationship","spec_version":"2.1","id":"` + RelationshipID(BasedOn, "indicator--1", "url--1") + `","created":"2026-03-04T05:07:08.009Z","modified":"2026-03-04T05:07:08.009Z",` +
				`"relationship_type":"based-on","source_ref":"indicator--1","target_ref":"url--1","extensions":{"OCTI":{"extension_type":"property-extension","type":"based-on"}}}`,
		},
		{
			"note", NewNote(NoteID("url--1"), "c", "", at, "url--1"),
			`{"type":"note","spec_version":"2.1","id":"` + NoteID("url--1") + `","created":"2026-03-04T05:07:08.009Z","modified":"2026-03-04T05:07:08.009Z",` +
				`"content":"c","object_refs":["url--1"],"extensions":{"OCTI":{"extension_type":"property-extension","type":"Note"}}}`,
		},
		{
			"autonomous system", NewAutonomousSystem(64500),
			`{"type":"autonomous-system","spec_version":"2.1","id":"` + AutonomousSystemID(64500) + `","number":64500,` +
				`"extensions":{"OCTI":{"extension_type":"property-extension","type":"Autonomous-System"},"SCO":{"extension_type":"property-extension"}}}`,
		},
		{
			"observable", assessment("IPv4-Addr", address, new(5), "IPQS:a"),
			`{"type":"ipv4-addr","spec_version":"2.1","id":"` + address + `","value":"v",` +
				`"extensions":{"OCTI":{"extension_type":"property-extension","type":"IPv4-Addr"},"SCO":{"extension_type":"property-extension","score":5,"labels":["IPQS:a"]}}}`,
		},
		{
			"observable that only OpenCTI has", assessment("Phone-Number", phone, new(5), "IPQS:a"),
			`{"type":"phone-number","spec_version":"2.1","id":"` + phone + `","value":"v",` +
				`"extensions":{"OCTI":{"extension_type":"property-extension","type":"Phone-Number"},"SCO":{"extension_type":"new-sco"}},"score":5,"labels":["IPQS:a"]}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Merge([]byte(bundled(`{"id":"report--1"}`)), []Object{tt.ours, tt.ours}, nil)
			if err != nil {
				t.Fatalf("Merge() error = %v", err)
			}
			if diff := cmp.Diff(bundled(`{"id":"report--1"}`, tt.want), short(string(got))); diff != "" {
				t.Errorf("Merge() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeKeepsTheBundleAround(t *testing.T) {
	t.Parallel()
	ours := NewRelationship(BasedOn, "indicator--1", "url--1", at)
	got, err := Merge([]byte(" {\"objects\" : [ ] , \"x\":[1, 2], \"id\":\"bundle--9\"}\n"), []Object{ours}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(got); !strings.HasPrefix(text, `{"objects":[{"type":"relationship"`) || !strings.HasSuffix(text, `],"x":[1, 2],"id":"bundle--9"}`) {
		t.Errorf("Merge() = %s, want the members in their order around ours", text)
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	ours := assessment("IPv4-Addr", address, new(5), "IPQS:a")
	theirs := func(rest string) string { return long(bundled(`{"id":"x"}`, `{"id":"`+address+`",`+rest+`}`)) }
	tests := []struct{ name, bundle, want string }{
		{"nothing", "", "reading bundle: not JSON"},
		{"half", `{"objects":[`, "reading bundle: not JSON"},
		{"an array", ` [1]`, "reading bundle: found an array, expected an object"},
		{"no objects", `{"type":"bundle"}`, "objects: missing"},
		{"null for objects", `{"objects":null}`, "objects: missing"},
		{"objects by id", `{"objects":{}}`, "objects: found an object, expected an array"},
		{"extensions in a list", theirs(`"extensions":[]`), "object 1 of the bundle: extensions: found an array, expected an object"},
		{"an extension that is none", theirs(`"extensions":{"SCO":true}`), "found a boolean, expected an object"},
		{"labels that are none", theirs(`"labels":"a,b"`), "object 1 of the bundle: labels: found a string, expected an array"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Merge([]byte(tt.bundle), []Object{ours}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Merge() = %s, %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestTLPName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"} {
		id, _ := TLP(name)
		if got, ok := TLPName(id); !ok || got != name {
			t.Errorf("TLPName(%s) = %q, %v, want %q", id, got, ok, name)
		}
	}
	if got, ok := TLPName("marking-definition--1"); ok {
		t.Errorf("TLPName() of another marking = %q, want none", got)
	}
}

// FuzzMerge merges into whatever a stranger calls a bundle: what comes out holds every object that went in, in order, and
// all but the one that is assessed keep their bytes.
func FuzzMerge(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"objects":[]}`, `{"objects":[1,"x",null,[{}],{"id":1}]}`,
		bundled(`{"id":"` + address + `","extensions":{"` + observableExtension + `":{"labels":["a",1],"score":"x"}}}`),
		bundled(`{"id":"`+address+`","id":"b","x_opencti_labels":["\ud800"],"labels":[]}`, `{"id":"`+address+`"}`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, bundle []byte) {
		ours := []Object{assessment("IPv4-Addr", address, new(5), "IPQS:a"), NewAutonomousSystem(1)}
		if _, err := Find(bundle, address); err == nil {
			_, objects, _ := openBundle(bundle)
			if !slices.ContainsFunc(objects, func(text string) bool { return idOf(text) == address }) {
				t.Error("Find() found an object that is not there")
			}
		}
		got, err := Merge(bundle, ours, nil)
		if err != nil {
			return
		}
		if again, _ := Merge(bundle, ours, nil); !bytes.Equal(got, again) {
			t.Errorf("Merge() twice = %s and %s", got, again)
		}
		_, before, err := openBundle(bundle)
		if err != nil {
			t.Fatalf("merged into what is no bundle: %v", err)
		}
		if !json.Valid(got) {
			t.Fatalf("Merge() = %s, no JSON", got)
		}
		_, after, err := openBundle(got)
		if err != nil || len(after) < len(before) || len(after) > len(before)+len(ours) {
			t.Fatalf("Merge() has %d objects (%v), want the %d that were there and at most %d more", len(after), err, len(before), len(ours))
		}
		for i, text := range before {
			if idOf(text) != address && text != after[i] {
				t.Errorf("object %d = %s, want %s", i, after[i], text)
			}
		}
	})
}

// Labels that the verdict outdates go, from every list of the object, and nobody else's.
func TestMergeTakesOutdatedLabelsOff(t *testing.T) {
	t.Parallel()
	const id = "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"
	ours, err := NewObservable("IPv4-Addr", id, "198.51.100.7")
	if err != nil {
		t.Fatal(err)
	}
	ours.Score, ours.Labels = new(10), []string{"IPQS:new"}
	bundle := `{"objects":[{"id":"` + id + `","labels":["IPQS:old","mine"],"extensions":{"` + observableExtension + `":{"labels":["IPQS:old",7,"IPQS:new"]}}},` +
		`{"id":"ipv4-addr--2","labels":["IPQS:old"]}]}`
	got, err := Merge([]byte(bundle), []Object{ours}, func(label string) bool { return label == "IPQS:old" })
	if err != nil {
		t.Fatal(err)
	}
	want := `{"objects":[{"id":"` + id + `","labels":["mine","IPQS:new"],"extensions":{"` + observableExtension + `":{"labels":[7,"IPQS:new"],"score":10}}},` +
		`{"id":"ipv4-addr--2","labels":["IPQS:old"]}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("Merge() (-want +got):\n%s", diff)
	}
}
