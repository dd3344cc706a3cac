package pipeline

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/stages"
)

const (
	// copiesFor and mostCopies bound how long, and how many, jobs that have ended are remembered. What was in hand when a
	// connection was lost is handed out again within seconds of the next one.
	copiesFor  = 5 * time.Minute
	mostCopies = 20_000
)

// Copies knows which jobs are about to end in this process, or have ended a short while ago. When a connection to the broker is
// lost, the jobs in hand go on, and the broker hands out their messages again: then there are two copies of a job, of which
// only one may publish, end a work or answer a playbook. Its methods are safe for concurrent use.
type Copies struct {
	mu     sync.Mutex
	ending map[string]claim
	// What has ended is known by the hash of its key alone, as there is much of it: that a job which was handed out twice is
	// taken for another one happens once in 10¹⁵ times.
	seed  maphash.Seed
	ended map[uint64]end
	order []uint64 // keys of ended, oldest first
}

// claim is held by the copy that is about to end a job.
type claim struct {
	over     chan struct{} // closed when the job has ended, or will not for now
	repeated bool          // the copy that ends it may be the second one
}

// end is when a job ended.
type end struct {
	at       uint32 // Unix seconds
	repeated bool
}

// NewCopies returns a memory without anything in it.
func NewCopies() *Copies {
	return &Copies{ending: make(map[string]claim), seed: maphash.MakeSeed(), ended: make(map[uint64]end)}
}

// claim returns mine when the caller alone may end the job now, and then has to call settle. Else another copy has ended it, or
// is about to: then over is closed when it has, or will not for now. Two messages about a job are copies when at least one of
// them may have been handed out before.
func (c *Copies) claim(key string, repeated bool, now time.Time) (mine bool, over <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copyEnded(key, repeated, now) {
		return false, nil
	}
	other, taken := c.ending[key]
	switch {
	case !taken:
		c.ending[key] = claim{over: make(chan struct{}), repeated: repeated}
	case repeated || other.repeated:
		return false, other.over
	}
	return true, nil
}

// settle says what came of a claim: the job has ended, or has not and comes again.
func (c *Copies) settle(key string, done bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine, ok := c.ending[key]
	if !ok { // settled by one that is no copy, but has the same name
		return
	}
	delete(c.ending, key)
	hash := maphash.String(c.seed, key)
	if _, before := c.ended[hash]; done && !before {
		c.ended[hash] = end{at: uint32(now.Unix()), repeated: mine.repeated} //nolint:gosec // until 2106
		c.order = append(c.order, hash)
	}
	close(mine.over)
}

// has reports whether another copy of the job has ended.
func (c *Copies) has(key string, repeated bool, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.copyEnded(key, repeated, now)
}

// copyEnded is has with the lock held. It forgets what is no longer to be remembered.
func (c *Copies) copyEnded(key string, repeated bool, now time.Time) bool {
	for len(c.order) > 0 && (len(c.order) > mostCopies || now.Unix()-int64(c.ended[c.order[0]].at) > int64(copiesFor.Seconds())) {
		delete(c.ended, c.order[0])
		c.order = c.order[1:]
	}
	other, ok := c.ended[maphash.String(c.seed, key)]
	return ok && (repeated || other.repeated)
}

// copyKey names what a job's copies have in common. A replay is no copy of what it replays.
func copyKey(trip *trip) string {
	if trip.job.Replayed {
		return trip.job.ID + "\x00" + writeTime(trip.requested)
	}
	return trip.job.ID
}

// once drops the message of a job that another copy has ended, and lets only one copy at a time into the last hop, where jobs
// end well. Where they end otherwise, [Pipeline.only] does.
func (p *Pipeline) once(hop Hop) message.HandlerMiddleware {
	last := hop.Name() == p.Hops[len(p.Hops)-1].Name()
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			trip := tripOf(msg)
			defer func() {
				if trip.claimed {
					p.Copies.settle(copyKey(trip), trip.end != "", p.Now())
				}
			}()
			if trip.job.ID != "" && p.Copies.has(copyKey(trip), trip.repeated, p.Now()) {
				p.drop(msg, hop, trip)
				return nil, nil
			}
			if last {
				if mine, err := p.only(msg, hop, trip); !mine {
					return nil, err
				}
			}
			return next(msg)
		}
	}
}

// only waits until no other copy of the job is about to end. mine is false when one has ended, and this one is dropped; or with
// an error, when the wait is cut short, and this one goes back to its queue.
func (p *Pipeline) only(msg *message.Message, hop Hop, trip *trip) (mine bool, err error) {
	ctx := msg.Context()
	for key := copyKey(trip); !trip.claimed && trip.job.ID != ""; {
		over := (<-chan struct{})(nil)
		if trip.claimed, over = p.Copies.claim(key, trip.repeated, p.Now()); trip.claimed {
			break
		}
		if over == nil {
			p.drop(msg, hop, trip)
			return false, nil
		}
		select {
		case <-over:
		case <-p.stopping:
			err = errors.New("another copy of the job is in hand, and the worker stops")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			trip.fault = &stages.Fault{Class: stages.Stopping, Reason: stages.ReasonStopping, Err: err}
			return false, trip.fault
		}
	}
	return true, nil
}

// drop discards a copy of a job whose other copy has ended in this process. It is the only case in which a job's message ends
// without an end of the job, so it leaves a warning and a metric.
func (p *Pipeline) drop(msg *message.Message, hop Hop, trip *trip) {
	ctx := msg.Context()
	trip.fate = dropped
	p.meters.dropped.Add(ctx, 1, p.meters.labels.of(LabelHop.String(hop.Name()), LabelReason.String(string(stages.ReasonCopy))))
	attrs := []slog.Attr{
		slog.String("hop", hop.Name()), slog.String("job", trip.job.ID), slog.String("reason", string(stages.ReasonCopy)),
	}
	if r := trip.job.Request; r != nil {
		attrs = append(attrs, slog.String("work", r.WorkID), slog.String("entity", r.EntityID))
	}
	p.Logger.LogAttrs(ctx, slog.LevelWarn, "message dropped, another copy of its job has ended here", attrs...)
}
