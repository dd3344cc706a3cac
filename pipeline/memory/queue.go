package memory

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"opencti-ipqs-worker/pipeline"
)

// letter is a message that waits or is in hand.
type letter struct {
	uuid     string
	payload  message.Payload
	metadata message.Metadata
	// nacks is how often it was nacked, deliveries how often it was handed out before.
	nacks      int
	deliveries int
	// due is when it leaves a waiting room. gone says that a browser took it out, or has it in hand.
	due  time.Time
	gone bool
	// buffered says that it takes one of the queue's places.
	buffered bool
}

// message is a fresh copy for a handler, which may change its metadata.
func (l *letter) message() *message.Message {
	msg := message.NewMessage(l.uuid, l.payload)
	msg.Metadata = maps.Clone(l.metadata)
	if l.deliveries > 0 {
		msg.Metadata.Set(pipeline.MetadataRedelivered, "true")
		msg.Metadata.Set(pipeline.MetadataDeliveries, strconv.Itoa(l.deliveries))
	}
	return msg
}

// queue keeps the messages of one topic that are not in hand.
type queue struct {
	topic   pipeline.Topic
	carrier *gochannel.GoChannel
	pumped  chan struct{} // closed when the pump has ended

	// places holds one token for each message that Publish put in and nobody took out.
	places chan struct{}
	// wake has a token whenever somebody in take should look again.
	wake chan struct{}

	mu          sync.Mutex
	waiting     []*letter
	head        int // waiting[:head] was taken
	subscribers int
	// deserted is closed while there is no subscriber any more, and a new channel otherwise.
	deserted chan struct{}

	// inHand is how many letters were taken and not settled, window how many may be; below zero it is without limit. shut is
	// closed while the window is zero.
	inHand, window int
	shut           chan struct{}
	// gone is how many of the waiting are gone, browsers how many may bring them back.
	gone, browsers int
	// back is where the letters of a waiting room go, timer when the first one does. Nil in other queues.
	back  *queue
	timer *time.Timer
	ended bool // the timer is not to run any more
}

func newQueue(topic pipeline.Topic, buffer int) *queue {
	q := &queue{
		topic: topic,
		// Publish of this gochannel returns when the pump has put the message into the queue, not when it is handled.
		carrier:  gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{}),
		pumped:   make(chan struct{}),
		places:   make(chan struct{}, buffer),
		wake:     make(chan struct{}, 1),
		deserted: make(chan struct{}),
		window:   -1,
		shut:     make(chan struct{}),
	}
	arrivals, err := q.carrier.Subscribe(context.Background(), topic.Name)
	if err != nil {
		panic(err) // It only fails on a closed gochannel, and this one is new.
	}
	go func() {
		defer close(q.pumped)
		for msg := range arrivals {
			delete(msg.Metadata, pipeline.MetadataRedelivered) // Copied from the message that this one follows.
			delete(msg.Metadata, pipeline.MetadataDeliveries)
			q.put(&letter{uuid: msg.UUID, payload: msg.Payload, metadata: msg.Metadata, buffered: topic.Prefetch > 0})
			msg.Ack()
		}
	}()
	return q
}

// publish waits for a place in the queue and has the message carried there.
func (q *queue) publish(msg *message.Message, closed <-chan struct{}) error {
	if q.topic.Prefetch > 0 { // What nobody takes out is kept without limit.
		if err := q.reserve(msg.Context(), closed); err != nil {
			return err
		}
	}
	return q.carrier.Publish(q.topic.Name, msg)
}

func (q *queue) reserve(ctx context.Context, closed <-chan struct{}) error {
	select {
	case q.places <- struct{}{}:
		return nil
	default:
	}
	q.mu.Lock()
	deserted := q.deserted
	q.mu.Unlock()
	select {
	case q.places <- struct{}{}:
		return nil
	case <-deserted:
		return nil // One more than there are places; release takes that into account.
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-closed:
		return ErrClosed
	}
}

// release gives back the place of a letter that was taken out.
func (q *queue) release() {
	select {
	case <-q.places:
	default: // It was published without one.
	}
}

// put appends a letter: a new one, or one that failed, so that those behind it do not wait for it.
func (q *queue) put(l *letter) {
	q.mu.Lock()
	q.waiting = append(q.waiting, l)
	if q.topic.Delay > 0 {
		l.due = time.Now().Add(q.topic.Delay)
		if len(q.waiting)-q.head == 1 && !q.ended {
			q.wait(q.topic.Delay)
		}
	}
	q.mu.Unlock()
	q.signal()
}

// unread gives back a letter that was taken and not handed out: it is the oldest again.
func (q *queue) unread(l *letter) {
	q.mu.Lock()
	if q.head > 0 {
		q.head--
		q.waiting[q.head] = l
	} else {
		q.waiting = slices.Insert(q.waiting, 0, l)
	}
	q.mu.Unlock()
	q.signal()
}

// take returns the oldest letter. It waits for one until stop or ctx ends, and then returns nil.
func (q *queue) take(ctx context.Context, stop <-chan struct{}) *letter {
	for {
		if ctx.Err() != nil || isClosed(stop) {
			return nil
		}
		if l := q.pop(); l != nil {
			return l
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		case <-stop:
		}
	}
}

func (q *queue) pop() *letter {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.waiting) || q.window >= 0 && q.inHand >= q.window {
		return nil
	}
	q.inHand++
	l := q.next()
	if q.head < len(q.waiting) {
		q.signal() // There is more: wake the next one.
	}
	if l.buffered {
		l.buffered = false
		q.release()
	}
	return l
}

// next takes the oldest letter out. It wants the lock held, and a letter.
func (q *queue) next() *letter {
	l := q.waiting[q.head]
	q.waiting[q.head] = nil
	q.head++
	switch {
	case q.head == len(q.waiting):
		q.waiting, q.head = q.waiting[:0], 0
	case q.head > 64 && q.head*2 > len(q.waiting):
		q.waiting = append(q.waiting[:0], q.waiting[q.head:]...)
		q.head = 0
	}
	return l
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) joined() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.subscribers == 0 && isClosed(q.deserted) {
		q.deserted = make(chan struct{})
	}
	q.subscribers++
}

func (q *queue) left() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.subscribers--; q.subscribers == 0 {
		close(q.deserted)
	}
	q.signal() // The one that left may have taken the token meant for another.
}

func (q *queue) depth() (messages, subscribers int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) - q.head - q.gone, q.subscribers
}

func (q *queue) copies() []*message.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	var found []*message.Message
	for _, l := range q.waiting[q.head:] {
		if !l.gone {
			found = append(found, l.message())
		}
	}
	return found
}

func (q *queue) close() error {
	err := q.carrier.Close()
	<-q.pumped
	q.endWaiting()
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
