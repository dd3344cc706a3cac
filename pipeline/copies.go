package pipeline

import (
	"context"
	"errors"
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
	mu    sync.Mutex
	known map[string]*ended
	order []string // keys of what has ended, oldest first
}

// ended is a job that is about to end, or has.
type ended struct {
	over     chan struct{} // closed when it has ended, or will not for now
	repeated bool          // the copy that ends it may be the second one
	at       time.Time     // when it ended; zero before
}

// NewCopies returns a memory without anything in it.
func NewCopies() *Copies { return &Copies{known: make(map[string]*ended)} }

// claim returns nil when the caller alone may end the job now, and then has to call settle. Else it returns the other copy,
// which ends the job or has ended it. Two messages about a job are copies when at least one of them may have been handed out
// before.
func (c *Copies) claim(key string, repeated bool, now time.Time) *ended {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(now)
	other := c.known[key]
	if other != nil && (repeated || other.repeated) {
		return other
	}
	if other == nil {
		c.known[key] = &ended{over: make(chan struct{}), repeated: repeated}
	}
	return nil
}

// settle says what came of a claim: the job has ended, or has not and comes again.
func (c *Copies) settle(key string, done bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	job := c.known[key]
	if job == nil || !job.at.IsZero() { // settled by one that is no copy, but has the same name
		return
	}
	if done {
		job.at = now
		c.order = append(c.order, key)
	} else {
		delete(c.known, key)
	}
	close(job.over)
}

// has reports whether another copy of the job has ended.
func (c *Copies) has(key string, repeated bool, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(now)
	other := c.known[key]
	return other != nil && !other.at.IsZero() && (repeated || other.repeated)
}

// forget drops what is no longer to be remembered. The lock is held.
func (c *Copies) forget(now time.Time) {
	for len(c.order) > 0 && (len(c.order) > mostCopies || now.Sub(c.known[c.order[0]].at) > copiesFor) {
		delete(c.known, c.order[0])
		c.order = c.order[1:]
	}
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
				trip.fate = dropped
				return nil, nil
			}
			if last {
				if mine, err := p.only(msg.Context(), trip); !mine {
					return nil, err
				}
			}
			return next(msg)
		}
	}
}

// only waits until no other copy of the job is about to end. mine is false when one has ended, and this one is dropped; or with
// an error, when the wait is cut short, and this one goes back to its queue.
func (p *Pipeline) only(ctx context.Context, trip *trip) (mine bool, err error) {
	for key := copyKey(trip); !trip.claimed && trip.job.ID != ""; {
		other := p.Copies.claim(key, trip.repeated, p.Now())
		if other == nil {
			trip.claimed = true
			break
		}
		select {
		case <-other.over:
		case <-p.stopping:
			err = errors.New("another copy of the job is in hand, and the worker stops")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			trip.fault = &stages.Fault{Class: stages.Stopping, Reason: stages.ReasonStopping, Err: err}
			return false, trip.fault
		}
		if p.Copies.has(key, trip.repeated, p.Now()) {
			trip.fate = dropped
			return false, nil
		}
	}
	return true, nil
}
