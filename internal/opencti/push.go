package opencti

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
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
		Type    string     `json:"type"`
		Objects []struct{} `json:"objects"` // what is in one is the splitter's business
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
	return message(o, bundle), nil
}

// message writes what the platform's worker reads. It is written by hand as it is most of what a job costs at the last hop:
// an encoder would look at every character of the content. work_id is left out, never null, when there is none.
func message(o PushOptions, bundle []byte) []byte {
	b := make([]byte, 0, base64.StdEncoding.EncodedLen(len(bundle))+512)
	b = append(b, '{')
	if o.Capabilities.BundleType {
		b = append(b, `"bundle_type":"QUEUE_BUNDLE",`...)
	}
	b = appendQuoted(append(b, `"applicant_id":`...), o.ApplicantID)
	b = strconv.AppendInt(append(b, `,"action_sequence":`...), int64(o.Sequence), 10)
	b = append(b, `,"entities_types":[],"content":"`...)
	b = base64.StdEncoding.AppendEncode(b, bundle)
	b = strconv.AppendBool(append(b, `","update":`...), o.Capabilities.ForceUpdate)
	if o.DraftID != "" {
		b = appendQuoted(append(b, `,"draft_id":`...), o.DraftID)
	} else if o.Capabilities.Drafts {
		b = append(b, `,"draft_id":null`...)
	}
	if o.Capabilities.NoSplit {
		b = append(b, `,"no_split":false`...)
	}
	if o.WorkID != "" {
		b = appendQuoted(append(b, `,"work_id":`...), o.WorkID)
	}
	return append(b, '}')
}

func appendQuoted(b []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // a string always marshals
	return append(b, quoted...)
}
