package stages

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// TestComposeForAPlaybook: objects that came with the bundle keep their bytes, but for the observable that the step is about and
// an indicator of the worker's.
func TestComposeForAPlaybook(t *testing.T) {
	t.Parallel()
	observable := func(score int, author string) string {
		return converted(ipv4(), "", fmt.Sprintf(`,%q:{"extension_type":"property-extension","score":%d,"created_by_ref":%q}}}`,
			observableExtension, score, author))
	}
	indicator := func(author string) string {
		return fmt.Sprintf(`{"id":%q,"type":"indicator","spec_version":"2.1","name":"C2","created_by_ref":%q,"indicator_types":["benign","attribution"],`+
			`"x":1.50,"extensions":{%q:{"extension_type":"property-extension","score":3}}}`, riskIndicator, author, extension)
	}
	const report1 = `{"id":"report--1","type":"report","name":"<Weekly>","x":1.50}`
	type seen struct {
		Score  *int
		Labels []string
		Types  []string
	}
	byOther := labelled(90)
	byOther.Author = &opencti.Reference{ID: "other", StandardID: otherAuthor}
	with := func(i *KnownIndicator) State { s := steady(); s.Indicator = i; return s }
	tests := []struct {
		name       string
		entity     opencti.Entity
		state      State
		given      []string // beside report1
		changed    []string // types of those given that change
		added      []string
		observable seen
		indicator  seen
	}{
		{
			name: "nothing of the worker's", entity: ipv4(), state: steady(), given: []string{observable(50, otherAuthor)},
			changed: []string{"ipv4-addr"}, added: []string{"indicator", "based-on ipv4-addr", "note"},
			observable: seen{Score: new(80), Labels: []string{critical}},
			indicator:  seen{Score: new(80), Labels: []string{critical}, Types: []string{typeMalicious}},
		},
		{
			name: "another author's indicator in the bundle", entity: ipv4(), state: steady(),
			given: []string{observable(50, ""), indicator(otherAuthor)}, changed: []string{"ipv4-addr"},
			added:      []string{"based-on ipv4-addr", "note"},
			observable: seen{Score: new(80), Labels: []string{critical}},
			indicator:  seen{Score: new(3), Types: []string{"benign", "attribution"}},
		},
		{
			name: "an indicator of the worker's in the bundle", entity: ipv4(), state: steady(),
			given: []string{observable(50, ""), indicator(authorID)}, changed: []string{"ipv4-addr", "indicator"},
			added:      []string{"based-on ipv4-addr", "note"},
			observable: seen{Score: new(80), Labels: []string{critical}},
			indicator:  seen{Score: new(80), Labels: []string{critical}, Types: []string{typeMalicious, "attribution"}},
		},
		{
			name: "another author's indicator on the platform", entity: ipv4(), given: []string{observable(50, "")},
			state: with(ownIndicator(90, func(i *KnownIndicator) { i.Own, i.Linked = false, false })), changed: []string{"ipv4-addr"},
			added: []string{"based-on ipv4-addr", "note"}, observable: seen{Score: new(80), Labels: []string{critical}},
		},
		{
			name: "a higher score of another author in the bundle", entity: ipv4(), state: steady(), given: []string{observable(95, otherAuthor)},
			changed: []string{"ipv4-addr"}, added: []string{"indicator", "based-on ipv4-addr", "note"},
			observable: seen{Score: new(95), Labels: []string{critical}},
			indicator:  seen{Score: new(80), Labels: []string{critical}, Types: []string{typeMalicious}},
		},
		{
			name: "a higher score of another author on the platform", entity: byOther, state: steady(), given: []string{observable(10, otherAuthor)},
			changed: []string{"ipv4-addr"}, added: []string{"indicator", "based-on ipv4-addr", "note"},
			observable: seen{Score: new(10), Labels: []string{critical}},
			indicator:  seen{Score: new(80), Labels: []string{critical}, Types: []string{typeMalicious}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			given := append([]string{report1}, tt.given...)
			answer := report(ipqs.KindIP, `{"fraud_score":80}`)
			job := Job{
				ID: "j", Request: asked(ipv4().StandardID, given...), Entity: &tt.entity, State: &tt.state,
				Risk: &Risk{At: at, UsedAt: at, Report: answer}, Verdict: Scoring{Model: Bands}.verdict(answer),
			}
			got, err := compose(usual, job)
			if err != nil {
				t.Fatal(err)
			}
			if got.Changes != nil {
				t.Errorf("changes of the platform = %+v, want none", got.Changes)
			}
			var bundle struct{ Objects []json.RawMessage }
			if err := json.Unmarshal(got.Bundle, &bundle); err != nil {
				t.Fatal(err)
			}
			var changed, added []string
			found := map[string]seen{}
			for i, raw := range bundle.Objects {
				var o struct {
					Type         string
					Relationship string `json:"relationship_type"`
					Labels       []string
					Types        []string `json:"indicator_types"`
					Extensions   map[string]struct {
						Score  *int
						Labels []string
					}
				}
				if err := json.Unmarshal(raw, &o); err != nil {
					t.Fatal(err)
				}
				switch {
				case i < len(given) && string(raw) != given[i]:
					changed = append(changed, o.Type)
				case i >= len(given) && o.Relationship != "":
					added = append(added, o.Relationship+" ipv4-addr")
				case i >= len(given):
					added = append(added, o.Type)
				}
				one := seen{Score: o.Extensions[extension].Score, Labels: o.Labels, Types: o.Types}
				if o.Type == "ipv4-addr" {
					one = seen{Score: o.Extensions[observableExtension].Score, Labels: o.Extensions[observableExtension].Labels}
				}
				found[o.Type] = one
			}
			slices.Sort(added)
			slices.Sort(tt.added)
			if diff := cmp.Diff([][]string{tt.changed, tt.added}, [][]string{changed, added}); diff != "" {
				t.Errorf("changed and added (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]seen{tt.observable, tt.indicator}, []seen{found["ipv4-addr"], found["indicator"]}); diff != "" {
				t.Errorf("observable and indicator (-want +got):\n%s", diff)
			}
		})
	}
}
