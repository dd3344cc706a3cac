//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

// broker is the benchmark's own connection: what OpenCTI does to RabbitMQ, and tidying up.
type broker struct {
	conn *amqp.Connection
	ch   *amqp.Channel
}

func dial(url string) (*broker, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, fmt.Errorf("connecting to RabbitMQ: %w", err)
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("opening a channel: %w", err)
	}
	return &broker{conn, ch}, nil
}

func (b *broker) close() { _ = b.conn.Close() } // nothing is left to be told

func (b *broker) declare(queue string, arguments amqp.Table) error {
	if _, err := b.ch.QueueDeclare(queue, true, false, false, false, arguments); err != nil {
		return fmt.Errorf("declaring %s: %w", queue, err)
	}
	return nil
}

func (b *broker) remove(queues ...string) error {
	for _, queue := range queues {
		if _, err := b.ch.QueueDelete(queue, false, false, false); err != nil {
			return fmt.Errorf("deleting %s: %w", queue, err)
		}
	}
	return nil
}

// fill publishes n bodies to a queue and returns when all are confirmed.
func (b *broker) fill(ctx context.Context, queue string, n int, body func(i int) []byte) error {
	ch, err := b.conn.Channel()
	if err != nil {
		return fmt.Errorf("opening a channel: %w", err)
	}
	defer func() { _ = ch.Close() }() // all is confirmed, or it failed anyway
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("asking for confirms: %w", err)
	}
	var pending []*amqp.DeferredConfirmation
	settle := func() error {
		for _, p := range pending {
			if ok, err := p.WaitContext(ctx); err != nil || !ok {
				return fmt.Errorf("filling %s: not confirmed: %w", queue, err)
			}
		}
		pending = pending[:0]
		return nil
	}
	for i := range n {
		p, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(i)})
		if err != nil {
			return fmt.Errorf("filling %s: %w", queue, err)
		}
		if pending = append(pending, p); len(pending) == 1000 {
			if err := settle(); err != nil {
				return err
			}
		}
	}
	return settle()
}

func (b *broker) depth(queue string) (int, error) {
	q, err := b.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return 0, fmt.Errorf("reading the depth of %s: %w", queue, err)
	}
	return q.Messages, nil
}

// consumers counts those of a queue, 0 where there is none yet.
func (b *broker) consumers(queue string) (int, error) {
	ch, err := b.conn.Channel() // one of its own: it ends where the queue is not there
	if err != nil {
		return 0, fmt.Errorf("opening a channel: %w", err)
	}
	defer func() { _ = ch.Close() }() // it was read
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if missing, ok := errors.AsType[*amqp.Error](err); ok && missing.Code == amqp.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("counting the consumers of %s: %w", queue, err)
	}
	return q.Consumers, nil
}

// platform is the broker as OpenCTI sets it up for the worker.
type platform struct {
	*broker
	listen, push string
}

const pushExchange = "bench.worker.exchange"

// newPlatform makes OpenCTI's queues, new and empty. What is pushed to OpenCTI is dropped after a while.
func newPlatform(url string) (*platform, error) {
	b, err := dial(url)
	if err != nil {
		return nil, err
	}
	p := &platform{broker: b, listen: "listen_" + connectorID, push: "push_" + connectorID}
	if err := p.tidy(); err != nil {
		return nil, err
	}
	if err := b.ch.ExchangeDeclare(pushExchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		return nil, fmt.Errorf("declaring the exchange: %w", err)
	}
	if err := b.declare(p.listen, amqp.Table{amqp.QueueTypeArg: "classic"}); err != nil {
		return nil, err
	}
	if err := b.declare(p.push, amqp.Table{amqp.QueueTypeArg: "classic", amqp.QueueMaxLenArg: int64(1000)}); err != nil {
		return nil, err
	}
	if err := b.ch.QueueBind(p.push, "push", pushExchange, false, nil); err != nil {
		return nil, fmt.Errorf("binding %s: %w", p.push, err)
	}
	return p, nil
}

// tidy deletes all queues of OpenCTI's and the worker's.
func (p *platform) tidy() error {
	queues := []string{p.listen, p.push}
	for _, topic := range pipeline.Topics(pipeline.Definition(pipeline.World{Posted: true})) {
		queues = append(queues, workerQueue(topic.Name))
	}
	return p.remove(queues...)
}

func workerQueue(topic string) string { return "ipqs-worker." + connectorID + "." + topic }

// coordinates is what a registration says, in OpenCTI's words.
func (p *platform) coordinates(url string) (map[string]any, error) {
	uri, err := amqp.ParseURI(url)
	if err != nil {
		return nil, fmt.Errorf("reading the address of RabbitMQ: %w", err)
	}
	return map[string]any{
		"connection": map[string]any{
			"host": uri.Host, "vhost": uri.Vhost, "use_ssl": uri.Scheme == "amqps", "port": uri.Port,
			"user": uri.Username, "pass": uri.Password,
		},
		"listen": p.listen, "listen_routing": p.listen, "listen_exchange": "bench.connector.exchange",
		"push": p.push, "push_routing": "push", "push_exchange": pushExchange,
	}, nil
}

// every calls do at a steady rate, n times.
func every(ctx context.Context, rate, n int, do func(i int, at time.Time) error) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		at := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		timer.Reset(time.Until(at))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := do(i, at); err != nil {
			return err
		}
	}
	return nil
}
