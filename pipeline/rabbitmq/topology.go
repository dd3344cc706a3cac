package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

// Declare makes the durable queues of topics, or of Options.Topics if none are given, and makes them again later should
// they vanish. What returns from a topic with a delay, or goes to a poison topic by the broker, must find its topic known
// by then: a classic queue drops what it cannot pass on. Foreign topics only become known. It waits for the connection until ctx ends. A queue that exists with other
// properties is [ErrMismatch].
func (t *Transport) Declare(ctx context.Context, topics ...pipeline.Topic) error {
	if len(topics) == 0 {
		topics = t.options.Topics
	}
	for _, topic := range topics {
		if err := t.options.validateTopic(topic); err != nil {
			return fmt.Errorf("declaring topics: %w", err)
		}
	}
	var ours []pipeline.Topic
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return fmt.Errorf("declaring topics: %w", ErrClosed)
	}
	for _, topic := range topics {
		t.topics[topic.Name] = topic
	}
	for _, topic := range topics {
		for _, to := range []string{topic.Back, topic.Poison} {
			if _, ok := t.topics[to]; to != "" && !ok {
				t.mu.Unlock()
				return fmt.Errorf("declaring topic %s: what it passes on goes to topic %q, which is unknown", topic.Name, to)
			}
		}
		if _, foreign := t.options.Foreign[topic.Name]; !foreign {
			ours = append(ours, topic)
		}
	}
	t.mu.Unlock()
	if len(ours) == 0 {
		return nil
	}
	refused := make(chan pipeline.Topic, 1) // and no variable: the answer may come when nobody waits for it any more
	err := t.call(ctx, func(ch *amqp.Channel) error {
		for _, topic := range ours {
			if err := t.declare(ch, topic.Name); err != nil {
				refused <- topic
				return err
			}
			t.mu.Lock()
			t.declared[topic.Name] = true
			t.mu.Unlock()
		}
		return nil
	})
	if mismatch, ok := errors.AsType[*MismatchError](err); ok {
		return t.explain(ctx, <-refused, mismatch)
	}
	return err
}

// explain finds out whether a queue that exists with other arguments was declared with the other queue type.
func (t *Transport) explain(ctx context.Context, topic pipeline.Topic, mismatch *MismatchError) error {
	queueType, arguments := t.options.OtherType(topic)
	err := t.call(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(mismatch.Queue, true, false, false, false, arguments)
		return err
	})
	if err == nil {
		return mismatch.OfType(queueType, t.options.QueueType)
	}
	return mismatch
}

// ErrNoQueue says that there is no such queue, as nobody has made it yet or somebody has deleted it.
var ErrNoQueue = errors.New("there is no such queue")

// Depth returns how many messages of topic wait in its queue, without those in the hands of consumers, and how many
// consumers it has, anybody's. The error is [ErrNoQueue] if there is no such queue.
func (t *Transport) Depth(ctx context.Context, topic string) (messages, consumers int, err error) {
	name := t.options.queueName(topic)
	found := make(chan amqp.Queue, 1) // and no variable: the answer may come when nobody waits for it any more
	err = t.call(ctx, func(ch *amqp.Channel) error {
		queue, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		if hasCode(err, amqp.NotFound) {
			err = errors.Join(ErrNoQueue, err)
		}
		if err != nil {
			return fmt.Errorf("reading the depth of queue %s: %w", name, err)
		}
		found <- queue
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	queue := <-found
	return queue.Messages, queue.Consumers, nil
}

// restore declares the topic's queue if we made it before: it may have been deleted, or the broker lost its data.
func (t *Transport) restore(ch *amqp.Channel, topic string) error {
	t.mu.Lock()
	ours := t.declared[topic]
	t.mu.Unlock()
	if !ours {
		return nil
	}
	return t.declare(ch, topic)
}

func (t *Transport) declare(ch *amqp.Channel, topic string) error {
	name := t.options.queueName(topic)
	t.mu.Lock()
	known := t.topics[topic]
	t.mu.Unlock()
	if _, err := ch.QueueDeclare(name, true, false, false, false, t.options.arguments(known)); err != nil {
		return declaring(name, err)
	}
	return nil
}

// call does something on a channel of its own, waiting for the connection. It returns when ctx ends, even if the broker
// does not answer: do may go on then, and must not write to what its caller reads.
func (t *Transport) call(ctx context.Context, do func(*amqp.Channel) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.stopping, cancel)()
	conn, err := t.consuming.connection(ctx)
	if err != nil {
		return t.redact(err)
	}
	done := make(chan error, 1)
	go func() { // It ends with the connection at the latest.
		ch, err := conn.Channel()
		if err != nil {
			done <- fmt.Errorf("%w: opening a channel: %w", ErrNotConnected, err)
			return
		}
		done <- do(ch)
		t.closeChannel(ch)
	}()
	select {
	case err := <-done:
		return t.redact(err)
	case <-ctx.Done():
		if t.stopping.Err() != nil {
			return ErrClosed
		}
		return context.Cause(ctx)
	}
}

// closeChannel closes a channel and waits for the broker's answer, but not for long: it confirms that all that was sent
// before, such as acks, has arrived.
func (t *Transport) closeChannel(ch *amqp.Channel) {
	done := make(chan struct{})
	go func() { // It ends with the connection at the latest.
		defer close(done)
		_ = ch.Close() // It may be closed already.
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
