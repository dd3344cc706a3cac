package rabbitmq

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// lookEvery is how often the messages behind an unfinished one are looked at, as long as their acks may linger. While none of
// them is settled it is less and less often, up to patience.
const lookEvery = linger

// inHands is a message in the subscriber's hands, and what is to be known of its delivery.
type inHands struct {
	msg         *message.Message
	tag         uint64
	redelivered bool
	acks        *acks
	ended       <-chan struct{} // closed with the channel that it came on
	cancel      context.CancelFunc
}

// hands are the messages of a subscription in the subscriber's hands, in the order in which they were given. One goroutine
// waits for all of them: for the oldest, and looks at the others every lookEvery. A message is mostly settled soon after the one
// before it, and is then found without a turn of the scheduler.
type hands struct {
	mu    sync.Mutex
	given []*inHands // and not yet seen by settle
	none  bool       // no more come
	wake  chan struct{}
}

func newHands() *hands { return &hands{wake: make(chan struct{}, 1)} }

func (h *hands) add(m *inHands) {
	h.mu.Lock()
	h.given = append(h.given, m)
	first := len(h.given) == 1
	h.mu.Unlock()
	if first {
		h.signal()
	}
}

// end says that no more come.
func (h *hands) end() {
	h.mu.Lock()
	h.none = true
	h.mu.Unlock()
	h.signal()
}

func (h *hands) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take moves what was given to the end of line.
func (h *hands) take(line []*inHands) (longer []*inHands, none bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	line = append(line, h.given...)
	clear(h.given)
	h.given = h.given[:0]
	return line, h.none
}

// settle tells the acks of the messages' channels what became of them until no more come and all are settled, or until the
// drain time is over: what is in hand then is left to the broker.
func (s *subscription) settle() {
	var nacked sync.WaitGroup
	defer nacked.Wait()
	look, every, armed := time.NewTimer(lookEvery), lookEvery, true
	defer look.Stop()
	var line []*inHands
	for {
		var none bool
		if line, none = s.hands.take(line); len(line) == 0 {
			if none {
				return
			}
			<-s.hands.wake
			continue
		}
		var more <-chan struct{}
		if len(line) == 1 { // and nothing behind it to look at
			more = s.hands.wake
		} else if !armed {
			look.Reset(every)
			armed = true
		}
		before, all := len(line), false
		select {
		case <-line[0].msg.Acked():
		case <-line[0].msg.Nacked():
		case <-more:
			continue
		case <-look.C:
			armed, all = false, true
		case <-s.over:
			line, _ = s.hands.take(line)
			for _, m := range s.sweep(line, true, &nacked) {
				m.cancel()
			}
			return
		}
		line = s.sweep(line, all, &nacked)
		if all && len(line) == before {
			every = min(2*every, patience)
		} else {
			every = lookEvery
		}
	}
}

// sweep passes on what became of the messages at the beginning of the line, or with all of every one, and returns the rest.
func (s *subscription) sweep(line []*inHands, all bool, nacked *sync.WaitGroup) []*inHands {
	if all {
		return slices.DeleteFunc(line, func(m *inHands) bool { return s.settled(m, nacked) })
	}
	for len(line) > 0 && s.settled(line[0], nacked) {
		line[0] = nil
		line = line[1:]
	}
	return line
}

// settled says whether a message is, and passes that on.
func (s *subscription) settled(m *inHands, nacked *sync.WaitGroup) bool {
	switch {
	case isClosed(m.msg.Acked()):
		m.cancel()
		m.acks.ack(m.tag)
		s.window.add(-1)
	case isClosed(m.msg.Nacked()):
		m.cancel()
		nacked.Go(func() {
			s.pause(m)
			m.acks.requeue(m.tag)
			s.window.add(-1)
		})
	default:
		return false
	}
	return true
}

// pause waits before a nacked message goes back: a broker gives it again at once.
func (s *subscription) pause(m *inHands) {
	pause := s.transport.options.NackPause
	if m.redelivered {
		pause *= 10
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.ended:
	case <-s.stop.Done():
	}
}
