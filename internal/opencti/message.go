package opencti

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// MaxRequestBytes bounds a job message. It is above what the platform itself accepts in one request (50 MB by default),
// which is what a playbook's bundle has to come back in.
const MaxRequestBytes = 64 << 20

// maxText bounds one text of a job message (an id, a type); the longest that the platform writes has under 120 characters.
const maxText = 4096

// Request is what OpenCTI asked, the job message of listen_<connector id>. Every field may be empty: which of them are
// there depends on the release and on what triggered the job. It travels between hops, so its keys are short. The
// message's stix_entity is not kept (see [StixEntity]): it shows the entity as the user who triggered the job sees it, and we
// read it as ourselves.
type Request struct {
	// WorkID is the platform's record of the request; playbook jobs have none.
	WorkID string `json:"work,omitempty"`
	// ApplicantID, when set, is the user to import as, instead of the connector's own.
	ApplicantID string `json:"applicant,omitempty"`
	// DraftID is the draft to read from and write to.
	DraftID string `json:"draft,omitempty"`
	// Mode is "manual" or "auto", Trigger "create" or "update"; releases before 6.8.9 say neither.
	Mode    string `json:"mode,omitempty"`
	Trigger string `json:"trigger,omitempty"`
	// EventType is "INTERNAL_ENRICHMENT" since 6.0; playbook jobs have none.
	EventType string `json:"event,omitempty"`
	// EntityID names the entity: a STIX id or, in old releases, an internal UUID. It is the one field that a request
	// cannot be without.
	EntityID string `json:"id,omitempty"`
	// EntityType is the platform's name of the type, such as "IPv4-Addr".
	EntityType string `json:"type,omitempty"`
	// Playbook is set when, and only when, a playbook asks.
	Playbook *Playbook `json:"playbook,omitempty"`
}

// maxStixEntity bounds the STIX object that [StixEntity] returns, and the message it looks for it in, in bytes: an artifact can
// carry its content.
const maxStixEntity = 256 << 10

// StixEntity returns the STIX object of the entity in a job message: it is encoded in a string there, from 6.8.9 on. It returns
// nil where there is none, and for one that is longer than 256 KiB.
func StixEntity(message []byte) []byte {
	if len(message) > maxStixEntity {
		return nil
	}
	var m struct {
		Event struct {
			StixEntity string `json:"stix_entity"`
		} `json:"event"`
	}
	if err := json.Unmarshal(message, &m); err != nil || m.Event.StixEntity == "" {
		return nil
	}
	return []byte(m.Event.StixEntity)
}

// Playbook is the step of a playbook that waits for our answer.
type Playbook struct {
	ExecutionID    string `json:"execution,omitempty"`
	EventID        string `json:"event,omitempty"`
	PlaybookID     string `json:"playbook,omitempty"`
	DataInstanceID string `json:"instance,omitempty"`
	StepID         string `json:"step,omitempty"`
	PreviousStepID string `json:"previous,omitempty"`
	// Bundle is the STIX bundle that the step was given, as it came.
	Bundle json.RawMessage `json:"bundle,omitempty"`
}

// FieldError says what is wrong with one field of something that was read: where, what was found (its kind, never its
// text, which may be personal data), and what was expected.
type FieldError struct {
	Field, Found, Want string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("reading %s: found %s, want %s", e.Field, e.Found, e.Want)
}

// DecodeRequest reads a job message defensively: unknown fields are ignored, null is as good as absent.
//
// On a broken message it returns a [*FieldError] about the first fault, and with it as much of the request as could be
// read, even from a message that ends too early: a work whose id is known can be closed.
func DecodeRequest(body []byte) (Request, error) {
	if len(body) > MaxRequestBytes {
		return Request{WorkID: salvageWorkID(body)},
			&FieldError{"job message", strconv.Itoa(len(body)) + " bytes", "at most " + strconv.Itoa(MaxRequestBytes)}
	}
	if !json.Valid(body) {
		return Request{WorkID: salvageWorkID(body)}, &FieldError{"job message", describe(body) + " that is no valid JSON", "a JSON object"}
	}
	d := &decoder{}
	message := d.object("job message", body)
	internal := d.child(message, "internal", "internal")
	event := d.child(message, "event", "event")
	r := Request{
		WorkID:      d.text(internal, "internal.", "work_id"),
		ApplicantID: d.text(internal, "internal.", "applicant_id"),
		DraftID:     d.text(internal, "internal.", "draft_id"),
		Mode:        hint(internal["mode"]),
		Trigger:     hint(internal["trigger"]),
		EventType:   hint(event["event_type"]),
		EntityID:    d.text(event, "event.", "entity_id"),
		EntityType:  hint(event["entity_type"]),
	}
	if !absent(internal["playbook"]) {
		r.Playbook = d.playbook(internal, event)
		if r.EntityID == "" {
			r.EntityID = r.Playbook.DataInstanceID
		}
	}
	if r.EntityID == "" {
		d.fault("event.entity_id", describe(event["entity_id"]), "the id of the entity to enrich")
	}
	if d.err != nil {
		return r, d.err
	}
	return r, nil
}

// Key identifies the job of the request. It is the same in every delivery: the ids of the work and of the entity, and of the
// draft if there is one, because several jobs can share a work (OpenCTI makes work ids of the connector's id and the
// millisecond); for a playbook, which has no work, the ids of the execution, the step and the object. It is empty where the
// request lacks one of these ids; [BodyKey] identifies such a message.
func (r Request) Key() string {
	switch p := r.Playbook; {
	case p != nil && p.ExecutionID != "" && p.StepID != "" && p.DataInstanceID != "":
		return p.ExecutionID + "/" + p.StepID + "/" + p.DataInstanceID
	case p != nil, r.WorkID == "", r.EntityID == "":
		return ""
	case r.DraftID != "":
		return r.WorkID + "/" + r.EntityID + "/" + r.DraftID
	default:
		return r.WorkID + "/" + r.EntityID
	}
}

// BodyKey identifies a job message that cannot be read, or that has no ids to identify its job: "request-" and the first 16
// bytes of the SHA-256 digest of its body, in hexadecimal.
func BodyKey(body []byte) string {
	sum := sha256.Sum256(body)
	return "request-" + hex.EncodeToString(sum[:16])
}

// raw is a piece of the message that is read, not a copy of it: what is not used, such as a stix_entity with the content of a
// file, costs nothing.
type raw []byte

// UnmarshalJSON implements [json.Unmarshaler]. The data stay valid as long as the message, of which they are a part.
func (r *raw) UnmarshalJSON(data []byte) error {
	*r = data
	return nil
}

// decoder reads raw JSON field by field and keeps the first fault.
type decoder struct{ err *FieldError }

func (d *decoder) fault(field, found, want string) {
	if d.err == nil {
		d.err = &FieldError{field, found, want}
	}
}

func (d *decoder) object(field string, value raw) map[string]raw {
	var m map[string]raw
	if err := json.Unmarshal(value, &m); err != nil || m == nil {
		d.fault(field, describe(value), "an object")
	}
	return m
}

func (d *decoder) child(parent map[string]raw, field, key string) map[string]raw {
	if absent(parent[key]) {
		return nil
	}
	return d.object(field, parent[key])
}

// hint reads what a request only tells for information: what is no short text counts as not said.
func hint(value raw) string {
	d := &decoder{}
	return d.text(map[string]raw{"": value}, "", "")
}

func (d *decoder) text(parent map[string]raw, path, key string) string {
	value := parent[key]
	if absent(value) {
		return ""
	}
	const escaped = 6                           // bytes that one may take: \u0061
	if len(value) > escaped*maxText+len(`""`) { // not to be copied once more to find out
		d.fault(path+key, strconv.Itoa(len(value))+" bytes", "at most "+strconv.Itoa(maxText))
		return ""
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		d.fault(path+key, describe(value), "a string")
		return ""
	}
	if len(s) > maxText {
		d.fault(path+key, strconv.Itoa(len(s))+" bytes", "at most "+strconv.Itoa(maxText))
		return ""
	}
	return s
}

// playbook reads the step. previous_step_id may be missing, and event_id is younger than playbooks are; the others are what
// an answer needs.
func (d *decoder) playbook(internal, event map[string]raw) *Playbook {
	const path = "internal.playbook."
	step := d.object("internal.playbook", internal["playbook"])
	p := &Playbook{
		ExecutionID:    d.text(step, path, "execution_id"),
		EventID:        d.text(step, path, "event_id"),
		PlaybookID:     d.text(step, path, "playbook_id"),
		DataInstanceID: d.text(step, path, "data_instance_id"),
		StepID:         d.text(step, path, "step_id"),
		PreviousStepID: d.text(step, path, "previous_step_id"),
	}
	if bundle := d.child(event, "event.bundle", "bundle"); bundle != nil {
		p.Bundle = json.RawMessage(bytes.Clone(event["bundle"]))
	} else {
		d.fault("event.bundle", describe(event["bundle"]), "the playbook's STIX bundle as an object")
	}
	for _, need := range []struct{ key, value string }{
		{"execution_id", p.ExecutionID},
		{"playbook_id", p.PlaybookID},
		{"data_instance_id", p.DataInstanceID},
		{"step_id", p.StepID},
	} {
		if need.value == "" {
			d.fault(path+need.key, describe(step[need.key]), "an id")
		}
	}
	return p
}

func absent[T ~[]byte](value T) bool { return len(value) == 0 || string(value) == "null" }

// describe names the kind of a JSON value, for a [FieldError].
func describe(value []byte) string {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return "nothing"
	}
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		if string(value) == `""` {
			return "an empty string"
		}
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	if strings.ContainsRune("-0123456789", rune(value[0])) {
		return "a number"
	}
	return "something"
}

// salvageWorkID looks for internal.work_id at the beginning of a message that is cut short or too long, token by token.
func salvageWorkID(body []byte) string {
	const beginning = 64 << 10 // The platform writes it first; whoever nests a million lists is not to cost us their memory.
	body = body[:min(len(body), beginning)]
	type level struct {
		object bool
		key    string // the key that the next value belongs to
		value  bool   // a value comes next, not a key
	}
	var levels []level
	for dec := json.NewDecoder(bytes.NewReader(body)); ; {
		token, err := dec.Token()
		if err != nil {
			return ""
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				levels = append(levels, level{object: t == '{'})
				continue
			}
			levels = levels[:len(levels)-1]
		case string:
			if n := len(levels); n > 0 && levels[n-1].object && !levels[n-1].value {
				levels[n-1].key, levels[n-1].value = t, true
				continue
			}
			if len(levels) == 2 && levels[0].key == "internal" && levels[1].key == "work_id" && len(t) <= maxText {
				return t
			}
		}
		if n := len(levels); n > 0 {
			levels[n-1].value = false
		}
	}
}
