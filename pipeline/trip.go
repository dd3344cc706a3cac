package pipeline

import (
	"context"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/stages"
)

// trip is one message on its way through one hop; it travels in the message's context.
type trip struct {
	job        stages.Job // as far as it got
	carried    carried    // and as it came
	unreadable error      // why there is none
	repeated   bool       // the job may have been beyond this hop before
	tried      bool       // this hop's stage has run for it, on an earlier trip
	came       int        // attempts of earlier trips
	attempts   int        // of all
	later      int        // how many of the schedule's long waits are used up
	deliveries int        // how often it was handed out before without an end
	first      time.Time  // when the first attempt began
	began      time.Time
	enqueued   time.Time     // when the message was put into the queue; zero if nobody said
	requested  time.Time     // when OpenCTI asked for the job, or it was replayed
	delivery   string        // what the message waited as: a value of [LabelDelivery]
	last       *stages.Fault // of the last attempt on this trip
	notBefore  time.Time     // until when the job waits in waiting rooms; zero if it need not
	deadline   time.Time     // until when a playbook waits for the job; zero where none does
	ran        bool          // the stage has run on this trip
	done       bool          // and went well
	claimed    bool          // no other copy of the job ends meanwhile

	// Set when it is over:
	end    End
	fate   fate
	delay  time.Duration // in the waiting room
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

// fate is where a message has gone that came to no end and not to the next hop.
type fate string

const (
	returned fate = "returned" // the transport keeps it, or has it anew
	parked   fate = "parked"   // into a waiting room
	paused   fate = "paused"   // to the hop's topic again, for the hop takes no jobs
	dropped  fate = "dropped"  // nowhere: another copy of the job has ended
)

// Outcome is what came of one trip.
type Outcome struct {
	Hop string
	// Job as far as it got. A message that could not be read has the digest of its body as the ID.
	Job stages.Job
	// Attempts counts the runs of the hop's stage, those of earlier trips included.
	Attempts int
	Took     time.Duration
	// Fault is nil for a trip that went well. A fault of class stopping means that the message went back to its queue.
	Fault *stages.Fault
	// Delay is set when the message went into a waiting room for so long, Paused when it went back because its hop pauses.
	Delay  time.Duration
	Paused bool
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
				msg.Payload = discreet(msg.Payload, trip)
			} else {
				trip.carried, trip.unreadable = decode(msg, hop.Stage)
				trip.job = trip.carried.job
				if trip.unreadable != nil {
					trip.job.ID = opencti.BodyKey(msg.Payload)
				}
			}
			p.remember(msg, trip)
			p.waited(msg, trip)
			p.timed(msg, trip)
			msg.SetContext(context.WithValue(msg.Context(), tripKey{}, trip))
			return next(msg)
		}
	}
}

// discreet is the body that a message to the first hop goes on with, wherever this hop puts it. OpenCTI sends the whole
// account along with a job about it, password and all, and we read it as ourselves when we need it: a waiting room or a
// poison queue, where nothing expires, is not to keep it. Of a playbook's job the bundle is wanted back as it is.
func discreet(body []byte, trip *trip) []byte {
	r := trip.job.Request
	if trip.unreadable != nil || r.Playbook != nil || !strings.EqualFold(r.EntityType, "User-Account") {
		return body
	}
	if asked, err := stages.Reopen(trip.job); err == nil {
		return asked
	}
	return body // not where it could be opened
}

// remember fills in what the message has been through. A dead letter that comes back may have been anywhere.
func (p *Pipeline) remember(msg *message.Message, trip *trip) {
	get := msg.Metadata.Get
	trip.repeated = trip.job.Repeated || get(MetadataRedelivered) == "true" || get(MetadataRepeated) == "true" ||
		get(DeadLetterAt) != ""
	trip.job.Replayed = trip.job.Replayed || get(DeadLetterAt) != ""
	trip.tried = get(MetadataAttempts) != ""
	trip.came = readCount(get(MetadataAttempts))
	trip.attempts = trip.came
	trip.later = readCount(get(MetadataLater))
	trip.deliveries = readCount(get(MetadataDeliveries))
	trip.notBefore = readTime(get(MetadataNotBefore))
	if trip.first = readTime(get(MetadataFirstAt)); trip.first.IsZero() {
		trip.first = trip.began
	}
}

func tripOf(msg *message.Message) *trip {
	return msg.Context().Value(tripKey{}).(*trip)
}
