package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// remembered is how long a job that is safe is known by its key. A worker of OpenCTI's that did not hear the answer posts
// the job again within half a minute, after at most five minutes of waiting for it.
const remembered = 10 * time.Minute

// inbox takes jobs that are posted, each once: a worker that did not receive our answer posts its job again, and two answers
// to one step make a playbook continue twice. Jobs are identified by [stages.Job].ID: two jobs that share a work are two.
type inbox struct {
	topic   string // of the first hop
	publish func(topic string, messages ...*message.Message) error
	// untilEnd says that a job is safe only when it has ended, not when it is published: nothing in the transport outlives
	// the process, while OpenCTI's worker keeps a job that it gets no answer for.
	untilEnd bool
	now      func() time.Time

	mu     sync.Mutex
	open   bool
	jobs   map[string]*posted
	safe   []string // keys of jobs that are safe, oldest first
	oldest int      // safe[:oldest] is forgotten
}

// posted is a job from its first post until it is forgotten.
type posted struct {
	settled chan struct{} // closed when it is safe, or err says why it is not
	err     error
	at      time.Time // when it was settled
}

func newInbox(topic string, publish func(string, ...*message.Message) error, untilEnd bool) *inbox {
	return &inbox{topic: topic, publish: publish, untilEnd: untilEnd, now: time.Now, jobs: make(map[string]*posted)}
}

var (
	errNotOpen  = errors.New("the queues are not declared yet")
	errNotEnded = errors.New("the job has not ended yet")
)

// begin lets jobs in: their queue is there.
func (i *inbox) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open = true
}

// take returns nil when the job is safe. When ctx ends first, the job goes on, and whoever posts it again waits for the
// same one.
func (i *inbox) take(ctx context.Context, body []byte) error {
	opened, _ := stages.Open(body) // a job that cannot be read has an id too, and ends as a dead letter
	key := opened.ID
	i.mu.Lock()
	if !i.open {
		i.mu.Unlock()
		return errNotOpen
	}
	i.forget()
	job, known := i.jobs[key]
	if !known {
		job = &posted{settled: make(chan struct{})}
		i.jobs[key] = job
	}
	i.mu.Unlock()
	if !known {
		msg := message.NewMessage(watermill.NewULID(), body)
		msg.SetContext(ctx)
		if err := i.publish(i.topic, msg); err != nil {
			i.settle(key, err)
		} else if !i.untilEnd {
			i.settle(key, nil)
		}
	}
	select {
	case <-job.settled:
		return job.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNotEnded, context.Cause(ctx))
	}
}

// Observe hears what came of every trip.
func (i *inbox) Observe(outcome pipeline.Outcome) {
	if i.untilEnd && outcome.End != "" {
		i.settle(outcome.Job.ID, nil)
	}
}

// settle tells those who wait for the job. A job that is not safe is forgotten: it will be posted again.
func (i *inbox) settle(key string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	job, ok := i.jobs[key]
	if !ok || !job.at.IsZero() {
		return
	}
	job.err, job.at = err, i.now()
	if err != nil {
		delete(i.jobs, key)
	} else {
		i.safe = append(i.safe, key)
	}
	close(job.settled)
}

// forget drops the jobs that nobody will post again. The lock is held.
func (i *inbox) forget() {
	for i.oldest < len(i.safe) && i.now().Sub(i.jobs[i.safe[i.oldest]].at) > remembered {
		delete(i.jobs, i.safe[i.oldest])
		i.oldest++
	}
	if i.oldest > len(i.safe)/2 {
		i.safe = append([]string(nil), i.safe[i.oldest:]...)
		i.oldest = 0
	}
}
