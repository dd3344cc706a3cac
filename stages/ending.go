package stages

import (
	"context"
	"fmt"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

// Failer ends a work that brings nothing.
type Failer interface {
	Processed(ctx context.Context, workID, message string) error
	Failed(ctx context.Context, workID, message string) error
}

// Playbooks continues a playbook that waits for our step.
type Playbooks interface {
	AnswerPlaybook(ctx context.Context, playbook opencti.Playbook, startedAt time.Time, bundle []byte) error
}

// Ending tells OpenCTI of the jobs that are not published. The publish stage ends the others itself.
type Ending struct {
	Works     Failer
	Playbooks Playbooks
	Now       func() time.Time
}

// Skipped ends a job that there was nothing to do for.
func (e Ending) Skipped(ctx context.Context, job Job, f *Fault) error {
	return e.end(ctx, job, f, fmt.Sprintf("IPQS: skipped (%s): %s. Nothing was changed.", f.Reason, f))
}

// DeadLettered ends a job that could not be done; letter is the id of its dead letter.
func (e Ending) DeadLettered(ctx context.Context, job Job, f *Fault, letter string) error {
	return e.end(ctx, job, f, fmt.Sprintf("IPQS: not enriched (%s): %s. Nothing was changed; dead letter %s.", f.Reason, f, letter))
}

func (e Ending) end(ctx context.Context, job Job, f *Fault, message string) error {
	switch {
	case job.Request == nil:
		return nil // nobody to tell: the message could not be read at all
	case job.Request.Playbook != nil:
		// A playbook has no error channel: it goes on with what it had.
		if err := e.Playbooks.AnswerPlaybook(ctx, *job.Request.Playbook, e.Now(), job.Request.Playbook.Bundle); err != nil {
			return fmt.Errorf("answering the playbook: %w", err)
		}
		return nil
	case f.Reason.InError():
		if err := e.Works.Failed(ctx, job.Request.WorkID, message); err != nil {
			return fmt.Errorf("telling that the work has failed: %w", err)
		}
		return nil
	default:
		if err := e.Works.Processed(ctx, job.Request.WorkID, message); err != nil {
			return fmt.Errorf("telling that the work is processed: %w", err)
		}
		return nil
	}
}
