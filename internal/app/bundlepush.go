package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sync/singleflight"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// With CONNECTOR_QUEUE_PROTOCOL=api a job's bundle goes into OpenCTI whole, over its API, and OpenCTI counts the objects
// itself. The publish stage does not know: it wraps and pushes the parts of a bundle as ever, and they are put together
// again here.

// pushing is a carrier whose way into OpenCTI is the API.
type pushing struct {
	Carrier
	client interface {
		PushBundle(ctx context.Context, connectorID, workID string, bundle []byte) error
	}
	connectorID string
}

// part is one message of a bundle on its way from the envelope to Push.
type part struct {
	WorkID  string          `json:"work,omitempty"`
	DraftID string          `json:"draft,omitempty"`
	Bundle  json.RawMessage `json:"bundle"`
}

// wrapPart is the envelope of a part.
func wrapPart(o opencti.PushOptions, bundle []byte) ([]byte, error) {
	return encode(part{o.WorkID, o.DraftID, bundle})
}

// SetWindow implements [pipeline.Narrower].
func (p pushing) SetWindow(topic string, n int) { narrow(p.Carrier, topic, n) }

// Push puts the parts of one bundle together and hands it to OpenCTI.
func (p pushing) Push(ctx context.Context, messages [][]byte) error {
	first, bundle, err := join(messages)
	if err != nil {
		return &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonMalformed, Err: fmt.Errorf("joining the bundle: %w", err)}
	}
	if first.DraftID != "" { // which resolve ends, but for a job that was begun under another protocol
		return &stages.Fault{
			Class: stages.Permanent, Reason: stages.ReasonCapability,
			Err: errors.New("the job is from a draft, and OpenCTI's API has no way to name one: its results would go into the live data"),
		}
	}
	return p.client.PushBundle(ctx, p.connectorID, first.WorkID, bundle)
}

// join puts the parts of one bundle together. first is the first of them, which says what all say.
func join(messages [][]byte) (first part, bundle []byte, err error) {
	var whole struct {
		Type        string            `json:"type"`
		ID          string            `json:"id"`
		SpecVersion string            `json:"spec_version"`
		Objects     []json.RawMessage `json:"objects"`
	}
	for i, message := range messages {
		var p part
		if err := json.Unmarshal(message, &p); err != nil {
			return part{}, nil, err
		}
		if i == 0 {
			first = p
		}
		objects := whole.Objects
		whole.Objects = nil
		if err := json.Unmarshal(p.Bundle, &whole); err != nil {
			return part{}, nil, err
		}
		whole.Objects = append(objects, whole.Objects...)
	}
	if len(whole.Objects) == 0 {
		return part{}, nil, errors.New("there are no objects")
	}
	bundle, err = encode(whole)
	return first, bundle, err
}

// encode writes JSON as a bundle's text must travel: <, > and & as they are.
func encode(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

// announcing tells of works as the two protocols need it.
type announcing struct {
	pipeline.Works
	// uncounted: OpenCTI counts what it is given whole.
	uncounted bool
	// wary: a job that was posted may have been here before, as the worker may not have heard our answer.
	wary bool
	// same has one announcement for a job that is here twice at once, as after a crash between queue and answer: each would
	// find that nothing is announced yet.
	same singleflight.Group
}

// worksOf returns the works as the way that results take wants them told.
func worksOf(c config.Connector, client *opencti.Client) *opencti.Works {
	if c.PushByAPI {
		return opencti.NewWholeWorks(client)
	}
	return opencti.NewWorks(client)
}

// works returns what tells of works under this configuration.
func works(c config.Connector, w pipeline.Works) *announcing {
	return &announcing{Works: w, uncounted: c.PushByAPI, wary: c.Callback.On}
}

// Announce implements [stages.Announcer].
func (a *announcing) Announce(ctx context.Context, job opencti.WorkJob, objects int) (opencti.WorkState, error) {
	if a.uncounted {
		objects = 0
	}
	state, err, _ := a.same.Do(job.WorkID+"/"+job.EntityID, func() (any, error) {
		job.Again = job.Again || a.wary
		return a.Works.Announce(ctx, job, objects)
	})
	found, _ := state.(opencti.WorkState)
	return found, err
}
