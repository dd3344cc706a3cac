package openctitest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

func (p *Platform) addLabel(a map[string]any) (any, error) {
	input, _ := a["input"].(map[string]any)
	value, color := text(input["value"]), text(input["color"])
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.labels[labelKey(value)]
	switch {
	case !ok:
		known = label{value, color}
	case !p.rules.labelKept && color != "":
		known.color = color
	}
	p.labels[labelKey(value)] = known
	p.notify()
	return object{"id": "label-" + known.value, "standard_id": labelID(known.value), "value": known.value, "color": known.color}, nil
}

// labelKey identifies a label: case and surrounding space do not count.
func labelKey(value string) string { return strings.ToLower(strings.TrimSpace(value)) }

// internalLabelID is the platform's internal id of a label.
func internalLabelID(value string) string { return "label-" + labelKey(value) }

func (p *Platform) labelObjects(values []string) []object {
	var labels []object
	for _, value := range values {
		labels = append(labels, object{
			"id": internalLabelID(value), "standard_id": labelID(value), "value": value, "color": p.labels[labelKey(value)].color,
		})
	}
	return labels
}

// IndicatorLabels returns the present labels of an indicator by its STIX id. It looks in drafts if there is none outside.
func (p *Platform) IndicatorLabels(id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, draft := range append([]string{""}, slices.Collect(maps.Keys(p.graphs))...) {
		if n := p.graphs.lookup(draft, id); n != nil && n.Type == typeIndicator {
			return slices.Clone(n.Labels)
		}
	}
	return nil
}

// removeLabel takes a label off an object. A label that is not on it is no error.
func (p *Platform) removeLabel(id, toID, relationship, draft string) (any, error) {
	if relationship != "object-label" {
		return nil, &refusal{"UNSUPPORTED_ERROR", "this stand-in deletes no " + relationship}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.notify()
	n := p.visible(draft, id)
	if n == nil {
		return nil, &refusal{"FUNCTIONAL_ERROR", "Cannot delete the relation, Stix-Core-Object cannot be found."}
	}
	n = p.graphs.edit(draft, n)
	before := len(n.Labels)
	n.Labels = slices.DeleteFunc(slices.Clone(n.Labels), func(value string) bool {
		return internalLabelID(value) == toID || labelID(value) == toID
	})
	if len(n.Labels) < before {
		n.UpdatedAt = time.Now().UTC()
	}
	return object{"id": n.InternalID}, nil
}

// addLabels unites two lists as the platform does.
func addLabels(have, more []string) []string {
	have = slices.Clone(have)
	for _, value := range more {
		if !slices.ContainsFunc(have, func(l string) bool { return labelKey(l) == labelKey(value) }) {
			have = append(have, value)
		}
	}
	return have
}
