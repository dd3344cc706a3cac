package rabbitmq

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder writes down what the broker is told.
type recorder struct{ calls []string }

func (r *recorder) Ack(tag uint64, multiple bool) error {
	r.calls = append(r.calls, map[bool]string{true: fmt.Sprintf("ack to %d", tag), false: fmt.Sprintf("ack %d", tag)}[multiple])
	return nil
}

func (r *recorder) Nack(tag uint64, _, requeue bool) error {
	r.calls = append(r.calls, fmt.Sprintf("nack %d requeue=%v", tag, requeue))
	return nil
}

func TestAcks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		prefetch int
		// steps are "deliver N", "ack TAG", "requeue TAG", "wait DURATION", "drain" and "stop".
		steps string
		want  string
	}{
		{"nothing before the linger is over", 100, "deliver 3; ack 1; ack 2; wait 1ms", ""},
		{"contiguous ones together", 100, "deliver 3; ack 2; ack 1; wait 3ms", "ack to 2"},
		{"one that finishes late holds back the others for a while", 100, "deliver 3; ack 2; ack 3; wait 5ms", ""},
		{"then they go singly", 100, "deliver 3; ack 2; ack 3; wait 20ms", "ack 2; ack 3"},
		{"the late one comes while they wait", 100, "deliver 3; ack 2; ack 3; wait 5ms; ack 1; wait 20ms", "ack to 3"},
		{"the late one comes after them", 100, "deliver 3; ack 2; ack 3; wait 20ms; ack 1; wait 5ms", "ack 2; ack 3; ack to 1"},
		{"a nacked one goes at once", 100, "deliver 2; requeue 1", "nack 1 requeue=true"},
		{"a nacked one is no gap", 100, "deliver 3; ack 1; requeue 2; ack 3; wait 3ms", "nack 2 requeue=true; ack to 3"},
		{"a nacked one at the end is not acked with the others", 100, "deliver 2; ack 1; requeue 2; wait 3ms", "nack 2 requeue=true; ack to 1"},
		{"a quarter of the window does not linger", 8, "deliver 8; ack 1; ack 2", "ack to 2"},
		{"one that is not contiguous does, for a while", 8, "deliver 8; ack 3; ack 5", ""},
		{"but not when they are half of the window", 8, "deliver 8; ack 3; ack 5; ack 6; ack 7", "ack 3; ack 5; ack 6; ack 7"},
		{"the late one frees them all at once", 8, "deliver 8; ack 2; ack 3; ack 1", "ack to 3"},
		{"the wait is not prolonged by more of them", 100, "deliver 60; ack 3; wait 9ms; ack 5; wait 4ms", "ack 3; ack 5"},
		{"a window of one does not linger", 1, "deliver 1; ack 1; deliver 1; ack 2", "ack to 1; ack to 2"},
		{"settled twice counts once", 100, "deliver 1; ack 1; ack 1; requeue 1; wait 30ms", "ack to 1"},
		{"unknown tags are ignored", 100, "ack 1; requeue 7; deliver 1; ack 0; ack 2; wait 30ms", ""},
		{"stopping sends what waits", 100, "deliver 3; ack 1; ack 3; stop", "ack to 1; ack 3"},
		{"and nothing after it", 100, "deliver 3; stop; ack 1; requeue 2; wait 30ms", ""},
		{"draining does not linger", 100, "deliver 2; ack 1; drain; ack 2", "ack to 1; ack to 2; idle"},
		{"nothing to drain", 100, "drain", "idle"},
		{"draining waits for those in hand", 100, "deliver 2; requeue 2; drain; wait 30ms", "nack 2 requeue=true"},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := new(recorder)
				a := newAcks(r, tt.prefetch)
				defer a.stop()
				var idle <-chan struct{}
				for step := range strings.SplitSeq(tt.steps, "; ") {
					verb, arg, _ := strings.Cut(step, " ")
					var n uint64
					if verb != "wait" {
						_, _ = fmt.Sscan(arg, &n)
					}
					switch verb {
					case "deliver":
						for range n {
							a.deliver()
						}
					case "ack":
						a.ack(n)
					case "requeue":
						a.requeue(n)
					case "wait":
						d, err := time.ParseDuration(arg)
						if err != nil {
							t.Fatal(err)
						}
						time.Sleep(d) // In the bubble's time.
						synctest.Wait()
					case "drain":
						idle = a.drain()
					case "stop":
						a.stop()
					}
				}
				got := r.calls
				if idle != nil && isClosed(idle) {
					got = append(got, "idle")
				}
				if got := strings.Join(got, "; "); got != tt.want {
					t.Errorf("the broker was told %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// However messages are settled, the broker hears of each delivery exactly once, and of none that is in hand.
func TestAcksTellEverythingOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const count = 500
		b := &broker{t: t, open: make(map[uint64]bool), settled: make(map[uint64]bool)}
		a := newAcks(b, 100)
		defer a.stop()
		for tag := uint64(1); tag <= count; tag++ {
			b.open[tag] = true
			a.deliver()
			if tag < 50 {
				continue
			}
			// In an order that is neither that of delivery nor its opposite: 7 and 50 have no common divisor.
			done := tag - 49 + (tag*7)%50
			if done > tag || b.settled[done] {
				done = tag - 49
			}
			for b.settled[done] && done < tag {
				done++
			}
			b.settled[done] = true
			if done%11 == 0 {
				a.requeue(done)
			} else {
				a.ack(done)
			}
			if tag%37 == 0 {
				time.Sleep(3 * time.Millisecond)
				synctest.Wait()
			}
		}
		for tag := uint64(1); tag <= count; tag++ {
			b.settled[tag] = true
			a.ack(tag)
		}
		a.stop()
		if len(b.open) != 0 {
			t.Errorf("the broker was not told of %d deliveries", len(b.open))
		}
	})
}

// broker checks acks as RabbitMQ does.
type broker struct {
	t *testing.T
	// open are the deliveries that it was not told of, settled those that were done.
	open, settled map[uint64]bool
}

func (b *broker) Ack(tag uint64, multiple bool) error {
	if !b.open[tag] {
		b.t.Errorf("Ack(%d): unknown delivery tag", tag)
	}
	for t := range b.open {
		if t == tag || (multiple && t < tag) {
			if !b.settled[t] {
				b.t.Errorf("Ack(%d, %v) acknowledges delivery %d, which is in hand", tag, multiple, t)
			}
			delete(b.open, t)
		}
	}
	return nil
}

func (b *broker) Nack(tag uint64, _, _ bool) error {
	if !b.open[tag] {
		b.t.Errorf("Nack(%d): unknown delivery tag", tag)
	}
	delete(b.open, tag)
	return nil
}
