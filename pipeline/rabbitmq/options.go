package rabbitmq

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

// Queue types of [Options].
const (
	Classic = "classic"
	Quorum  = "quorum"
)

// Options says where the broker is and how the transport uses it. Connection.AmqpURI and Prefix are required; zero values
// of the others mean their defaults.
type Options struct {
	// Connection is the address, TLS and reconnection, in watermill-amqp's terms. Heartbeats are ten seconds apart unless it
	// says otherwise, and attempts to reconnect at most ten seconds.
	Connection wamqp.ConnectionConfig
	// Prefix begins the names of our queues: topic "lookup" has queue "<Prefix>.lookup".
	Prefix string
	// Foreign names the queues that somebody else makes, by topic. They are consumed and published to, never declared.
	Foreign map[string]string
	// Topics are known from the start: they can be published to and subscribed to, and Declare without topics makes them.
	Topics []pipeline.Topic
	// QueueType is the x-queue-type of our queues, Classic (the default) or Quorum.
	QueueType string
	// Arguments returns further arguments for a topic's queue (x-message-ttl, x-dead-letter-exchange, x-delivery-limit ...).
	// It may be nil. RabbitMQ refuses to declare a queue again with other ones.
	Arguments func(topic string) amqp.Table
	// Marshaler turns messages into publications and deliveries into messages; nil means Marshaler{}.
	Marshaler wamqp.Marshaler
	// DrainTimeout is how long messages in hand may still be settled when a subscription ends, and how long Close waits for
	// publications under way. Default 25 s.
	DrainTimeout time.Duration
	// ConfirmTimeout is how long Publish and Push wait for the broker. Default 30 s.
	ConfirmTimeout time.Duration
	// ConnectWait is how long after the loss of the connection a publication waits for the next one, before it fails with
	// ErrNotConnected. Default 5 s.
	ConnectWait time.Duration
	// NackPause is the pause before a nacked message goes back to its queue. A message that was redelivered before waits ten
	// times as long. Default 100 ms.
	NackPause time.Duration
	// Logger gets changes of state: connected, lost, blocked, a queue that is missing. Default: nothing is logged.
	Logger *slog.Logger
}

// withDefaults returns the options with every field set.
func (o Options) withDefaults() Options {
	if o.QueueType == "" {
		o.QueueType = Classic
	}
	if o.Marshaler == nil {
		o.Marshaler = Marshaler{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&o.DrainTimeout, 25 * time.Second},
		{&o.ConfirmTimeout, 30 * time.Second},
		{&o.ConnectWait, 5 * time.Second},
		{&o.NackPause, 100 * time.Millisecond},
	} {
		if *d.value <= 0 {
			*d.value = d.otherwise
		}
	}
	return o
}

// validate reports all that is wrong. The text names fields and what was found, but never the address: it has a password.
func (o Options) validate() error {
	var errs []error
	if o.Prefix == "" {
		errs = append(errs, errors.New("option Prefix: empty, want the beginning of our queues' names"))
	}
	if o.QueueType != Classic && o.QueueType != Quorum {
		errs = append(errs, fmt.Errorf("option QueueType: %q, want %q or %q", o.QueueType, Classic, Quorum))
	}
	if c := o.Connection; c.AmqpConfig != nil && c.AmqpConfig.TLSClientConfig != nil && c.TLSConfig != nil {
		errs = append(errs, errors.New("option Connection: both TLSConfig and AmqpConfig.TLSClientConfig are set, want one"))
	}
	for _, topic := range o.Topics {
		errs = append(errs, o.validateTopic(topic))
	}
	return errors.Join(errs...)
}

func (o Options) validateTopic(topic pipeline.Topic) error {
	_, foreign := o.Foreign[topic.Name]
	switch name := o.queueName(topic.Name); {
	case topic.Name == "":
		return errors.New("topic name: empty")
	case topic.Foreign && !foreign:
		return fmt.Errorf("topic %s: marked as foreign, but Options.Foreign names no queue for it", topic.Name)
	case len(name) > 255: // AMQP's short string.
		return fmt.Errorf("topic %s: its queue's name %q has %d bytes, at most 255 are possible", topic.Name, name, len(name))
	case (topic.Delay > 0) != (topic.Back != ""):
		return fmt.Errorf("topic %s: delay %v and the topic to go back to %q, want both or none", topic.Name, topic.Delay, topic.Back)
	case topic.Delay != 0 && (topic.Delay < time.Millisecond || topic.Delay > maxDelay):
		return fmt.Errorf("topic %s: delay %v, want %v to %v", topic.Name, topic.Delay, time.Millisecond, maxDelay)
	case topic.Delay > 0 && (topic.Prefetch != 0 || foreign):
		return fmt.Errorf("topic %s: a topic with a delay can have no subscribers and no foreign queue", topic.Name)
	case topic.Prefetch < 0 || topic.Prefetch > 65535: // A 16 bit number in basic.qos.
		return fmt.Errorf("topic %s: prefetch %d, want 0 to 65535", topic.Name, topic.Prefetch)
	}
	return nil
}

// queueName is the queue of a topic. It is one of watermill-amqp's QueueNameGenerators.
func (o Options) queueName(topic string) string {
	if queue, ok := o.Foreign[topic]; ok {
		return queue
	}
	return o.Prefix + "." + topic
}

var _ wamqp.QueueNameGenerator = Options{}.queueName

const (
	// maxDelay is the longest time to live that RabbitMQ takes, 2^32-1 ms, in whole days.
	maxDelay = 49 * 24 * time.Hour
	// deliveryLimit is after how many failed deliveries a quorum queue puts a message into the poison queue by itself: the
	// last resort, for a message that ends the process before anybody could read how often it came.
	deliveryLimit = 100
	// noDeliveryLimit is as good as none. RabbitMQ 4 drops after 20 deliveries unless told otherwise, but a letter is
	// delivered whenever somebody looks at it; 3.x does not take -1.
	noDeliveryLimit = 1_000_000_000
)

// Declaration is the name of a topic's queue and the arguments with which [Transport.Declare] declares it.
func (o Options) Declaration(topic pipeline.Topic) (name string, arguments amqp.Table) {
	o = o.withDefaults()
	return o.queueName(topic.Name), o.arguments(topic)
}

// OtherType returns the other queue type, and the arguments that the topic's queue has with it.
func (o Options) OtherType(topic pipeline.Topic) (queueType string, arguments amqp.Table) {
	o = o.withDefaults()
	if o.QueueType == Classic {
		o.QueueType = Quorum
	} else {
		o.QueueType = Classic
	}
	return o.QueueType, o.arguments(topic)
}

// arguments are those with which a topic's queue is declared.
func (o Options) arguments(topic pipeline.Topic) amqp.Table {
	table := amqp.Table{amqp.QueueTypeArg: o.QueueType}
	to := ""
	switch {
	case topic.Delay > 0:
		table[amqp.QueueMessageTTLArg] = topic.Delay.Milliseconds()
		to = topic.Back
	case o.QueueType == Quorum && topic.Poison != "":
		table["x-delivery-limit"] = int64(deliveryLimit)
		to = topic.Poison
	case o.QueueType == Quorum:
		table["x-delivery-limit"] = int64(noDeliveryLimit)
	}
	if to != "" {
		table["x-dead-letter-exchange"] = ""
		table["x-dead-letter-routing-key"] = o.queueName(to)
		if o.QueueType == Quorum { // https://www.rabbitmq.com/docs/quorum-queues#dead-lettering
			table["x-dead-letter-strategy"] = "at-least-once"
			table[amqp.QueueOverflowArg] = amqp.QueueOverflowRejectPublish
		}
	}
	if o.Arguments != nil {
		maps.Copy(table, o.Arguments(topic.Name))
	}
	return table
}
