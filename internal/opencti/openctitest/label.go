package openctitest

import (
	"slices"
	"strings"
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

// labelKey is what makes two labels the same one.
func labelKey(value string) string { return strings.ToLower(strings.TrimSpace(value)) }

// internalLabelID is what a label goes by inside the platform, which is nothing that a connector could guess.
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

// resolveIndicator finds an imported indicator.
func (p *Platform) resolveIndicator(id string) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	labels, ok := p.indicatorLabels[id]
	if !ok {
		return nil, nil
	}
	return object{"id": id, "objectLabel": p.refs(p.labelObjects(labels))}, nil
}

// IndicatorLabels returns the labels that an imported indicator has by now, by its STIX id.
func (p *Platform) IndicatorLabels(id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.indicatorLabels[id])
}

// removeLabel takes a label off an observable or an imported indicator. A label that is not on it is no error.
func (p *Platform) removeLabel(id, labelID, relationship, draft string) (any, error) {
	if relationship != "object-label" {
		return nil, &refusal{"UNSUPPORTED_ERROR", "this stand-in deletes no " + relationship}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.notify()
	is := func(value string) bool { return internalLabelID(value) == labelID }
	if labels, ok := p.indicatorLabels[id]; ok {
		p.indicatorLabels[id] = slices.DeleteFunc(slices.Clone(labels), is)
		return object{"id": id}, nil
	}
	o := p.find(id)
	if o == nil || o.Hidden || (p.rules.drafts && o.DraftID != "" && o.DraftID != draft) {
		return nil, &refusal{"FUNCTIONAL_ERROR", "Cannot delete the relation, Stix-Core-Object cannot be found."}
	}
	o.Labels = slices.DeleteFunc(slices.Clone(o.Labels), is)
	return object{"id": o.internalID}, nil
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
