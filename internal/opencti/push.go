package opencti

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// PushOptions is what surrounds a published object.
type PushOptions struct {
	// ApplicantID is the user to import as: the request's, or else the registration's ConnectorUserID. Required.
	ApplicantID string
	// WorkID counts the object for a work. It is empty where there is none and where [WorkState].Tracked is false.
	WorkID string
	// DraftID puts the object in a draft.
	DraftID string
	// Sequence counts the messages of a job from 1.
	Sequence int
	// Capabilities are the platform's, of [Client.Capabilities]: they decide which keys are written. Keys that an old
	// worker does not know are harmless to it, and a draft is always named.
	Capabilities Capabilities
}

// PushMessage returns the body to publish for one bundle of the splitter's: a STIX bundle with exactly one object. A bundle
// that the platform's worker would throw away without a word (no JSON, no object) is a [*FieldError] here.
func PushMessage(o PushOptions, bundle []byte) ([]byte, error) {
	var content struct {
		Type    string            `json:"type"`
		Objects []json.RawMessage `json:"objects"`
	}
	switch err := json.Unmarshal(bundle, &content); {
	case err != nil:
		return nil, &FieldError{"bundle", describe(bundle) + " that is no STIX bundle", "a STIX bundle in JSON"}
	case content.Type != "bundle":
		return nil, &FieldError{"bundle.type", "another type", `"bundle"`}
	case len(content.Objects) != 1:
		return nil, &FieldError{"bundle.objects", fmt.Sprintf("%d objects", len(content.Objects)), "one object"}
	case o.ApplicantID == "":
		return nil, &FieldError{"applicant_id", "nothing", "the user to import as"}
	}
	message := envelope{
		ApplicantID:    o.ApplicantID,
		ActionSequence: o.Sequence,
		EntitiesTypes:  []string{},
		Content:        base64.StdEncoding.EncodeToString(bundle),
		Update:         o.Capabilities.ForceUpdate,
		WorkID:         o.WorkID,
	}
	if o.Capabilities.BundleType {
		message.BundleType = "QUEUE_BUNDLE"
	}
	if o.DraftID != "" {
		message.DraftID = json.RawMessage(quote(o.DraftID))
	} else if o.Capabilities.Drafts {
		message.DraftID = json.RawMessage("null")
	}
	if o.Capabilities.NoSplit {
		message.NoSplit = new(bool)
	}
	return encode(message)
}

// envelope is what the platform's worker reads. work_id is left out, never null, when there is none.
type envelope struct {
	BundleType     string          `json:"bundle_type,omitempty"`
	ApplicantID    string          `json:"applicant_id"`
	ActionSequence int             `json:"action_sequence"`
	EntitiesTypes  []string        `json:"entities_types"`
	Content        string          `json:"content"`
	Update         bool            `json:"update"`
	DraftID        json.RawMessage `json:"draft_id,omitempty"`
	NoSplit        *bool           `json:"no_split,omitempty"`
	WorkID         string          `json:"work_id,omitempty"`
}

func quote(text string) []byte {
	quoted, _ := json.Marshal(text) // a string always marshals
	return quoted
}
