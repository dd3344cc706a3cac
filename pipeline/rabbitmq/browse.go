package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

const (
	// browseWindow is how many letters a consumer of Browse gets: as many bodies are in memory. What is kept stays
	// unacknowledged, so the next ones need another consumer.
	browseWindow = 200
	// maxDrops is how many letters are dropped at once.
	maxDrops = 100
	// browseIdle is how long no letter comes before Browse asks whether there are any.
	browseIdle = 500 * time.Millisecond
)

var _ pipeline.Postbox = (*Transport)(nil)

// Browse visits the messages of a topic without subscribers, as [pipeline.Postbox] says: those that its queue has when it
// begins, one after the other, with at most 200 bodies in memory. All it does goes over one channel, whose end gives back to
// the queue what was kept, which may take a moment longer than Browse; a quorum queue does not keep the order. Letters in the
// hand of another browser are not seen.
//
// A replay and the end of its letter are one AMQP transaction: whenever the client dies, the broker has done both or
// neither. This holds on classic and quorum queues, as the broker's channel carries out a commit as a whole. With a confirmed
// publication first and the ack after it, a client that dies in between would leave both.
//
// But a transaction does not make the two queues' disks one: a commit does not hold the ack back until the message is on
// disk, so a broker that dies within that moment may have both or none of them afterwards. So when the connection is lost
// before the answer to a commit, Browse waits for the next one, and publishes the replay once more unless the letter is
// still there: that one is confirmed, and marked by [pipeline.MetadataRepeated]. Only if broker and client die in the same
// moment, a letter can be gone.
//
// A replay to a queue that does not exist is [ErrUnroutable], one to a classic queue that is full [ErrRefused]; both keep the
// letter. RabbitMQ 3.10 does not tell of a full quorum queue in a transaction, and the message would be gone: do not limit
// the length of quorum queues that are replayed to (ours have no limit).
//
// A topic without a queue is [ErrNoQueue].
func (t *Transport) Browse(ctx context.Context, topic string, visit func(*message.Message) (pipeline.Fate, error)) error {
	t.mu.Lock()
	known, ok := t.topics[topic]
	closing := t.closing
	if !closing {
		t.publicationsDone.Add(1)
	}
	t.mu.Unlock()
	if closing {
		return fmt.Errorf("browsing topic %s: %w", topic, ErrClosed)
	}
	defer t.publicationsDone.Done()
	switch {
	case !ok:
		return fmt.Errorf("browsing topic %s: unknown, neither in Options.Topics nor declared", topic)
	case known.Prefetch > 0 || known.Delay > 0:
		return fmt.Errorf("browsing topic %s: it has subscribers or a delay; only a poison topic can be browsed", topic)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.stopping, func() { cancel(ErrClosed) })()
	// Not the other connection: a broker that blocks publications would hold up the acks of subscriptions.
	conn, err := t.publishing.connection(ctx)
	if err == nil {
		b := &browser{transport: t, topic: topic, queue: t.options.queueName(topic), conn: conn}
		err = b.run(ctx, visit)
	}
	if err != nil {
		return t.redact(fmt.Errorf("browsing topic %s: %w", topic, err))
	}
	return nil
}

// browser looks through one queue.
type browser struct {
	transport    *Transport
	topic, queue string
	conn         *amqp.Connection
	ch           *amqp.Channel
	returns      chan amqp.Return
	drops        int // acked in the open transaction
	// committing says that a replay's commit was sent and has no answer.
	committing atomic.Bool
	abandoned  bool // a call did not end in time: its goroutine may still use the fields above
}

func (b *browser) run(ctx context.Context, visit func(*message.Message) (pipeline.Fate, error)) error {
	var left int
	err := b.call(ctx, func() (err error) {
		if b.ch, err = b.conn.Channel(); err != nil {
			return fmt.Errorf("%w: opening a channel: %w", ErrNotConnected, err)
		}
		b.returns = b.ch.NotifyReturn(make(chan amqp.Return, 4))
		if err = b.ch.Tx(); err != nil {
			return fmt.Errorf("opening a transaction: %w", err)
		}
		left, err = b.depth()
		return err
	})
	if err != nil {
		return err
	}
	defer b.transport.closeChannel(b.ch)
	for n := 0; left > 0 && err == nil; n++ {
		visited := 0
		visited, err = b.batch(ctx, fmt.Sprint("browser-", n), left, visit)
		if visited < browseWindow { // There are no more.
			break
		}
		left -= visited
	}
	if !b.abandoned && b.drops > 0 && !b.ch.IsClosed() {
		finish, cancel := b.finishing(ctx)
		defer cancel()
		err = errors.Join(err, b.call(finish, b.commitDrops))
	}
	return err
}

// batch visits letters over a consumer of its own, browseWindow at least and at most those left, and returns how many. It
// ends early if there are no more.
func (b *browser) batch(
	ctx context.Context, tag string, left int, visit func(*message.Message) (pipeline.Fate, error),
) (visited int, err error) {
	n := min(left, browseWindow)
	var letters <-chan amqp.Delivery
	err = b.call(ctx, func() (err error) {
		if err = b.ch.Qos(n, 0, false); err != nil {
			return fmt.Errorf("setting the prefetch: %w", err)
		}
		if letters, err = b.ch.Consume(b.queue, tag, false, false, false, false, nil); err != nil {
			return fmt.Errorf("consuming queue %s: %w", b.queue, err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	idle := time.NewTimer(browseIdle)
	defer idle.Stop()
	empty := false // as the queue was when we asked last
	for visited < n {
		select {
		case d, ok := <-letters:
			if !ok {
				return visited, fmt.Errorf("%w: the broker ended the consumer of queue %s", ErrNotConnected, b.queue)
			}
			visited++
			if err := b.visit(ctx, d, visit); err != nil {
				return visited, err
			}
			empty = false
			idle.Reset(browseIdle)
		case <-idle.C:
			var depth int
			if err := b.call(ctx, func() (err error) { depth, err = b.depth(); return err }); err != nil {
				return visited, err
			}
			if depth == 0 && empty { // Twice: the first answer may have overtaken a letter.
				return visited, nil
			}
			empty = depth == 0
			idle.Reset(browseIdle)
		case <-ctx.Done():
			return visited, context.Cause(ctx)
		}
	}
	if visited == left {
		return visited, nil
	}
	// What more it got, as acks made room, is visited too: it would be back only when the channel ends.
	err = b.call(ctx, func() error { return b.ch.Cancel(tag, false) })
	if err != nil {
		return visited, fmt.Errorf("ending a consumer of queue %s: %w", b.queue, err)
	}
	for d := range letters {
		if visited == left {
			continue
		}
		visited++
		if err := b.visit(ctx, d, visit); err != nil {
			return visited, err
		}
	}
	return visited, nil
}

// visit asks for a letter's fate and brings it about.
func (b *browser) visit(ctx context.Context, d amqp.Delivery, visit func(*message.Message) (pipeline.Fate, error)) error {
	msg := b.transport.unmarshal(d)
	msg.SetContext(ctx)
	fate, err := visit(msg)
	switch {
	case err != nil:
	case fate.Replay != nil:
		err = b.replay(ctx, d, fate)
	case fate.Drop:
		finish, cancel := b.finishing(ctx)
		defer cancel()
		err = b.call(finish, func() error {
			if err := b.ch.Ack(d.DeliveryTag, false); err != nil {
				return fmt.Errorf("dropping: %w", err)
			}
			if b.drops++; b.drops < maxDrops {
				return nil
			}
			return b.commitDrops()
		})
	}
	if err != nil {
		return fmt.Errorf("message %s: %w", msg.UUID, err)
	}
	return nil
}

func (b *browser) commitDrops() error {
	if b.drops == 0 {
		return nil
	}
	if err := b.ch.TxCommit(); err != nil {
		return fmt.Errorf("dropping: %w", err)
	}
	b.drops = 0
	return nil
}

// replay publishes a message and acks the letter it replaces, in one transaction.
func (b *browser) replay(ctx context.Context, d amqp.Delivery, fate pipeline.Fate) error {
	t := b.transport
	t.mu.Lock()
	_, known := t.topics[fate.To]
	t.mu.Unlock()
	if !known {
		return fmt.Errorf("replaying to topic %s: %w: unknown topic, neither in Options.Topics nor declared", fate.To, ErrUnroutable)
	}
	publishing, err := t.options.Marshaler.Marshal(fate.Replay)
	if err == nil {
		err = publishing.Headers.Validate()
	}
	if err != nil {
		return fmt.Errorf("replaying to topic %s: %w", fate.To, err)
	}
	if blocked := t.publishing.unblocked(); blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	finish, cancel := b.finishing(ctx)
	defer cancel()
	queue := t.options.queueName(fate.To)
	err = b.call(finish, func() error { return b.exchange(d, queue, publishing) })
	if err != nil && b.committing.Load() {
		err = b.resolve(ctx, d, fate.To, publishing, err)
	}
	if err != nil {
		return fmt.Errorf("replaying to topic %s: %w", fate.To, err)
	}
	return nil
}

func (b *browser) exchange(d amqp.Delivery, queue string, publishing amqp.Publishing) error {
	if err := b.commitDrops(); err != nil {
		return err
	}
	// A commit acks even if its message turns out to be unroutable. Asking for a queue that does not exist ends the channel,
	// and all on it is as before.
	if _, err := b.ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
		if hasCode(err, amqp.NotFound) {
			return fmt.Errorf("%w: %w", ErrUnroutable, err)
		}
		return fmt.Errorf("asking for queue %s: %w", queue, err)
	}
	if err := b.ch.Publish("", queue, true, false, publishing); err != nil {
		return err
	}
	if err := b.ch.Ack(d.DeliveryTag, false); err != nil {
		return err
	}
	b.committing.Store(true)
	err := b.ch.TxCommit()
	b.committing.Store(err != nil && b.conn.IsClosed()) // An exception of the channel is an answer.
	select {
	case r, ok := <-b.returns: // The broker returns a message before it answers, and the library keeps the order.
		if ok {
			err = fmt.Errorf("%w: routing key %q: %d %s", ErrUnroutable, r.RoutingKey, r.ReplyCode, r.ReplyText)
			return errors.Join(err, b.putBack(d))
		}
	default:
	}
	if err != nil && hasCode(err, amqp.PreconditionFailed) {
		// The queue refused the message ("partial tx completion"); the ack has happened.
		return errors.Join(fmt.Errorf("%w: %w", ErrRefused, err), b.putBack(d))
	}
	return err
}

// putBack publishes a letter again that was acked while its replay failed: the queue vanished, or refused, in the moment
// of the commit.
func (b *browser) putBack(d amqp.Delivery) error {
	l, err := b.transport.lane(place{topic: b.topic})
	if err != nil {
		return fmt.Errorf("putting the letter back: %w", err)
	}
	defer b.transport.publicationsDone.Done()
	err = l.publish(context.Background(), &publication{
		key: b.queue,
		message: amqp.Publishing{
			Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: amqp.Persistent,
			CorrelationId: d.CorrelationId, MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, Body: d.Body,
		},
		done: make(chan error, 1),
	})
	if err != nil {
		return fmt.Errorf("putting the letter back: %w", err)
	}
	return nil
}

// depth is how many letters the queue has that nobody has in hand.
func (b *browser) depth() (int, error) {
	queue, err := b.ch.QueueDeclarePassive(b.queue, true, false, false, false, nil)
	if hasCode(err, amqp.NotFound) {
		err = errors.Join(ErrNoQueue, err)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the depth of queue %s: %w", b.queue, err)
	}
	return queue.Messages, nil
}

// finishing is a context in which a step is brought to its end, although the caller may have given up: what became of a
// letter is worth a moment.
func (b *browser) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), b.transport.options.ConfirmTimeout, ErrConfirmTimeout)
	stop := context.AfterFunc(b.transport.halting, cancel)
	return ctx, func() { stop(); cancel() }
}

// call does something with the broker and returns when ctx ends, even if the broker does not answer. Nothing else may be
// called after that: do ends with the connection at the latest.
func (b *browser) call(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		b.abandoned = true
		go func() { // It ends with the connection at the latest.
			<-done //nolint:errcheck // whatever became of it: nobody waits any more
			if b.ch != nil {
				b.transport.closeChannel(b.ch)
			}
		}()
		return context.Cause(ctx)
	}
}
