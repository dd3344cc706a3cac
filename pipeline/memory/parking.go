package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
)

// SetWindow sets how many messages of topic may be in hand at once, over all its subscriptions: 0 hands out nothing new,
// the topic's Prefetch or more is no limit beyond that of each subscription. It may be called before the topic is declared.
func (t *Transport) SetWindow(topic string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.windows[topic] = n
	if q, ok := t.queues[topic]; ok {
		q.setWindow(n)
	}
}

// Browse visits the messages of a topic without subscribers, as [pipeline.Postbox] says. Two that browse at once see
// different messages while one of them has a message in hand. A replay waits for room in its topic until ctx ends.
func (t *Transport) Browse(ctx context.Context, topic string, visit func(*message.Message) (pipeline.Fate, error)) error {
	t.mu.Lock()
	q, ok := t.queues[topic]
	t.mu.Unlock()
	switch {
	case !ok:
		return fmt.Errorf("browsing topic %s: not declared", topic)
	case q.topic.Prefetch > 0 || q.topic.Delay > 0:
		return fmt.Errorf("browsing topic %s: it has subscribers or a delay; only a poison topic can be browsed", topic)
	}
	letters := q.snapshot()
	defer q.sweep()
	for _, l := range letters {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("browsing topic %s: %w", topic, context.Cause(ctx))
		}
		if !q.claim(l) {
			continue
		}
		fate, err := visit(l.message())
		if err == nil && fate.Replay != nil {
			replay := fate.Replay.Copy() // Its context is the caller's; this one waits as long as we do.
			replay.SetContext(ctx)
			err = t.Publish(fate.To, replay)
		}
		if err != nil {
			q.unclaim(l)
			return fmt.Errorf("browsing topic %s: message %s: %w", topic, l.uuid, err)
		}
		if fate.Replay == nil && !fate.Drop {
			q.unclaim(l)
		}
	}
	return nil
}

// setWindow changes how many letters may be in hand.
func (q *queue) setWindow(n int) {
	n = max(n, 0)
	if n >= q.topic.Prefetch {
		n = -1
	}
	q.mu.Lock()
	switch {
	case n == q.window:
	case n == 0:
		close(q.shut)
	case q.window == 0:
		q.shut = make(chan struct{})
	}
	q.window = n
	q.mu.Unlock()
	q.signal()
}

// closedWindow returns a channel that is closed while nothing is to be handed out.
func (q *queue) closedWindow() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.shut
}

// settled notes that a letter is not in hand any more.
func (q *queue) settled() {
	q.mu.Lock()
	q.inHand--
	q.mu.Unlock()
	q.signal()
}

func (q *queue) setBack(back *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.back = back
}

// wait sets the timer of a waiting room. It wants the lock held.
func (q *queue) wait(d time.Duration) {
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.expire)
		return
	}
	q.timer.Reset(d)
}

// expire sends back all letters that have waited long enough: as they came, and without waiting for room.
func (q *queue) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	now := time.Now()
	for q.head < len(q.waiting) {
		if left := q.waiting[q.head].due.Sub(now); left > 0 {
			q.wait(left)
			return
		}
		q.back.put(q.next())
	}
}

// endWaiting stops the timer: what still waits is kept.
func (q *queue) endWaiting() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	if q.timer != nil {
		q.timer.Stop()
	}
}

// snapshot begins to browse; sweep ends it.
func (q *queue) snapshot() []*letter {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.browsers++
	return slices.Clone(q.waiting[q.head:])
}

// claim takes a letter out, unless somebody else did; unclaim puts it back in its place.
func (q *queue) claim(l *letter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.gone {
		return false
	}
	l.gone = true
	q.gone++
	return true
}

func (q *queue) unclaim(l *letter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.gone = false
	q.gone--
}

// sweep removes the letters that are gone when nobody browses any more: until then one of them may come back.
func (q *queue) sweep() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.browsers--; q.browsers > 0 {
		return
	}
	q.waiting = slices.DeleteFunc(q.waiting[q.head:], func(l *letter) bool { return l.gone })
	q.head, q.gone = 0, 0
}
