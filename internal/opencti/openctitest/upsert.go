package openctitest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Source is another writer than the connector: another connector, a feed, a person.
type Source struct {
	// UserID is the platform's user, MaxConfidence the highest confidence that it may give, 0 to 100.
	UserID        string
	MaxConfidence int
	// DraftID, when set, is the draft that is written to.
	DraftID string
}

// Write imports one STIX object of another source, by the rules that hold for the connector's objects. What the object
// refers to must exist. object is anything that encodes as the JSON of a STIX object.
func (p *Platform) Write(ctx context.Context, s Source, stixObject any) error {
	o, err := decodeObject(stixObject)
	if err != nil {
		return fmt.Errorf("writing an object: %w", err)
	}
	var problem string
	p.set(func() {
		if missing := p.missing(s.DraftID, o); missing != "" {
			problem = "missing reference " + missing
		} else {
			problem = p.upsert(s, o)
		}
	})
	if problem != "" {
		return fmt.Errorf("writing %s: %s", text(o["id"]), problem)
	}
	p.sendDue(ctx)
	return nil
}

// upsert creates an object or updates the one that the platform has. It returns why the platform would refuse it, or "".
// The lock is held.
func (p *Platform) upsert(s Source, o map[string]any) string {
	in, problem := p.read(s, o)
	if problem != "" {
		return problem
	}
	p.keepLabels(o, in.Labels)
	if in.Type == "" {
		return "" // a label or a marking, which are no nodes of the graph
	}
	var known *node
	for _, id := range in.found {
		if known = p.graphs.lookup(s.DraftID, id); known != nil {
			break
		}
	}
	if known == nil {
		if in.given != nil && !in.identified {
			return "An observable needs what identifies it"
		}
		p.create(s, in)
		return ""
	}
	if known.given != nil && !known.given.identified(o) {
		return "An observable needs what identifies it"
	}
	p.update(s, known, in)
	return ""
}

// addObservable adds the observable of [Platform.AddObservable] to the graph. The lock is held.
func (p *Platform) addObservable(o Observable) {
	n := &node{
		Object: Object{
			InternalID: internalID(p.draft(o.DraftID), o.standardID), StandardID: o.standardID, Type: o.Type, Value: o.Value,
			Score: o.Score, Markings: o.Markings, Labels: o.Labels, Organizations: o.Organizations,
			CreatedAt: date(o.CreatedAt), UpdatedAt: date(o.CreatedAt),
		},
		given: &o,
	}
	if o.Type == typeSystem {
		n.Number, _ = strconv.Atoi(strings.TrimPrefix(o.Value, "AS"))
	}
	for _, definition := range o.Markings {
		p.markings[markingID(definition)] = definition
	}
	for _, id := range o.Organizations {
		p.organizations[id] = true
	}
	n = n.clone()
	n.key = newKey(&n.Object, o.standardID, nil)
	p.graphs.store(p.draft(o.DraftID)).put(n)
}

// create adds the object.
func (p *Platform) create(s Source, in *incoming) {
	n := &in.node
	now := time.Now().UTC()
	n.CreatedAt, n.UpdatedAt, n.Creators = now, now, []string{s.UserID}
	if n.given == nil && n.Type != typeReference {
		n.Confidence = &in.confidence
		n.Modified = now
		if n.Created.IsZero() {
			n.Created = now
		}
	}
	n.InternalID = internalID(s.DraftID, n.StandardID)
	n.Markings = addMarkings(nil, n.Markings)
	n.key = newKey(&n.Object, in.sent, func(id string) string { return p.keyOf(s.DraftID, id) })
	p.graphs.store(s.DraftID).put(n)
	if n.given != nil && s.DraftID == "" {
		p.due = append(p.due, due{n.StandardID, Auto})
	}
}

// update changes the known object as far as the confidence allows it.
func (p *Platform) update(s Source, known *node, in *incoming) {
	before := known.clone()
	n := p.graphs.edit(s.DraftID, known)
	store := p.graphs.store(s.DraftID)
	store.forget(n)
	existing := 0
	if n.Confidence != nil {
		existing = *n.Confidence
	}
	matches, higher := in.confidence >= existing, in.confidence > existing
	if n.Type == typeIndicator {
		n.keepScore(s, in)
	}
	replace(&n.Name, in.Name, matches)
	replace(&n.Description, in.Description, matches)
	replace(&n.Abstract, in.Abstract, matches)
	replace(&n.Content, in.Content, matches)
	replace(&n.MainObservableType, in.MainObservableType, matches)
	if in.Author != "" && (n.Author == "" || higher) {
		n.Author = in.Author
	}
	if in.Score != nil && (matches || n.Score == nil) {
		n.Score = in.Score
	}
	if n.Type == typeIndicator && matches {
		n.ValidFrom, n.ValidUntil, n.Revoked = in.ValidFrom, in.ValidUntil, in.Revoked
		if in.Decay != nil {
			history := in.Decay.History
			if n.Decay != nil {
				history = append(slices.Clone(n.Decay.History), history...)
			}
			n.Decay = &Decay{in.Decay.BaseScore, in.Decay.BaseDate, in.Decay.NextReaction, history}
		}
	}
	if matches && !in.Created.IsZero() && in.Created.Before(n.Created) {
		n.Created = in.Created
	}
	if n.Confidence != nil && matches {
		n.Confidence = &in.confidence
	}
	// Labels and external references are added whatever the confidence.
	n.Labels = addLabels(n.Labels, in.Labels)
	n.ExternalReferences = union(n.ExternalReferences, in.ExternalReferences)
	n.Creators = union(n.Creators, []string{s.UserID})
	for _, list := range []struct {
		of  *[]string
		add []string
	}{
		{&n.IndicatorTypes, in.IndicatorTypes},
		{&n.NoteTypes, in.NoteTypes},
		{&n.Aliases, in.Aliases},
		{&n.Objects, in.Objects},
		{&n.Organizations, in.Organizations},
	} {
		if matches || len(*list.of) == 0 {
			*list.of = union(*list.of, list.add)
		}
	}
	if matches || len(n.Markings) == 0 {
		n.Markings = addMarkings(n.Markings, in.Markings)
	}
	if matches && n.Type == typeNote {
		n.StandardID = in.StandardID // made of its content, which is another now
	}
	if in.sent != "" && in.sent != n.StandardID {
		n.StixIDs = union(n.StixIDs, []string{in.sent})
	}
	if n.given != nil && s.DraftID == "" && !sameObject(before, n) {
		p.due = append(p.due, due{n.StandardID, AutoUpdate})
	}
	if !sameObject(before, n) {
		n.UpdatedAt = time.Now().UTC()
		if n.given == nil {
			n.Modified = n.UpdatedAt
		}
	}
	store.put(n)
}

// keepScore keeps score, validity and decay of the indicator where the platform does: the source has given this score before,
// or it is both the present and the base score.
func (n *node) keepScore(s Source, in *incoming) {
	if n.Decay == nil || in.Score == nil {
		return
	}
	unchanged := in.Decay != nil && in.Decay.BaseScore == n.Decay.BaseScore && n.Decay.BaseScore == *n.Score
	if unchanged || n.Decay.gave(*in.Score, s.UserID) {
		in.Score, in.ValidFrom, in.ValidUntil, in.Revoked, in.Decay = n.Score, n.ValidFrom, n.ValidUntil, n.Revoked, nil
	}
}

// sameObject reports whether two states of an object are equal but for the users who sent it.
func sameObject(before, after *node) bool {
	a, b := before.clone(), after.clone()
	a.Creators, b.Creators = nil, nil
	return reflect.DeepEqual(a.Object, b.Object)
}

func replace(current *string, value string, allowed bool) {
	if strings.TrimSpace(value) != "" && (allowed || *current == "") {
		*current = value
	}
}

func union(have, more []string) []string {
	for _, value := range more {
		if !slices.Contains(have, value) {
			have = append(slices.Clip(have), value)
		}
	}
	return have
}

// addMarkings adds markings of new types, and replaces one by a higher one of its type.
func addMarkings(have, more []string) []string {
	for _, definition := range more {
		i := slices.IndexFunc(have, func(other string) bool { return markingType(other) == markingType(definition) })
		switch {
		case i < 0:
			have = append(slices.Clip(have), definition)
		case markingRank(definition) > markingRank(have[i]):
			have = slices.Clone(have)
			have[i] = definition
		}
	}
	return have
}

func markingType(definition string) string {
	family, _, _ := strings.Cut(definition, ":")
	return strings.ToUpper(family)
}

// markingRank is a marking's x_opencti_order.
func markingRank(definition string) int {
	_, name, _ := strings.Cut(strings.ToUpper(definition), ":")
	return slices.Index([]string{"CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED"}, strings.ReplaceAll(name, "WHITE", "CLEAR")) + 1
}

// score reads a score as GraphQL does.
func score(o map[string]any) (*int, string) {
	value, ok := first(o, "x_opencti_score", "score")
	if !ok {
		return nil, ""
	}
	n, isNumber := value.(float64)
	switch {
	case !isNumber || n != math.Trunc(n):
		return nil, "Int cannot represent non-integer value"
	case n < 0 || n > 100:
		return nil, "The score should be between 0 and 100"
	}
	return new(int(n)), ""
}

// keepLabels makes the labels that do not exist yet.
func (p *Platform) keepLabels(o map[string]any, labels []string) {
	for _, value := range labels {
		if _, known := p.labels[labelKey(value)]; !known {
			p.labels[labelKey(value)] = label{value: value}
		}
	}
	if text(o["type"]) == "label" {
		p.labels[labelKey(text(o["value"]))] = label{text(o["value"]), text(o["color"])}
	}
}

// reference returns the external reference, which it makes or whose description it updates.
func (p *Platform) reference(s Source, entry map[string]any) string {
	url, source, id := text(entry["url"]), text(entry["source_name"]), text(entry["external_id"])
	if url == "" && id == "" {
		return "" // the platform's worker drops it
	}
	if known := p.graphs.lookup(s.DraftID, referenceID(url, source, id)); known != nil {
		if description := text(entry["description"]); description != "" && description != known.Description {
			n := p.graphs.edit(s.DraftID, known)
			n.Description, n.UpdatedAt = description, time.Now().UTC()
		}
		return known.InternalID
	}
	n := &node{Object: Object{
		Type: typeReference, URL: url, SourceName: source, Reference: id, Description: text(entry["description"]),
		StandardID: standard("external-reference", map[string]any{"url": cmp.Or(url, source+" "+id)}),
	}}
	p.create(s, &incoming{node: *n})
	return p.graphs.lookup(s.DraftID, referenceID(url, source, id)).InternalID
}
