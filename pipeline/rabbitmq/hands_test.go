package rabbitmq

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// deaf is a channel that takes acks.
type deaf struct{}

func (deaf) Ack(uint64, bool) error        { return nil }
func (deaf) Nack(uint64, bool, bool) error { return nil }

// withInHand is a subscription with messages in the subscriber's hands.
func withInHand(n int) (*subscription, []*inHands) {
	s := &subscription{stop: context.Background(), over: make(chan struct{}), window: newWindow(n), hands: newHands()}
	a := newAcks(deaf{}, n)
	var given []*inHands
	for tag := range uint64(n) {
		a.deliver()
		s.window.add(1)
		given = append(given, &inHands{msg: message.NewMessage("m", nil), tag: tag + 1, acks: a, cancel: func() {}})
	}
	return s, given
}

func (w *window) taken() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inHand
}

// What is settled behind an unfinished message is not kept.
func TestTheLineBehindAStuckMessageStaysShort(t *testing.T) {
	t.Parallel()
	s, line := withInHand(1000)
	for _, m := range line[1:] {
		m.msg.Ack()
	}
	var nacked sync.WaitGroup
	if rest := s.sweep(line, true, &nacked); len(rest) != 1 || s.window.taken() != 1 {
		t.Errorf("%d messages are in line, %d in hand, want the stuck one", len(rest), s.window.taken())
	}
}

// However busy the beginning of the line is, the end is looked at in time; and no longer than that are acks waited for that come
// when the drain time is over.
func TestMessagesBehindUnfinishedOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		s, given := withInHand(n)
		for _, m := range given {
			s.hands.add(m)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.settle()
		}()
		time.Sleep(20 * lookEvery) // nothing is settled: the looks are rare now
		given[n-1].msg.Ack()
		const heads = 30
		for _, m := range given[:heads] {
			time.Sleep(lookEvery / 4) // of the bubble
			m.msg.Ack()
		}
		synctest.Wait()
		if got := s.window.taken(); got != n-heads-1 {
			t.Errorf("%d messages are in hand, want %d: the last of the line was not looked at in %v", got, n-heads-1, heads*lookEvery/4)
		}
		given[n-2].msg.Ack()
		close(s.over)
		<-ended
		if got := s.window.taken(); got != n-heads-2 {
			t.Errorf("%d messages are in hand after the drain time, want %d", got, n-heads-2)
		}
	})
}
