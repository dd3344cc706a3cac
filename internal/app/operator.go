package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// operatorPatience bounds how long an operator waits for OpenCTI, and then for its broker: somebody looks at a terminal.
const operatorPatience = 30 * time.Second

// ErrNotRegistered means that OpenCTI does not know the connector yet, so it cannot say where the queues are.
var ErrNotRegistered = errors.New("the connector is not registered with OpenCTI yet: start `ipqs-worker run` once, then repeat")

// Operator reads the queues of a worker, and writes to them where it is told to. It consumes no jobs. Its methods are for one
// goroutine at a time.
type Operator struct {
	// Hops are those of the worker's pipeline.
	Hops []pipeline.Hop

	queues
	topics   map[string]pipeline.Topic
	declared map[string]bool
}

// queues is a transport whose queues can be counted and browsed.
type queues interface {
	pipeline.Transport
	pipeline.Postbox
	Depth(ctx context.Context, topic string) (messages, consumers int, err error)
}

var _ queues = (*intake)(nil)

// Operate connects to the broker of the workers with the same configuration and waits until it is connected. It reads the
// existing registration and sends none; it asks OpenCTI nothing when the MQ_* options name the whole connection. It declares
// no queue: a queue is declared when the Operator first publishes to it. Without a registration it returns
// [ErrNotRegistered]. Close the Operator.
func Operate(ctx context.Context, o Options) (*Operator, error) {
	var to opencti.Registration
	if !complete(o.Config.MQ) {
		var err error
		if to, err = registration(ctx, o); err != nil {
			return nil, err
		}
	}
	operator, err := connect(o, to)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, operatorPatience)
	defer cancel()
	_, _, err = operator.Depth(waiting, operator.Hops[0].Poison())
	if err == nil || errors.Is(err, rabbitmq.ErrNoQueue) {
		return operator, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no connection within %v: %w", operatorPatience, errors.Join(operator.Ready(), err))
	}
	return nil, fmt.Errorf("connecting to the broker: %w", errors.Join(err, operator.Close()))
}

// Look is Operate for counting: it also knows OpenCTI's queue, for whose name it always asks OpenCTI, and does not wait for the
// connection; Ready reports whether there is one.
func Look(ctx context.Context, o Options) (*Operator, error) {
	to, err := registration(ctx, o)
	if err != nil {
		return nil, err
	}
	return connect(o, to)
}

// registration reads the connector's registration.
func registration(ctx context.Context, o Options) (opencti.Registration, error) {
	if err := queued(o.Config.Connector); err != nil {
		return opencti.Registration{}, err
	}
	client, err := newClient(o)
	if err != nil {
		return opencti.Registration{}, &OptionsError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, operatorPatience)
	defer cancel()
	found, err := client.Registered(ctx, o.Config.Connector.ID)
	if errors.Is(err, opencti.ErrNotFound) {
		return opencti.Registration{}, ErrNotRegistered
	}
	if errors.Is(err, opencti.ErrForbidden) {
		err = fmt.Errorf("%w; give the token's user the capability MODULES", err)
	}
	if err != nil {
		return opencti.Registration{}, fmt.Errorf("asking OpenCTI where the queues are: %w", remedied(err))
	}
	return found.Registration, nil
}

// queued returns an error for a connector whose jobs stay within its process.
func queued(c config.Connector) error {
	if withoutRabbitMQ(c) {
		return &OptionsError{errors.New("this connector has no queues: with CONNECTOR_LISTEN_PROTOCOL=API and " +
			"CONNECTOR_QUEUE_PROTOCOL=api jobs stay within its process, and what it gives up is in its log and in OpenCTI's works alone")}
	}
	return nil
}

// complete reports whether the options name a whole connection, so that nothing of a registration's is used.
func complete(mq config.MQ) bool {
	return mq.Host != "" && mq.Port != 0 && mq.VHost != "" && mq.User != "" && mq.Pass.Reveal() != "" && mq.UseSSL != nil
}

// connect begins to connect to the broker.
func connect(o Options, to opencti.Registration) (*Operator, error) {
	if err := queued(o.Config.Connector); err != nil {
		return nil, err
	}
	operator := &Operator{Hops: hops(o.Config.Connector), topics: map[string]pipeline.Topic{}, declared: map[string]bool{}}
	topics := pipeline.Topics(operator.Hops)
	for _, topic := range topics {
		operator.topics[topic.Name] = topic
	}
	broker, err := rabbitMQ(o, to, topics)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	operator.queues = broker
	return operator, nil
}

// Publish declares the queue of the topic, as a worker does, and publishes to it.
func (o *Operator) Publish(topic string, messages ...*message.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), operatorPatience)
	defer cancel()
	if err := o.declare(ctx, topic); err != nil {
		return err
	}
	return o.queues.Publish(topic, messages...)
}

// Browse implements [pipeline.Postbox]. It declares the queue that a message is replayed to, as a worker does.
func (o *Operator) Browse(ctx context.Context, topic string, visit func(*message.Message) (pipeline.Fate, error)) error {
	return o.queues.Browse(ctx, topic, func(msg *message.Message) (pipeline.Fate, error) {
		fate, err := visit(msg)
		if err == nil && fate.Replay != nil {
			err = o.declare(ctx, fate.To)
		}
		return fate, err
	})
}

func (o *Operator) declare(ctx context.Context, topic string) error {
	known, ok := o.topics[topic]
	if !ok || o.declared[topic] {
		return nil // publishing to an unknown topic fails by itself
	}
	if err := o.Declare(ctx, known); err != nil {
		return fmt.Errorf("declaring the queue of %s: %w", topic, err)
	}
	o.declared[topic] = true
	return nil
}
