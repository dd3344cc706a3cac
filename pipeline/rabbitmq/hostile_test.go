package rabbitmq_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// What others send, declare and delete.

func TestForeignMessages(t *testing.T) {
	t.Parallel()
	listen := "listen_" + pipelinetest.Namespace()
	makeQueue(t, listen, nil)
	transport := open(t, func(o *rabbitmq.Options) {
		o.Foreign = map[string]string{"resolve": listen}
		o.Topics = []pipeline.Topic{{Name: "resolve", Prefetch: 8, Foreign: true}, {Name: "lookup"}}
	})
	declare(t, transport, "lookup")

	ch := direct(t)
	sent := map[string]amqp.Publishing{
		"with strange headers":     {Headers: without(strange, "CC", "nan"), Body: []byte("with strange headers")},
		"with nothing but a body":  {Body: []byte("with nothing but a body")},
		"with a message-id":        {MessageId: "mid", Body: []byte("with a message-id")},
		"\xff\x00 is no UTF-8":     {Body: []byte("\xff\x00 is no UTF-8"), ContentEncoding: "nonsense"},
		strings.Repeat("big", 1e6): {Body: []byte(strings.Repeat("big", 1e6))},
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for body, p := range sent {
		confirm, err := ch.PublishWithDeferredConfirm("", listen, true, false, p)
		if err != nil || !confirm.Wait() {
			t.Fatalf("publishing %.40q past the transport: %v", body, err)
		}
	}
	messages := subscribe(t, transport, "resolve")
	for len(sent) > 0 {
		msg := receive(t, messages)
		p, ok := sent[string(msg.Payload)]
		if !ok {
			t.Fatalf("received %.40q, which was not sent or came twice", msg.Payload)
		}
		delete(sent, string(msg.Payload))
		if msg.UUID == "" || p.MessageId != "" && msg.UUID != p.MessageId {
			t.Errorf("%.40q: UUID = %q, want the message-id or a new one", msg.Payload, msg.UUID)
		}
		if p.Headers != nil {
			want := without(strangeMetadata, "amqp.CC", "nan")
			if diff := cmp.Diff(want, msg.Metadata); diff != "" {
				t.Errorf("metadata differ (-want +got):\n%s", diff)
			}
		}
		// Passing it on with all that it has must work, and must not carry what the broker said about this delivery.
		next := message.NewMessage(msg.UUID, msg.Payload)
		next.Metadata = msg.Metadata
		publish(t, transport, "lookup", next)
		msg.Ack()
		raw := get(t, transport, "lookup")
		for key := range raw.Headers {
			if strings.HasPrefix(key, "amqp.") || strings.HasPrefix(key, "x-") || key == "redelivered" {
				t.Errorf("%.40q was passed on with the header %q", msg.Payload, key)
			}
		}
	}
}

// The first redelivery from a quorum queue bears a number in x-delivery-count.
func TestQuorumDeliveryCount(t *testing.T) {
	t.Parallel()
	transport := open(t, func(o *rabbitmq.Options) { o.QueueType = rabbitmq.Quorum })
	declare(t, transport, "counted")
	publish(t, transport, "counted", text("x"))
	messages := subscribe(t, transport, "counted")
	for _, want := range []string{"", "1", "2"} {
		msg := receive(t, messages)
		if got := msg.Metadata.Get("amqp.x-delivery-count"); got != want {
			t.Errorf("amqp.x-delivery-count = %q, want %q", got, want)
		}
		if want == "2" {
			msg.Ack()
			continue
		}
		msg.Nack()
	}
}

func TestDeclareMismatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		arguments amqp.Table
		want      string
	}{
		{"an argument", amqp.Table{"x-queue-type": "classic", "x-message-ttl": int32(5000)}, "x-message-ttl is 5000, this configuration needs none; let the workers"},
		{"the type", amqp.Table{"x-queue-type": "quorum"}, "x-queue-type is quorum, this configuration needs classic; set WORKER_QUEUE_TYPE=quorum"},
		{"the type of a queue with a limit", amqp.Table{
			"x-queue-type": "quorum", "x-delivery-limit": int64(1_000_000_000),
		}, "x-queue-type is quorum, this configuration needs classic; set WORKER_QUEUE_TYPE=quorum"},
		{"an empty argument", amqp.Table{"x-queue-type": "classic", "x-dead-letter-exchange": ""}, `x-dead-letter-exchange is "", this configuration needs none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			transport := open(t, nil)
			queue := transport.Queue("lookup")
			makeQueue(t, queue, tt.arguments)
			err := transport.Declare(t.Context(), pipeline.Topic{Name: "lookup", Prefetch: 1})
			if !errors.Is(err, rabbitmq.ErrMismatch) || !strings.Contains(err.Error(), queue) ||
				!strings.Contains(err.Error(), tt.want) {
				t.Errorf("Declare() = %v, want %v with the queue's name and %q", err, rabbitmq.ErrMismatch, tt.want)
			}
			declare(t, transport, "other") // The failure was no harm to the connection.
		})
	}
}

func TestDeclareArguments(t *testing.T) {
	t.Parallel()
	transport := open(t, func(o *rabbitmq.Options) {
		o.Arguments = func(topic string) amqp.Table {
			if topic == "lookup.retry.1s" {
				return amqp.Table{
					"x-message-ttl": int32(50), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": o.Prefix + ".lookup",
				}
			}
			return nil
		}
	})
	declare(t, transport, "lookup", "lookup.retry.1s")
	publish(t, transport, "lookup.retry.1s", text("parked"))
	msg := receive(t, subscribe(t, transport, "lookup"))
	if got := msg.Metadata.Get("amqp.x-first-death-reason"); string(msg.Payload) != "parked" || got != "expired" {
		t.Errorf("received %q, dead for %q, want %q for %q", msg.Payload, got, "parked", "expired")
	}
	msg.Ack()
}

func TestForeignQueueIsAwaited(t *testing.T) {
	t.Parallel()
	listen := "listen_" + pipelinetest.Namespace()
	topic := pipeline.Topic{Name: "resolve", Prefetch: 1, Foreign: true}
	transport := open(t, func(o *rabbitmq.Options) {
		o.Foreign = map[string]string{"resolve": listen}
		o.Topics = []pipeline.Topic{topic}
	})
	if err := transport.Declare(t.Context(), topic); err != nil {
		t.Errorf("Declare(foreign) = %v", err)
	}
	if _, _, err := transport.Depth(t.Context(), "resolve"); err == nil {
		t.Fatal("Depth() of a foreign queue after Declare() = nil, want an error: it was not to be made")
	}
	messages := subscribe(t, transport, "resolve")
	eventually(t, "Ready() does not name the missing queue", func() bool {
		err := transport.Ready()
		return err != nil && strings.Contains(err.Error(), listen) && strings.Contains(err.Error(), "does not exist")
	})
	makeQueue(t, listen, amqp.Table{"name": "a", "config": amqp.Table{"scope": []any{"b"}}})
	eventually(t, "not ready", func() bool { return transport.Ready() == nil })
	publish(t, transport, "resolve", text("job"))
	receive(t, messages).Ack()
}

// A deleted queue ends deliveries without a message, and not with an empty one. The queue is made again.
func TestQueueDeleted(t *testing.T) {
	t.Parallel()
	transport := open(t, nil)
	declare(t, transport, "fragile")
	messages := subscribe(t, transport, "fragile")
	ch := direct(t)
	for round := range 3 {
		publish(t, transport, "fragile", text("in hand"))
		hand := receive(t, messages)
		if _, err := ch.QueueDelete(transport.Queue("fragile"), false, false, false); err != nil {
			t.Fatalf("deleting the queue: %v", err)
		}
		eventually(t, "the queue is not consumed again", func() bool {
			_, consumers, err := transport.Depth(t.Context(), "fragile")
			return err == nil && consumers == 1
		})
		hand.Ack() // Of a delivery that the broker has forgotten.
		publish(t, transport, "fragile", text("after"))
		msg := receive(t, messages)
		if string(msg.Payload) != "after" || msg.UUID == "" {
			t.Fatalf("round %d: received %q, UUID %q, want what was published next", round, msg.Payload, msg.UUID)
		}
		msg.Ack()
	}
	eventually(t, "not ready", func() bool { return transport.Ready() == nil })
}

func TestCustomMarshalerThatFails(t *testing.T) {
	t.Parallel()
	transport := open(t, func(o *rabbitmq.Options) { o.Marshaler = choosy{} })
	declare(t, transport, "choosy")
	publish(t, transport, "choosy", text("x"))
	msg := receive(t, subscribe(t, transport, "choosy"))
	if string(msg.Payload) != "x" {
		t.Errorf("received %q, want %q", msg.Payload, "x")
	}
	msg.Ack()
}

// choosy reads nothing.
type choosy struct{ rabbitmq.Marshaler }

func (choosy) Unmarshal(amqp.Delivery) (*message.Message, error) {
	return nil, errors.New("not to my taste")
}

func without[M ~map[string]V, V any](m M, keys ...string) M {
	out := maps.Clone(m)
	for _, key := range keys {
		delete(out, key)
	}
	return out
}

// get takes one message from a topic's queue past the transport.
func get(t *testing.T, transport *rabbitmq.Transport, topic string) amqp.Delivery {
	t.Helper()
	ch := direct(t)
	var d amqp.Delivery
	eventually(t, "no message in queue "+transport.Queue(topic), func() bool {
		got, ok, err := ch.Get(transport.Queue(topic), true)
		if err != nil {
			t.Fatalf("reading queue %s: %v", transport.Queue(topic), err)
		}
		d = got
		return ok
	})
	return d
}
