package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"opencti-ipqs-worker/internal/observable"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
	"opencti-ipqs-worker/stix"
)

// Result is what came of one observable.
type Result struct {
	Value   string       `json:"value"`
	Type    string       `json:"type"`
	Outcome string       `json:"outcome"`         // published, skipped, dead_lettered, interrupted
	Score   *int         `json:"score"`           // 0 to 100; null when IPQS gave none
	Level   stages.Level `json:"level,omitempty"` // as the model has it: LOW, MEDIUM, HIGH, CRITICAL by default
	Labels  []string     `json:"labels,omitempty"`
	Factors []string     `json:"signals,omitempty"`
	// Reason and Error say why there is no answer.
	Reason stages.Reason `json:"reason,omitempty"`
	Error  string        `json:"error,omitempty"`

	bundle json.RawMessage
}

func newResult(o observable.Observable, outcome pipeline.Outcome) Result {
	r := Result{Value: o.Value, Type: o.Type, Outcome: string(outcome.End)}
	if f := outcome.Fault; f != nil {
		r.Reason, r.Error = f.Reason, f.Error()
		return r
	}
	if v := outcome.Job.Verdict; v != nil {
		r.Score, r.Level, r.Factors = v.Score, v.Level, v.Factors
		for _, label := range v.Labels {
			r.Labels = append(r.Labels, label.Value)
		}
	}
	r.bundle = outcome.Job.Bundle
	return r
}

// Interrupted is the outcome of an observable that had none when the run was ended.
const Interrupted = "interrupted"

// Failed reports whether the observable was not looked up although it could be asked for: its lookup failed, or the guard
// refused its value. Another skipped observable did not fail.
func (r Result) Failed() bool {
	switch r.Outcome {
	case string(pipeline.Published):
		return false
	case string(pipeline.Skipped):
		return r.Refused()
	default:
		return true
	}
}

// Refused reports whether the value must not be sent to IPQS.
func (r Result) Refused() bool {
	switch r.Reason {
	case stages.ReasonPrivate, stages.ReasonInternalName, stages.ReasonExcluded, stages.ReasonNetwork:
		return true
	default:
		return false
	}
}

// Union returns one STIX bundle with the objects of all results, each object once. It returns an error when there is none.
func Union(results []Result) ([]byte, error) {
	at := make(map[string]int) // where an object stands, by its id
	var objects []json.RawMessage
	var scored []bool
	var key strings.Builder
	for _, r := range results {
		if len(r.bundle) == 0 {
			continue
		}
		var bundle struct{ Objects []json.RawMessage }
		if err := json.Unmarshal(r.bundle, &bundle); err != nil {
			return nil, fmt.Errorf("reading the bundle of %s: %w", r.Value, err)
		}
		key.WriteString(jobID(observable.Observable{Type: r.Type, Value: r.Value}) + "\n")
		for _, object := range bundle.Objects {
			var header struct {
				ID    string
				Score *int `json:"x_opencti_score"`
			}
			if err := json.Unmarshal(object, &header); err != nil {
				return nil, fmt.Errorf("reading an object of %s: %w", r.Value, err)
			}
			i, known := at[header.ID]
			switch {
			case !known:
				at[header.ID] = len(objects)
				objects, scored = append(objects, object), append(scored, header.Score != nil)
			case header.Score != nil && !scored[i]:
				// An address that a domain resolves to and that was looked up itself: the one with the answer stays.
				objects[i], scored[i] = object, true
			}
		}
	}
	if len(objects) == 0 {
		return nil, errors.New("no value was answered, so there is no bundle")
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Type    string            `json:"type"`
		ID      string            `json:"id"`
		Objects []json.RawMessage `json:"objects"`
	}{"bundle", stix.BundleID(key.String()), objects})
	if err != nil {
		return nil, fmt.Errorf("encoding the bundle: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
