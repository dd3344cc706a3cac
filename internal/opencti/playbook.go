package opencti

import (
	"context"
	"net/http"
	"time"
)

// AnswerPlaybook gives a playbook's step its bundle, the whole of it: releases before 6.9.6 replace what the step was given
// by it. Each call continues the playbook, so a job calls it once, on failure with [Playbook].Bundle unchanged.
// startedAt is when the job was taken up. ErrNotFound means that the playbook or the step is gone and nobody waits.
//
// An error that is ErrUnsure means that the answer may have been heard: do not call it again. After every other one the
// playbook still waits. To make ErrUnsure rare the platform is asked for its version first, which may be lost as often as it
// likes: a platform that is down behind a proxy, and a connection that has died unnoticed, are found out by that.
func (c *Client) AnswerPlaybook(ctx context.Context, p Playbook, startedAt time.Time, bundle []byte) error {
	if _, err := c.About(ctx); err != nil {
		return err
	}
	variables := map[string]any{
		"execution_id":     p.ExecutionID,
		"execution_start":  startedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		"data_instance_id": p.DataInstanceID,
		"playbook_id":      p.PlaybookID,
		"event_id":         or(p.EventID, p.ExecutionID),
		"previous_step_id": or(p.PreviousStepID, p.StepID), // required, yet a job may come without
		"step_id":          p.StepID,
		"previous_bundle":  string(p.Bundle),
		"bundle":           string(bundle),
	}
	var answer struct {
		Continued *bool `json:"playbookStepExecution"`
	}
	var way passage
	op, err := c.doFirst(way.follow(ctx), []operation{opPlaybookStep, opPlaybookStepLegacy}, variables, "", &answer)
	if err != nil {
		if way.unsure(err) {
			return &unsureError{err}
		}
		return err
	}
	if answer.Continued == nil || !*answer.Continued {
		return &Error{Operation: op.name, Code: codeNull, Status: http.StatusOK, Message: "the playbook or its step is gone"}
	}
	return nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
