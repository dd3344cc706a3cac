package memory

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// The pause before a nacked message is handed out again, doubled with each nack.
const (
	firstPause = 10 * time.Millisecond
	mostPause  = time.Second
)

// subscription hands out the letters of a queue. It has one goroutine for each message that may be in hand.
type subscription struct {
	ctx          context.Context //nolint:containedctx // it is the subscription's life, not a call's
	queue        *queue
	stop         <-chan struct{} // the transport's end, as good as that of ctx
	drainTimeout time.Duration
	out          chan *message.Message
	over         chan struct{} // closed when the drain time is over
}

func newSubscription(ctx context.Context, q *queue, stop <-chan struct{}, drainTimeout time.Duration) *subscription {
	return &subscription{
		ctx: ctx, queue: q, stop: stop, drainTimeout: drainTimeout,
		out:  make(chan *message.Message),
		over: make(chan struct{}),
	}
}

// run hands out until ctx or the transport ends, waits for the messages in hand, and closes out.
func (s *subscription) run() {
	var slots sync.WaitGroup
	for range s.queue.topic.Prefetch {
		slots.Go(func() {
			for l := s.queue.take(s.ctx, s.stop); l != nil; l = s.queue.take(s.ctx, s.stop) {
				s.handOut(l)
			}
		})
	}
	select {
	case <-s.ctx.Done():
	case <-s.stop:
	}
	timer := time.AfterFunc(s.drainTimeout, func() { close(s.over) })
	slots.Wait()
	timer.Stop()
	close(s.out)
}

// handOut gives one letter to the subscriber and waits until it is settled.
func (s *subscription) handOut(l *letter) {
	defer s.queue.settled()
	// The message is finished even if the subscription ends meanwhile: its context ends when it is settled or given up.
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	defer cancel()
	msg := l.message()
	msg.SetContext(ctx)
	select {
	case s.out <- msg:
	case <-s.queue.closedWindow():
		s.queue.unread(l)
		return
	case <-s.ctx.Done():
		s.queue.unread(l)
		return
	case <-s.stop:
		s.queue.unread(l)
		return
	}
	select {
	case <-msg.Acked():
		return
	case <-msg.Nacked():
		cancel()
		s.pause(l)
		l.nacks++
	case <-s.over:
	}
	l.deliveries++
	s.queue.put(l)
}

// pause waits before a nacked letter goes back, so that a message that always fails does not keep a core busy.
func (s *subscription) pause(l *letter) {
	pause := mostPause
	if l.nacks < 10 {
		pause = min(firstPause<<l.nacks, mostPause)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	case <-s.stop:
	}
}
