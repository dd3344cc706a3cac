package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// metadataLane is what the topic's name of the message ends in. It is not published.
const metadataLane = "lane"

// format is the version of the body between hops. Raise it when an older worker could misread a newer job.
const format = "1"

// carried are the sections of a job as they came, encoded. What no stage of this hop reads goes on as it is: JSON is what a
// hop costs most.
type carried struct {
	job      stages.Job                     // as it was decoded: a section that is still the same needs no encoding
	sections [len(sections)]json.RawMessage // those of the list, nil where there is none
}

// sections are the members of a job that a stage reads or fills.
var sections = [...]stages.Section{
	stages.SectionRequest, stages.SectionEntity, stages.SectionState, stages.SectionRisk, stages.SectionVerdict,
	stages.SectionChanges, stages.SectionBundle,
}

// encode makes the message that carries a job to the next hop. Sections that came with it and were not changed are carried as
// they came, but for those that are spent. HTML escaping is off so that a bundle keeps its bytes.
func encode(job stages.Job, from carried, spent []stages.Section, id string, now time.Time) (*message.Message, error) {
	var raw [len(sections)]json.RawMessage // the sections that are encoded already, and go on
	size := 0
	for i, section := range sections {
		value := from.sections[i]
		if section == stages.SectionBundle && len(job.Bundle) > 0 {
			value = job.Bundle
		} else if value == nil || job.Has(section) && !job.Same(from.job, section) {
			continue
		}
		job = job.Without(section)
		if !slices.Contains(spent, section) {
			raw[i] = value
			size += len(value) + len(section) + len(`,"":`)
		}
	}
	for _, section := range spent {
		job = job.Without(section)
	}
	body := bytes.NewBuffer(make([]byte, 0, 512+size))
	encoder := json.NewEncoder(body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(job); err != nil {
		return nil, fmt.Errorf("encoding the job: %w", err)
	}
	body.Truncate(body.Len() - len("}\n")) // a job always has an id, so there is a member before the others
	for i, value := range raw {
		if value != nil {
			body.WriteString(`,"`)
			body.WriteString(string(sections[i]))
			body.WriteString(`":`)
			body.Write(value)
		}
	}
	body.WriteByte('}')
	msg := message.NewMessage(id, body.Bytes())
	msg.Metadata.Set(MetadataVersion, format)
	msg.Metadata.Set(MetadataEnqueuedAt, now.UTC().Format(timeFormat))
	return msg, nil
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// decode reads what encode wrote, and checks that it has what the stage needs. Of the sections it decodes those that the
// stage reads, those that it may have begun to fill, and the request, which says who is to be told when the job ends here.
func decode(msg *message.Message, stage stages.Stage) (carried, error) {
	var c carried
	if version := msg.Metadata.Get(MetadataVersion); version != format {
		return c, unreadable(fmt.Errorf("metadata %s is %q, want %q: written by another release of the worker?",
			MetadataVersion, version, format))
	}
	if err := c.read(msg.Payload, stage); err != nil {
		return c, unreadable(err)
	}
	for _, section := range stage.Needs {
		if !c.job.Has(section) {
			return c, unreadable(fmt.Errorf("field %s is missing, want it filled before %s", section, stage.Name))
		}
	}
	if c.job.ID == "" {
		return c, unreadable(errors.New("field id is missing, want the job's id"))
	}
	return c, nil
}

func (c *carried) read(body []byte, stage stages.Stage) error {
	now := make([]byte, 1, min(len(body)+2, 1024)) // the members that are decoded now
	now[0] = '{'
	for key, value := range members(body) {
		if key == nil { // no object, or a broken one
			return json.Unmarshal(body, &c.job)
		}
		section := stages.Section(key)
		if i := slices.Index(sections[:], section); i >= 0 {
			if string(value) == "null" {
				continue
			}
			c.sections[i] = value
			if section != stages.SectionRequest && !reads(stage, section) && !slices.Contains(stage.Fills, section) {
				continue
			}
			if section == stages.SectionBundle { // whoever publishes it looks into it
				c.job.Bundle = value
				continue
			}
		}
		if len(now) > 1 {
			now = append(now, ',')
		}
		now = append(append(append(append(now, '"'), key...), `":`...), value...)
	}
	return json.Unmarshal(append(now, '}'), &c.job)
}

// reads reports whether the stage reads a section.
func reads(stage stages.Stage, section stages.Section) bool {
	return slices.Contains(stage.Needs, section) || slices.Contains(stage.Uses, section)
}

func unreadable(err error) error {
	return &stages.Fault{
		Class: stages.Permanent, Reason: stages.ReasonMalformed,
		Err: fmt.Errorf("decoding the job: %w", err),
	}
}
