package openctitest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// pushBundle takes a whole bundle over the API and puts it on the push queue as the platform words it: under the token's
// user, for the work or one made for it, and without the draft.
func (p *Platform) pushBundle(ctx context.Context, a map[string]any) (any, error) {
	connectorID, workID := text(a["connectorId"]), text(a["work_id"])
	p.mu.Lock()
	known := p.connectors[connectorID] != nil
	if known && workID == "" {
		workID = p.newWork(connectorID).ID
	}
	p.notify()
	p.mu.Unlock()
	if !known {
		return nil, &refusal{"FUNCTIONAL_ERROR", "No connector found with the specified ID"}
	}
	body, err := json.Marshal(map[string]any{
		"type": "bundle", "applicant_id": UserID, "work_id": workID, "update": true,
		"content": base64.StdEncoding.EncodeToString([]byte(text(a["bundle"]))),
	})
	if err != nil {
		return nil, err
	}
	if err := p.broker.PublishPush(ctx, connectorID, body); err != nil {
		return nil, &refusal{"DATABASE_ERROR", "RabbitMQ is away: " + err.Error()}
	}
	return true, nil
}

// wholeBundle is a message with an unsplit bundle.
type wholeBundle struct {
	Type        string `json:"type"`
	ApplicantID string `json:"applicant_id"`
	WorkID      string `json:"work_id"`
	Content     []byte `json:"content"` // encoding/json decodes base64
	Update      bool   `json:"update"`
}

func unwrapWhole(body []byte) (wholeBundle, bool) {
	var whole wholeBundle
	err := json.Unmarshal(body, &whole)
	return whole, err == nil && whole.Type == "bundle"
}

// takeWhole treats such a message like the platform's worker: it announces the objects, if the release does that, and imports
// each. The lock is held.
func (p *Platform) takeWhole(whole wholeBundle) {
	objects, err := whole.objects()
	if err != nil {
		p.complain("a pushed bundle was lost: %v", err)
		return
	}
	w := p.works[whole.WorkID]
	if p.rules.liveness && (w == nil || !p.alive(w)) {
		if w != nil {
			w.Dropped += len(objects)
		}
		return
	}
	if w != nil && p.rules.workerExpects {
		p.addExpectations(w, len(objects))
	}
	for _, e := range objects {
		if p.missing(p.draftOf(e), e.object) != "" {
			p.waiting = append(p.waiting, e)
			continue
		}
		p.store(e)
		p.retryWaiting()
	}
}

// objects splits the bundle: each object gets an envelope of its own.
func (w wholeBundle) objects() ([]envelope, error) {
	var bundle struct {
		Type    string            `json:"type"`
		ID      string            `json:"id"`
		Objects []json.RawMessage `json:"objects"`
	}
	if err := json.Unmarshal(w.Content, &bundle); err != nil {
		return nil, fmt.Errorf("content is no bundle: %w", err)
	}
	if bundle.Type != "bundle" || bundle.ID == "" || len(bundle.Objects) == 0 {
		return nil, errors.New("content is no bundle with objects")
	}
	var all []envelope
	for _, raw := range bundle.Objects {
		e := envelope{ApplicantID: w.ApplicantID, Update: &w.Update, workID: w.WorkID, raw: raw}
		if err := json.Unmarshal(raw, &e.object); err != nil {
			return nil, fmt.Errorf("an object: %w", err)
		}
		if text(e.object["id"]) == "" || text(e.object["type"]) == "" {
			return nil, errors.New("an object has no id or no type")
		}
		all = append(all, e)
	}
	return all, nil
}
