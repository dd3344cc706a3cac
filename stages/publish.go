package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/stix"
)

// Intake is the way into OpenCTI: each message holds one STIX object in OpenCTI's envelope. Push returns nil only when
// all of them are confirmed and routed.
type Intake interface {
	Push(ctx context.Context, messages [][]byte) error
}

// Announcer announces how many objects a job will publish, and ends the job on its work. The state that Announce returns says
// whether messages carry the work's id; Processed requires it.
type Announcer interface {
	Announce(ctx context.Context, job opencti.WorkJob, objects int) (opencti.WorkState, error)
	Processed(ctx context.Context, job opencti.WorkJob, message string, state opencti.WorkState) error
}

// Labels makes sure that a label exists in OpenCTI, in our colour, and takes one off an observable or an indicator, inside a
// draft unless draftID is empty.
type Labels interface {
	EnsureLabel(ctx context.Context, value, color string) error
	RemoveLabel(ctx context.Context, id, labelID, draftID string) error
}

// Indicators changes an indicator that exists, inside a draft unless draftID is empty.
type Indicators interface {
	PatchIndicator(ctx context.Context, id string, patch opencti.IndicatorPatch, draftID string) error
}

// Countries finds OpenCTI's own country for a code of two letters (ISO 3166) or an English name. ok is false where it has none.
type Countries interface {
	Country(ctx context.Context, code, name string) (country opencti.Country, ok bool, err error)
}

// Envelope wraps one split bundle as OpenCTI's workers expect it.
type Envelope func(job opencti.PushOptions, bundle []byte) ([]byte, error)

// Publishing is what [Publish] needs.
type Publishing struct {
	Entities   Entities
	Works      Announcer
	Playbooks  Playbooks
	Labels     Labels
	Indicators Indicators
	Countries  Countries
	Intake     Intake
	Envelope   Envelope
	// Enrichment is that of the bundle stage: where the state changed meanwhile, the bundle is made again.
	Enrichment Enrichment
	Now        func() time.Time
	// OwnWrites, if not nil, is told of the observables that are changed.
	OwnWrites *OwnWrites
}

// Publish hands the bundle to OpenCTI. The objects of a work go to the push queue in the order that loses nothing: announce,
// publish with confirms, end the work. The edits that an import cannot make come before. A playbook's bundle is the answer to its
// step, and nothing else is changed.
//
// The state is read again where it is older than ten seconds or the job was delivered before, and the bundle made again of it.
// A job whose entity was deleted meanwhile, or for which OpenCTI has a newer answer, writes nothing.
//
// It may run twice for a job; ids are deterministic, and a repeated job looks before it announces.
func Publish(p Publishing) Stage {
	publisher := publisher{p}
	return Stage{
		Name:    "publish",
		Needs:   []Section{SectionRequest, SectionEntity, SectionRisk, SectionVerdict, SectionBundle},
		Uses:    []Section{SectionState, SectionChanges},
		Timeout: time.Minute,
		Run: func(ctx context.Context, job Job) (Job, error) {
			job, err := publisher.current(ctx, job)
			if err != nil {
				return job, err
			}
			if job.Playbook() != nil {
				return publisher.answer(ctx, job)
			}
			return job, publisher.push(ctx, job)
		},
	}
}

type publisher struct{ Publishing }

// current returns the job as it is to be published: with its bundle made of what OpenCTI has now. On an error it returns the job
// as it came.
func (p publisher) current(ctx context.Context, job Job) (Job, error) {
	fresh, again := job, false
	if stale(job, p.Now()) {
		var err error
		if fresh, err = (reader{p.Entities, p.Now}).refresh(ctx, job); err != nil {
			return job, err
		}
		again = true
	}
	// A row in the future is no answer of IPQS: somebody edited the note.
	if row, ok := fresh.State.latest(); ok && row.To.After(second(job.Risk.At)) && !row.To.After(p.Now()) {
		return job, fault(Skip, ReasonOutdated, "OpenCTI has a newer answer of IPQS, of %s", instant(row.To))
	}
	country, ok, err := p.country(ctx, job)
	if err != nil {
		return job, err
	}
	if ok {
		state := *fresh.State
		state.Country, again = &country, true
		fresh.State = &state
	}
	if !again {
		return job, nil
	}
	if fresh, err = compose(p.Enrichment, fresh); err != nil {
		return job, err
	}
	return fresh, nil
}

// country returns OpenCTI's own country of an address; ok is false where there is none to be linked.
func (p publisher) country(ctx context.Context, job Job) (country opencti.Country, ok bool, err error) {
	ip := job.Risk.Report.IP
	if ip == nil || !p.Enrichment.Countries {
		return country, false, nil
	}
	name, code, ok := countryOf(ip)
	if !ok {
		return country, false, nil
	}
	if country, ok, err = p.Countries.Country(ctx, code, name); err != nil {
		return country, false, fmt.Errorf("reading the countries: %w", err)
	}
	return country, ok, nil
}

// push gives a work its objects, and ends it. The entity comes last: its import causes an automatic job where
// CONNECTOR_AUTO_UPDATE is on, which finds the note then.
func (p publisher) push(ctx context.Context, job Job) error {
	split, err := stix.Split(job.Bundle, stix.SplitOptions{Last: job.Entity.StandardID})
	if err != nil {
		return fault(Permanent, ReasonMalformed, "splitting the bundle: %w", err)
	}
	if err := p.ensureLabels(ctx, job); err != nil {
		return err
	}
	work, err := p.Works.Announce(ctx, job.work(), len(split.Parts))
	if err != nil {
		return fmt.Errorf("announcing %d objects: %w", len(split.Parts), err)
	}
	if p.OwnWrites != nil && changesEntity(job) {
		p.OwnWrites.add(job, p.Now())
	}
	if err := p.write(ctx, job, split.Parts, work.Tracked); err != nil {
		p.OwnWrites.remove(job)
		return err
	}
	if err := p.Works.Processed(ctx, job.work(), published(job.Verdict, job.Risk, len(split.Parts)), work); err != nil {
		return fmt.Errorf("telling that the work is processed: %w", err)
	}
	return nil
}

// write makes the edits, and hands over the parts of the bundle.
func (p publisher) write(ctx context.Context, job Job, parts [][]byte, tracked bool) error {
	if err := p.patch(ctx, job); err != nil {
		return err
	}
	messages, err := wrap(job, parts, tracked, p.Envelope)
	if err != nil {
		return err
	}
	if err := p.Intake.Push(ctx, messages); err != nil {
		return brokerFault(err)
	}
	return nil
}

// answer gives a playbook's step its enriched bundle.
func (p publisher) answer(ctx context.Context, job Job) (Job, error) {
	if err := p.ensureLabels(ctx, job); err != nil {
		return job, err
	}
	err := answerOnce(ctx, p.Playbooks, job, job.Bundle)
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
		if err := p.Labels.EnsureLabel(ctx, label.Value, label.Color); err != nil {
			return fmt.Errorf("making the label %s: %w", label.Value, err)
		}
	}
	return nil
}

// changesEntity reports whether publishing changes the entity itself.
func changesEntity(job Job) bool {
	id := job.Entity.StandardID
	if job.Changes != nil && slices.ContainsFunc(job.Changes.Labels, func(l LabelOn) bool { return l.Object == id }) {
		return true
	}
	_, err := stix.Find(job.Bundle, id)
	return err == nil
}

// patch makes the changes that an import cannot.
func (p publisher) patch(ctx context.Context, job Job) error {
	if job.Changes == nil {
		return nil
	}
	for _, l := range job.Changes.Labels {
		if err := p.Labels.RemoveLabel(ctx, l.Object, l.Label.ID, job.Request.DraftID); err != nil {
			return fmt.Errorf("taking off the label %s: %w", l.Label.Value, err)
		}
	}
	if job.Changes.Indicator == "" {
		return nil
	}
	if err := p.Indicators.PatchIndicator(ctx, job.Changes.Indicator, job.Changes.Patch, job.Request.DraftID); err != nil {
		return fmt.Errorf("changing the indicator: %w", err)
	}
	return nil
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
