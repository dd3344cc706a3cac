package stix

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzSplit(f *testing.F) {
	encoded := encode(f, everything(f))
	f.Add(encoded, false)
	f.Add(encoded, true)
	for _, s := range []string{
		``, `null`, ` {"objects" : [ ] } `, referenceChain(4),
		`{"objects":[{"id":"a","type":"report","a_refs":["b"]},{"id":"b","type":"report","b_refs":["c"]},{"id":"c","type":"report","c_ref":"a"}]}`,
		`{"objects":[{"id":"a","type":"sighting","x_opencti_id":"b","where_sighted_refs":["b"],"sighting_of_ref":"\u0061"}]}`,
		`{"id":"\ud800","objects":[{"id":"a","id":"b","type":"url","external_references":[{"url":1}],"kill_chain_phases":[{}],"nb_deps":{}}]}`,
	} {
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, bundle []byte, cleanup bool) {
		opts := SplitOptions{Cleanup: cleanup}
		got, err := Split(bundle, opts)
		if err != nil {
			if err.Error() == "" || len(got.Parts) != 0 {
				t.Fatalf("Split() = %d parts beside the error %v", len(got.Parts), err)
			}
			return
		}
		again, err := Split(bundle, opts)
		if err != nil {
			t.Fatalf("Split() once more: error = %v", err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatalf("Split() once more differs: %s", diff)
		}
		ids := map[string]bool{}
		for _, part := range got.Parts {
			var p struct {
				Objects []struct {
					ID string `json:"id"`
				} `json:"objects"`
			}
			if err := json.Unmarshal(part, &p); err != nil || len(p.Objects) != 1 {
				t.Fatalf("Split() makes %s: %v, %d objects, want one", part, err, len(p.Objects))
			}
			if ids[p.Objects[0].ID] {
				t.Fatalf("Split() makes two parts of %q", p.Objects[0].ID)
			}
			ids[p.Objects[0].ID] = true
		}
	})
}
