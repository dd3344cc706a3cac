package opencti_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/stix"
)

type stixObject map[string]any

// Ids of what the tests of the state write to the platform.
const (
	address     = "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"
	ownIdentity = "identity--05bb0721-41bd-5e90-9a19-74ed94a05cb3"
	addressIs   = "[ipv4-addr:value = '198.51.100.7']"
)

// source is who writes it.
var source = openctitest.Source{UserID: openctitest.UserID, MaxConfidence: 100}

// write puts objects into the platform, in a draft unless draftID is empty.
func (r *rig) write(draftID string, objects ...stixObject) {
	r.t.Helper()
	by := source
	by.DraftID = draftID
	for _, o := range objects {
		if err := r.platform.Write(r.t.Context(), by, o); err != nil {
			r.t.Fatal(err)
		}
	}
}

// enrichment is what an enrichment of the address leaves behind.
func enrichment() []stixObject {
	indicator, note := stix.IndicatorID(addressIs), stix.NoteID(address)
	system, country := stix.AutonomousSystemID(64500), stix.LocationID("Switzerland", "Country")
	relate := func(kind, from, to string) stixObject {
		return stixObject{
			"type": "relationship", "id": stix.RelationshipID(kind, from, to), "relationship_type": kind,
			"source_ref": from, "target_ref": to, "created_by_ref": ownIdentity, "confidence": 50,
		}
	}
	return []stixObject{
		{"type": "identity", "id": ownIdentity, "name": "IPQS", "identity_class": "organization"},
		{"type": "ipv4-addr", "id": address, "value": "198.51.100.7", "x_opencti_score": 80, "x_opencti_created_by_ref": ownIdentity},
		{
			"type": "indicator", "id": indicator, "pattern": addressIs, "pattern_type": "stix", "name": "198.51.100.7",
			"x_opencti_score": 80, "confidence": 50, "created_by_ref": ownIdentity, "indicator_types": []string{"malicious-activity"},
			"labels": []string{"a label"}, "valid_from": "2026-08-20T10:00:00.000Z",
		},
		{
			"type": "note", "id": note, "content": "the content", "abstract": "the title", "created": "2026-08-20T10:00:00.000Z",
			"confidence": 60, "created_by_ref": ownIdentity, "object_refs": []string{address},
		},
		{"type": "autonomous-system", "id": system, "number": 64500},
		{"type": "location", "id": country, "name": "Switzerland", "x_opencti_location_type": "Country", "x_opencti_aliases": []string{"CH"}},
		relate("belongs-to", address, system),
		relate("located-at", address, country),
		relate("based-on", indicator, address),
	}
}

func query(draftID string) opencti.StateQuery {
	return opencti.StateQuery{
		EntityID: address, IndicatorID: stix.IndicatorID(addressIs), NoteID: stix.NoteID(address), AuthorID: ownIdentity, DraftID: draftID,
	}
}

// stateReleases have lists, edges, and decay or not.
var stateReleases = []string{"5.4.1", "5.12.33", "6.0.0", "6.9.28", "7.260817.0"}

// TestState: one query reads the observable, its indicator, note and author, and what it is linked to.
func TestState(t *testing.T) {
	t.Parallel()
	onEach(t, stateReleases, func(t *testing.T, r *rig) {
		r.platform.SetAutoJobs(false)
		r.write("", enrichment()...)
		got, err := r.client.State(t.Context(), query(""))
		if err != nil {
			t.Fatal(err)
		}
		if got.Entity.StandardID != address || *got.Entity.Score != 80 || got.Entity.Author == nil || got.Entity.Author.StandardID != ownIdentity {
			t.Errorf("entity = %+v, want the address with its score and author", got.Entity)
		}
		if got.Author == nil || got.Author.StandardID != ownIdentity || got.Author.ID != got.Entity.Author.ID {
			t.Errorf("author = %+v, want that of the address", got.Author)
		}
		i := got.Indicator
		if i == nil {
			t.Fatal("there is no indicator")
		}
		want := opencti.Indicator{
			Reference: opencti.Reference{StandardID: stix.IndicatorID(addressIs)}, Author: got.Author, Score: new(80), Confidence: new(50),
			Types: []string{"malicious-activity"}, Labels: []opencti.Label{{Value: "a label"}}, Linked: true,
		}
		ignore := cmp.Options{
			cmpopts.IgnoreFields(opencti.Reference{}, "ID"), cmpopts.IgnoreFields(opencti.Label{}, "ID"),
			cmpopts.IgnoreFields(opencti.Indicator{}, "ValidUntil", "BaseScore", "Decay"),
		}
		if diff := cmp.Diff(want, *i, ignore); diff != "" {
			t.Errorf("indicator (-want +got):\n%s", diff)
		}
		if r.has.IndicatorDecay {
			if i.BaseScore == nil || *i.BaseScore != 80 || len(i.Decay) == 0 || i.Decay[0].Score != 80 || i.ValidUntil.IsZero() {
				t.Errorf("decay = %v, %v, until %v, want from 80", i.BaseScore, i.Decay, i.ValidUntil)
			}
		} else if i.BaseScore != nil || i.Decay != nil {
			t.Errorf("decay = %v, %v, want none", i.BaseScore, i.Decay)
		}
		if n := got.Note; n == nil || n.Content != "the content" || n.Confidence == nil || *n.Confidence != 60 || n.Created == "" || n.Modified.IsZero() {
			t.Errorf("note = %+v, want the content, confidence and times", n)
		}
		for _, link := range [][2]string{
			{"belongs-to", stix.AutonomousSystemID(64500)}, {"located-at", stix.LocationID("Switzerland", "Country")},
		} {
			if !got.Linked(link[0], link[1]) || got.Linked("resolves-to", link[1]) {
				t.Errorf("links = %+v, want %s %s", got.Links, link[0], link[1])
			}
		}
		if n := r.platform.Requests()["State"] + r.platform.Requests()["StateLegacy"]; n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

// TestState_ofADomain: what it resolves to is a link, a name that resolves to it is not.
func TestState_ofADomain(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.4.1", "7.260817.0"}, func(t *testing.T, r *rig) {
		r.platform.SetAutoJobs(false)
		one, other := stix.ObservableID("domain-name", "one.example"), stix.ObservableID("domain-name", "other.example")
		r.write("",
			stixObject{"type": "ipv4-addr", "id": address, "value": "198.51.100.7"},
			stixObject{"type": "domain-name", "id": one, "value": "one.example"},
			stixObject{"type": "domain-name", "id": other, "value": "other.example"},
			stixObject{"type": "relationship", "id": "relationship--1", "relationship_type": "resolves-to", "source_ref": one, "target_ref": address},
			stixObject{"type": "relationship", "id": "relationship--2", "relationship_type": "resolves-to", "source_ref": other, "target_ref": one},
		)
		got, err := r.client.State(t.Context(), opencti.StateQuery{EntityID: one})
		if err != nil || len(got.Links) != 1 || !got.Linked("resolves-to", address) {
			t.Errorf("links = %+v, %v, want the one to the address", got.Links, err)
		}
	})
}

// TestState_ofManyLinks: a link that is not read is taken for a missing one, and written with our author.
func TestState_ofManyLinks(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.4.1", "7.260817.0"}, func(t *testing.T, r *rig) {
		r.platform.SetAutoJobs(false)
		const links = 300
		domain := stix.ObservableID("domain-name", "one.example")
		r.write("", stixObject{"type": "domain-name", "id": domain, "value": "one.example"})
		for i := range links {
			value := fmt.Sprintf("198.51.%d.%d", i/250, i%250)
			r.write("",
				stixObject{"type": "ipv4-addr", "id": stix.ObservableID("ipv4-addr", value), "value": value},
				stixObject{
					"type": "relationship", "id": fmt.Sprintf("relationship--%d", i), "relationship_type": "resolves-to",
					"source_ref": domain, "target_ref": stix.ObservableID("ipv4-addr", value),
				},
			)
		}
		got, err := r.client.State(t.Context(), opencti.StateQuery{EntityID: domain})
		if err != nil || len(got.Links) != links {
			t.Errorf("%d links, error = %v, want %d", len(got.Links), err, links)
		}
	})
}

// TestState_ofNothingElse: what does not exist is nil and no error.
func TestState_ofNothingElse(t *testing.T) {
	t.Parallel()
	onEach(t, stateReleases, func(t *testing.T, r *rig) {
		r.platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
		for _, q := range []opencti.StateQuery{query(""), {EntityID: address}} {
			got, err := r.client.State(t.Context(), q)
			if err != nil || got.Indicator != nil || got.Note != nil || got.Author != nil || got.Links != nil {
				t.Errorf("State() = %+v, %v, want the address alone", got, err)
			}
		}
	})
}

// TestState_inADraft: what only a draft has is only seen, and only changed, in it.
func TestState_inADraft(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	r.platform.SetAutoJobs(false)
	r.platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
	r.write("draft-1", enrichment()...)
	live, err := r.client.State(t.Context(), query(""))
	if err != nil || live.Indicator != nil || live.Note != nil {
		t.Errorf("live = %+v, %v, want the address alone", live, err)
	}
	patch := opencti.IndicatorPatch{RemoveTypes: []string{"malicious-activity"}}
	if err := r.client.PatchIndicator(t.Context(), stix.IndicatorID(addressIs), patch, ""); !errors.Is(err, opencti.ErrRefused) {
		t.Errorf("PatchIndicator() outside the draft error = %v, want ErrRefused", err)
	}
	if err := r.client.PatchIndicator(t.Context(), stix.IndicatorID(addressIs), patch, "draft-1"); err != nil {
		t.Errorf("PatchIndicator() in the draft error = %v", err)
	}
	draft, err := r.client.State(t.Context(), query("draft-1"))
	if err != nil || draft.Indicator == nil || len(draft.Indicator.Types) != 0 || draft.Note == nil {
		t.Errorf("draft = %+v, %v, want indicator without types and note", draft, err)
	}
}

// TestState_withoutDecay: a platform that refuses a field of decay is asked without it, once and for all.
func TestState_withoutDecay(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Query string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		answer := `{"data":{"about":{"version":"5.12.24"}}}`
		if strings.Contains(body.Query, "stixCyberObservable") {
			answer = `{"data":{"stixCyberObservable":{"id":"1","standard_id":"` + address + `"}}}`
			asked = append(asked, strings.Fields(strings.ReplaceAll(body.Query, "(", " "))[1])
		}
		if strings.Contains(body.Query, "decay_history") {
			answer = `{"errors":[{"message":"Cannot query field \"decay_history\" on type \"Indicator\".","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}`
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	client, err := opencti.New(opencti.Options{URL: server.URL, Token: token, HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := client.State(t.Context(), query("")); err != nil || got.Entity.StandardID != address {
			t.Errorf("State() = %+v, %v, want the address", got, err)
		}
	}
	if want := []string{"State", "StatePlain", "StatePlain"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// TestPatchIndicator: types come off, the others stay; a revoked indicator is valid again, a valid one revoked.
func TestPatchIndicator(t *testing.T) {
	t.Parallel()
	onEach(t, stateReleases, func(t *testing.T, r *rig) {
		r.platform.SetAutoJobs(false)
		r.write("", enrichment()...)
		id := stix.IndicatorID(addressIs)
		patch := func(p opencti.IndicatorPatch) openctitest.Object {
			t.Helper()
			if err := r.client.PatchIndicator(t.Context(), id, p, ""); err != nil {
				t.Fatalf("PatchIndicator(%+v) error = %v", p, err)
			}
			o, _ := r.platform.Object(id)
			return o
		}
		r.write("", stixObject{
			"type": "indicator", "id": id, "pattern": addressIs, "pattern_type": "stix", "indicator_types": []string{"benign", "theirs"},
			"created_by_ref": ownIdentity, "valid_from": "2026-08-20T10:00:00.000Z",
		})
		before, requests := patch(opencti.IndicatorPatch{}), r.platform.Requests()
		if len(before.IndicatorTypes) != 3 || requests["IndicatorPatch"]+requests["IndicatorPatchLegacy"] != 0 {
			t.Errorf("types %q after %v requests, want three, and none for an empty patch", before.IndicatorTypes, requests)
		}
		if got := patch(opencti.IndicatorPatch{RemoveTypes: []string{"malicious-activity", "benign"}}); !slices.Equal(got.IndicatorTypes, []string{"theirs"}) {
			t.Errorf("types = %q, want those of others", got.IndicatorTypes)
		}
		if got := patch(opencti.IndicatorPatch{Revoke: true, Description: "withdrawn"}); !got.Revoked || got.Description != "withdrawn" {
			t.Errorf("revoked: %v, description %q, want it revoked, and withdrawn", got.Revoked, got.Description)
		}
		if state, err := r.client.State(t.Context(), query("")); err != nil || state.Indicator == nil || state.Indicator.Description != "withdrawn" {
			t.Errorf("State() = %+v, %v, want the description", state.Indicator, err)
		}
		if got := patch(opencti.IndicatorPatch{Restore: true}); got.Revoked {
			t.Error("the indicator is still revoked")
		}
		if err := r.client.PatchIndicator(t.Context(), "indicator--00000000-0000-4000-8000-000000000000",
			opencti.IndicatorPatch{Revoke: true}, ""); !errors.Is(err, opencti.ErrRefused) && !errors.Is(err, opencti.ErrNotFound) {
			t.Errorf("PatchIndicator() of none error = %v, want it refused or not found", err)
		}
	})
}

// TestCountries: all of them, with their codes.
func TestCountries(t *testing.T) {
	t.Parallel()
	onEach(t, stateReleases, func(t *testing.T, r *rig) {
		r.platform.AddCountries()
		got, err := r.client.Countries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(got, func(c opencti.Country) bool { return slices.Contains(c.Aliases, "RU") })
		if i < 0 || got[i].Name != "Russian Federation" || !strings.HasPrefix(got[i].StandardID, "location--") {
			t.Errorf("Countries() = %+v, want the Russian Federation by its code among them", got)
		}
	})
}

// TestDecayStep_order: the history is read the oldest first, whatever the order of the answer.
func TestDecayStep_order(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"data":{"about":{"version":"7.260817.0"},"stixCyberObservable":{"id":"1","standard_id":"` + address + `"},"indicator":{"id":"2",
			"decay_history":[{"score":20,"updated_at":"2026-03-01T00:00:00Z"},{"score":80,"updated_at":"2026-01-01T00:00:00Z"}]}}}`))
	}))
	t.Cleanup(server.Close)
	client, err := opencti.New(opencti.Options{URL: server.URL, Token: token, HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.State(t.Context(), query(""))
	want := []opencti.DecayStep{
		{Score: 80, At: time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)}, {Score: 20, At: time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)},
	}
	if err != nil || cmp.Diff(want, got.Indicator.Decay) != "" {
		t.Errorf("decay = %v, %v, want %v", got.Indicator, err, want)
	}
}
