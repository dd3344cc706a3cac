package ipqs

import (
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
	return fmt.Errorf("kind: found %q, want %q, %q, %q or %q", kind, KindIP, KindEmail, KindPhone, KindURL)
}
