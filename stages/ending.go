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
	Nothing(ctx context.Context, job opencti.WorkJob, message string) error
	Failed(ctx context.Context, job opencti.WorkJob, message string) error
}

// Playbooks continues a playbook that waits for our step, with the bundle that its next step is given. It returns an error
// that is [opencti.ErrNotFound] when nobody waits, and [opencti.ErrUnsure] when the playbook may have gone on.
type Playbooks interface {
	AnswerPlaybook(ctx context.Context, playbook opencti.Playbook, startedAt time.Time, bundle []byte) error
}

// Ending tells OpenCTI of the jobs that are not published. The publish stage ends the others itself.
type Ending struct {
	Works     Failer
	Playbooks Playbooks
	// SkipInError makes a skipped job end its work in error if its reason is an error ([Reason.InError]); else it completes
	// its work with the reason as the message.
	SkipInError bool
}

// Skipped ends a job that there was nothing to do for.
func (e Ending) Skipped(ctx context.Context, job Job, f *Fault) error {
	return e.end(ctx, job, e.SkipInError && f.Reason.InError(), fmt.Sprintf("%s. %s; skipped (%s).", f.sentence(job), changed(job, f), f.Reason))
}

// DeadLettered ends a job that could not be done; letter is the id of its dead letter.
func (e Ending) DeadLettered(ctx context.Context, job Job, f *Fault, letter string) error {
	return e.end(ctx, job, true, fmt.Sprintf("%s. %s; dead letter %s (%s).", f.sentence(job), changed(job, f), letter, f.Reason))
}

func (e Ending) end(ctx context.Context, job Job, inError bool, message string) error {
	switch {
	case job.Request == nil:
		return nil // nobody to tell: the message could not be read at all
	case job.Request.Playbook != nil:
		return e.handBack(ctx, job)
	case inError:
		if err := e.Works.Failed(ctx, job.work(), message); err != nil {
			return fmt.Errorf("telling that the work has failed: %w", err)
		}
		return nil
	default:
		if err := e.Works.Nothing(ctx, job.work(), message); err != nil {
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
	err := answerOnce(ctx, e.Playbooks, job, playbook.Bundle)
	if err == nil || errors.Is(err, opencti.ErrNotFound) || errors.Is(err, opencti.ErrUnsure) {
		return nil // it goes on, nobody waits, or it may have gone on: there is nothing more to say
	}
	return fmt.Errorf("answering the playbook: %w", err)
}

// answerTimeout bounds one answer to a playbook. The clients of OpenCTI have a limit of their own.
const answerTimeout = time.Minute

// answerOnce gives the playbook's step a bundle. Once under way it is not cut short, whatever the time and whoever stops the
// worker: it may have been heard, and another answer after it would have the playbook go on twice.
func answerOnce(ctx context.Context, playbooks Playbooks, job Job, bundle []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	return playbooks.AnswerPlaybook(ctx, *job.Playbook(), job.OpenedAt, bundle)
}
