package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/stages"
)

// decided says what becomes of a job: whether it is let in at all, and where it goes when its stage could not do it. A dead
// letter is written once OpenCTI is told of it, or will never be, and a message that goes anywhere is safe there before it
// is acknowledged.
func (p *Pipeline) decided(hop Hop) message.HandlerMiddleware {
	last := hop.Name() == p.Hops[len(p.Hops)-1].Name()
	gate := p.gates[hop.Name()]
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			trip := tripOf(msg)
			if left := trip.notBefore.Sub(p.Now()); left > 0 && p.roomy(hop.Retry) {
				return nil, p.early(msg, hop, trip, left)
			}
			ticket, admitted := gate.enter()
			if !admitted {
				return nil, p.turnedAway(msg, hop, trip)
			}
			out, err := next(msg)
			trip.fault = stages.AsFault(err)
			probe := gate.leave(ticket, p.verdict(trip, err), trip.fault)
			if err == nil {
				if last {
					trip.end = Published
				}
				return out, nil
			}
			switch trip.fault.Class {
			case stages.Stopping:
				return nil, err
			case stages.Skip:
				return nil, p.skip(msg, hop, trip)
			case stages.Transient, stages.Throttled, stages.AccountWide, stages.Pending:
				return nil, p.putOff(msg, hop, trip, probe)
			default:
				return nil, p.bury(msg, hop, trip)
			}
		}
	}
}

// turnedAway gives back a message that came although its hop takes none.
func (p *Pipeline) turnedAway(msg *message.Message, hop Hop, trip *trip) error {
	state, shut := p.gates[hop.Name()].paused()
	if closed(p.stopping) || !shut {
		trip.fault = &stages.Fault{Class: stages.Stopping, Reason: stages.ReasonStopping, Err: errors.New("the hop pauses, and the worker stops")}
		return trip.fault
	}
	trip.fault = &stages.Fault{Class: stages.Throttled, Reason: state.Reason, Err: fmt.Errorf("the hop pauses: %s", state.Error)}
	return p.putOff(msg, hop, trip, true)
}

// putOff keeps a job that could not be done for a while, as long as there is hope: in its own queue while the hop pauses,
// which costs it nothing, else in a waiting room. A playbook does not wait for what comes too late.
func (p *Pipeline) putOff(msg *message.Message, hop Hop, trip *trip, probe bool) error {
	if probe || p.pauses(trip.fault) {
		if p.gates[hop.Name()].shutUntil(trip.deadline) {
			trip.fault = stages.AsFault(p.late(trip.fault))
			return p.bury(msg, hop, trip)
		}
		return p.giveBack(msg, hop, trip)
	}
	wait, used, ok := p.later(hop, trip)
	if !ok {
		return p.bury(msg, hop, trip)
	}
	if !trip.deadline.IsZero() && !p.Now().Add(max(wait, trip.fault.After)).Before(trip.deadline) {
		trip.fault = stages.AsFault(p.late(trip.fault))
		return p.bury(msg, hop, trip)
	}
	return p.park(msg, hop, trip, wait, used)
}

// skip ends a job that there is nothing to do for. While OpenCTI can't be told, the message comes back later: asking again
// costs nothing, and the work would never end otherwise.
func (p *Pipeline) skip(msg *message.Message, hop Hop, trip *trip) error {
	ctx := msg.Context()
	if mine, err := p.only(msg, hop, trip); !mine {
		return err
	}
	err := p.again(ctx, brief, time.Time{}, func() error { return p.Ends.Skipped(ctx, trip.job, trip.fault) })
	if p.mayPass(err) {
		return p.comeBack(msg, hop, trip, fmt.Errorf("ending a skipped job: %w", err))
	}
	trip.end = Skipped
	p.untold(ctx, trip, err)
	return nil
}

// bury tells OpenCTI that the job is given up and puts the message into the hop's poison queue, in this order: once the
// message is there, nothing would tell a work or a playbook any more, and it would wait for ever. While OpenCTI can't be
// told, the message comes back later; the letter's id is known before. A letter says whether a playbook's step was
// answered.
func (p *Pipeline) bury(msg *message.Message, hop Hop, trip *trip) error {
	ctx := msg.Context()
	if mine, err := p.only(msg, hop, trip); !mine {
		return err
	}
	letter := p.letter(msg, hop, trip)
	told := p.tell(ctx, trip, letter)
	if p.mayPass(told) {
		return p.comeBack(msg, hop, trip, fmt.Errorf("telling of a dead letter after %w: %w", trip.fault, told))
	}
	if told == nil && trip.job.Playbook() != nil {
		letter.Metadata.Set(MetadataAnswered, "true")
	}
	// Going back would have the end told again, so the poison queue is given more than one chance.
	bury := func() error { return p.produce(context.WithoutCancel(ctx), hop.Poison(), letter) }
	if err := p.again(ctx, brief, time.Time{}, bury); err != nil {
		return fmt.Errorf("dead-lettering after %w: %w", trip.fault, err)
	}
	trip.end, trip.letter = DeadLettered, letter.UUID
	p.untold(ctx, trip, told)
	return nil
}

func (p *Pipeline) tell(ctx context.Context, trip *trip, letter *message.Message) error {
	return p.again(ctx, brief, time.Time{}, func() error {
		return p.Ends.DeadLettered(ctx, trip.job, trip.fault, letter.UUID)
	})
}

// mayPass reports whether what err stands for may be gone when the message comes again.
func (p *Pipeline) mayPass(err error) bool {
	fault := stages.AsFault(err)
	return fault != nil && (fault.Class == stages.Stopping || p.passing(fault.Class))
}

// untold leaves a line of an end that OpenCTI does not want to hear of.
func (p *Pipeline) untold(ctx context.Context, trip *trip, err error) {
	if err == nil {
		return
	}
	p.Logger.LogAttrs(ctx, slog.LevelWarn, "OpenCTI was not told of the end of a job",
		slog.String("end", cmp.Or(string(trip.end), string(trip.fate))),
		slog.String("dead_letter", trip.letter), slog.String("job", trip.job.ID), slog.String("error", err.Error()))
}

func (p *Pipeline) letter(msg *message.Message, hop Hop, trip *trip) *message.Message {
	letter := message.NewMessage(letterID(msg, hop, trip), msg.Payload)
	for key, value := range msg.Metadata {
		if !slices.Contains(ours, key) {
			letter.Metadata.Set(key, value)
		}
	}
	set := setter(letter)
	set(DeadLetterHop, hop.Name())
	set(DeadLetterReason, string(trip.fault.Reason))
	set(DeadLetterClass, string(trip.fault.Class))
	set(DeadLetterError, capped(trip.fault.Error(), 1024))
	set(DeadLetterAttempts, strconv.Itoa(trip.attempts))
	set(DeadLetterFirstAt, writeTime(trip.first))
	set(DeadLetterAt, writeTime(p.Now()))
	set(DeadLetterJob, trip.job.ID)
	set(DeadLetterVersion, p.Version)
	if r := trip.job.Request; r != nil {
		set(DeadLetterWorkID, r.WorkID)
		set(DeadLetterEntityID, r.EntityID)
		set(DeadLetterEntityType, r.EntityType)
	}
	p.propagator.Inject(msg.Context(), carrier(letter))
	if span := trace.SpanContextFromContext(msg.Context()); span.HasTraceID() {
		set(DeadLetterTrace, span.TraceID().String())
	} else {
		set(DeadLetterTrace, p.TraceID(traceKey(msg, trip)))
	}
	return letter
}

// letterID returns the id of the dead letter of a job in a hop. It is the same when the letter is written again, because a worker
// died before it acknowledged the message, or an earlier crash left two copies of the job: then the two letters can be
// recognized as one. The letter of a replay has another id.
func letterID(msg *message.Message, hop Hop, trip *trip) string {
	sum := sha256.Sum256([]byte(hop.Name() + "\x00" + trip.job.ID + "\x00" + msg.Metadata.Get(DeadLetterAt)))
	return crockford.EncodeToString(sum[:])[:26]
}

// crockford is how ULIDs are written.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

func capped(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
