package stages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/stix"
)

// Intake is the way into OpenCTI: each message holds one STIX object in OpenCTI's envelope. Push returns nil only when
// all of them are confirmed and routed.
type Intake interface {
	Push(ctx context.Context, messages [][]byte) error
}

// Announcer announces how many objects a work will bring, and ends it. Announce is told whether the job may have been
// here before, and answers whether messages carry the work's id and whether the work has ended already. Processed is told
// so too, and ends no work twice that another copy of the job has ended meanwhile.
type Announcer interface {
	Announce(ctx context.Context, workID string, objects int, again bool) (opencti.WorkState, error)
	Processed(ctx context.Context, workID, message string, again bool) error
}

// Labels makes sure that a label exists in OpenCTI, in our colour, and takes one off an observable or an indicator, inside a
// draft unless draftID is empty. IndicatorLabels are those of the indicator with that STIX id, if there is one.
type Labels interface {
	EnsureLabel(ctx context.Context, value, color string) error
	RemoveLabel(ctx context.Context, id, labelID, draftID string) error
	IndicatorLabels(ctx context.Context, id, draftID string) ([]opencti.Label, error)
}

// Envelope wraps one split bundle as OpenCTI's workers expect it.
type Envelope func(job opencti.PushOptions, bundle []byte) ([]byte, error)

// Publish hands the bundle to OpenCTI. A work's goes to the queue of objects in the one order that loses nothing: announce,
// publish with confirms, end the work. What an earlier verdict was called is taken off first, for an import only ever adds
// labels. A playbook's is the answer to its step, and nothing else.
//
// It may run twice for a job; ids are deterministic, and a repeated job looks before it announces.
func Publish(works Announcer, playbooks Playbooks, labels Labels, intake Intake, envelope Envelope) Stage {
	p := publisher{works, playbooks, labels, intake, envelope}
	return Stage{
		Name:    "publish",
		Needs:   []Section{SectionRequest, SectionEntity, SectionRisk, SectionVerdict, SectionBundle},
		Timeout: time.Minute,
		Run: func(ctx context.Context, job Job) (Job, error) {
			if job.Playbook() != nil {
				return p.answer(ctx, job)
			}
			return job, p.push(ctx, job)
		},
	}
}

type publisher struct {
	works     Announcer
	playbooks Playbooks
	labels    Labels
	intake    Intake
	envelope  Envelope
}

// push gives a work its objects, and ends it.
func (p publisher) push(ctx context.Context, job Job) error {
	split, err := stix.Split(job.Bundle, stix.SplitOptions{})
	if err != nil {
		return fault(Permanent, ReasonMalformed, "splitting the bundle: %w", err)
	}
	if err := p.ensureLabels(ctx, job); err != nil {
		return err
	}
	work, err := p.works.Announce(ctx, job.Request.WorkID, len(split.Parts), job.Repeated)
	if err != nil {
		return fmt.Errorf("announcing %d objects: %w", len(split.Parts), err)
	}
	if work.Ended {
		return nil
	}
	if err := p.removeOutdated(ctx, job); err != nil {
		return err
	}
	messages, err := wrap(job, split.Parts, work.Tracked, p.envelope)
	if err != nil {
		return err
	}
	if err := p.intake.Push(ctx, messages); err != nil {
		return brokerFault(err)
	}
	if err := p.works.Processed(ctx, job.Request.WorkID, published(job.Verdict, job.Risk, len(messages)), job.Repeated); err != nil {
		return fmt.Errorf("telling that the work is processed: %w", err)
	}
	return nil
}

// answer gives a playbook's step its enriched bundle.
func (p publisher) answer(ctx context.Context, job Job) (Job, error) {
	if err := p.ensureLabels(ctx, job); err != nil {
		return job, err
	}
	err := answerOnce(ctx, p.playbooks, job, job.Bundle)
	switch {
	case errors.Is(err, opencti.ErrNotFound):
		job.Answered = true
		return job, fault(Skip, ReasonAnswered, "answering the playbook: nobody waits for it: %w", err)
	case errors.Is(err, opencti.ErrUnsure):
		job.Answered = true
		return job, fault(Skip, ReasonAnswered, "answering the playbook: its answer may have been heard and is not given twice: %w", err)
	case err != nil:
		return job, fmt.Errorf("answering the playbook: %w", err)
	}
	job.Answered = true
	return job, nil
}

func (p publisher) ensureLabels(ctx context.Context, job Job) error {
	for _, label := range job.Verdict.Labels {
		if err := p.labels.EnsureLabel(ctx, label.Value, label.Color); err != nil {
			return fmt.Errorf("making the label %s: %w", label.Value, err)
		}
	}
	return nil
}

// removeOutdated takes off the observable, and then off its indicator, what this verdict outdates. It asks nothing where the
// observable had nothing of ours, as most have.
func (p publisher) removeOutdated(ctx context.Context, job Job) error {
	entity, draftID := job.Entity, job.Request.DraftID
	if removed, err := p.remove(ctx, job, entity.StandardID, entity.Labels); err != nil || !removed {
		return err
	}
	pattern, err := stix.Pattern(entity.Type, identifying(entity))
	if err != nil {
		return nil //nolint:nilerr // what has no pattern has no indicator
	}
	indicator := stix.IndicatorID(pattern)
	labels, err := p.labels.IndicatorLabels(ctx, indicator, draftID)
	if err != nil {
		return fmt.Errorf("reading the labels of the indicator: %w", err)
	}
	_, err = p.remove(ctx, job, indicator, labels)
	return err
}

func (p publisher) remove(ctx context.Context, job Job, id string, labels []opencti.Label) (removed bool, err error) {
	for _, label := range labels {
		if !job.Verdict.outdates(label.Value) {
			continue
		}
		if err := p.labels.RemoveLabel(ctx, id, label.ID, job.Request.DraftID); err != nil {
			return removed, fmt.Errorf("taking off the label %s: %w", label.Value, err)
		}
		removed = true
	}
	return removed, nil
}

func wrap(job Job, parts [][]byte, tracked bool, envelope Envelope) ([][]byte, error) {
	messages := make([][]byte, len(parts))
	for i, part := range parts {
		options := opencti.PushOptions{
			ApplicantID: job.Request.ApplicantID,
			DraftID:     job.Request.DraftID,
			Sequence:    i + 1,
		}
		if tracked {
			options.WorkID = job.Request.WorkID
		}
		message, err := envelope(options, part)
		if err != nil {
			return nil, fault(Permanent, ReasonMalformed, "wrapping object %d of %d: %w", i+1, len(parts), err)
		}
		messages[i] = message
	}
	return messages, nil
}

// brokerFault keeps what is classified already (a shutdown, OpenCTI's own refusal) and calls the rest the broker's.
func brokerFault(err error) error {
	if f := classify(err); f != nil {
		return f
	}
	return fault(Transient, ReasonBroker, "publishing to OpenCTI's queue: %w", err)
}
