package rabbitmq

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// A peer that reads nothing ends the connection in time, whoever writes next is told, and whoever reads sees the end.
func TestSocketGivesUp(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe() // Without a buffer: a write waits for a read.
	defer far.Close()
	s := newSocket(near, 10*time.Millisecond)
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatalf("Write() = %v, want it taken", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Read() = %v, want the connection closed", err)
	}
	deadline := time.Now().Add(time.Minute)
	var err error
	for err == nil && time.Now().Before(deadline) {
		_, err = s.Write([]byte("y"))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write() after a failed one = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := s.Close(); err != nil && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close() = %v", err)
	}
}

// counted counts the writes that arrive.
type counted struct {
	net.Conn
	begun  chan struct{}
	resume chan struct{}
	mu     sync.Mutex
	calls  [][]byte
}

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.calls = append(c.calls, bytes.Clone(p))
	first := len(c.calls) == 1
	c.mu.Unlock()
	if first {
		close(c.begun)
		<-c.resume
	}
	return len(p), nil
}

func (c *counted) SetWriteDeadline(time.Time) error { return nil }

func (c *counted) Close() error { return nil }

// What is written while a write is under way goes out in one, in order and as a whole, and Close waits for it.
func TestSocketGathers(t *testing.T) {
	t.Parallel()
	c := &counted{begun: make(chan struct{}), resume: make(chan struct{})}
	s := newSocket(c, time.Minute)
	write := func(text string) {
		p := []byte(text)
		if n, err := s.Write(p); n != len(text) || err != nil {
			t.Errorf("Write(%s) = %d, %v, want it taken", text, n, err)
		}
		clear(p) // The writer may use it again.
	}
	write("a")
	<-c.begun
	for _, text := range []string{"b", "cc", "d"} {
		write(text)
	}
	close(c.resume)
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if got := string(bytes.Join(c.calls, []byte("|"))); got != "a|bccd" {
		t.Errorf("written %q, want the first, and all others at once", got)
	}
}

// Writers wait when there is too much to be written already.
func TestSocketIsBounded(t *testing.T) {
	t.Parallel()
	c := &counted{begun: make(chan struct{}), resume: make(chan struct{})}
	s := newSocket(c, time.Minute)
	const writers = 8
	var done sync.WaitGroup
	for range writers {
		done.Go(func() {
			if _, err := s.Write(make([]byte, maxPending)); err != nil {
				t.Errorf("Write() = %v", err)
			}
		})
	}
	<-c.begun
	s.mu.Lock()
	pending := len(s.pending)
	s.mu.Unlock()
	if pending > 2*maxPending {
		t.Errorf("%d bytes wait to be written, want at most what one writer brings above %d", pending, maxPending)
	}
	close(c.resume)
	done.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	total := 0
	for _, call := range c.calls {
		total += len(call)
	}
	if total != writers*maxPending {
		t.Errorf("%d bytes written, want %d", total, writers*maxPending)
	}
}
