package pipeline

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/stages"
)

// trip is one message on its way through one hop; it travels in the message's context.
type trip struct {
	job        stages.Job // as far as it got
	unreadable error      // why there is none
	repeated   bool       // the job may have been beyond this hop before
	attempts   int
	began      time.Time
	deadline   time.Time // until when a playbook waits for the job; zero where none does

	// Set when it is over:
	end    End
	fault  *stages.Fault
	letter string
}

// End is how a job ended, or "" while it goes on.
type End string

// The three ends of a job.
const (
	Published    End = "published"
	Skipped      End = "skipped"
	DeadLettered End = "dead_lettered"
)

// Outcome is what came of one trip.
type Outcome struct {
	Hop string
	// Job as far as it got; its ID is empty when the message could not be read.
	Job      stages.Job
	Attempts int
	Took     time.Duration
	// Fault is nil for a trip that went well. A fault of class stopping means that the message went back to its queue.
	Fault *stages.Fault
	// End is set when the job ended here; Letter is the id of its dead letter.
	End    End
	Letter string
}

type tripKey struct{}

// opened puts the trip into the message's context.
func (p *Pipeline) opened(hop Hop) message.HandlerMiddleware {
	first := hop.Name() == p.Hops[0].Name()
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			trip := &trip{began: p.Now()}
			if first {
				trip.job, trip.unreadable = stages.Open(msg.Payload)
			} else {
				trip.job, trip.unreadable = decode(msg, hop.Stage)
			}
			p.waited(msg, trip)
			trip.repeated = trip.job.Repeated || msg.Metadata.Get(MetadataRedelivered) == "true"
			msg.SetContext(context.WithValue(msg.Context(), tripKey{}, trip))
			return next(msg)
		}
	}
}

func tripOf(msg *message.Message) *trip {
	return msg.Context().Value(tripKey{}).(*trip)
}
