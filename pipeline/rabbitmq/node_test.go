package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// Brokers that fail. The tests use a node of their own, one after the other.
func TestBroker(t *testing.T) { //nolint:tparallel // what one does to the node, the others would feel
	t.Parallel()
	node := rabbitnodetest.Start(t, rabbitnode.Options{Config: []string{"max_message_size = 1000000"}})
	t.Run("a message is too large for the broker", func(t *testing.T) { testTooLarge(t, node) })
	t.Run("the broker blocks publishing", func(t *testing.T) { testBlocked(t, node) })
	t.Run("the broker is killed", func(t *testing.T) { testBrokerKilled(t, node) })
}

// onNode makes a transport on the node. Its queues go with the node.
func onNode(t *testing.T, node *rabbitnode.Node, change func(*rabbitmq.Options), names ...string) *rabbitmq.Transport {
	t.Helper()
	transport := open(t, func(o *rabbitmq.Options) {
		o.Connection.AmqpURI = node.URL()
		if change != nil {
			change(o)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := transport.Declare(ctx, topics(names...)...); err != nil {
		t.Fatalf("Declare() = %v", err)
	}
	return transport
}

// It closes the channel, which is told to the publisher and not tried again for ever.
func testTooLarge(t *testing.T, node *rabbitnode.Node) {
	transport := onNode(t, node, nil, "large")
	err := transport.Publish("large", text(strings.Repeat("x", 1_000_001)))
	if err == nil || !strings.Contains(err.Error(), "1000001 is larger than configured max size 1000000") {
		t.Errorf("Publish() = %v, want the broker's reason", err)
	}
	publish(t, transport, "large", text(strings.Repeat("x", 1_000_000)))
	if err := transport.Ready(); err != nil {
		t.Errorf("Ready() = %v, want nil", err)
	}
}

func testBlocked(t *testing.T, node *rabbitnode.Node) {
	const window = 10 // That of topics.
	patient := onNode(t, node, nil, "in", "out")
	transport := onNode(t, node, func(o *rabbitmq.Options) {
		o.ConfirmTimeout = time.Second
		o.Prefix = strings.TrimSuffix(patient.Queue("in"), ".in")
	}, "in", "out")
	for range 2 * window {
		publish(t, patient, "in", text("x"))
	}
	messages := subscribe(t, transport, "in")
	var hand []*message.Message
	for range window {
		hand = append(hand, receive(t, messages))
	}

	ctl(t, node, "set_vm_memory_high_watermark", "0")
	for range 2 {
		if err := transport.Publish("out", text("y")); !errors.Is(err, rabbitmq.ErrBlocked) {
			t.Errorf("Publish() = %v, want %v", err, rabbitmq.ErrBlocked)
		}
	}
	err := transport.Push(t.Context(), "", transport.Queue("out"), [][]byte{[]byte("z")})
	if !errors.Is(err, rabbitmq.ErrBlocked) {
		t.Errorf("Push() = %v, want %v", err, rabbitmq.ErrBlocked)
	}
	if err := transport.Ready(); !errors.Is(err, rabbitmq.ErrBlocked) || !strings.Contains(err.Error(), "low on memory") {
		t.Errorf("Ready() = %v, want %v with the broker's reason", err, rabbitmq.ErrBlocked)
	}
	// Acks pass all the same, but nothing more is handed out: it could not be passed on.
	for _, msg := range hand {
		msg.Ack()
	}
	eventually(t, "the acks did not arrive", func() bool {
		depth, _, err := transport.Depth(t.Context(), "in")
		return err == nil && depth == 0 // The other half is with us, waiting.
	})
	select {
	case msg := <-messages:
		t.Errorf("received %q while publishing is blocked", msg.Payload)
	case <-time.After(250 * time.Millisecond):
	}

	ctl(t, node, "set_vm_memory_high_watermark", "0.8")
	eventually(t, "not ready", func() bool { return transport.Ready() == nil })
	eventually(t, "publishing does not work again", func() bool { return transport.Publish("out", text("y")) == nil })
	for range window {
		receive(t, messages).Ack()
	}
}

// kill -9 in the middle: what was confirmed is there, and both sides go on by themselves.
func testBrokerKilled(t *testing.T, node *rabbitnode.Node) {
	const publishers, each = 16, 40
	transport := onNode(t, node, nil, "durable")
	messages := subscribe(t, transport, "durable")
	var mu sync.Mutex
	seen := make(map[string]bool)
	half := make(chan struct{})
	var consumer sync.WaitGroup
	consumer.Go(func() {
		for msg := range messages {
			mu.Lock()
			if !seen[string(msg.Payload)] {
				seen[string(msg.Payload)] = true
				if len(seen) == publishers*each/2 {
					close(half)
				}
			}
			mu.Unlock()
			msg.Ack()
		}
	})
	var published sync.WaitGroup
	for p := range publishers {
		published.Go(func() {
			deadline := time.Now().Add(patience)
			for i := 0; i < each; {
				err := transport.Publish("durable", text(fmt.Sprintf("%d-%d", p, i)))
				if err == nil {
					i++
				} else if time.Now().After(deadline) {
					t.Errorf("Publish() = %v after %v", err, patience)
					return
				}
			}
		})
	}
	<-half
	if err := node.Kill(); err != nil {
		t.Fatalf("Kill() = %v", err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	published.Wait()
	eventually(t, "messages were lost", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == publishers*each
	})
	eventually(t, "not ready", func() bool { return transport.Ready() == nil })
	if err := transport.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	consumer.Wait()
}

func ctl(t *testing.T, node *rabbitnode.Node, args ...string) {
	t.Helper()
	if _, err := node.Ctl(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}
