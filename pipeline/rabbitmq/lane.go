package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

const (
	// maxUnconfirmed is how many publications of a lane may wait for their confirms: more make none faster, and the client
	// keeps a place for the return of each, a quarter of a kilobyte.
	maxUnconfirmed = 256
	// maxSends is how often a publication is sent whose connection was lost before its confirm.
	maxSends = 3
)

// publication is a message on its way to the broker.
type publication struct {
	exchange, key string
	message       amqp.Publishing
	// marked says that a second sending bears [pipeline.MetadataRepeated]: the first one may have arrived as well.
	marked bool
	// done gets the outcome, once.
	done chan error
	// abandoned says that nobody waits for the outcome any more.
	abandoned atomic.Bool
	// session is the one it was sent on last.
	session atomic.Pointer[confirms]
	// sends counts how often it was sent. Only the lane's goroutine uses it.
	sends int
}

// lane publishes what goes to one place, over one channel in confirm mode and from one goroutine: the order of the wire is
// that of arrival, many publications share a write, and one blocked place does not hold up the others.
type lane struct {
	name           string // for errors: the queue or exchange
	queue          string // empty for an exchange
	link           *link
	connectWait    time.Duration
	confirmTimeout time.Duration
	// prepare is called on each new channel, and when a message came back: it makes the queue that the lane publishes to, if
	// that is ours to make. It may be nil.
	prepare func(*amqp.Channel) error
	in      chan *publication
	done    chan struct{} // closed when the goroutine has ended
}

func newLane(name string, link *link, o Options, prepare func(*amqp.Channel) error) *lane {
	return &lane{
		name:           name,
		link:           link,
		connectWait:    o.ConnectWait,
		confirmTimeout: o.ConfirmTimeout,
		prepare:        prepare,
		in:             make(chan *publication, 64),
		done:           make(chan struct{}),
	}
}

// publish hands publications to the lane and waits for all outcomes, at most for the confirm timeout, and not beyond ctx.
// The error joins those of the publications that are not known to be safe.
func (l *lane) publish(ctx context.Context, publications ...*publication) error {
	timer := time.NewTimer(l.confirmTimeout)
	defer timer.Stop()
	var cut error // why waiting ended early
	for _, p := range publications {
		select {
		case l.in <- p:
			continue
		case <-timer.C:
			cut = l.overdue(publications)
		case <-ctx.Done():
			cut = context.Cause(ctx)
		case <-l.done:
			cut = ErrClosed
		}
		break
	}
	var errs []error
	for _, p := range publications {
		if cut == nil {
			select {
			case err := <-p.done:
				if err != nil {
					errs = append(errs, err)
				}
				continue
			case <-timer.C:
				cut = l.overdue(publications)
			case <-ctx.Done():
				cut = context.Cause(ctx)
			case <-l.done:
				cut = ErrClosed
			}
		}
		select {
		case err := <-p.done:
			errs = append(errs, err)
		default:
			p.abandoned.Store(true)
			errs = append(errs, cut)
		}
	}
	if err := distinct(errs); err != nil {
		return fmt.Errorf("publishing to %s: %w", l.name, err)
	}
	return nil
}

// overdue says why there is no outcome in time. If the broker just does not confirm, the channel is given up: what is wrong
// with it will not pass.
func (l *lane) overdue(publications []*publication) error {
	if err := l.link.state(); err != nil {
		return err
	}
	for _, p := range publications {
		if session := p.session.Load(); session != nil {
			session.drop()
			break
		}
	}
	return fmt.Errorf("%w (%v)", ErrConfirmTimeout, l.confirmTimeout)
}

// run publishes until ctx ends.
func (l *lane) run(ctx context.Context) {
	defer close(l.done)
	var (
		session *confirms
		again   []*publication // lost with their connection, to be sent before others
	)
	for ctx.Err() == nil {
		if session != nil && isClosed(session.ended) {
			again = append(session.unsettled(), again...)
			session = nil
		}
		var p *publication
		if len(again) > 0 {
			p, again = again[0], again[1:]
		} else {
			var ended <-chan struct{}
			if session != nil {
				ended = session.ended
			}
			select {
			case p = <-l.in:
			case <-ended:
				continue
			case <-ctx.Done():
				continue
			}
		}
		if p.abandoned.Load() {
			continue
		}
		if p.sends == maxSends {
			p.done <- fmt.Errorf("%w: the connection was lost %d times before the confirm", ErrNotConnected, maxSends)
			continue
		}
		if session == nil {
			var err error
			if session, err = l.open(ctx); err != nil {
				p.done <- err
				continue
			}
		}
		if l.prepare != nil && session.unroutable.Swap(false) {
			if err := l.prepare(session.ch); err != nil {
				p.done <- err
				continue
			}
		}
		if p.sends++; p.sends > 1 && p.marked {
			p.message.Headers[pipeline.MetadataRepeated] = "true"
		}
		if !session.send(ctx, p) {
			again = append(again, p)
		}
	}
	if session != nil {
		session.close()
	}
	// Whoever still waits sees done.
}

// open waits for the connection and opens a channel on it; on the next connection if that one is lost meanwhile.
func (l *lane) open(ctx context.Context) (*confirms, error) {
	for try := 1; ; try++ {
		conn, err := l.link.connectionWithin(ctx, l.connectWait)
		if err != nil {
			return nil, err
		}
		s, err := l.openOn(conn)
		if err == nil || !conn.IsClosed() {
			return s, err
		}
		if try == maxSends {
			return nil, fmt.Errorf("%w: the connection was lost %d times: %w", ErrNotConnected, maxSends, err)
		}
	}
}

func (l *lane) openOn(conn *amqp.Connection) (*confirms, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("opening a channel: %w", err)
	}
	if l.prepare != nil {
		err = l.prepare(ch)
	}
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		return nil, errors.Join(err, ignoreClosed(ch.Close()))
	}
	s := newConfirms(conn, ch, l.link)
	go s.run()
	return s, nil
}

// distinct joins errors without repeating equal texts: a thousand publications fail for one reason.
func distinct(errs []error) error {
	var found []error
	seen := make(map[string]bool)
	for _, err := range errs {
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			found = append(found, err)
		}
	}
	return errors.Join(found...)
}

// ignoreClosed drops the error of closing what is closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, amqp.ErrClosed) {
		return nil
	}
	return err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
