package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/stages"
)

// Keys of the metadata that messages carry between hops, beside the W3C trace context ("traceparent", "tracestate").
const (
	// MetadataVersion is the version of the body's format; a hop refuses what it does not know.
	MetadataVersion = "ipqs_worker_format"
	// MetadataEnqueuedAt is when the message was published, RFC 3339 with milliseconds.
	MetadataEnqueuedAt = "ipqs_worker_enqueued_at"
)

// format is the version of the body between hops. Raise it when an older worker could misread a newer job.
const format = "1"

// encode makes the message that carries a job to the next hop. HTML escaping is off so that a bundle keeps its bytes.
func encode(job stages.Job, id string, now time.Time) (*message.Message, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(job); err != nil {
		return nil, fmt.Errorf("encoding the job: %w", err)
	}
	msg := message.NewMessage(id, bytes.TrimSuffix(body.Bytes(), []byte("\n")))
	msg.Metadata.Set(MetadataVersion, format)
	msg.Metadata.Set(MetadataEnqueuedAt, now.UTC().Format(timeFormat))
	return msg, nil
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// decode reads what encode wrote, and checks that it has what the stage needs.
func decode(msg *message.Message, stage stages.Stage) (stages.Job, error) {
	var job stages.Job
	if version := msg.Metadata.Get(MetadataVersion); version != format {
		return job, unreadable(fmt.Errorf("metadata %s is %q, want %q: written by another release of the worker?",
			MetadataVersion, version, format))
	}
	if err := json.Unmarshal(msg.Payload, &job); err != nil {
		return job, unreadable(err)
	}
	for _, section := range stage.Needs {
		if !job.Has(section) {
			return job, unreadable(fmt.Errorf("field %s is missing, want it filled before %s", section, stage.Name))
		}
	}
	if job.ID == "" {
		return job, unreadable(errors.New("field id is missing, want the job's id"))
	}
	return job, nil
}

func unreadable(err error) error {
	return &stages.Fault{
		Class: stages.Permanent, Reason: stages.ReasonMalformed,
		Err: fmt.Errorf("decoding the job: %w", err),
	}
}
