package pipelinetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
)

// DrainTimeout is the drain time of the transports under test: enough to settle a few messages on a busy machine.
const DrainTimeout = 10 * time.Second

// Patience is how long something that must happen may take, on a machine that is busy with other tests too.
const Patience = time.Minute

// Subject is the transport that is tested.
type Subject struct {
	// Open makes a transport over the queues of a namespace, with [DrainTimeout], and registers its end with the test. With a
	// broker, two transports of one namespace are as two processes on the same queues, and Open also registers the removal
	// of the queues.
	Open func(t *testing.T, namespace string) pipeline.Transport
	// Kill takes a transport's connections away without a word, as the death of its process does. Nil says that there is no
	// broker: messages live and end with their transport.
	Kill func(t *testing.T, transport pipeline.Transport)
}

// open opens a transport in a namespace of its own and declares topics.
func (s Subject) open(t *testing.T, topics ...pipeline.Topic) pipeline.Transport {
	t.Helper()
	return s.openIn(t, Namespace(), topics...)
}

func (s Subject) openIn(t *testing.T, namespace string, topics ...pipeline.Topic) pipeline.Transport {
	t.Helper()
	transport := s.Open(t, namespace)
	declare(t, transport, topics...)
	return transport
}

// Namespace returns a name that no other test has.
func Namespace() string { return "test." + watermill.NewULID() }

func declare(t *testing.T, transport pipeline.Transport, topics ...pipeline.Topic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err := transport.Declare(ctx, topics...); err != nil {
		t.Fatalf("Declare() = %v", err)
	}
}

func subscribe(ctx context.Context, t *testing.T, transport pipeline.Transport, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := transport.Subscribe(ctx, topic)
	if err != nil {
		t.Fatalf("Subscribe(%q) = %v", topic, err)
	}
	return messages
}

func publish(t *testing.T, transport pipeline.Transport, topic string, messages ...*message.Message) {
	t.Helper()
	if err := transport.Publish(topic, messages...); err != nil {
		t.Fatalf("Publish(%q) = %v", topic, err)
	}
}

// numbered makes n messages with the payloads "0", "1" and so on.
func numbered(n int) []*message.Message {
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(watermill.NewULID(), fmt.Appendf(nil, "%d", i))
	}
	return messages
}

// Receive returns the next message, or fails the test.
func Receive(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg, ok := <-messages:
		if !ok {
			t.Fatal("the channel of messages closed, want a message")
		}
		return msg
	case <-time.After(Patience):
		t.Fatalf("no message after %v", Patience)
	}
	return nil
}

// receiveNone fails the test if a message comes within a short while. A closed channel is fine.
func receiveNone(t *testing.T, messages <-chan *message.Message, why string) {
	t.Helper()
	select {
	case msg, ok := <-messages:
		if ok {
			t.Fatalf("message %q was handed out, want none: %s", msg.Payload, why)
		}
	case <-time.After(250 * time.Millisecond):
	}
}

// closes waits until messages is closed, and fails the test if there is one more message.
func closes(t *testing.T, messages <-chan *message.Message) {
	t.Helper()
	select {
	case msg, ok := <-messages:
		if ok {
			t.Fatalf("message %q was handed out, want the channel to close", msg.Payload)
		}
	case <-time.After(Patience):
		t.Fatalf("the channel of messages is open after %v, want it closed", Patience)
	}
}

// Eventually waits until ok returns true.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(Patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("after %v: %s", Patience, what)
		}
	}
}

// tally counts payloads. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(msg *message.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int)
	}
	c.counts[string(msg.Payload)]++
}

// distinct is how many different payloads were counted.
func (c *tally) distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.counts)
}

// redelivered says whether msg bears the mark of a message handed out before.
func redelivered(msg *message.Message) bool {
	return msg.Metadata.Get(pipeline.MetadataRedelivered) == "true"
}
