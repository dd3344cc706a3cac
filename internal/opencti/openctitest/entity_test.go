package openctitest

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Ids and a source of the tests.
const (
	vendorID    = "identity--11111111-1111-5111-8111-111111111111"
	ownID       = "identity--22222222-2222-5222-8222-222222222222"
	indicatorID = "indicator--33333333-3333-5333-8333-333333333333"
	noteID      = "note--44444444-4444-5444-8444-444444444444"
	address     = "198.51.100.7"
	addressKey  = "IPv4-Addr " + address
)

func vendor() Source { return Source{UserID: "vendor", MaxConfidence: 100} }
func own() Source    { return Source{UserID: UserID, MaxConfidence: 100} }

type stixObject map[string]any

// write writes objects of one source, in turn.
func write(t *testing.T, p *Platform, s Source, objects ...stixObject) {
	t.Helper()
	for _, o := range objects {
		if err := p.Write(t.Context(), s, o); err != nil {
			t.Fatal(err)
		}
	}
}

func identity(id, name string) stixObject {
	return stixObject{"type": "identity", "id": id, "name": name, "identity_class": "organization"}
}

func indicator(author string, change stixObject) stixObject {
	o := stixObject{
		"type": "indicator", "id": indicatorID, "pattern": "[ipv4-addr:value = '198.51.100.7']", "pattern_type": "stix",
		"created_by_ref": author, "name": address,
	}
	maps.Copy(o, change)
	return o
}

// TestState_OneQuery: fact 15: one query with four aliases, each addressed by an id that the connector computes; what is
// missing is null, without an error.
func TestState_OneQuery(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5.4.1", "5.12.24", "7.260817.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p, _ := platform(t, version)
			id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: address})
			write(t, p, own(), identity(ownID, "IPQS"), indicator(ownID, stixObject{"x_opencti_score": 90, "confidence": 60}),
				stixObject{"type": "autonomous-system", "id": "autonomous-system--1", "number": 64500},
				stixObject{"type": "relationship", "id": "relationship--1", "relationship_type": "belongs-to", "source_ref": id, "target_ref": "autonomous-system--1"},
				stixObject{"type": "relationship", "id": "relationship--2", "relationship_type": "based-on", "source_ref": indicatorID, "target_ref": id})
			data, code, message := ask(t, p, `query State($observable: String!, $indicator: String!, $note: String, $author: String!) {
				observable: stixCyberObservable(id: $observable) {
					createdBy { standard_id }
					indicators(first: 5) { edges { node { x_opencti_score } } }
					stixCoreRelationships(relationship_type: "belongs-to", first: 5) { edges { node { relationship_type to {
						... on BasicObject { entity_type } ... on AutonomousSystem { number } ... on Country { name }
					} } } }
				}
				indicator(id: $indicator) { x_opencti_score confidence revoked createdBy { name } }
				note(id: $note) { content }
				identity(id: $author) { name }
			}`, map[string]any{"observable": id, "indicator": indicatorID, "note": noteID, "author": ownID})
			if code != "" {
				t.Fatalf("refused: %s %s", code, message)
			}
			one := func(node any) map[string]any { return map[string]any{"edges": []any{map[string]any{"node": node}}} }
			want := map[string]any{
				"observable": map[string]any{
					"createdBy":  nil,
					"indicators": one(map[string]any{"x_opencti_score": 90.0}),
					"stixCoreRelationships": one(map[string]any{
						"relationship_type": "belongs-to", "to": map[string]any{"entity_type": "Autonomous-System", "number": 64500.0},
					}),
				},
				"indicator": map[string]any{
					"x_opencti_score": 90.0, "confidence": 60.0, "revoked": false, "createdBy": map[string]any{"name": "IPQS"},
				},
				"note":     nil,
				"identity": map[string]any{"name": "IPQS"},
			}
			if diff := cmp.Diff(want, data); diff != "" {
				t.Errorf("data (-want +got):\n%s", diff)
			}
		})
	}
}
