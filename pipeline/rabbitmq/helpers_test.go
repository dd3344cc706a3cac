package rabbitmq_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

const patience = pipelinetest.Patience

var (
	receive    = pipelinetest.Receive
	eventually = pipelinetest.Eventually
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a transport with the defaults of tests, and closes it and deletes its queues at the end of the test.
func open(t *testing.T, change func(*rabbitmq.Options)) *rabbitmq.Transport {
	t.Helper()
	transport, err := rabbitmq.New(options(t, change))
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return transport
}

// options are the defaults of tests, changed.
func options(t *testing.T, change func(*rabbitmq.Options)) rabbitmq.Options {
	t.Helper()
	o := rabbitmq.Options{
		Connection:   wamqp.ConnectionConfig{AmqpURI: pipelinetest.AMQPURL(t)},
		Prefix:       pipelinetest.Namespace(),
		DrainTimeout: pipelinetest.DrainTimeout,
		NackPause:    20 * time.Millisecond,
		Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	return o
}

// direct gives a channel of a connection of its own, past the transport.
func direct(t *testing.T) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(pipelinetest.AMQPURL(t))
	if err != nil {
		t.Fatalf("dialling RabbitMQ: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatalf("opening a channel: %v", err)
	}
	return ch
}

// makeQueue declares a durable queue past the transport, and deletes it at the end of the test.
func makeQueue(t *testing.T, name string, arguments amqp.Table) {
	t.Helper()
	if _, err := direct(t).QueueDeclare(name, true, false, false, false, arguments); err != nil {
		t.Fatalf("declaring queue %s: %v", name, err)
	}
	deleteQueue(t, name)
}

// deleteQueue deletes a queue at the end of the test.
func deleteQueue(t *testing.T, name string) {
	t.Helper()
	ch := direct(t)
	t.Cleanup(func() {
		if _, err := ch.QueueDelete(name, false, false, false); err != nil {
			t.Errorf("deleting queue %s: %v", name, err)
		}
	})
}

func host(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "5672")
	}
	return u.Host
}

// sockets makes connections that can be taken away for good.
type sockets struct {
	mu   sync.Mutex
	open []net.Conn
	dead bool
}

func (s *sockets) dial(network, addr string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return nil, errors.New("killed by the test")
	}
	conn, err := net.Dial(network, addr)
	if err == nil {
		s.open = append(s.open, conn)
	}
	return conn, err
}

func (s *sockets) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	for _, conn := range s.open {
		_ = conn.Close()
	}
}

func text(payload string) *message.Message { return message.NewMessage("", []byte(payload)) }

// declare makes queues with a prefetch of ten, and deletes them at the end of the test.
func declare(t *testing.T, transport *rabbitmq.Transport, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, topic := range topics {
		if err := transport.Declare(ctx, pipeline.Topic{Name: topic, Prefetch: 10}); err != nil {
			t.Fatalf("Declare(%q) = %v", topic, err)
		}
		deleteQueue(t, transport.Queue(topic))
	}
}

func publish(t *testing.T, transport *rabbitmq.Transport, topic string, messages ...*message.Message) {
	t.Helper()
	if err := transport.Publish(topic, messages...); err != nil {
		t.Fatalf("Publish(%q) = %v", topic, err)
	}
}

func subscribe(t *testing.T, transport *rabbitmq.Transport, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := transport.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatalf("Subscribe(%q) = %v", topic, err)
	}
	return messages
}

// queueArguments are those of our classic queues.
var queueArguments = amqp.Table{"x-queue-type": rabbitmq.Classic}

func topics(names ...string) []pipeline.Topic {
	var found []pipeline.Topic
	for _, name := range names {
		found = append(found, pipeline.Topic{Name: name, Prefetch: 10})
	}
	return found
}
