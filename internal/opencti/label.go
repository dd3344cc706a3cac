package opencti

import "context"

// Label is a label as the platform has it on something.
type Label struct {
	// ID is the platform's internal one.
	ID    string `json:"id,omitempty"`
	Value string `json:"value,omitempty"`
}

// EnsureLabel makes sure that the label exists, creating it with the colour ("#RRGGBB") if it does not. Releases before
// 7.260807 also give an existing label that colour.
func (c *Client) EnsureLabel(ctx context.Context, value, color string) error {
	var answer struct {
		LabelAdd *struct{} `json:"labelAdd"`
	}
	if err := c.do(ctx, opLabelAdd, map[string]any{"input": map[string]any{"value": value, "color": color}}, "", &answer); err != nil {
		return err
	}
	if answer.LabelAdd == nil {
		return nothing(opLabelAdd)
	}
	return nil
}

// RemoveLabel takes a label off an observable or an indicator, inside a draft unless draftID is empty. Importing a bundle
// only ever adds labels, so there is no other way. id and labelID may be internal ids or STIX ids.
func (c *Client) RemoveLabel(ctx context.Context, id, labelID, draftID string) error {
	var answer struct {
		Edit *struct{} `json:"stixCoreObjectEdit"`
	}
	if err := c.do(ctx, opLabelRemove, map[string]any{"id": id, "label": labelID}, draftID, &answer); err != nil {
		return err
	}
	if answer.Edit == nil {
		return nothing(opLabelRemove)
	}
	return nil
}
