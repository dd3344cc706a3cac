package stages

import (
	"encoding/json"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// Job is one enrichment on its way through the stages. It is passed by value; a section, once filled, is never changed.
type Job struct {
	// ID identifies the job, with the same value in every delivery: [opencti.Request.Key], or [opencti.BodyKey] of a message
	// that cannot be read. It is not the work's id: several jobs can share a work.
	ID string `json:"id"`
	// Repeated says that this job may have been through a later stage before: it, or what it was made from, was delivered
	// more than once. Publish then looks before it announces anything twice.
	Repeated bool `json:"repeated,omitempty"`
	// Replayed says that the job is back from a poison queue: somebody wants it tried again.
	Replayed bool `json:"replayed,omitempty"`
	// OpenedAt is when a playbook's job was first taken up: from then on the playbook waits. It is zero for other jobs.
	OpenedAt time.Time `json:"opened_at,omitzero"`
	// Answered says that the playbook's step has its answer, or that nobody waits for it any more. Whatever becomes of the
	// job, the step is not answered again.
	Answered bool `json:"answered,omitempty"`

	// Hint saves resolve a query. It is not carried to another hop.
	Hint Hint `json:"-"`

	Request *opencti.Request `json:"request,omitempty"` // what OpenCTI asked
	Entity  *opencti.Entity  `json:"entity,omitempty"`  // what it asked about
	State   *State           `json:"state,omitempty"`   // what OpenCTI has of what the worker writes about it
	Scan    *Scan            `json:"scan,omitempty"`    // what IPQS has begun for it and not finished
	Risk    *Risk            `json:"risk,omitempty"`    // what IPQS said
	Verdict *Verdict         `json:"verdict,omitempty"` // what we conclude
	Changes *Changes         `json:"changes,omitempty"` // what publishing changes beside the bundle
	Bundle  json.RawMessage  `json:"bundle,omitempty"`  // the STIX bundle to publish, encoded
}

// Risk is the answer of IPQS, and the job's clock.
type Risk struct {
	// At is when the answer came, in UTC with milliseconds. Every time stamp of the bundle is this one.
	At     time.Time    `json:"at"`
	Report *ipqs.Report `json:"report"`
	// Cached reports whether the answer came from the cache. UsedAt is when the job received it, in UTC with milliseconds:
	// UsedAt - At is the age of a cached answer. UsedAt is zero in jobs of earlier releases.
	Cached bool      `json:"cached,omitempty"`
	UsedAt time.Time `json:"used_at,omitzero"`
	// Sent is the value that IPQS was asked about where it is not the entity's full value, such as a URL without its
	// credentials; it is "" for accounts. It holds no credentials.
	Sent string `json:"sent,omitempty"`
}

// Verdict is what we conclude from a [Risk].
type Verdict struct {
	// Score is 0 to 100, or nil when IPQS gave none: then there is no level either.
	Score *int `json:"score,omitempty"`
	// Model is the one that concluded; "" is [Bands].
	Model Model `json:"model,omitempty"`
	// Level is what the model calls the score, and Rule the line of its table that says so, in words.
	Level Level  `json:"level,omitempty"`
	Rule  string `json:"rule,omitempty"`
	// Labels are put on the indicator and the observable.
	Labels []Label `json:"labels,omitempty"`
	// Factors say why, in words an analyst reads, the weightiest first.
	Factors []string `json:"factors,omitempty"`
}

// Label is a label of OpenCTI with its colour ("#RRGGBB").
type Label struct {
	Value string `json:"value"`
	Color string `json:"color"`
}

// Section names a part of a [Job].
type Section string

// The sections of a job, in the order they are filled.
const (
	SectionRequest Section = "request"
	SectionEntity  Section = "entity"
	SectionState   Section = "state"
	SectionRisk    Section = "risk"
	SectionVerdict Section = "verdict"
	SectionChanges Section = "changes"
	SectionBundle  Section = "bundle"
)

// Has reports whether the section is filled.
func (j Job) Has(s Section) bool {
	switch s {
	case SectionRequest:
		return j.Request != nil
	case SectionEntity:
		return j.Entity != nil
	case SectionState:
		return j.State != nil
	case SectionRisk:
		return j.Risk != nil && j.Risk.Report != nil
	case SectionVerdict:
		return j.Verdict != nil
	case SectionChanges:
		return j.Changes != nil
	case SectionBundle:
		return len(j.Bundle) > 0
	default:
		return false
	}
}

// Same reports whether the section is the one of another job that this one was made from, not one like it.
func (j Job) Same(other Job, s Section) bool {
	switch s {
	case SectionRequest:
		return j.Request == other.Request
	case SectionEntity:
		return j.Entity == other.Entity
	case SectionState:
		return j.State == other.State
	case SectionRisk:
		return j.Risk == other.Risk
	case SectionVerdict:
		return j.Verdict == other.Verdict
	case SectionChanges:
		return j.Changes == other.Changes
	case SectionBundle:
		return len(j.Bundle) == len(other.Bundle) && (len(j.Bundle) == 0 || &j.Bundle[0] == &other.Bundle[0])
	default:
		return false
	}
}

// Without returns the job without the given section: what no later stage needs is not carried to it.
func (j Job) Without(s Section) Job {
	switch s {
	case SectionRequest:
		j.Request = nil
	case SectionEntity:
		j.Entity = nil
	case SectionState:
		j.State = nil
	case SectionRisk:
		j.Risk = nil
	case SectionVerdict:
		j.Verdict = nil
	case SectionChanges:
		j.Changes = nil
	case SectionBundle:
		j.Bundle = nil
	}
	return j
}

// Playbook is the step of a playbook that waits for this job, or nil.
func (j Job) Playbook() *opencti.Playbook {
	if j.Request == nil {
		return nil
	}
	return j.Request.Playbook
}

// draft is the draft that the job is in, "" for none.
func (j Job) draft() string {
	if j.Request == nil {
		return ""
	}
	return j.Request.DraftID
}

// Urgent reports whether somebody waits for the job: an analyst who asked for it, or a playbook. OpenCTI says so from 6.8.9
// on, and before 6.0 by naming the analyst; in between nobody can tell.
func (j Job) Urgent() bool {
	r := j.Request
	return r != nil && (r.Mode == modeManual || r.Playbook != nil || r.Mode == "" && r.ApplicantID != "")
}

// automatic reports whether OpenCTI sent the job by itself. Releases before 6.8.9 do not say; theirs may be anybody's.
func (j Job) automatic() bool {
	return j.Request != nil && j.Request.Mode == modeAuto && j.Request.Playbook == nil
}

// What [opencti.Request].Mode says.
const (
	modeManual = "manual"
	modeAuto   = "auto"
)

// work is the job as its work knows it.
func (j Job) work() opencti.WorkJob {
	return opencti.WorkJob{WorkID: j.WorkID(), EntityID: j.entityID(), Again: j.Repeated}
}

// entityID is the id that OpenCTI named the entity by, or "" where it named none.
func (j Job) entityID() string {
	if j.Request == nil {
		return ""
	}
	return j.Request.EntityID
}

// WorkID is OpenCTI's record of the request, or "" where there is none (playbooks, an undecodable message).
func (j Job) WorkID() string {
	if j.Request == nil {
		return ""
	}
	return j.Request.WorkID
}
