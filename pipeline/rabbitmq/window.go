package rabbitmq

import (
	"sync"

	"opencti-ipqs-worker/pipeline"
)

var _ pipeline.Narrower = (*Transport)(nil)

// SetWindow sets how many messages of topic each of its subscriptions may have in hand at once, from here on. At 0 the
// consumer is cancelled, and what was delivered but not handed out goes back to the queue, where another process may take
// it; it is marked as redelivered then, and a quorum queue counts a delivery. Other numbers make the consumer anew with that
// prefetch. It only notes the number, whatever the state of the connection, and may be called at any time and rate.
func (t *Transport) SetWindow(topic string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.windows[topic] = n
	for s := range t.subscriptions {
		if s.topic.Name == topic {
			s.window.set(n)
		}
	}
}

// window is how many messages a subscription may have in hand, and how many it has.
type window struct {
	most int // the prefetch of the topic
	// changed has a token when the window was changed, or when there is room again after there was none.
	changed chan struct{}

	mu     sync.Mutex
	size   int
	inHand int
	full   bool // room has said no
}

func newWindow(most int) *window {
	return &window{most: most, size: most, changed: make(chan struct{}, 1)}
}

func (w *window) set(n int) {
	n = max(0, min(n, w.most))
	w.mu.Lock()
	defer w.mu.Unlock()
	if n != w.size {
		w.size = n
		w.signal()
	}
}

func (w *window) get() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

// room says whether one more may be in hand. If not, changed tells when to ask again.
func (w *window) room() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = w.inHand >= w.size
	return !w.full
}

func (w *window) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inHand += n
	if n < 0 && w.full {
		w.signal()
	}
}

// signal wants the lock held.
func (w *window) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
