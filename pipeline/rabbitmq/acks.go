package rabbitmq

import (
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// linger is how long an ack may wait for others to be sent with it, as one ack of all up to a tag. Single acks cost
	// the broker a quarter more.
	linger = 2 * time.Millisecond
	// patience is how long an ack may wait for the unsettled message before it; then it is sent by itself.
	patience = 10 * time.Millisecond
)

// acker is the part of an AMQP channel that acks needs.
type acker interface {
	Ack(tag uint64, multiple bool) error
	Nack(tag uint64, multiple, requeue bool) error
}

var _ acker = (*amqp.Channel)(nil)

// verdict is what is known of one delivery.
type verdict byte

const (
	inHand verdict = iota
	acked          // by the handler, but the broker was not told
	told           // the broker knows: nothing more to do
)

// acks tells the broker what became of the deliveries of one channel. Tags count up from 1 without gaps, as there is one
// consumer on the channel. It is safe for concurrent use. Errors of the channel are not reported here: they end the channel,
// and the broker delivers again what it does not know of.
type acks struct {
	ch acker
	// rush is how many acks may wait before they are sent without lingering: they hold up as many of the window's places.
	rush int

	mu       sync.Mutex
	first    uint64 // the tag of verdicts[0]
	verdicts []verdict
	waiting  int // acked
	open     int // inHand
	timer    *time.Timer
	armed    bool
	stopped  bool
	late     bool          // the timer waits for stragglers
	idle     chan struct{} // closed when nothing is in hand after drain was called
	draining bool
}

func newAcks(ch acker, prefetch int) *acks {
	a := &acks{ch: ch, rush: max(1, prefetch/4), first: 1, idle: make(chan struct{})}
	a.timer = time.AfterFunc(time.Hour, a.tick)
	a.timer.Stop()
	return a
}

// deliver adds the next delivery.
func (a *acks) deliver() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.verdicts = append(a.verdicts, inHand)
	a.open++
}

// ack notes that the delivery is done. The broker is told soon.
func (a *acks) ack(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.settle(tag, acked) {
		return
	}
	a.waiting++
	switch {
	case a.draining:
		a.flush(true)
	case a.waiting >= a.rush:
		// What is behind an unfinished one waits a little longer for it, while there is room: an ack for each costs more.
		a.flush(a.waiting >= 2*a.rush)
	case !a.armed:
		a.arm(linger, false)
	}
}

// requeue gives the delivery back to the queue.
func (a *acks) requeue(tag uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settle(tag, told) {
		_ = a.ch.Nack(tag, false, true)
	}
}

// settle notes a verdict on a delivery in hand.
func (a *acks) settle(tag uint64, v verdict) bool {
	if a.stopped || tag < a.first || tag >= a.first+uint64(len(a.verdicts)) || a.verdicts[tag-a.first] != inHand {
		return false
	}
	a.verdicts[tag-a.first] = v
	a.open--
	if a.draining && a.open == 0 {
		close(a.idle)
	}
	return true
}

func (a *acks) arm(d time.Duration, late bool) {
	a.armed, a.late = true, late
	a.timer.Reset(d)
}

func (a *acks) tick() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.armed || a.stopped {
		return
	}
	a.armed = false
	a.flush(a.late)
}

// flush acks the finished beginning of the deliveries at once, and with stragglers also what is finished behind it.
func (a *acks) flush(stragglers bool) {
	var last uint64 // the last tag of the beginning that the broker was not told of
	n := 0
	for ; n < len(a.verdicts) && a.verdicts[n] != inHand; n++ {
		if a.verdicts[n] == acked {
			last = a.first + uint64(n)
			a.waiting--
		}
	}
	if n > 0 {
		a.verdicts = a.verdicts[:copy(a.verdicts, a.verdicts[n:])]
		a.first += uint64(n)
	}
	if last != 0 {
		_ = a.ch.Ack(last, true)
	}
	if a.waiting == 0 {
		return
	}
	if !stragglers {
		if !a.armed || !a.late {
			a.arm(patience, true)
		}
		return
	}
	for i, v := range a.verdicts {
		if v == acked {
			a.verdicts[i] = told
			a.waiting--
			_ = a.ch.Ack(a.first+uint64(i), false)
		}
	}
}

// drain returns a channel that is closed when nothing is in hand any more. No more deliveries follow.
func (a *acks) drain() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.draining {
		a.draining = true
		if a.open == 0 {
			close(a.idle)
		}
	}
	a.flush(true)
	return a.idle
}

// stop sends what is waiting, and ignores what comes later.
func (a *acks) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	a.flush(true)
	a.stopped = true
	a.timer.Stop()
}
