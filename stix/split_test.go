package stix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitVectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(referencePath(t, "stix-splitter-vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name         string            `json:"name"`
		Cleanup      bool              `json:"cleanup_inconsistent_bundle"`
		Bundle       json.RawMessage   `json:"bundle"`
		Expectations int               `json:"expectations"`
		Incompatible []string          `json:"incompatible_ids"`
		Bundles      []json.RawMessage `json:"bundles"`
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 8 {
		t.Fatalf("found %d vectors, want all of them", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			got, err := Split(v.Bundle, SplitOptions{Cleanup: v.Cleanup})
			if err != nil {
				t.Fatalf("Split() error = %v", err)
			}
			if len(got.Parts) != v.Expectations {
				t.Errorf("Split() makes %d parts, want %d", len(got.Parts), v.Expectations)
			}
			var want []string
			for _, b := range v.Bundles {
				var compact bytes.Buffer
				if err := json.Compact(&compact, b); err != nil {
					t.Fatal(err)
				}
				want = append(want, compact.String())
			}
			if diff := cmp.Diff(want, compacted(t, got.Parts)); diff != "" {
				t.Errorf("Split() parts differ, key order included (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(strings.Join(v.Incompatible, " "), strings.Join(got.Incompatible, " ")); diff != "" {
				t.Errorf("Split() incompatible differ (-want +got):\n%s", diff)
			}
		})
	}
}

func compacted(t *testing.T, parts [][]byte) []string {
	t.Helper()
	var texts []string
	for _, part := range parts {
		var compact bytes.Buffer
		if err := json.Compact(&compact, part); err != nil {
			t.Fatalf("Split() makes %s: %v", part, err)
		}
		texts = append(texts, compact.String())
	}
	return texts
}

// head is how each part of a bundle with the id bundle--1 begins, up to its number.
const head = `{"type":"bundle","id":"bundle--1","spec_version":"2.1","x_opencti_seq":`

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		objects      string
		opts         SplitOptions
		want         []string
		incompatible []string
	}{
		{
			name:    "nothing",
			objects: ``,
		},
		{
			name: "what is not touched keeps its bytes",
			objects: ` {"type" : "note", "id":"note--1" , "content":"\u003c<&>` + "\u2028😀" + `\/", "n": 1.50E+2, "big":123456789012345678901234567890,
				"deep": { "x_refs": ["note--1"], "a" : [ 1 , 2 ] }, "object_refs": [ "url--1" , "url\u002d-2" ]}`,
			want: []string{head + `1,"objects":[{"type":"note","id":"note--1","content":"\u003c<&>` + "\u2028😀" + `\/","n":1.50E+2,` +
				`"big":123456789012345678901234567890,"deep":{ "x_refs": ["note--1"], "a" : [ 1 , 2 ] },` +
				`"object_refs":[ "url--1" , "url\u002d-2" ],"nb_deps":1}]}`},
		},
		{
			name:    "an old count is replaced in its place",
			objects: `{"nb_deps":99,"type":"url","id":"url--1"}`,
			opts:    SplitOptions{EventVersion: "7"},
			want:    []string{head + `1,"objects":[{"nb_deps":1,"type":"url","id":"url--1"}],"x_opencti_event_version":"7"}`},
		},
		{
			name:    "of keys with one name the last counts, at the place of the first",
			objects: `{"id":"url--0","type":"url","\u0069d":"url--1"}`,
			want:    []string{head + `1,"objects":[{"id":"url--1","type":"url","nb_deps":1}]}`},
		},
		{
			name: "around a cycle of three the first stays whole",
			objects: `{"type":"report","id":"report--1","object_refs":["report--2"]},` +
				`{"type":"report","id":"report--2","object_refs":["report--3"]},` +
				`{"type":"report","id":"report--3","object_refs":["report--1"]}`,
			want: []string{
				head + `2,"objects":[{"type":"report","id":"report--3","object_refs":["report--1"],"nb_deps":2}]}`,
				head + `3,"objects":[{"type":"report","id":"report--2","object_refs":["report--3"],"nb_deps":3}]}`,
				head + `4,"objects":[{"type":"report","id":"report--1","object_refs":["report--2"],"nb_deps":4}]}`,
			},
		},
		{
			name: "an object named by its internal id comes once",
			objects: `{"type":"note","id":"note--1","object_refs":["6f1c"],"created_by_ref":"1234"},` +
				`{"type":"url","id":"url--1","extensions":{"` + openCTIExtension + `":{"id":"6f1c"}}},` +
				`{"type":"identity","id":"identity--1","x_opencti_id":"1234"}`,
			want: []string{
				head + `1,"objects":[{"type":"url","id":"url--1","extensions":{"` + openCTIExtension + `":{"id":"6f1c"}},"nb_deps":1}]}`,
				head + `1,"objects":[{"type":"identity","id":"identity--1","x_opencti_id":"1234","nb_deps":1}]}`,
				head + `3,"objects":[{"type":"note","id":"note--1","object_refs":["6f1c"],"created_by_ref":"1234","nb_deps":3}]}`,
			},
		},
		{
			name:    "an internal id hides no id",
			objects: `{"type":"url","id":"url--1"},{"type":"url","id":"url--2","x_opencti_id":"url--1"}`,
			want: []string{
				head + `1,"objects":[{"type":"url","id":"url--1","nb_deps":1}]}`,
				head + `1,"objects":[{"type":"url","id":"url--2","x_opencti_id":"url--1","nb_deps":1}]}`,
			},
		},
		{
			name: "relationships and sightings need their ends",
			objects: `{"type":"relationship","id":"relationship--1","source_ref":"x-foo--1","target_ref":"url--1"},` +
				`{"type":"relationship","id":"relationship--2","source_ref":"url--1"},` +
				`{"type":"sighting","id":"sighting--1","sighting_of_ref":"indicator--1","where_sighted_refs":[]},` +
				`{"type":"sighting","id":"sighting--2","sighting_of_ref":"indicator--1","where_sighted_refs":["identity--1"]}`,
			want: []string{
				head + `1,"objects":[{"type":"sighting","id":"sighting--2","sighting_of_ref":"indicator--1","where_sighted_refs":["identity--1"],"nb_deps":1}]}`,
			},
			incompatible: []string{"relationship--1", "relationship--2", "sighting--1"},
		},
		{
			name: "doubles among references and phases go",
			objects: `{"type":"url","id":"url--1","external_references":[{"url":"a"},{"source_name":"s","url":"\u0061"},` +
				`{"source_name":"s","external_id":"1"},{"source_name":"s"},{"external_id":"1","source_name":"s","url":null}],` +
				`"kill_chain_phases":[{"phase_name":"p"},{"kill_chain_name":null,"phase_name":"p"}],"other_refs":["url--2","url--2"]}`,
			want: []string{head + `1,"objects":[{"type":"url","id":"url--1","external_references":[{"url":"a"},` +
				`{"source_name":"s","external_id":"1"}],"kill_chain_phases":[{"phase_name":"p"}],"other_refs":["url--2"],"nb_deps":1}]}`},
		},
		{
			name:    "null references stay null",
			objects: `{"type":"url","id":"url--1","a_refs":null,"b_ref":null,"external_references":null}`,
			want:    []string{head + `1,"objects":[{"type":"url","id":"url--1","a_refs":null,"b_ref":null,"external_references":null,"nb_deps":1}]}`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Split([]byte(` {"objects":[`+tt.objects+`], "id":"bundle--1","type":"bundle"}`+"\n"), tt.opts)
			if err != nil {
				t.Fatalf("Split() error = %v", err)
			}
			var parts []string
			for _, part := range got.Parts {
				parts = append(parts, string(part))
			}
			if diff := cmp.Diff(tt.want, parts); diff != "" {
				t.Errorf("Split() parts differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.incompatible, got.Incompatible); diff != "" {
				t.Errorf("Split() incompatible differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSplitErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		bundle string
		want   []string
	}{
		{"empty", ``, []string{"reading bundle", "not JSON"}},
		{"cut off", `{"objects":[`, []string{"not JSON", "unexpected end"}},
		{"nested too deep", strings.Repeat("[", 20000) + strings.Repeat("]", 20000), []string{"not JSON", "depth"}},
		{"not UTF-8", "{\"objects\":[],\"x\":\"\xff\"}", []string{"not UTF-8"}},
		{"a list", `[]`, []string{"found an array, expected an object"}},
		{"a number", ` 1 `, []string{"found a number, expected an object"}},
		{"no objects", `{"id":"bundle--1"}`, []string{"objects: found null, expected an array"}},
		{"objects no list", `{"objects":{}}`, []string{"objects: found an object, expected an array"}},
		{"id no string", `{"id":true,"objects":[]}`, []string{"id: found a boolean, expected a string"}},
		{"id too long", `{"id":"` + strings.Repeat("x", 300) + `","objects":[]}`, []string{"id: found 302 bytes", "256"}},
		{"object no object", `{"objects":[{"id":"url--1","type":"url"},"x"]}`, []string{"object 1: found a string, expected an object"}},
		{"no id", `{"objects":[{"type":"url"}]}`, []string{"object 0: id: missing"}},
		{"empty id", `{"objects":[{"type":"url","id":""}]}`, []string{"object 0: id: found an empty string"}},
		{"no type", `{"objects":[{"id":"url--1"}]}`, []string{"object 0: type: missing"}},
		{"type no string", `{"objects":[{"id":"url--1","type":{}}]}`, []string{"type: found an object, expected a string"}},
		{"refs no list", `{"objects":[{"id":"url--1","type":"url","a_refs":"x"}]}`, []string{"a_refs: found a string, expected an array"}},
		{"ref in list no string", `{"objects":[{"id":"url--1","type":"url","a_refs":["x",5]}]}`, []string{"a_refs: element 1: found a number"}},
		{"ref no string", `{"objects":[{"id":"url--1","type":"url","a_ref":[]}]}`, []string{"a_ref: found an array, expected a string"}},
		{"external reference no object", `{"objects":[{"id":"u","type":"url","external_references":[{},1]}]}`, []string{"external_references: element 1: found a number"}},
		{"phases no list", `{"objects":[{"id":"u","type":"url","kill_chain_phases":{}}]}`, []string{"kill_chain_phases: found an object, expected an array"}},
		{"chain too long", referenceChain(maxReferenceDepth + 1), []string{"splitting bundle", "chain of more than 1000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Split([]byte(tt.bundle), SplitOptions{})
			if err == nil {
				t.Fatalf("Split() = %d parts, want an error", len(got.Parts))
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Split() error = %q, want it to say %q", err, want)
				}
			}
		})
	}
}

// referenceChain returns a bundle of n notes, each on the next.
func referenceChain(n int) string {
	var b strings.Builder
	b.WriteString(`{"objects":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"note","id":"note--%d","object_refs":["note--%d","note--%d","url--1"]}`, i, i+1, i+1)
	}
	b.WriteString(`]}`)
	return b.String()
}

// TestSplitIsBounded gives what would make a careless splitter overflow, or take time with the square of its input.
func TestSplitIsBounded(t *testing.T) {
	t.Parallel()
	many := func(n int, item func(i int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = item(i)
		}
		return strings.Join(items, ",")
	}
	tests := []struct {
		name   string
		bundle string
		parts  int
	}{
		// Each note counts the next twice: 2 to the 1000th is more than a number holds.
		{"counts that double", referenceChain(maxReferenceDepth), maxReferenceDepth},
		{"many refs", `{"objects":[{"type":"note","id":"n","object_refs":[` +
			many(100_000, func(i int) string { return fmt.Sprintf(`"url--%d"`, i) }) + `]}]}`, 1},
		{"many keys", `{"objects":[{"type":"note","id":"n",` +
			many(100_000, func(i int) string { return fmt.Sprintf(`"k%d":1`, i) }) + `}]}`, 1},
		{"many external references", `{"objects":[{"type":"note","id":"n","external_references":[` +
			many(100_000, func(i int) string { return fmt.Sprintf(`{"url":"%d"}`, i) }) + `]}]}`, 1},
		{"many objects on one", `{"objects":[` +
			many(50_000, func(i int) string { return fmt.Sprintf(`{"type":"note","id":"n%d","created_by_ref":"n0"}`, i) }) + `]}`, 50_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Split([]byte(tt.bundle), SplitOptions{})
			if err != nil {
				t.Fatalf("Split() error = %v", err)
			}
			if len(got.Parts) != tt.parts {
				t.Fatalf("Split() makes %d parts, want %d", len(got.Parts), tt.parts)
			}
			before := int64(0)
			for _, part := range got.Parts {
				var p struct {
					Seq     int64 `json:"x_opencti_seq"`
					Objects []struct {
						Deps int64 `json:"nb_deps"`
					} `json:"objects"`
				}
				if err := json.Unmarshal(part, &p); err != nil {
					t.Fatal(err)
				}
				if p.Seq < before || p.Seq > maxDependencies || p.Objects[0].Deps != p.Seq {
					t.Fatalf("a part has x_opencti_seq %d and nb_deps %d after %d", p.Seq, p.Objects[0].Deps, before)
				}
				before = p.Seq
			}
		})
	}
}

func TestSplitWithoutBundleID(t *testing.T) {
	t.Parallel()
	id := func(bundle string) string {
		got, err := Split([]byte(bundle), SplitOptions{})
		if err != nil || len(got.Parts) != 1 {
			t.Fatalf("Split() = %d parts, %v, want 1", len(got.Parts), err)
		}
		var p struct{ ID string }
		if err := json.Unmarshal(got.Parts[0], &p); err != nil {
			t.Fatal(err)
		}
		return p.ID
	}
	one, null := `{"objects":[{"type":"url","id":"url--1"}]}`, `{"id":null,"objects":[{"type":"url","id":"url--1"}]}`
	if first, second, other := id(one), id(one), id(null); first != second || first == other {
		t.Errorf("bundle ids are %s, %s and %s, want the same of the same text only", first, second, other)
	}
	if got := id(null); !strings.HasPrefix(got, "bundle--") || len(got) != len("bundle--")+36 {
		t.Errorf("bundle id = %s, want a STIX id", got)
	}
}

// TestSplitOfOurs splits a real enrichment and looks at the order and the bytes.
func TestSplitOfOurs(t *testing.T) {
	t.Parallel()
	bundle := enrichment(t)
	encoded := encode(t, bundle)
	got, err := Split(encoded, SplitOptions{})
	if err != nil {
		t.Fatalf("Split() error = %v", err)
	}
	if len(got.Parts) != len(bundle.Objects) || len(got.Incompatible) != 0 {
		t.Fatalf("Split() = %d parts, incompatible %v, want %d and none", len(got.Parts), got.Incompatible, len(bundle.Objects))
	}
	var order []string
	for _, part := range got.Parts {
		_, object, _ := strings.Cut(string(part), `"objects":[`)
		object, _, _ = strings.Cut(object, `,"nb_deps":`)
		if !bytes.Contains(encoded, []byte(object)) {
			t.Errorf("part %s does not hold the bytes of the bundle", part)
		}
		var o Header
		if err := json.Unmarshal([]byte(object+"}"), &o); err != nil {
			t.Fatal(err)
		}
		order = append(order, o.Type)
	}
	want := "identity domain-name ipv6-addr autonomous-system indicator relationship relationship note"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("Split() order = %s, want %s", got, want)
	}
}

// TestSplit_last: the object that the platform has already comes last, and is no dependency of those that refer to it.
func TestSplit_last(t *testing.T) {
	t.Parallel()
	bundle := []byte(`{"type":"bundle","id":"bundle--1","objects":[` +
		`{"type":"url","id":"url--1"},{"type":"note","id":"note--1","object_refs":["url--1","indicator--1"]},` +
		`{"type":"relationship","id":"relationship--1","source_ref":"indicator--1","target_ref":"url--1"},{"type":"indicator","id":"indicator--1"}]}`)
	got, err := Split(bundle, SplitOptions{Last: "url--1"})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, part := range got.Parts {
		_, object, _ := strings.Cut(string(part), `"objects":`)
		parts = append(parts, strings.TrimSuffix(object, "}"))
	}
	want := []string{
		`[{"type":"indicator","id":"indicator--1","nb_deps":1}]`,
		`[{"type":"note","id":"note--1","object_refs":["url--1","indicator--1"],"nb_deps":2}]`,
		`[{"type":"relationship","id":"relationship--1","source_ref":"indicator--1","target_ref":"url--1","nb_deps":2}]`,
		`[{"type":"url","id":"url--1","nb_deps":1}]`,
	}
	if diff := cmp.Diff(want, parts); diff != "" || len(got.Incompatible) > 0 {
		t.Errorf("Split() leaves out %v, parts (-want +got):\n%s", got.Incompatible, diff)
	}
}
