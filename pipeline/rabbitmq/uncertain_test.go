package rabbitmq_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// commit is what a client sends to have a transaction done: the method tx.commit, and the end of its frame.
var commit = []byte{0, 90, 0, 20, 0xce}

// committed is the answer.
var committed = []byte{0, 90, 0, 21, 0xce}

// uncertain is a network that dies when the first commit is sent, before it arrives or with its answer, and comes back when
// it is allowed to.
type uncertain struct {
	arrives bool
	dead    chan struct{} // closed when it has died
	back    chan struct{} // closed by whoever lets it come back
	once    sync.Once
}

func (u *uncertain) dial(network, addr string) (net.Conn, error) {
	select {
	case <-u.dead:
		<-u.back
	default:
	}
	conn, err := net.Dial(network, addr)
	return &uncertainConn{Conn: conn, network: u}, err
}

type uncertainConn struct {
	net.Conn
	network *uncertain
	silent  atomic.Bool // the answer is lost
}

func (c *uncertainConn) Write(p []byte) (int, error) {
	first := false
	if bytes.Contains(p, commit) {
		c.network.once.Do(func() { first = true })
	}
	switch {
	case !first:
	case c.network.arrives:
		c.silent.Store(true)
	default:
		return 0, c.die()
	}
	return c.Conn.Write(p)
}

func (c *uncertainConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.silent.Load() && bytes.Contains(p[:n], committed) {
		return 0, c.die()
	}
	return n, err
}

func (c *uncertainConn) die() error {
	_ = c.Close()
	close(c.network.dead)
	return net.ErrClosed
}

// The connection is lost in the moment of a commit. Whatever the broker has made of it, the letter or its replay is there.
func TestReplayWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// arrives says that the broker got the commit, loses that it lost the message all the same.
		arrives, loses          bool
		letters, copies, marked int
	}{
		{name: "the commit did not arrive", letters: 2},
		{name: "both were done", arrives: true, letters: 1, copies: 2, marked: 1},
		{name: "the broker kept the ack and lost the message", arrives: true, loses: true, letters: 1, copies: 1, marked: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, queueType string) {
				u := &uncertain{arrives: tt.arrives, dead: make(chan struct{}), back: make(chan struct{})}
				transport := open(t, func(o *rabbitmq.Options) {
					o.QueueType = queueType
					o.Connection.AmqpConfig = &amqp.Config{Dial: u.dial}
				})
				declareTopics(t, transport, pipeline.Topic{Name: "work", Prefetch: 4}, pipeline.Topic{Name: "letters"})
				publish(t, transport, "letters", message.NewMessage("letter-1", []byte("1")), message.NewMessage("letter-2", []byte("2")))
				browsed := make(chan error, 1)
				go func() {
					browsed <- transport.Browse(t.Context(), "letters", func(msg *message.Message) (pipeline.Fate, error) {
						return pipeline.Fate{Replay: message.NewMessage("replay of "+msg.UUID, msg.Payload), To: "work"}, nil
					})
				}()
				<-u.dead
				if tt.loses {
					if _, err := direct(t).QueuePurge(transport.Queue("work"), false); err != nil {
						t.Errorf("purging: %v", err)
					}
				}
				close(u.back)
				if err := <-browsed; err == nil {
					t.Error("Browse() = nil although the connection was lost, want an error")
				}
				eventually(t, "not all letters are back", func() bool { return depth(t, transport, "letters") == tt.letters })
				if n := depth(t, transport, "work"); n != tt.copies {
					t.Errorf("there are %d replays, want %d", n, tt.copies)
				}
				marked := 0
				messages := subscribe(t, transport, "work")
				for range tt.copies {
					msg := receive(t, messages)
					if msg.UUID != "replay of letter-1" {
						t.Errorf("replay %s, want that of the first letter", msg.UUID)
					}
					if msg.Metadata.Get(pipeline.MetadataRepeated) == "true" {
						marked++
					}
					msg.Ack()
				}
				if marked != tt.marked {
					t.Errorf("%d replays are marked as repeated, want %d", marked, tt.marked)
				}
			})
		})
	}
}
