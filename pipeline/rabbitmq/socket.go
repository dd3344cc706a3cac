package rabbitmq

import (
	"net"
	"sync"
	"time"
)

// maxPending is how many bytes a socket takes before it makes writers wait.
const maxPending = 1 << 20

// socket gathers what is written while a write is under way, and writes it at once. amqp091-go makes a system call for each
// publication and each ack; under load that is most of what they cost, for us and for the broker, which is woken by each.
//
// A write is not known to have failed until a later one, or until the connection ends, which it does at once: whoever
// published waits for a confirm that will not come, and whoever acked is given the message again, as if the write had failed
// on the way. Every write is bounded in time.
type socket struct {
	net.Conn
	timeout time.Duration

	mu       sync.Mutex
	changed  *sync.Cond
	pending  []byte
	spare    []byte // what was written last, to be used again
	flushing bool
	err      error
}

func newSocket(conn net.Conn, timeout time.Duration) *socket {
	s := &socket{Conn: conn, timeout: timeout}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// Write takes p, and waits only while there is much to be written.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && len(s.pending) >= maxPending {
		s.changed.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	s.pending = append(s.pending, p...)
	if !s.flushing {
		s.flushing = true
		go s.flush() // It ends with what there is to write, at the latest when that takes too long.
	}
	return len(p), nil
}

func (s *socket) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > 0 && s.err == nil {
		batch := s.pending
		s.pending = s.spare
		s.mu.Unlock()
		err := s.SetWriteDeadline(time.Now().Add(s.timeout))
		if err == nil {
			_, err = s.Conn.Write(batch)
		}
		if err != nil {
			_ = s.Conn.Close() // Whoever reads from it learns of the end.
		}
		s.mu.Lock()
		s.spare, s.err = batch[:0], err
		s.changed.Broadcast()
	}
	s.flushing = false
	s.changed.Broadcast()
}

// Close writes what is pending, for a short while, and closes the connection.
func (s *socket) Close() error {
	s.mu.Lock()
	if s.flushing && s.err == nil {
		_ = s.SetWriteDeadline(time.Now().Add(closeTimeout)) // It may be closed already.
		for s.flushing && s.err == nil {
			s.changed.Wait()
		}
	}
	s.mu.Unlock()
	return s.Conn.Close()
}
