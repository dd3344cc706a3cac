package opencti

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
)

// Works reports on works, as the platform's release requires it. Several jobs can share a work, because the platform makes
// work ids of the connector's id and the millisecond. Each job reports only on its own objects: its announcements and its end
// are messages of the work that name its entity, so that a repeated job can read what it has reported before.
//
// No method does anything when the work's id is empty: a playbook's job has no work. A work that the platform has deleted
// meanwhile is no error.
type Works struct {
	client *Client
	whole  bool // results are handed over with [Client.PushBundle]
}

// NewWorks returns the works of the client's platform, for a connector that publishes each object by itself.
func NewWorks(c *Client) *Works { return &Works{client: c} }

// NewWholeWorks returns the works of the client's platform, for a connector that hands over whole bundles
// ([Client.PushBundle]). Where messages must not carry a work id ([Capabilities].Tracked), the platform makes a work of its own
// for each bundle and counts its objects. A report on a younger work would make the clean-up close that one, and drop its
// objects, so nothing is reported there on the works of jobs: from 7.260428 to before 7.260510, where toProcessed ends no
// work, they have their message and stay open until the clean-up closes them, within a minute of the import of a later bundle.
func NewWholeWorks(c *Client) *Works { return &Works{client: c, whole: true} }

// WorkJob is a job as its work knows it.
type WorkJob struct {
	// WorkID is the work's id, which other jobs may share. EntityID identifies the job among them.
	WorkID, EntityID string
	// Again says that the job may have reported before: it is a redelivery, a replay, or another attempt.
	Again bool
}

// WorkState is the result of [Works.Announce], for [Works.Processed].
type WorkState struct {
	// Tracked says that the messages of the job's objects have to carry the work's id.
	Tracked bool

	open     int  // objects that the job has announced and that its end settles
	surplus  int  // expectations of the job for which it publishes no object
	involved bool // the work is complete, or has reports of other jobs or of an earlier delivery
}

// Received reports that the job is in hand. A work that another job has received or ended keeps its state: toReceived would
// reopen a completed work, and nothing might complete it again.
func (w *Works) Received(ctx context.Context, job WorkJob, message string) error {
	if job.WorkID == "" {
		return nil
	}
	found, err := w.read(ctx, job.WorkID)
	switch {
	case errors.Is(err, ErrForbidden):
		if job.Again {
			return nil
		}
	case err != nil || found == nil || found.Status != statusWait:
		return err
	}
	gone, err := w.tell(ctx, opWorkReceived, map[string]any{"id": job.WorkID, "message": message})
	if err != nil || gone || !job.Again {
		return err
	}
	// Another delivery may have ended the job after the work was read, and then nothing else ends this one.
	return w.complete(ctx, job.WorkID, (*work).ended)
}

// Announce reports that the job will publish n objects, and has to return before the first of them is published.
//
// On releases that must not count ([Capabilities].Tracked), and for a work that has been completed or deleted, it announces
// nothing, and the objects have to be published without the work's id. A repeated job announces only what it has not announced
// before. If the user may not read works, a repeated job announces nothing: a work that expects too little completes early, and
// its objects are imported all the same, but one that expects too much stays open.
func (w *Works) Announce(ctx context.Context, job WorkJob, n int) (WorkState, error) {
	if job.WorkID == "" {
		return WorkState{}, nil
	}
	has, err := w.client.Capabilities(ctx)
	if err != nil || !has.Tracked {
		return WorkState{}, err
	}
	found, err := w.read(ctx, job.WorkID)
	switch {
	case errors.Is(err, ErrForbidden) && job.Again:
		w.client.log.WarnContext(ctx, "not announcing the objects of a repeated job, the connector's user may not read works",
			slog.String("work", job.WorkID), slog.String("entity", job.EntityID), slog.Any("error", err))
		return WorkState{Tracked: true}, nil
	case errors.Is(err, ErrForbidden):
		found = &work{}
	case err != nil || found == nil:
		return WorkState{}, err
	case found.Status == statusComplete:
		return WorkState{involved: true}, nil
	}
	p := found.plan(job, n, !has.AtLeast)
	if p.expect > 0 || p.announce > 0 {
		gone, err := w.tell(ctx, opWorkAnnounce, map[string]any{
			"id": job.WorkID, "expectations": p.expect, "message": announcement(p.announce, job.EntityID),
		})
		if err != nil || gone {
			return WorkState{}, err
		}
	}
	return p.state, nil
}

// Processed ends the job: everything is published. The platform shows the work as complete when it has imported what its jobs
// have announced. state is the result of Announce.
func (w *Works) Processed(ctx context.Context, job WorkJob, message string, state WorkState) error {
	if job.WorkID == "" {
		return nil
	}
	has, err := w.client.Capabilities(ctx)
	if err != nil {
		return err
	}
	look := job.Again || state.involved
	if look {
		switch found, err := w.read(ctx, job.WorkID); {
		case errors.Is(err, ErrForbidden):
		case err != nil || found == nil:
			return err
		default:
			own := found.of(job.EntityID)
			if own.succeeded && own.open() == 0 {
				return w.complete(ctx, job.WorkID, (*work).settled)
			}
			state.open = min(state.open, own.open())
		}
	}
	if err := w.report(ctx, job.WorkID, state.surplus); err != nil {
		return err
	}
	if err := w.end(ctx, job, message, state.open, false); err != nil {
		return err
	}
	if look || has.CloseByReport && state.open == 0 {
		return w.complete(ctx, job.WorkID, (*work).settled)
	}
	return nil
}

// Nothing ends the job well, without anything to import.
func (w *Works) Nothing(ctx context.Context, job WorkJob, message string) error {
	return w.endEmpty(ctx, job, message, false)
}

// Failed ends the job in error. What the job announced and what is not imported by then is reported as done, because it may
// never have been published. The expectations of the other jobs of the work stay.
func (w *Works) Failed(ctx context.Context, job WorkJob, message string) error {
	return w.endEmpty(ctx, job, message, true)
}

func (w *Works) endEmpty(ctx context.Context, job WorkJob, message string, inError bool) error {
	if job.WorkID == "" {
		return nil
	}
	found, err := w.read(ctx, job.WorkID)
	switch {
	case errors.Is(err, ErrForbidden):
		return w.end(ctx, job, message, 0, inError)
	case err != nil || found == nil:
		return err
	}
	has, err := w.client.Capabilities(ctx)
	if err != nil {
		return err
	}
	own := found.of(job.EntityID)
	if !own.endedWith(message) {
		open := own.open()
		if err := w.report(ctx, job.WorkID, min(open, found.outstanding())); err != nil {
			return err
		}
		if err := w.end(ctx, job, message, open, inError); err != nil {
			return err
		}
	}
	if job.Again || found.involved() || has.CloseByReport {
		return w.complete(ctx, job.WorkID, (*work).settled)
	}
	return nil
}

// end sends the message of the job's end, which says how many of its announced objects need not be waited for any more.
func (w *Works) end(ctx context.Context, job WorkJob, message string, announced int, inError bool) error {
	_, err := w.tell(ctx, opWorkProcessed, map[string]any{
		"id": job.WorkID, "message": ending(message, job.EntityID, announced), "inError": inError,
	})
	return err
}

// allEnded is the message of a toProcessed that only completes a work.
const allEnded = "All jobs of this work have ended."

// complete completes a work that is still open although all that was announced is imported, if it is due: because the release
// requires a report (CloseByReport), or because a late toReceived reopened the work. Each step can be repeated: none makes the
// work look like one whose import goes on.
func (w *Works) complete(ctx context.Context, workID string, due func(*work) bool) error {
	has, err := w.client.Capabilities(ctx)
	if err != nil || has.CloseByReport && !has.Tracked && w.whole { // the clean-up completes it, see NewWholeWorks
		return err
	}
	found, err := w.read(ctx, workID)
	switch {
	case errors.Is(err, ErrForbidden):
		return nil
	case err != nil || found == nil || !due(found):
		return err
	case has.AtLeast && (has.Tracked || has.CloseByReport):
		return w.report(ctx, workID, 1)
	case has.Tracked:
		return w.equalize(ctx, workID, found)
	}
	_, err = w.tell(ctx, opWorkProcessed, map[string]any{"id": workID, "message": allEnded, "inError": false})
	return err
}

// equalizeSteps bounds the steps of one job that equalizes the counters of a work, while other jobs may do the same.
const equalizeSteps = 10

// equalize completes a work of a release that requires as many imported objects as expected ones, and at least one. It adds what
// is missing and reads the work after each step: other jobs may equalize at the same time and add too much, but a report that
// makes the numbers equal completes the work.
func (w *Works) equalize(ctx context.Context, workID string, found *work) error {
	for range equalizeSteps {
		var err error
		switch excess := found.Tracking.Processed - found.Tracking.Expected; {
		case found.Tracking.Processed == 0:
			err = w.report(ctx, workID, 1)
		case excess < 0:
			err = w.report(ctx, workID, -excess)
		case excess > 0:
			_, err = w.tell(ctx, opWorkExpect, map[string]any{"id": workID, "expectations": excess})
		default:
			_, err = w.tell(ctx, opWorkProcessed, map[string]any{"id": workID, "message": allEnded, "inError": false})
		}
		if err != nil {
			return err
		}
		if found, err = w.read(ctx, workID); err != nil || found == nil || found.Status == statusComplete {
			return err
		}
	}
	return nil
}

// report reports objects as done that nothing else reports.
func (w *Works) report(ctx context.Context, workID string, times int) error {
	for range times {
		if gone, err := w.tell(ctx, opWorkReport, map[string]any{"id": workID}); err != nil || gone {
			return err
		}
	}
	return nil
}

// read returns the work, or nil if the platform no longer has it.
func (w *Works) read(ctx context.Context, workID string) (*work, error) {
	var answer struct {
		Work *work `json:"work"`
	}
	err := w.client.do(ctx, opWork, map[string]any{"id": workID}, "", &answer)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the work: %w", err)
	}
	return answer.Work, nil
}

// tell sends one mutation of a work. The platform has no error code for a deleted work: after an error the work is read, and
// if it does not exist any more, there is no error.
func (w *Works) tell(ctx context.Context, op operation, variables map[string]any) (gone bool, err error) {
	err = w.client.do(ctx, op, variables, "", &struct{}{})
	refusal, ok := errors.AsType[*Error](err)
	if !ok || refusal.Status != http.StatusOK || errors.Is(err, ErrAuth) || errors.Is(err, ErrForbidden) {
		return false, err
	}
	if errors.Is(err, ErrWorkNotAlive) || errors.Is(err, ErrNotFound) {
		return true, nil
	}
	workID, _ := variables["id"].(string)
	if found, readErr := w.read(ctx, workID); readErr == nil && found == nil {
		return true, nil
	}
	return false, err
}
