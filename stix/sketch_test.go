package stix

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	t.Parallel()
	const two = `["identity--1","identity--2"]`
	tests := []struct {
		name, object string
		want         Sketch
		wantErr      string
	}{
		{"bare", `{"id":"url--1","type":"url"}`, Sketch{Type: "url"}, ""},
		{
			"shared by extension", `{"id":"url--1","type":"url","extensions":{"OCTI":{"granted_refs":` + two + `}},"object_marking_refs":["marking-definition--1"]}`,
			Sketch{Type: "url", Sharing: Sharing{[]string{"marking-definition--1"}, []string{"identity--1", "identity--2"}}},
			"",
		},
		{
			"shared by property", `{"id":"url--1","type":"url","x_opencti_granted_refs":` + two + `,"extensions":{"OCTI":{"granted_refs":["identity--3"]}}}`,
			Sketch{Type: "url", Sharing: Sharing{GrantedRefs: []string{"identity--1", "identity--2"}}},
			"",
		},
		{
			"value, score and author by extension", `{"id":"url--1","type":"url","value":"a\u0062","extensions":{"SCO":{"score":70,"created_by_ref":"identity--1"}}}`,
			Sketch{Type: "url", Value: "ab", Score: new(70), CreatedByRef: "identity--1"},
			"",
		},
		{
			"the property's score and author first", `{"id":"url--1","type":"url","x_opencti_score":0,"created_by_ref":"identity--2","extensions":{"SCO":{"score":70,"created_by_ref":"identity--1"}}}`,
			Sketch{Type: "url", Score: new(0), CreatedByRef: "identity--2"},
			"",
		},
		{
			"login of an account", `{"id":"url--1","type":"user-account","value":"a","account_login":"ada"}`,
			Sketch{Type: "user-account", Value: "ada"},
			"",
		},
		{
			"types of an indicator", `{"id":"url--1","type":"indicator","indicator_types":["benign","x"]}`,
			Sketch{Type: "indicator", IndicatorTypes: []string{"benign", "x"}},
			"",
		},
		{
			"hash of an artifact", `{"id":"url--1","type":"artifact","hashes":{"MD5":"0","SHA-256":"1"}}`,
			Sketch{Type: "artifact", Value: "1"},
			"",
		},
		{"another", `{"id":"url--2","type":"url"}`, Sketch{}, `no object has the id "url--1"`},
		{"no type", `{"id":"url--1"}`, Sketch{}, "object 1 of the bundle: type: missing"},
		{"markings that are none", `{"id":"url--1","type":"url","object_marking_refs":[1]}`, Sketch{}, "object_marking_refs: element 0: found a number"},
		{"organisations that are none", `{"id":"url--1","type":"url","x_opencti_granted_refs":"a"}`, Sketch{}, "granted_refs: found a string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Find([]byte(long(bundled("7", tt.object))), "url--1")
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("Find() error = %v, want %q", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
				t.Errorf("Find() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadSketch(t *testing.T) {
	t.Parallel()
	got, err := ReadSketch([]byte(` {"type":"ipv4-addr","value":"198.51.100.7"}`))
	if diff := cmp.Diff(Sketch{Type: "ipv4-addr", Value: "198.51.100.7"}, got); diff != "" || err != nil {
		t.Errorf("ReadSketch() error = %v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{``, `{`, `[]`, `{"value":"198.51.100.7"}`} {
		if got, err := ReadSketch([]byte(text)); err == nil || strings.Contains(err.Error(), "198.51") {
			t.Errorf("ReadSketch(%s) = %v, %v, want an error without the value", text, got, err)
		}
	}
}
