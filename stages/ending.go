package stages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

// Failer ends a work that brings nothing.
type Failer interface {
	Nothing(ctx context.Context, workID, message string) error
	Failed(ctx context.Context, workID, message string) error
}

// Playbooks continues a playbook that waits for our step, with the bundle that its next step is given. It returns an error
// that is [opencti.ErrNotFound] when nobody waits.
type Playbooks interface {
	AnswerPlaybook(ctx context.Context, playbook opencti.Playbook, startedAt time.Time, bundle []byte) error
}

// Ending tells OpenCTI of the jobs that are not published. The publish stage ends the others itself.
type Ending struct {
	Works     Failer
	Playbooks Playbooks
}

// Skipped ends a job that there was nothing to do for.
func (e Ending) Skipped(ctx context.Context, job Job, f *Fault) error {
	return e.end(ctx, job, f, fmt.Sprintf("%s. %s; skipped (%s).", f.sentence(job), changed(job), f.Reason))
}

// DeadLettered ends a job that could not be done; letter is the id of its dead letter.
func (e Ending) DeadLettered(ctx context.Context, job Job, f *Fault, letter string) error {
	return e.end(ctx, job, f, fmt.Sprintf("%s. %s; dead letter %s (%s).", f.sentence(job), changed(job), letter, f.Reason))
}

func (e Ending) end(ctx context.Context, job Job, f *Fault, message string) error {
	switch {
	case job.Request == nil:
		return nil // nobody to tell: the message could not be read at all
	case job.Request.Playbook != nil:
		return e.handBack(ctx, job)
	case f.Reason.InError():
		if err := e.Works.Failed(ctx, job.Request.WorkID, message); err != nil {
			return fmt.Errorf("telling that the work has failed: %w", err)
		}
		return nil
	default:
		if err := e.Works.Nothing(ctx, job.Request.WorkID, message); err != nil {
			return fmt.Errorf("telling that the work is processed: %w", err)
		}
		return nil
	}
}

// handBack gives a playbook its own bundle again: it has no error channel, it goes on with what it had.
func (e Ending) handBack(ctx context.Context, job Job) error {
	playbook := job.Playbook()
	if job.Answered {
		return nil
	}
	if len(playbook.Bundle) == 0 {
		return fault(Permanent, ReasonMalformed, "answering the playbook: its job came without a bundle")
	}
	err := e.Playbooks.AnswerPlaybook(ctx, *playbook, job.OpenedAt, playbook.Bundle)
	if err != nil && !errors.Is(err, opencti.ErrNotFound) { // nobody waits
		return fmt.Errorf("answering the playbook: %w", err)
	}
	return nil
}
