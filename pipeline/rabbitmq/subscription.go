package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

// errCancelled says that the broker ended the subscription, as it does when the queue is deleted or moves.
var errCancelled = errors.New("the broker cancelled the consumer")

// subscription consumes one queue, on one channel after the other. What it has given out outlives the channel that it came
// on, so that no more than prefetch are in hand after a reconnection either.
type subscription struct {
	transport *Transport
	topic     pipeline.Topic
	queue     string
	// base is the context of Subscribe without its end: the messages' contexts come from it.
	base context.Context //nolint:containedctx // it is that of the messages to come
	// stop is done when nothing more is to be handed out.
	stop context.Context //nolint:containedctx // it is the subscription's life, not a call's
	out  chan *message.Message
	over chan struct{} // closed when the drain time is over

	window *window
	hands  *hands

	mu  sync.Mutex
	err error // why nothing is consumed
}

func newSubscription(ctx, stop context.Context, t *Transport, topic pipeline.Topic) *subscription {
	return &subscription{
		transport: t,
		topic:     topic,
		queue:     t.options.queueName(topic.Name),
		base:      context.WithoutCancel(ctx),
		stop:      stop,
		out:       make(chan *message.Message),
		over:      make(chan struct{}),
		window:    newWindow(topic.Prefetch),
		hands:     newHands(),
		err:       errors.New("not consuming yet"),
	}
}

// run consumes until stop, drains, and closes out.
func (s *subscription) run() {
	var settling sync.WaitGroup
	settling.Go(s.settle)
	drained := make(chan struct{})
	go func() {
		<-s.stop.Done()
		timer := time.NewTimer(s.transport.options.DrainTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			close(s.over)
		case <-drained:
		}
	}()

	pauses := newBackOff(nil)
	for s.stop.Err() == nil {
		consumed, err := s.consume()
		if s.stop.Err() != nil {
			break
		}
		if consumed {
			pauses.Reset()
		}
		s.failed(err)
		pause(s.stop, pauses.NextBackOff())
	}
	s.hands.end()
	settling.Wait()
	close(drained)
	close(s.out)
}

// consume opens a channel and hands out what comes on it until the channel ends or stop. It says whether the queue could be
// consumed.
func (s *subscription) consume() (consumed bool, err error) {
	conn, err := s.transport.consuming.connection(s.stop)
	if err != nil {
		return false, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return false, fmt.Errorf("opening a channel: %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	c := &consumer{
		subscription: s,
		ch:           ch,
		acks:         newAcks(ch, s.topic.Prefetch),
		closes:       ch.NotifyClose(make(chan *amqp.Error, 1)),
		cancels:      ch.NotifyCancel(make(chan string, 1)),
		ended:        ended,
	}
	defer s.transport.closeChannel(ch)
	defer c.acks.stop()
	defer c.forget()
	if err := s.transport.restore(ch, s.topic.Name); err != nil {
		return false, err
	}
	return c.run()
}

func closed(err *amqp.Error) error {
	if err == nil {
		return amqp.ErrClosed
	}
	return err
}

// failed notes why nothing is consumed, and logs it when it changes; nil means that it is.
func (s *subscription) failed(err error) {
	if hasCode(err, amqp.NotFound) {
		err = fmt.Errorf("the queue does not exist: %w", err)
	}
	s.mu.Lock()
	before := s.err
	s.err = err
	s.mu.Unlock()
	log := s.transport.options.Logger.With(slog.String("queue", s.queue))
	switch {
	case err == nil:
		if before != nil {
			log.Info("consuming", slog.Int("prefetch", s.topic.Prefetch))
		}
	case errors.Is(err, ErrNotConnected): // The link says so.
	case before == nil || before.Error() != err.Error():
		log.Warn("not consuming", slog.Any("error", err))
	}
}

// state returns nil while the queue is consumed, or is not to be.
func (s *subscription) state() error {
	if s.window.get() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return fmt.Errorf("consuming queue %s: %w", s.queue, s.err)
	}
	return nil
}
