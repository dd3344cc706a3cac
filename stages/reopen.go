package stages

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Reopen writes the job message that a job came from, as far as [Open] reads one: opening it again begins the job anew. It
// returns an error when the job does not say what was asked.
func Reopen(job Job) ([]byte, error) {
	r := job.Request
	if r == nil || r.EntityID == "" {
		return nil, fmt.Errorf("reopening the job %q: field request.id is missing, want what was asked about", job.ID)
	}
	internal := texts{
		"work_id": r.WorkID, "applicant_id": r.ApplicantID, "draft_id": r.DraftID, "mode": r.Mode, "trigger": r.Trigger,
	}.object()
	event := texts{"event_type": r.EventType, "entity_id": r.EntityID, "entity_type": r.EntityType}.object()
	if p := r.Playbook; p != nil {
		internal["playbook"] = texts{
			"execution_id": p.ExecutionID, "event_id": p.EventID, "playbook_id": p.PlaybookID,
			"data_instance_id": p.DataInstanceID, "step_id": p.StepID, "previous_step_id": p.PreviousStepID,
		}.object()
		if len(p.Bundle) > 0 {
			event["bundle"] = p.Bundle
		}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // so that a bundle keeps its bytes
	if err := encoder.Encode(map[string]any{"internal": internal, "event": event}); err != nil {
		return nil, fmt.Errorf("reopening the job %q: %w", job.ID, err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

// texts are the fields of a JSON object; those that are empty are left out.
type texts map[string]string

func (t texts) object() map[string]any {
	object := make(map[string]any, len(t))
	for key, value := range t {
		if value != "" {
			object[key] = value
		}
	}
	return object
}
