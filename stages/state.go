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

// Entities reads what OpenCTI has of an entity and of what the worker wrote about it. It returns an error that is
// [opencti.ErrNotFound] when OpenCTI does not show the entity.
type Entities interface {
	State(ctx context.Context, q opencti.StateQuery) (opencti.State, error)
}

// State is what OpenCTI has of the objects that the worker writes about an entity: only what is missing or has changed is
// sent. The zero State is that of an empty platform.
type State struct {
	// ReadAt is when it was read, by the worker's clock.
	ReadAt time.Time `json:"at"`
	// IndicatorID and NoteID are the STIX ids that were asked for. IndicatorID is "" for an entity without a pattern.
	IndicatorID string `json:"indicator_id,omitempty"`
	NoteID      string `json:"note_id,omitempty"`
	// Author is the identity that the worker writes as, Indicator and Note are about the entity; nil where they are missing.
	Author    *opencti.Reference `json:"author,omitempty"`
	Indicator *KnownIndicator    `json:"indicator,omitempty"`
	Note      *KnownNote         `json:"note,omitempty"`
	// Links are the relationships that start at the entity.
	Links []opencti.Link `json:"links,omitempty"`
	// Country is OpenCTI's own country for the code in the answer. Only publish looks it up; nil where it did not, or where
	// there is none.
	Country *opencti.Country `json:"country,omitempty"`
}

// KnownIndicator is an indicator that OpenCTI has for the entity's value.
type KnownIndicator struct {
	// ID is the STIX id.
	ID string `json:"id"`
	// Own says that its author is the worker's: others are linked and never changed.
	Own bool `json:"own,omitempty"`
	// Linked says that it is based on the entity already.
	Linked bool `json:"linked,omitempty"`
	// Score falls with decay. Base is the score that decay began with, or Score where there is no decay.
	Score *int `json:"score,omitempty"`
	Base  *int `json:"base,omitempty"`
	// Confidence is 0 to 100, nil where OpenCTI does not say.
	Confidence *int `json:"confidence,omitempty"`
	Revoked    bool `json:"revoked,omitempty"`
	// Expired says that OpenCTI's decay manager revoked it. False means that a person or a source did, or that it cannot be
	// told.
	Expired bool `json:"expired,omitempty"`
	// Withdrawn says that its description names the worker's own revocation as the last one.
	Withdrawn bool            `json:"withdrawn,omitempty"`
	Types     []string        `json:"types,omitempty"`
	Labels    []opencti.Label `json:"labels,omitempty"`
}

// KnownNote is the worker's note about the entity.
type KnownNote struct {
	// Created is when it was first written, RFC 3339, as OpenCTI has it; Modified is when OpenCTI last took it in.
	Created  string    `json:"created,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	// Confidence is 0 to 100, nil where OpenCTI does not say.
	Confidence *int `json:"confidence,omitempty"`
	// History lists the last verdicts, the newest first. Withdrawn says that the worker itself revoked its indicator.
	History   []VerdictRow `json:"history,omitempty"`
	Withdrawn bool         `json:"withdrawn,omitempty"`
}

// latest returns the newest row of the note's history, and false where there is none.
func (s *State) latest() (VerdictRow, bool) {
	if s == nil || s.Note == nil || len(s.Note.History) == 0 {
		return VerdictRow{}, false
	}
	return s.Note.History[0], true
}

// authorID is the STIX id of the worker's own identity.
var authorID = stix.IdentityID(authorName, authorClass)

// reader reads the entity of a job, and its state.
type reader struct {
	entities Entities
	now      func() time.Time
}

// read fills the entity and the state of a job, in one query where the hint names the note and the indicator, else in two:
// check, if it is not nil, can end the job before the second. A playbook's entity is as its bundle has it, which may be ahead of
// what OpenCTI has.
func (r reader) read(ctx context.Context, job Job, hint Hint, check func(opencti.Entity) error) (Job, error) {
	q := opencti.StateQuery{
		EntityID: job.Request.EntityID, IndicatorID: hint.IndicatorID, NoteID: hint.NoteID, AuthorID: authorID,
		DraftID: job.Request.DraftID,
	}
	for {
		readAt := r.now()
		found, err := r.entities.State(ctx, q)
		if err != nil {
			return job, fmt.Errorf("reading the entity %s: %w", q.EntityID, err)
		}
		want := hintOf(&found.Entity, job.Risk)
		state := newState(found, q, readAt)
		request := *job.Request
		request.EntityType = found.Entity.Type
		job.Request = &request
		if playbook := job.Playbook(); playbook != nil {
			given, err := stix.Find(playbook.Bundle, playbook.DataInstanceID)
			if err != nil {
				return job, fault(Permanent, ReasonMalformed, "finding what the playbook asks about: %w", err)
			}
			adopt(&found.Entity, playbook.DataInstanceID, given)
		}
		if check != nil {
			if err := check(found.Entity); err != nil {
				return job, err
			}
		}
		if want == (Hint{IndicatorID: q.IndicatorID, NoteID: q.NoteID}) {
			job.Entity, job.State = &found.Entity, &state
			return job, nil
		}
		q.IndicatorID, q.NoteID = want.IndicatorID, want.NoteID
	}
}

// adopt makes the entity what the playbook has of it, which may be ahead of what OpenCTI has: it keeps the id that it goes
// by in the bundle, and is shared as it is there. A marking counts wherever it is.
func adopt(entity *opencti.Entity, id string, given stix.Sketch) {
	entity.StandardID = id
	entity.Organizations = given.GrantedRefs
	markings := slices.Clone(entity.Markings)
	for _, ref := range given.ObjectMarkingRefs {
		if slices.ContainsFunc(markings, func(m opencti.Marking) bool { return m.ID == ref }) {
			continue
		}
		marking := opencti.Marking{ID: ref}
		if name, ok := stix.TLPName(ref); ok {
			marking.Type, marking.Definition = "TLP", name
		}
		markings = append(markings, marking)
	}
	entity.Markings = markings
}

// Hint names what the worker may have written about an entity. Both ids are "" where that is not known.
type Hint struct {
	// IndicatorID is the STIX id of the indicator whose pattern matches the entity, NoteID that of the worker's note.
	IndicatorID, NoteID string
}

// newHint returns the ids for the entity with that standard id, of OpenCTI's type ("IPv4-Addr"). value is what a pattern of it
// compares, see [stix.Pattern]; without a pattern there is no IndicatorID.
func newHint(standardID, entityType, value string) Hint {
	hint := Hint{NoteID: stix.NoteID(standardID)}
	if pattern, err := stix.Pattern(entityType, value); err == nil {
		hint.IndicatorID = stix.IndicatorID(pattern)
	}
	return hint
}

// messageHint returns the ids for the entity that a job message describes, none where it does not. The value itself is not kept:
// it can be personal data.
func messageHint(message []byte, entityID string) Hint {
	object := opencti.StixEntity(message)
	if object == nil {
		return Hint{}
	}
	sketch, err := stix.ReadSketch(object)
	kind, known := stix.TypeBySTIX(sketch.Type)
	if err != nil || !known {
		return Hint{}
	}
	return newHint(entityID, kind.Name, sketch.Value)
}

// hintOf returns the ids for an entity. A file's hash counts as it was computed here, once it was.
func hintOf(e *opencti.Entity, risk *Risk) Hint {
	value := identifying(e)
	if risk != nil && risk.Report != nil && risk.Report.File != nil && risk.Report.File.OwnSHA256 != "" {
		value = string(risk.Report.File.OwnSHA256)
	}
	return newHint(e.StandardID, e.Type, value)
}

func newState(found opencti.State, q opencti.StateQuery, readAt time.Time) State {
	state := State{ReadAt: readAt, IndicatorID: q.IndicatorID, NoteID: q.NoteID, Author: found.Author, Links: found.Links}
	if i := found.Indicator; i != nil {
		state.Indicator = &KnownIndicator{
			ID: i.StandardID, Own: own(i.Author, found.Author), Linked: i.Linked,
			Score: i.Score, Base: i.BaseScore, Confidence: i.Confidence,
			Revoked: i.Revoked, Expired: expired(i), Withdrawn: withdrawn(i), Types: i.Types, Labels: i.Labels,
		}
		if state.Indicator.Base == nil {
			state.Indicator.Base = i.Score
		}
	}
	if n := found.Note; n != nil {
		record := parseNote(n.Content, readAt)
		state.Note = &KnownNote{
			Created: n.Created, Modified: n.Modified, Confidence: n.Confidence,
			History: record.History, Withdrawn: record.Withdrawn,
		}
		if i := found.Indicator; i != nil && i.ValidUntil.After(n.Modified) {
			state.Note.Withdrawn = false // it was valid again since, and revoked by somebody else
		}
	}
	return state
}

// own reports whether an author is the worker's identity. It compares internal ids first: OpenCTI changes the STIX id of an
// identity that is renamed or merged.
func own(author, ours *opencti.Reference) bool {
	if author == nil {
		return false
	}
	return ours != nil && author.ID != "" && author.ID == ours.ID || author.StandardID == authorID
}

// expired reports whether OpenCTI's decay manager revoked the indicator. It does so by its beat, after the time that the
// indicator was valid until, and adds an entry to the decay history then. When a person revokes it, both have the same time.
func expired(i *opencti.Indicator) bool {
	if !i.Revoked || i.ValidUntil.IsZero() || len(i.Decay) == 0 {
		return false
	}
	return i.Decay[len(i.Decay)-1].At.After(i.ValidUntil.Add(time.Second))
}

// revocationDelay is how much later than the withdrawal in a description, by OpenCTI's clock, the worker's revocation can be.
const revocationDelay = 5 * time.Minute

// withdrawn reports whether the last revocation of an indicator is the one that its description names. The description is
// changed by the same edit that revokes, while the note has to wait for its import. OpenCTI sets the end of the validity
// to the time of a revocation: a later one is another's.
func withdrawn(i *opencti.Indicator) bool {
	at, ok := withdrawnAt(i.Description)
	return ok && i.Revoked && !i.ValidUntil.After(at.Add(revocationDelay))
}

// stateAge is how old the state may be when a job is published. A job can wait for hours before that.
const stateAge = 10 * time.Second

// stale reports whether the state has to be read again before the job is published: it is older than [stateAge], the job may
// have been published before, or the indicator is another one than was read, as for a file whose hash was computed.
func stale(job Job, now time.Time) bool {
	return job.State == nil || job.Repeated || job.Replayed || now.Sub(job.State.ReadAt).Abs() > stateAge ||
		hintOf(job.Entity, job.Risk).IndicatorID != job.State.IndicatorID
}

// refresh reads the state again. An entity that was deleted meanwhile ends the job: publishing would create it again.
func (r reader) refresh(ctx context.Context, job Job) (Job, error) {
	hint := Hint{}
	if job.State != nil {
		hint = Hint{IndicatorID: hintOf(job.Entity, job.Risk).IndicatorID, NoteID: job.State.NoteID}
	}
	job, err := r.read(ctx, job, hint, nil)
	if errors.Is(err, opencti.ErrNotFound) {
		return job, deleted()
	}
	return job, err
}

// deleted is the fault of an entity that OpenCTI showed when the job began, and does not show any more.
func deleted() *Fault {
	return fault(Skip, ReasonDeleted, "the entity was deleted, or hidden from the connector's user, during its enrichment")
}
