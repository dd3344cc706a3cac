package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/stages"
)

// Keys of the metadata that a dead letter has on top of what its message came with. The body is the message's own, byte
// for byte.
const (
	DeadLetterHop        = "dead_letter_hop"
	DeadLetterReason     = "dead_letter_reason"
	DeadLetterClass      = "dead_letter_class"
	DeadLetterError      = "dead_letter_error" // at most 1 KiB
	DeadLetterAttempts   = "dead_letter_attempts"
	DeadLetterFirstAt    = "dead_letter_first_attempt_at"
	DeadLetterAt         = "dead_letter_at"
	DeadLetterJob        = "dead_letter_job"
	DeadLetterWorkID     = "dead_letter_work_id"
	DeadLetterEntityID   = "dead_letter_entity_id"
	DeadLetterEntityType = "dead_letter_entity_type"
	DeadLetterVersion    = "dead_letter_worker_version"
	DeadLetterTrace      = "dead_letter_trace_id" // as in the log, also where nothing is traced
)

// MetadataReplayed is the traceparent of the dead letter that a message replays: the trace of the replay is a new one, and
// its first span links to that one.
const MetadataReplayed = "replayed_trace"

const poisonSuffix = ".poison"

// DeadLetter is what a hop gave up, as its poison queue has it. What the message does not say, or says in a way that nobody
// of ours writes, is the zero value: whoever looks through a poison queue has to cope with anything.
type DeadLetter struct {
	ID     string // of the message
	Hop    string
	Reason stages.Reason
	Class  stages.Class
	Error  string
	// Attempts counts the runs of the stage, over every wait and restart; FirstAt and LastAt are when the first one began
	// and when the job was given up.
	Attempts        int
	FirstAt, LastAt time.Time

	JobID, WorkID, EntityID, EntityType string
	// TraceID is 32 hexadecimal digits.
	TraceID string
	// Version of the worker that gave it up.
	Version string
	// Answered says that a playbook waited and went on without us: a replay ends as skipped.
	Answered bool

	// Body is the message as the hop got it, byte for byte; but what OpenCTI sent about an account is written anew without
	// the account, whose password is in it. Metadata are all that the letter has.
	Body     []byte
	Metadata message.Metadata
}

// ReadDeadLetter reads a message of a topic that [Hop.Poison] names.
func ReadDeadLetter(topic string, m *message.Message) DeadLetter {
	get := m.Metadata.Get
	d := DeadLetter{
		ID:         m.UUID,
		Hop:        get(DeadLetterHop),
		Reason:     stages.Reason(get(DeadLetterReason)),
		Class:      stages.Class(get(DeadLetterClass)),
		Error:      get(DeadLetterError),
		FirstAt:    readTime(get(DeadLetterFirstAt)),
		LastAt:     readTime(get(DeadLetterAt)),
		JobID:      get(DeadLetterJob),
		WorkID:     get(DeadLetterWorkID),
		EntityID:   get(DeadLetterEntityID),
		EntityType: get(DeadLetterEntityType),
		Version:    get(DeadLetterVersion),
		Answered:   get(MetadataAnswered) == "true",
		Body:       m.Payload,
		Metadata:   maps.Clone(m.Metadata),
	}
	if d.Hop == "" {
		d.Hop = strings.TrimSuffix(topic, poisonSuffix)
	}
	d.Attempts = readCount(get(DeadLetterAttempts))
	if span := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier(m))); span.HasTraceID() {
		d.TraceID = span.TraceID().String()
	} else if text := get(DeadLetterTrace); isTraceID(text) {
		d.TraceID = text
	}
	return d
}

func isTraceID(text string) bool {
	_, err := trace.TraceIDFromHex(text)
	return err == nil
}

// Replay makes the message that gives the job to a hop again, for the hop's own topic: attempts begin anew, in a trace of
// their own that links to the letter's. A playbook that has its answer gets no other one.
//
// The hop can be the one where the letter was given up, or the first one, where the job begins anew; to that one a letter
// can't go whose body does not say what was asked. Any other hop is an error: what it would need is not in the letter.
func (d DeadLetter) Replay(hop string) (*message.Message, error) {
	body, version := d.Body, d.Metadata.Get(MetadataVersion)
	if hop != d.Hop {
		var err error
		if body, err = d.reopened(hop); err != nil {
			return nil, fmt.Errorf("replaying dead letter %s of %s to %s: %w", d.ID, d.Hop, hop, err)
		}
		version = ""
	}
	msg := message.NewMessage(watermill.NewULID(), body)
	set := setter(msg)
	set(MetadataVersion, version)
	set(MetadataEnqueuedAt, time.Now().UTC().Format(timeFormat))
	set(MetadataReplayed, d.Metadata.Get("traceparent"))
	set(DeadLetterAt, writeTime(d.LastAt))
	if d.LastAt.IsZero() {
		set(DeadLetterAt, writeTime(time.Now())) // a replay of whatever it is
	}
	if d.Answered {
		set(MetadataAnswered, "true")
	}
	return msg, nil
}

// reopened makes the body for the first hop from that of a later one.
func (d DeadLetter) reopened(hop string) ([]byte, error) {
	if hop != FirstHop {
		return nil, fmt.Errorf("it can go to %s, where it was given up, or to %s, where jobs begin: no other hop finds what it needs in it",
			d.Hop, FirstHop)
	}
	var job stages.Job
	if err := json.Unmarshal(d.Body, &job); err != nil {
		return nil, fmt.Errorf("reading its body, which is to say what was asked: %w", err)
	}
	return stages.Reopen(job)
}

// setter sets the metadata that are not empty.
func setter(msg *message.Message) func(key, value string) {
	return func(key, value string) {
		if value != "" {
			msg.Metadata.Set(key, value)
		}
	}
}

func writeTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

// readTime reads what writeTime wrote, and anything else as the zero time.
func readTime(text string) time.Time {
	if text == "" { // as mostly, and an error is dear
		return time.Time{}
	}
	t, err := time.Parse(timeFormat, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// readCount reads a number of attempts or deliveries, and anything else as zero.
func readCount(text string) int {
	if text == "" { // as above
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
