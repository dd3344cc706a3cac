package rabbitmq

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// confirms is one channel in confirm mode, with the publications that wait for their confirms. The lane's goroutine sends,
// the goroutine of run settles.
type confirms struct {
	conn *amqp.Connection
	ch   *amqp.Channel
	link *link

	closes  chan *amqp.Error
	returns chan amqp.Return
	// flights are the publications sent, in order. Its size is the limit of what may be unconfirmed.
	flights chan flight
	// returned are the returns not yet matched with their publications.
	returned []amqp.Return
	// unroutable says that a message came back: its queue may be missing.
	unroutable atomic.Bool

	dropOnce sync.Once
	dropped  chan struct{} // closed to give the channel up: the broker does not confirm
	quitOnce sync.Once
	quit     chan struct{} // closed to end in order
	// ended is closed when run has ended; lost then has the publications that may be sent again on another channel.
	ended chan struct{}
	lost  []*publication
}

type flight struct {
	publication *publication
	confirm     *amqp.DeferredConfirmation
}

func newConfirms(conn *amqp.Connection, ch *amqp.Channel, link *link) *confirms {
	return &confirms{
		conn:   conn,
		ch:     ch,
		link:   link,
		closes: ch.NotifyClose(make(chan *amqp.Error, 1)),
		// One for each publication that can be on its way: amqp091-go drops what does not fit for long.
		returns: ch.NotifyReturn(make(chan amqp.Return, maxUnconfirmed+2)),
		flights: make(chan flight, maxUnconfirmed),
		dropped: make(chan struct{}),
		quit:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
}

// send publishes p, after waiting for room and for a broker that takes publications. False means that the channel ended,
// and that p was not sent or may not have been.
func (s *confirms) send(ctx context.Context, p *publication) bool {
	if blocked := s.link.unblocked(); blocked != nil {
		select {
		case <-blocked:
		case <-s.ended:
			return false
		case <-ctx.Done():
			return false
		}
		if p.abandoned.Load() {
			return true
		}
	}
	p.session.Store(s)
	confirm, err := s.ch.PublishWithDeferredConfirm(p.exchange, p.key, true, false, p.message)
	if err != nil {
		<-s.ended // The library ends a channel on which it could not write.
		return false
	}
	select {
	case s.flights <- flight{p, confirm}:
		return true
	case <-s.ended:
		return false
	}
}

// run settles publications in the order in which they were sent until the channel ends.
func (s *confirms) run() {
	defer close(s.ended)
	for {
		var f flight
		select {
		case f = <-s.flights:
		case err := <-s.closes:
			s.finish(err, nil)
			return
		case <-s.dropped:
			s.giveUp(nil)
			return
		case <-s.quit:
			_ = s.ch.Close() // The connection may be gone already.
			return
		}
		select {
		case <-f.confirm.Done():
		case <-s.dropped:
			s.giveUp(f.publication)
			return
		}
		// The broker returns a message before it confirms it, and the library keeps the order.
		s.collectReturns()
		switch {
		case f.confirm.Acked():
			f.publication.done <- s.routed(f.publication)
		case s.ch.IsClosed(): // The library refuses all that is open when the channel closes.
			s.finish(<-s.closes, f.publication)
			return
		default:
			f.publication.done <- ErrRefused
		}
	}
}

// finish settles what was open when the channel closed. After the loss of a connection it can be sent again on the next;
// after an exception of the channel it fails: one of the publications is the cause.
func (s *confirms) finish(err *amqp.Error, head *publication) {
	var outcome error
	switch {
	case s.conn.IsClosed() || err == nil:
	case err.Code == amqp.NotFound:
		outcome = fmt.Errorf("%w: %w", ErrUnroutable, err) // No such exchange.
	default:
		outcome = fmt.Errorf("the broker closed the channel: %w", err)
	}
	for _, p := range s.open(head) {
		if outcome == nil {
			s.lost = append(s.lost, p)
			continue
		}
		p.done <- outcome
	}
}

// giveUp fails all that is open and leaves the channel to be closed when the broker answers again.
func (s *confirms) giveUp(head *publication) {
	for _, p := range s.open(head) {
		p.done <- ErrConfirmTimeout
	}
	go func() { _ = s.ch.Close() }() // It ends with the connection at the latest.
}

// open takes what was sent and is not settled.
func (s *confirms) open(head *publication) []*publication {
	var open []*publication
	if head != nil {
		open = append(open, head)
	}
	for {
		select {
		case f := <-s.flights:
			open = append(open, f.publication)
		default:
			return open
		}
	}
}

// unsettled returns what may be sent again. The session has ended, and only the caller sends.
func (s *confirms) unsettled() []*publication {
	return append(s.lost, s.open(nil)...)
}

// drop gives the channel up.
func (s *confirms) drop() { s.dropOnce.Do(func() { close(s.dropped) }) }

// close ends the session in order.
func (s *confirms) close() {
	s.quitOnce.Do(func() { close(s.quit) })
	<-s.ended
}

func (s *confirms) collectReturns() {
	for {
		select {
		case r, ok := <-s.returns:
			if !ok {
				s.returns = nil // Closed with the channel; a nil channel is never ready.
				return
			}
			s.returned = append(s.returned, r)
		default:
			return
		}
	}
}

// routed returns an error if p came back. A return bears no delivery tag. It is matched by destination and content; where
// two equal messages are on their way, it does not matter which of them is told.
func (s *confirms) routed(p *publication) error {
	for i, r := range s.returned {
		if r.Exchange == p.exchange && r.RoutingKey == p.key && r.MessageId == p.message.MessageId &&
			bytes.Equal(r.Body, p.message.Body) {
			s.returned = append(s.returned[:i], s.returned[i+1:]...)
			s.unroutable.Store(true)
			return fmt.Errorf("%w: exchange %q, routing key %q: %d %s",
				ErrUnroutable, r.Exchange, r.RoutingKey, r.ReplyCode, r.ReplyText)
		}
	}
	return nil
}
