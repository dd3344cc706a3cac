package opencti

import (
	"context"
	"net/http"
)

// PushBundle hands a whole bundle to the platform over its API, which has it imported as the token's user: the way for a
// connector that does not reach the platform's broker. The platform's worker splits the bundle and announces its objects by
// itself, so [Works.Announce] must not count them.
//
// The work's id is sent on releases that take one ([Capabilities].BundlePushWork); without one, or where it is empty, the
// platform makes another work for the bundle. There is no way to name a draft: what is pushed goes into the live data. A
// release that lacks the operation is [ErrUnsupported]; a bundle above the platform's limit (50 MB by default) is
// [ErrRefused].
func (c *Client) PushBundle(ctx context.Context, connectorID, workID string, bundle []byte) error {
	variables := map[string]any{"connectorId": connectorID, "bundle": string(bundle), "work_id": workID}
	ways := []operation{opBundlePush, opBundlePushLegacy}
	if workID == "" {
		ways = ways[1:]
	}
	var answer struct {
		Pushed *bool `json:"stixBundlePush"`
	}
	op, err := c.doFirst(ctx, ways, variables, "", &answer)
	if err != nil {
		return err
	}
	if answer.Pushed == nil || !*answer.Pushed {
		return &Error{Operation: op.name, Status: http.StatusOK, Message: "the platform did not take the bundle"}
	}
	return nil
}
