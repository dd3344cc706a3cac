package opencti

import (
	"context"
	"strconv"
)

// IndicatorPatch changes an indicator that exists in ways that an import cannot.
type IndicatorPatch struct {
	// RemoveTypes are taken off its indicator_types: an import only ever adds some.
	RemoveTypes []string `json:"remove_types,omitempty"`
	// Revoke revokes it, and Restore makes a revoked one valid again, at the score that its decay began with.
	Revoke  bool `json:"revoke,omitempty"`
	Restore bool `json:"restore,omitempty"`
	// Description replaces that of the indicator; "" leaves it.
	Description string `json:"description,omitempty"`
}

// PatchIndicator changes the indicator with that id (internal, or STIX), in a draft unless draftID is empty. ErrNotFound
// means that there is none, or that the connector's user may not change it.
func (c *Client) PatchIndicator(ctx context.Context, id string, patch IndicatorPatch, draftID string) error {
	type edit struct {
		Key       string `json:"key"`
		Value     []any  `json:"value"`
		Operation string `json:"operation,omitempty"`
	}
	var edits []edit
	if len(patch.RemoveTypes) > 0 {
		values := make([]any, len(patch.RemoveTypes))
		for i, value := range patch.RemoveTypes {
			values[i] = value
		}
		edits = append(edits, edit{"indicator_types", values, "remove"})
	}
	if patch.Revoke || patch.Restore {
		edits = append(edits, edit{Key: "revoked", Value: []any{strconv.FormatBool(patch.Revoke)}})
	}
	if patch.Description != "" {
		edits = append(edits, edit{Key: "description", Value: []any{patch.Description}})
	}
	if len(edits) == 0 {
		return nil
	}
	var answer struct {
		Patched *struct{} `json:"indicatorFieldPatch"`
		Edit    *struct {
			Patched *struct{} `json:"fieldPatch"`
		} `json:"indicatorEdit"`
	}
	op, err := c.doFirst(ctx, []operation{opIndicatorPatch, opIndicatorPatchLegacy}, map[string]any{"id": id, "input": edits}, draftID, &answer)
	if err != nil {
		return err
	}
	if answer.Patched == nil && (answer.Edit == nil || answer.Edit.Patched == nil) {
		return nothing(op)
	}
	return nil
}
