package stages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// What is in this file keeps credits from being spent where the operator does not want that. Each function puts something
// around one stage; nothing else of the stage changes.

// Recents remembers which entities were enriched a short while ago, and by which job.
type Recents interface {
	// Enriched notes that a job has enriched an entity.
	Enriched(ctx context.Context, entity, job string)
	// Recent returns how long ago another job enriched the entity; ok is false if that is too long ago, or nobody knows.
	Recent(ctx context.Context, entity, job string) (ago time.Duration, ok bool)
}

// SkippingRecent makes resolve skip an automatic job about an entity that was enriched a short while ago. Who asks, or has
// a playbook ask, gets an answer every time. A nil Recents skips nothing.
//
// It comes after the stage: the work is received then, and ends as any other skipped one does.
func SkippingRecent(resolve Stage, recents Recents) Stage {
	if recents == nil {
		return resolve
	}
	run := resolve.Run
	resolve.Run = func(ctx context.Context, job Job) (Job, error) {
		job, err := run(ctx, job)
		if err != nil || !job.automatic() {
			return job, err
		}
		if ago, ok := recents.Recent(ctx, job.subject(), job.ID); ok {
			return job, fault(Skip, ReasonRecent, "already enriched %s ago", ageText(ago.Round(time.Second)))
		}
		return job, nil
	}
	return resolve
}

// RememberingRecent makes publish note which entities were enriched.
func RememberingRecent(publish Stage, recents Recents) Stage {
	if recents == nil {
		return publish
	}
	run := publish.Run
	publish.Run = func(ctx context.Context, job Job) (Job, error) {
		job, err := run(ctx, job)
		if err == nil {
			recents.Enriched(ctx, job.subject(), job.ID)
		}
		return job, err
	}
	return publish
}

// subject names what a job is about, the same for every job about it.
func (j Job) subject() string { return j.Request.EntityID + " " + j.Request.DraftID }

// SkippingOverBudget makes lookup skip a job that there are no credits for, instead of having it wait for them.
func SkippingOverBudget(lookup Stage) Stage {
	run := lookup.Run
	lookup.Run = func(ctx context.Context, job Job) (Job, error) {
		job, err := run(ctx, job)
		if errors.Is(err, ipqs.ErrBudget) || errors.Is(err, ipqs.ErrReserve) {
			return job, &Fault{Class: Skip, Reason: AsFault(err).Reason, Err: fmt.Errorf("skipping a lookup: %w", err)}
		}
		return job, err
	}
	return lookup
}
