package ipqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// envelope is what every answer has around its data.
type envelope struct {
	Success   Bool `json:"success"`
	Message   Text `json:"message"`
	Errors    List `json:"errors"`
	RequestID Text `json:"request_id"`

	FraudScore json.RawMessage `json:"fraud_score"`
	RiskScore  json.RawMessage `json:"risk_score"`

	Status Text `json:"status"` // of a file's scan
}

// answers reports whether the envelope is around a report. About a file that IPQS has not scanned yet it says so, as a
// refusal or without the usual member.
func (e envelope) answers(kind Kind) bool {
	if kind != KindFileLookup {
		return e.Success == True
	}
	switch strings.ToLower(string(e.Status)) {
	case "cached":
		return e.Success != False
	case "not_found", "not_cached":
		return true
	case "":
		return e.Success == True || e.Success == False && strings.Contains(strings.ToLower(string(e.Message)), "not found")
	default:
		return e.Success == True
	}
}

// decodeEnvelope reads body and reports whether it is a JSON object.
func decodeEnvelope(body []byte) (e envelope, object bool) {
	// A list or a plain value is no answer, null would decode as one.
	if json.Unmarshal(body, &e) != nil || strings.TrimSpace(string(body)) == "null" {
		return envelope{}, false
	}
	return e, true
}

// sentence is what IPQS said about a refusal.
func (e envelope) sentence() string {
	if e.Message == "" {
		return strings.Join(e.Errors, "; ")
	}
	return string(e.Message)
}

// decodeReport reads the report from the body whose envelope is e. Fields that cannot be read are unknown; only a score
// that is none, or out of range, makes the answer malformed.
func decodeReport(kind Kind, e envelope, body []byte) (*Report, error) {
	body = bytes.TrimSpace(body)
	r := &Report{Kind: kind, RequestID: e.RequestID, Message: e.Message}
	name, raw := "fraud_score", e.FraudScore
	var section any
	switch kind {
	case KindIP:
		r.IP = new(IP)
		section = r.IP
	case KindEmail:
		r.Email = new(Email)
		section = r.Email
	case KindPhone:
		r.Phone = new(Phone)
		section = r.Phone
	case KindURL:
		name, raw = "risk_score", e.RiskScore
		r.URL = new(URL)
		section = r.URL
	case KindLeakEmail, KindLeakUsername, KindLeakPassword:
		r.Leak = decodeLeak(body)
		return r, nil
	case KindFileLookup, KindFileScan, KindFileResult:
		r.File = new(File)
		readObject(body, r.File)
		r.File.OwnSHA256 = "" // not IPQS' to say
		return r, nil
	default:
		return nil, unknownKind(kind)
	}
	if json.Unmarshal(body, section) != nil {
		return nil, errors.New("the answer is no JSON object")
	}
	if raw != nil {
		if _, readable := readNumber(raw); !readable {
			return nil, fmt.Errorf("%s: found something else, want a number from 0 to 100", name)
		}
	}
	if score, known := r.score().Float64(); known && (score < 0 || score > 100) {
		return nil, fmt.Errorf("%s: found %s, want a number from 0 to 100", name, r.score())
	}
	return r, nil
}

func unknownKind(kind Kind) error {
	return fmt.Errorf("kind: found %q, want one of %q", kind, Kinds())
}
