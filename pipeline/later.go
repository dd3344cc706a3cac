package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/stages"
)

// Keys of the metadata that a message has on top of what it came with when a hop sent it back, to its own topic or into one
// of its waiting rooms. They are how attempts are counted over restarts. The body is as it came.
const (
	// MetadataAttempts is how many runs of the hop's stage count so far.
	MetadataAttempts = "ipqs_worker_attempts"
	// MetadataTriedIn is the traceparent of the hop's trip before: the span of the next trip links to it.
	MetadataTriedIn = "ipqs_worker_tried_in"
	// MetadataFirstAt is when the first of them began, RFC 3339 with milliseconds.
	MetadataFirstAt = "ipqs_worker_first_attempt_at"
	// MetadataLater is how many of the waits of [Schedule].Later are used up.
	MetadataLater = "ipqs_worker_later"
	// MetadataNotBefore is until when the job waits, RFC 3339 with milliseconds: the other side asked for more than the longest
	// waiting room has. One that is back earlier goes into a room again, and nothing is counted.
	MetadataNotBefore = "ipqs_worker_not_before"
	// MetadataLastReason is why it was sent back.
	MetadataLastReason = "ipqs_worker_last_reason"
	// MetadataRepeated is "true" when the job may have been beyond this hop before.
	MetadataRepeated = "ipqs_worker_repeated"
)

// ours lists what a message gathers on its way through one hop, and what a dead letter or a replay has no use for.
var ours = []string{
	MetadataRedelivered, MetadataDeliveries,
	MetadataAttempts, MetadataTriedIn, MetadataFirstAt, MetadataLater, MetadataNotBefore, MetadataLastReason, MetadataRepeated,
}

const (
	// throttledFor is how long a job may be told to come back later, in all, before that counts as failing.
	throttledFor = time.Hour
	// longestAsked bounds what another side may ask a single job to wait.
	longestAsked = 24 * time.Hour
	// sendTimeout bounds how long a job that is sent back waits for room in a queue.
	sendTimeout = 10 * time.Second
)

// room is the topic of a hop's waiting room, such as "lookup.retry.30s".
func (h Hop) room(wait time.Duration) string {
	return h.home() + "." + cmp.Or(h.Delays, "retry") + "." + short(wait)
}

func short(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return d.String()
	}
}

// rooms lists the hop's different waits, the shortest first.
func (s Schedule) rooms() []time.Duration {
	return slices.Compact(slices.Sorted(slices.Values(s.Later)))
}

// fitting is the first room that is long enough, else the longest one.
func (s Schedule) fitting(wait time.Duration) time.Duration {
	rooms := s.rooms()
	for _, room := range rooms {
		if room >= wait {
			return room
		}
	}
	return rooms[len(rooms)-1]
}

// later says into which room a job goes that its stage could not do for a while, and how many of the schedule's waits it
// has used up then. It is the first room that is as long as the other side asked for, and where none is, the longest one, as
// often as it takes ([MetadataNotBefore]). To be told to come back later is not the job's fault and uses up nothing, as long
// as that has not gone on for [throttledFor].
func (p *Pipeline) later(hop Hop, trip *trip) (wait time.Duration, used int, ok bool) {
	schedule, fault := hop.Retry, trip.fault
	switch {
	case !p.roomy(schedule):
		return 0, 0, false
	case fault.Class == stages.Pending:
		return schedule.fitting(fault.After), trip.later, true
	case !p.passing(fault.Class):
		return 0, 0, false
	}
	if fault.Class == stages.Throttled && p.Now().Sub(trip.first) < throttledFor {
		return schedule.fitting(fault.After), trip.later, true
	}
	if trip.later >= len(schedule.Later) {
		return 0, 0, false
	}
	return schedule.fitting(max(schedule.Later[trip.later], fault.After)), trip.later + 1, true
}

// roomy reports whether a hop has waiting rooms that its jobs may go to.
func (p *Pipeline) roomy(schedule Schedule) bool { return len(schedule.Later) > 0 && !p.Attended }

// early puts a message back into a waiting room that has come out of one before its time.
func (p *Pipeline) early(msg *message.Message, hop Hop, trip *trip, left time.Duration) error {
	wait := hop.Retry.fitting(left)
	back := message.NewMessage(msg.UUID, msg.Payload)
	back.Metadata = maps.Clone(msg.Metadata)
	delete(back.Metadata, MetadataRedelivered)
	delete(back.Metadata, MetadataDeliveries)
	back.Metadata.Set(MetadataRepeated, "true")
	if err := p.send(msg.Context(), hop.room(wait), back); err != nil {
		return fmt.Errorf("putting off again what came too early: %w", err)
	}
	trip.fate, trip.delay = parked, wait
	return nil
}

// park puts the message into a waiting room, with what it has been through.
func (p *Pipeline) park(msg *message.Message, hop Hop, trip *trip, wait time.Duration, used int) error {
	back := p.copied(msg, trip, trip.attempts)
	back.Metadata.Set(MetadataLater, strconv.Itoa(used))
	if asked := min(trip.fault.After, longestAsked); asked > wait {
		back.Metadata.Set(MetadataNotBefore, writeTime(p.Now().Add(asked)))
	}
	if trip.fault.Class == stages.Pending { // what the stage has begun is in the job
		job, err := encode(trip.job, trip.carried, nil, msg.UUID, p.Now())
		if err != nil {
			return err
		}
		back.Payload = job.Payload
	}
	if err := p.send(msg.Context(), hop.room(wait), back); err != nil {
		return fmt.Errorf("putting off after %w: %w", trip.fault, err)
	}
	trip.fate, trip.delay = parked, wait
	return nil
}

// comeBack has the message handed out again after a while, for it could not be ended. Where the hop has no waiting room it waits
// here, and goes to the end of the hop's own queue, so that no transport counts it as a delivery that came to nothing; where
// neither can be reached, the error makes the transport keep it. No attempt is counted, nor any deadline kept: there is nothing
// else to be done.
func (p *Pipeline) comeBack(msg *message.Message, hop Hop, trip *trip, cause error) error {
	if !p.roomy(hop.Retry) {
		timer := time.NewTimer(jittered(min(max(stages.AsFault(cause).After, firstPause), longestWait)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.stopping:
		case <-msg.Context().Done():
		}
		if err := p.send(msg.Context(), hop.home(), p.copied(msg, trip, trip.came)); err != nil {
			return fmt.Errorf("%w; giving back: %w", cause, err)
		}
		trip.fate = returned
		return nil
	}
	wait := hop.Retry.fitting(stages.AsFault(cause).After)
	if err := p.send(msg.Context(), hop.room(wait), p.copied(msg, trip, trip.came)); err != nil {
		return fmt.Errorf("%w; putting it off: %w", cause, err)
	}
	trip.fate, trip.delay = parked, wait
	return nil
}

// giveBack puts the message back into the hop's own topic, as if nothing had happened: no attempt is counted.
func (p *Pipeline) giveBack(msg *message.Message, hop Hop, trip *trip) error {
	if err := p.send(msg.Context(), hop.home(), p.copied(msg, trip, trip.came)); err != nil {
		return fmt.Errorf("giving back after %w: %w", trip.fault, err)
	}
	trip.fate = paused
	return nil
}

// copied is the message as it came, with what has to be known when it comes again.
func (p *Pipeline) copied(msg *message.Message, trip *trip, attempts int) *message.Message {
	back := message.NewMessage(msg.UUID, msg.Payload)
	back.Metadata = maps.Clone(msg.Metadata)
	delete(back.Metadata, MetadataRedelivered)
	delete(back.Metadata, MetadataDeliveries)
	delete(back.Metadata, MetadataNotBefore)
	set := setter(back)
	set(MetadataRequestedAt, writeTime(trip.requested))
	// The message itself may come again as well, if its acknowledgement does not arrive.
	set(MetadataRepeated, "true")
	if !trip.tried && !trip.ran {
		return back // it has not been here
	}
	set(MetadataAttempts, strconv.Itoa(attempts))
	// A playbook has waited, whatever counts, and so has what is pending.
	if attempts > 0 || !trip.deadline.IsZero() || trip.fault.Class == stages.Pending {
		set(MetadataFirstAt, writeTime(trip.first))
	}
	set(MetadataLastReason, string(trip.fault.Reason))
	p.propagator.Inject(msg.Context(), carrier(back))
	set(MetadataTriedIn, back.Metadata.Get("traceparent"))
	return back
}

// send publishes to a topic of the hop's own. It gives up after a while: a job in hand is to be settled.
func (p *Pipeline) send(ctx context.Context, topic string, msg *message.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	msg.Metadata.Set(MetadataEnqueuedAt, writeTime(p.Now()))
	return p.produce(ctx, topic, msg)
}

// handedOn publishes what a stage has made. The router would do it, but after everything of ours: a broker that refuses the
// message would be in no metric and in no line that names the job. Such a job comes back, later where the hop has a waiting
// room: it has done nothing wrong, and a transport that counts deliveries counts none then.
func (p *Pipeline) handedOn(hop Hop) message.HandlerMiddleware {
	var to string // nobody's, after the last
	if i := slices.IndexFunc(p.Hops, func(h Hop) bool { return h.Name() == hop.Name() }); i < len(p.Hops)-1 {
		to = p.Hops[i+1].Name()
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			out, err := next(msg)
			for _, made := range out { // a hop makes one
				trip := tripOf(msg)
				p.propagator.Inject(msg.Context(), carrier(made))
				made.Metadata.Set(MetadataRequestedAt, writeTime(trip.requested))
				if err := p.persist(to, made); err != nil {
					return nil, p.notHandedOn(msg, hop, trip, err)
				}
			}
			return nil, err
		}
	}
}

// persist asks the transport more than once to take what a stage has done: the stage would have to do it again otherwise, and
// IPQS be paid again.
func (p *Pipeline) persist(topic string, msg *message.Message) error {
	topic += msg.Metadata.Get(metadataLane)
	delete(msg.Metadata, metadataLane)
	ctx, sent := p.propagator.Extract(context.Background(), carrier(msg)), false
	return p.again(ctx, brief, time.Time{}, func() error {
		if sent { // it may have arrived all the same
			msg.Metadata.Set(MetadataRepeated, "true")
		}
		sent = true
		return p.produce(ctx, topic, msg)
	})
}

// notHandedOn is a trip whose work was done, and which nobody took.
func (p *Pipeline) notHandedOn(msg *message.Message, hop Hop, trip *trip, err error) error {
	if trip.fault = stages.AsFault(err); trip.fault.Class == stages.Stopping {
		return err
	}
	trip.fault = &stages.Fault{Class: stages.Transient, Reason: stages.ReasonBroker, Err: fmt.Errorf("publishing to the next hop: %w", err)}
	p.meters.faulted(msg.Context(), hop, trip.fault)
	return p.comeBack(msg, hop, trip, trip.fault)
}

// unclosed is a transport that the router can't close: it would do so as soon as one of its handlers stops, under the feet of
// jobs still in hand elsewhere.
type unclosed struct{ Transport }

func (unclosed) Close() error { return nil }
