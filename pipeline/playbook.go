package pipeline

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/stages"
)

// MetadataAnswered is "true" on the dead letter of a playbook's job whose step has its answer. Such a letter can be replayed
// like any other, and ends as skipped where it is replayed: the playbook went on long ago.
const MetadataAnswered = "dead_letter_playbook_answered"

// waited fills in what a trip has to know when a playbook waits for its job: since when, until when, and whether it does
// at all. A replay of a letter that was never answered has all the time again.
func (p *Pipeline) waited(msg *message.Message, trip *trip) {
	if trip.job.Playbook() == nil {
		return
	}
	replayed := msg.Metadata.Get(DeadLetterAt) != ""
	if trip.job.OpenedAt.IsZero() || replayed {
		trip.job.OpenedAt = trip.first
	}
	trip.job.Answered = trip.job.Answered || msg.Metadata.Get(MetadataAnswered) == "true"
	trip.deadline = trip.job.OpenedAt.Add(p.PlaybookMaxWait)
}

// crashLoop is how often a message is handed out again without any attempt ending, before it counts as what kills workers.
const crashLoop = 5

// left is how long another attempt may take before the playbook has waited long enough. It returns the fault that ends the
// job when that is no time, and the longest duration when nobody waits.
func (p *Pipeline) left(trip *trip) (time.Duration, error) {
	if trip.deliveries >= crashLoop && trip.unreadable == nil {
		return 0, &stages.Fault{
			Class: stages.Permanent, Reason: stages.ReasonCrashLoop,
			Err: fmt.Errorf("the message was handed out %d times before, and no attempt came to an end", trip.deliveries),
		}
	}
	if trip.job.Answered {
		return 0, &stages.Fault{
			Class: stages.Skip, Reason: stages.ReasonAnswered, Err: errors.New("the playbook's step has had its answer"),
		}
	}
	if trip.deadline.IsZero() {
		return math.MaxInt64, nil
	}
	left := trip.deadline.Sub(p.Now())
	if left <= 0 {
		return 0, p.late(errors.New("it was not reached in time"))
	}
	return left, nil
}

// late is the fault of a job that a playbook has waited for long enough; err is what kept it.
func (p *Pipeline) late(err error) error {
	return &stages.Fault{
		Class: stages.Permanent, Reason: stages.ReasonTimeout,
		Err: fmt.Errorf("a playbook waits no longer than %v: %w", p.PlaybookMaxWait, err),
	}
}
