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
	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

func TestUnroutablePublish(t *testing.T) {
	t.Parallel()
	transport := open(t, nil)
	declare(t, transport, "poison")
	publish(t, transport, "poison", text("a"))
	if _, err := direct(t).QueueDelete(transport.Queue("poison"), false, false, false); err != nil {
		t.Fatalf("deleting the queue: %v", err)
	}
	err := transport.Publish("poison", text("b"))
	if !errors.Is(err, rabbitmq.ErrUnroutable) || !strings.Contains(err.Error(), transport.Queue("poison")) {
		t.Errorf("Publish() without the queue = %v, want %v with the queue's name", err, rabbitmq.ErrUnroutable)
	}
	// The queue is ours, so it is made again.
	publish(t, transport, "poison", text("c"))
	if got := get(t, transport, "poison"); string(got.Body) != "c" {
		t.Errorf("the queue has %q, want %q", got.Body, "c")
	}
}

// Returned messages are told apart from those around them.
func TestUnroutableAmongOthers(t *testing.T) {
	t.Parallel()
	const count = 300
	transport := open(t, nil)
	declare(t, transport, "known")
	errs := make([]error, count)
	var pushes sync.WaitGroup
	for i := range errs {
		pushes.Go(func() {
			key := transport.Queue("known")
			if i%3 == 0 {
				key = "no such queue"
			}
			errs[i] = transport.Push(t.Context(), "", key, [][]byte{fmt.Appendf(nil, "%d", i/6)})
		})
	}
	pushes.Wait()
	for i, err := range errs {
		if got, want := errors.Is(err, rabbitmq.ErrUnroutable), i%3 == 0; got != want {
			t.Errorf("Push() %d = %v, want it unroutable: %v", i, err, want)
		}
	}
	eventually(t, "the queue has not 200 messages", func() bool {
		messages, _, err := transport.Depth(t.Context(), "known")
		return err == nil && messages == count/3*2
	})
}

func TestPush(t *testing.T) {
	t.Parallel()
	transport := open(t, nil)
	exchange, queue := pipelinetest.Namespace()+".exchange", "push_"+pipelinetest.Namespace()
	makeQueue(t, queue, nil)
	ch := direct(t)
	if err := ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatalf("declaring the exchange: %v", err)
	}
	t.Cleanup(func() {
		if err := ch.ExchangeDelete(exchange, false, false); err != nil {
			t.Errorf("deleting the exchange: %v", err)
		}
	})
	if err := ch.QueueBind(queue, "key", exchange, false, nil); err != nil {
		t.Fatalf("binding the queue: %v", err)
	}
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatalf("consuming: %v", err)
	}

	bodies := [][]byte{[]byte(`{"type":"bundle"}`), {}, []byte("Grüße \x00\xff")}
	if err := transport.Push(t.Context(), exchange, "key", bodies); err != nil {
		t.Fatalf("Push() = %v", err)
	}
	for _, body := range bodies {
		d := <-deliveries
		got := amqp.Publishing{
			Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode,
			MessageId: d.MessageId, Timestamp: d.Timestamp, AppId: d.AppId, CorrelationId: d.CorrelationId, Body: d.Body,
		}
		want := amqp.Publishing{ContentEncoding: "utf-8", DeliveryMode: 2, Body: body}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pushed message differs (-want +got):\n%s", diff)
		}
	}

	for _, tt := range []struct{ name, exchange, key string }{
		{"no queue for the key", exchange, "other key"},
		{"no such exchange", exchange + ".missing", "key"},
	} {
		if err := transport.Push(t.Context(), tt.exchange, tt.key, bodies); !errors.Is(err, rabbitmq.ErrUnroutable) {
			t.Errorf("Push() with %s = %v, want %v", tt.name, err, rabbitmq.ErrUnroutable)
		}
		if err := transport.Push(t.Context(), exchange, "key", bodies[:1]); err != nil {
			t.Errorf("Push() after one with %s = %v, want nil", tt.name, err)
		}
		<-deliveries
	}
	if err := transport.Push(t.Context(), exchange, "key", nil); err != nil {
		t.Errorf("Push() of nothing = %v, want nil", err)
	}
	long := strings.Repeat("k", 256)
	if err := transport.Push(t.Context(), exchange, long, bodies); err == nil || !strings.Contains(err.Error(), "256 bytes") {
		t.Errorf("Push() with a long routing key = %.100v, want an error that tells its length", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := transport.Push(ended, exchange, "key", bodies[:1]); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Push() with an ended context = %v, want nil or %v", err, context.Canceled)
	}
	if err := transport.Ready(); err != nil {
		t.Errorf("Ready() after all that = %v, want nil: none of it is a reason to lose the connection", err)
	}
}

// One call may publish more than may be unconfirmed at once.
func TestPublishMany(t *testing.T) {
	t.Parallel()
	const count = 3000
	transport := open(t, nil)
	declare(t, transport, "many")
	messages := make([]*message.Message, count)
	for i := range messages {
		messages[i] = text("x")
	}
	publish(t, transport, "many", messages...)
	if got, _, err := transport.Depth(t.Context(), "many"); got != count || err != nil {
		t.Errorf("Depth() = %d, %v, want %d: all are confirmed", got, err, count)
	}
}

// What AMQP cannot carry is refused before it can cost the connection.
func TestTooLargeMetadata(t *testing.T) {
	t.Parallel()
	transport := open(t, nil)
	declare(t, transport, "large")
	msg := text("x")
	msg.Metadata.Set("error", strings.Repeat("e", 200_000))
	if err := transport.Publish("large", msg); !errors.Is(err, rabbitmq.ErrTooLarge) {
		t.Errorf("Publish() = %v, want %v", err, rabbitmq.ErrTooLarge)
	}
	msg.Metadata.Set("error", strings.Repeat("e", 100_000))
	publish(t, transport, "large", msg)
	if got := get(t, transport, "large"); len(got.Headers["error"].(string)) != 100_000 {
		t.Errorf("header of %d bytes, want 100000", len(got.Headers["error"].(string)))
	}
	if err := transport.Ready(); err != nil {
		t.Errorf("Ready() = %v, want nil", err)
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	transport := open(t, nil)
	declare(t, transport, "deep")
	publish(t, transport, "deep", text("a"), text("b"))
	if messages, consumers, err := transport.Depth(t.Context(), "deep"); messages != 2 || consumers != 0 || err != nil {
		t.Errorf("Depth() = %d, %d, %v, want 2, 0, nil", messages, consumers, err)
	}
	received := subscribe(t, transport, "deep")
	for range 2 {
		receive(t, received).Ack()
	}
	eventually(t, "the depth is not 0 with one consumer", func() bool {
		messages, consumers, err := transport.Depth(t.Context(), "deep")
		return err == nil && messages == 0 && consumers == 1
	})
	if _, _, err := transport.Depth(t.Context(), "missing"); err == nil || !strings.Contains(err.Error(), transport.Queue("missing")) {
		t.Errorf("Depth(missing) = %v, want an error that names the queue", err)
	}
}

// A broker's answer that nobody waits for any more touches nothing that its caller has.
func TestDepthInALittleTime(t *testing.T) {
	t.Parallel()
	transport := open(t, nil)
	declare(t, transport, "asked")
	publish(t, transport, "asked", text("a"))
	for i := range 400 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%40)*100*time.Microsecond)
		messages, consumers, err := transport.Depth(ctx, "asked")
		cancel()
		if err == nil && messages != 1 || err != nil && (messages != 0 || !errors.Is(err, context.DeadlineExceeded)) {
			t.Fatalf("Depth() = %d, %d, %v, want 1 message or %v", messages, consumers, err, context.DeadlineExceeded)
		}
	}
}
