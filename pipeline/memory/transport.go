package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
)

// ErrClosed is returned by calls on a transport that is closing or closed.
var ErrClosed = errors.New("the in-memory transport is closed")

// Options says how a transport behaves. The zero value is ready for use.
type Options struct {
	// Topics are declared from the start, as by Declare.
	Topics []pipeline.Topic
	// Buffer is how many messages of one topic wait for a subscriber before Publish waits for room. Zero means 1024.
	Buffer int
	// DrainTimeout is how long the messages in hand may still be settled after the context of Subscribe has ended or
	// Close was called. Zero means 25 s.
	DrainTimeout time.Duration
}

// Transport is a [pipeline.Transport] within the process. Its methods are safe for concurrent use.
type Transport struct {
	buffer       int
	drainTimeout time.Duration

	draining chan struct{} // closed when Close begins: nothing more is handed out
	closed   chan struct{} // closed when everything in hand is settled or given up: nothing more is accepted

	mu            sync.Mutex
	queues        map[string]*queue
	windows       map[string]int // by topic, as SetWindow was told
	isDraining    bool
	isClosed      bool
	subscriptions sync.WaitGroup
	publishing    sync.WaitGroup
	closeOnce     sync.Once
	closeErr      error
}

var (
	_ pipeline.Transport = (*Transport)(nil)
	_ pipeline.Narrower  = (*Transport)(nil)
	_ pipeline.Postbox   = (*Transport)(nil)
)

// New makes a transport with the topics of o.
func New(o Options) *Transport {
	t := &Transport{
		buffer:       o.Buffer,
		drainTimeout: o.DrainTimeout,
		draining:     make(chan struct{}),
		closed:       make(chan struct{}),
		queues:       make(map[string]*queue),
		windows:      make(map[string]int),
	}
	if t.buffer <= 0 {
		t.buffer = 1024
	}
	if t.drainTimeout <= 0 {
		t.drainTimeout = 25 * time.Second
	}
	for _, topic := range o.Topics {
		t.add(topic)
	}
	t.connect()
	return t
}

// Declare makes the queues of topics; one that exists stays as it is. Foreign topics are made too: nobody else is here.
func (t *Transport) Declare(_ context.Context, topics ...pipeline.Topic) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isDraining {
		return fmt.Errorf("declaring topics: %w", ErrClosed)
	}
	for _, topic := range topics {
		if _, ok := t.queues[topic.Name]; !ok {
			t.add(topic)
		}
	}
	t.connect()
	return nil
}

// add makes a topic's queue. Like connect it wants the lock held.
func (t *Transport) add(topic pipeline.Topic) {
	q := newQueue(topic, t.buffer)
	if n, ok := t.windows[topic.Name]; ok {
		q.setWindow(n)
	}
	t.queues[topic.Name] = q
}

// connect tells waiting rooms where their messages go back to.
func (t *Transport) connect() {
	for _, q := range t.queues {
		if q.topic.Delay > 0 {
			q.setBack(t.queues[q.topic.Back])
		}
	}
}

// Publish puts messages into the queue of topic, in order. While the queue is full it waits for room, until the context
// of the message ends or the transport closes; messages before that one are published. A message whose context has ended
// already is still published if there is room.
//
// Once the last subscriber of a topic has left, nobody would make room, so what is published then does not wait.
func (t *Transport) Publish(topic string, messages ...*message.Message) error {
	t.mu.Lock()
	q, ok := t.queues[topic]
	if t.isClosed {
		t.mu.Unlock()
		return fmt.Errorf("publishing to topic %s: %w", topic, ErrClosed)
	}
	if !ok {
		t.mu.Unlock()
		return fmt.Errorf("publishing to topic %s: not declared", topic)
	}
	if q.topic.Delay > 0 && t.queues[q.topic.Back] == nil {
		t.mu.Unlock()
		return fmt.Errorf("publishing to topic %s: its messages go back to topic %q, which is not declared", topic, q.topic.Back)
	}
	t.publishing.Add(1)
	t.mu.Unlock()
	defer t.publishing.Done()

	for _, msg := range messages {
		if err := q.publish(msg, t.closed); err != nil {
			return fmt.Errorf("publishing to topic %s: %w", topic, err)
		}
	}
	return nil
}

// Subscribe hands out the messages of topic, at most Topic.Prefetch at once. Several subscriptions share the messages. See
// [pipeline.Transport] for what happens when ctx ends.
func (t *Transport) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, ok := t.queues[topic]
	switch {
	case t.isDraining:
		return nil, fmt.Errorf("subscribing to topic %s: %w", topic, ErrClosed)
	case !ok:
		return nil, fmt.Errorf("subscribing to topic %s: not declared", topic)
	case q.topic.Prefetch <= 0:
		return nil, fmt.Errorf("subscribing to topic %s: its prefetch is 0, nobody is to subscribe", topic)
	}
	s := newSubscription(ctx, q, t.draining, t.drainTimeout)
	q.joined()
	t.subscriptions.Go(func() {
		s.run()
		q.left()
	})
	return s.out, nil
}

// DeadLetters returns copies of the messages kept in a topic without subscribers, oldest first.
func (t *Transport) DeadLetters(topic string) []*message.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, ok := t.queues[topic]
	if !ok || q.topic.Prefetch > 0 {
		return nil
	}
	return q.copies()
}

// Depth returns how many messages of topic wait to be handed out, and how many subscriptions there are.
func (t *Transport) Depth(_ context.Context, topic string) (messages, consumers int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, ok := t.queues[topic]
	if !ok {
		return 0, 0, fmt.Errorf("reading the depth of topic %s: not declared", topic)
	}
	messages, consumers = q.depth()
	return messages, consumers, nil
}

// Ready returns nil until Close is called.
func (t *Transport) Ready() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isDraining {
		return ErrClosed
	}
	return nil
}

// Close ends all subscriptions as the end of their contexts would, waits until they have drained, and then refuses further
// messages. Handlers may publish while it drains. Further calls wait for the first.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() {
		t.mu.Lock()
		t.isDraining = true
		close(t.draining)
		t.mu.Unlock()
		t.subscriptions.Wait()

		t.mu.Lock()
		t.isClosed = true
		close(t.closed)
		t.mu.Unlock()
		t.publishing.Wait()

		t.mu.Lock()
		defer t.mu.Unlock()
		for _, q := range t.queues {
			t.closeErr = errors.Join(t.closeErr, q.close())
		}
	})
	return t.closeErr
}
