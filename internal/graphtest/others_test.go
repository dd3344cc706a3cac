package graphtest

import (
	"context"
	"fmt"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/stix"
)

// STIX ids of markings.
var markings = []string{
	"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9", // TLP:CLEAR
	"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", // TLP:GREEN
	"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82", // TLP:AMBER
}

// person is the user who revokes indicators.
const person = "a person"

// other is what others do.
func (p *play) other(ctx context.Context, e event) error {
	s := p.sources[e.n[0]%2]
	marking := markings[e.n[1]%len(markings)]
	optional := func(o object, n int, key string, value any) {
		if n%2 == 0 {
			o[key] = value
		}
	}
	switch e.do {
	case "observable":
		o := p.identified()
		optional(o, e.n[2], "x_opencti_score", e.n[3]%101)
		optional(o, e.n[3], "created_by_ref", s.author)
		optional(o, e.n[4], "object_marking_refs", []string{marking})
		optional(o, e.n[5], "x_opencti_labels", []string{fmt.Sprintf("label %d", e.n[5]%3)})
		optional(o, e.n[1], "x_opencti_external_references", []object{{"source_name": s.name, "url": "https://" + s.name + ".example/", "description": "theirs"}})
		p.logf("%s writes the observable: %v", s.name, o)
		return p.w.write(ctx, s, o)
	case "indicator":
		if p.pattern() == "" {
			return nil
		}
		o := object{
			"type": "indicator", "id": stix.IndicatorID(p.pattern()), "pattern": p.pattern(), "pattern_type": "stix",
			"name": "an indicator of " + s.name, "x_opencti_score": e.n[2] % 101, "indicator_types": []string{"attribution"},
			"x_opencti_main_observable_type": p.kind.name,
		}
		optional(o, e.n[3], "confidence", e.n[3]%101)
		optional(o, e.n[4], "object_marking_refs", []string{marking})
		optional(o, e.n[5], "description", "by "+s.name)
		if e.n[5]%4 != 3 {
			o["created_by_ref"] = s.author
		}
		p.logf("%s writes the indicator: %v", s.name, o)
		return p.w.write(ctx, s, o)
	case "relate":
		return p.relate(ctx, s, e)
	case "system":
		o := object{"type": "autonomous-system", "id": stix.AutonomousSystemID(64500), "number": 64500}
		optional(o, e.n[2], "name", fmt.Sprintf("network %d", e.n[2]%5))
		optional(o, e.n[3], "created_by_ref", s.author)
		optional(o, e.n[4], "object_marking_refs", []string{marking})
		p.logf("%s writes the autonomous system: %v", s.name, o)
		return p.w.write(ctx, s, o)
	case "address":
		if p.kind.name != "Domain-Name" {
			return nil
		}
		o := object{"type": "ipv4-addr", "id": stix.ObservableID("ipv4-addr", "203.0.113.9"), "value": "203.0.113.9", "x_opencti_score": e.n[2] % 101}
		optional(o, e.n[3], "created_by_ref", s.author)
		optional(o, e.n[4], "object_marking_refs", []string{marking})
		p.logf("%s writes the resolved address: %v", s.name, o)
		return p.w.write(ctx, s, o)
	case "decay":
		d := []time.Duration{time.Minute, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, 200 * 24 * time.Hour, 400 * 24 * time.Hour}[e.n[0]%6]
		if d > 30*24*time.Hour {
			p.waiting, p.published = nil, nil // no job is that old
		}
		time.Sleep(d)
		p.w.platform.Decay(time.Now().UTC())
		p.logf("%s passes: %s", d, p.describe())
		return nil
	case "revoke":
		if p.w.platform.RevokeIndicator(stix.IndicatorID(p.pattern()), person) {
			p.revoked = true
			p.logf("a person revokes the indicator")
		}
		return nil
	case "delete":
		return p.remove(e)
	}
	return fmt.Errorf("nobody does %s", e.do)
}

// relate has a source link what the worker links as well.
func (p *play) relate(ctx context.Context, s source, e event) error {
	ends := []struct{ kind, from, to string }{
		{"based-on", stix.IndicatorID(p.pattern()), p.id},
		{"belongs-to", p.id, stix.AutonomousSystemID(64500)},
		{"resolves-to", p.id, stix.ObservableID("ipv4-addr", "203.0.113.9")},
	}[e.n[2]%3]
	for _, id := range []string{ends.from, ends.to} {
		if _, ok := p.w.platform.Object(id); !ok {
			return nil
		}
	}
	o := object{
		"type": "relationship", "id": stix.RelationshipID(ends.kind, ends.from, ends.to), "relationship_type": ends.kind,
		"source_ref": ends.from, "target_ref": ends.to, "description": "by " + s.name, "created_by_ref": s.author,
	}
	p.logf("%s links %s", s.name, ends.kind)
	return p.w.write(ctx, s, o)
}

// remove has a person delete something.
func (p *play) remove(e event) error {
	note := stix.NoteID(p.id)
	id := []string{stix.IndicatorID(p.pattern()), note, stix.AutonomousSystemID(64500), p.id}[e.n[0]%4]
	if id == p.id && e.n[1]%2 == 0 {
		id = note
	}
	o, ok := p.w.platform.Object(id)
	if !ok {
		return nil
	}
	p.w.platform.DeleteObject(id)
	p.logf("a person deletes the %s", o.Type)
	return nil
}

// identified is the observable as others send it.
func (p *play) identified() object {
	o := object{"id": p.id}
	switch p.kind.name {
	case "User-Account":
		o["type"], o["account_login"] = "user-account", p.kind.value
	case "Artifact":
		o["type"], o["hashes"] = "artifact", object{"SHA-256": p.kind.value}
	default:
		kind, _ := stix.TypeByName(p.kind.name)
		o["type"], o["value"] = kind.STIX, p.kind.value
	}
	return o
}

// indicator is the one of the value, nil when there is none.
func (p *play) indicator(g openctitest.Graph) *openctitest.Object {
	if o, ok := g["Indicator "+p.pattern()]; ok && p.pattern() != "" {
		return &o
	}
	return nil
}

func (p *play) describe() string {
	i := p.indicator(p.w.platform.GraphInDraft(p.draft))
	if i == nil {
		return "no indicator"
	}
	return fmt.Sprintf("indicator of %q, score %d, revoked %t", i.Author, *i.Score, i.Revoked)
}
