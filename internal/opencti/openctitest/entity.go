package openctitest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func isObservable(n *node) bool { return n.given != nil }
func isIndicator(n *node) bool  { return n.Type == typeIndicator }
func isNote(n *node) bool       { return n.Type == typeNote }

func isIdentity(n *node) bool {
	return slices.Contains([]string{"Organization", "Individual", "Sector", "System"}, n.Type)
}

// visible returns an object by any of its ids, nil when there is none that the connector's user may see. The lock is held.
func (p *Platform) visible(draft, id string) *node {
	n := p.graphs.lookup(draft, id)
	if n == nil || n.given != nil && n.given.Hidden {
		return nil
	}
	return n
}

// resolveEntity finds an object of a kind. What is missing, invisible, or of another kind is null without an error.
func (p *Platform) resolveEntity(draft, id string, kind func(*node) bool) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.visible(draft, id); n != nil && kind(n) {
		return p.entity(draft, n), nil
	}
	return nil, nil
}

// entity is what the API shows of an object. The lock is held; the fields that are resolvers take it themselves.
func (p *Platform) entity(draft string, n *node) object {
	n = n.clone()
	typeName := strings.ReplaceAll(n.Type, "-", "")
	o := object{
		"id": n.InternalID, "standard_id": n.StandardID, "entity_type": n.Type, "x_opencti_stix_ids": n.StixIDs,
		"created_at": stamp(n.CreatedAt), "updated_at": stamp(n.UpdatedAt), "created": stamp(n.Created), "modified": stamp(n.Modified),
		"confidence": whole(n.Confidence), "name": n.Name, "description": orNull(n.Description),
		"createdBy": resolver(func(map[string]any) (any, error) { return p.resolveEntity(draft, n.Author, isIdentity) }),
		"externalReferences": resolver(func(map[string]any) (any, error) {
			return p.resolveReferences(draft, n.ExternalReferences), nil
		}),
		"stixCoreRelationships": resolver(func(a map[string]any) (any, error) {
			return p.resolveRelationships(draft, n.InternalID, a), nil
		}),
	}
	if p.schema.Types[typeName] != nil {
		o["__typename"] = typeName
	}
	var markings, organizations []object
	for _, definition := range n.Markings {
		markings = append(markings, object{
			"id": "marking-" + definition, "standard_id": markingID(definition), "definition_type": markingType(definition),
			"definition": definition, "x_opencti_order": markingRank(definition),
		})
	}
	for _, standardID := range n.Organizations {
		organizations = append(organizations, object{"id": "organization-" + standardID, "standard_id": standardID, "name": "An organization"})
	}
	o["objectMarking"], o["objectLabel"], o["objectOrganization"] = p.refs(markings), p.refs(p.labelObjects(n.Labels)), p.refs(organizations)
	switch {
	case n.given != nil:
		maps.Copy(o, object{
			"created_at": n.given.CreatedAt, "x_opencti_score": whole(n.Score), "x_opencti_description": orNull(n.Description),
			"observable_value": n.Value, "value": n.Value, "number": n.Number,
			"indicators": resolver(func(map[string]any) (any, error) { return p.resolveIndicators(draft, n.InternalID), nil }),
		})
		if n.given.CreatedAt == "" {
			o["created_at"] = stamp(n.CreatedAt)
		}
		maps.Copy(o, n.given.own())
	case n.Type == typeIndicator:
		maps.Copy(o, object{
			"pattern": n.Pattern, "indicator_types": n.IndicatorTypes, "valid_from": stamp(n.ValidFrom),
			"valid_until": stamp(n.ValidUntil), "revoked": n.Revoked, "x_opencti_score": whole(n.Score),
			"x_opencti_detection": n.Detection, "x_opencti_main_observable_type": orNull(n.MainObservableType),
		})
		if n.Decay != nil {
			var history []object
			for _, point := range n.Decay.History {
				history = append(history, object{"score": point.Score, "updated_at": stamp(point.At)})
			}
			o["decay_base_score"], o["decay_history"] = n.Decay.BaseScore, history
		}
	case n.Type == typeNote:
		maps.Copy(o, object{"attribute_abstract": orNull(n.Abstract), "content": n.Content, "note_types": n.NoteTypes})
	case n.Type == typeCountry:
		o["x_opencti_aliases"] = n.Aliases
	}
	return o
}

func whole(n *int) any {
	if n == nil {
		return nil
	}
	return *n
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func connection(nodes []object, first any) object {
	if most, ok := first.(int64); ok && int(most) < len(nodes) {
		nodes = nodes[:most]
	}
	edges := make([]object, 0, len(nodes))
	for _, node := range nodes {
		edges = append(edges, object{"node": node})
	}
	return object{"edges": edges}
}

func (p *Platform) resolveReferences(draft string, ids []string) object {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []object
	for _, id := range ids {
		if n := p.graphs.lookup(draft, id); n != nil {
			all = append(all, object{
				"id": n.InternalID, "standard_id": n.StandardID, "source_name": n.SourceName, "url": orNull(n.URL),
				"external_id": orNull(n.Reference), "description": orNull(n.Description),
			})
		}
	}
	return connection(all, nil)
}

func (p *Platform) resolveIndicators(draft, internalID string) object {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []object
	for _, r := range p.graphs.relationships(draft, internalID) {
		if n := p.visible(draft, r.From); r.Type == "based-on" && r.To == internalID && n != nil && isIndicator(n) {
			all = append(all, p.entity(draft, n))
		}
	}
	return connection(all, nil)
}

// resolveRelationships returns the relationships of an object, of one type or of all.
func (p *Platform) resolveRelationships(draft, of string, a map[string]any) object {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := text(a["relationship_type"])
	var all []object
	for _, r := range p.graphs.relationships(draft, of) {
		if (kind == "" || kind == r.Type) && p.visible(draft, r.From) != nil && p.visible(draft, r.To) != nil {
			all = append(all, p.relationship(draft, r))
		}
	}
	return connection(all, a["first"])
}

func (p *Platform) relationship(draft string, n *node) object {
	end := func(id string) resolver {
		return func(map[string]any) (any, error) {
			return p.resolveEntity(draft, id, func(*node) bool { return true })
		}
	}
	author := n.Author
	return object{
		"id": n.InternalID, "standard_id": n.StandardID, "entity_type": n.Type, "relationship_type": n.Type,
		"description": orNull(n.Description), "confidence": whole(n.Confidence), "fromId": n.From, "toId": n.To,
		"from": end(n.From), "to": end(n.To),
		"createdBy": resolver(func(map[string]any) (any, error) { return p.resolveEntity(draft, author, isIdentity) }),
	}
}

// patchIndicator edits an indicator. The description is replaced. Types are removed, added or replaced. Revoked revokes or revives, unless the same edit
// has a score. A score that is not the base score restarts the decay, once for each source and score.
func (p *Platform) patchIndicator(draft, id string, input any) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.notify()
	n := p.visible(draft, id)
	if n == nil || !isIndicator(n) {
		return nil, &refusal{"FUNCTIONAL_ERROR", "Cannot edit the field, Indicator cannot be found."}
	}
	n = p.graphs.edit(draft, n)
	now := time.Now().UTC()
	var revoked, score *string
	edits, _ := input.([]any)
	for _, entry := range edits {
		e, _ := entry.(map[string]any)
		values, _ := e["value"].([]any)
		value := fmt.Sprint(values...)
		switch key := text(e["key"]); key {
		case "indicator_types":
			n.IndicatorTypes = patched(n.IndicatorTypes, texts(values), text(e["operation"]))
		case "description":
			n.Description = value
		case "revoked":
			revoked = &value
		case "x_opencti_score":
			score = &value
		default:
			return nil, &refusal{"UNSUPPORTED_ERROR", "this stand-in edits no " + key}
		}
	}
	switch {
	case score != nil:
		given, err := strconv.Atoi(*score)
		if err != nil {
			return nil, &refusal{"VALIDATION_ERROR", "The score should be an integer"}
		}
		n.rescore(given, now)
		if revoked != nil {
			n.Revoked = *revoked == "true"
		}
	case revoked != nil && *revoked == "true" && !n.Revoked:
		n.revoke(now, UserID)
	case revoked != nil && *revoked == "false" && n.Revoked:
		n.revive(now, UserID)
	}
	n.UpdatedAt, n.Modified = now, now
	return p.entity(draft, n), nil
}

func patched(have, values []string, operation string) []string {
	switch operation {
	case "add":
		return union(have, values)
	case "remove":
		return slices.DeleteFunc(slices.Clone(have), func(value string) bool { return slices.Contains(values, value) })
	default:
		return slices.Clone(values)
	}
}
