package stages

import (
	"slices"
	"strings"
)

// outdates reports whether a label is one that we gave earlier and this verdict does not give: nobody else's begins like
// ours. Without a verdict none is outdated. OpenCTI tells labels apart by neither case nor the space around them.
func (v *Verdict) outdates(label string) bool {
	label = strings.TrimSpace(label)
	if v.Score == nil || len(label) < len(ownLabels) || !strings.EqualFold(label[:len(ownLabels)], ownLabels) {
		return false
	}
	return !slices.ContainsFunc(v.Labels, func(l Label) bool { return strings.EqualFold(l.Value, label) })
}
