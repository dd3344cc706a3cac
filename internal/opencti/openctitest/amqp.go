package openctitest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// AMQP is a real RabbitMQ, used as the platform uses it: it alone declares, its queues have the platform's names and
// arguments, its messages are persistent and have no properties besides. A lost connection is made again.
type AMQP struct {
	url string
	// Prefix is the platform's rabbitmq:queue_prefix, with its underscore. Set it before use.
	Prefix string

	mu      sync.Mutex // one publish or declare at a time
	link    *amqp.Connection
	channel *amqp.Channel
}

// AMQPBroker returns the broker at an AMQP URL. It connects when first needed; Close disconnects.
func AMQPBroker(url string) *AMQP { return &AMQP{url: url} }

var _ Broker = (*AMQP)(nil)

// reconnectWait is how long ConsumePush leaves a broker that is away alone.
const reconnectWait = 200 * time.Millisecond

// Declare implements [Broker] with the platform's topology.
func (b *AMQP) Declare(ctx context.Context, connectorID string, scope []string) error {
	c := b.Coordinates(connectorID)
	types := make([]any, len(scope))
	for i, t := range scope {
		types[i] = t
	}
	arguments := amqp.Table{
		"name":         "stand-in connector",
		"config":       amqp.Table{"id": connectorID, "type": "INTERNAL_ENRICHMENT", "scope": types},
		"x-queue-type": "classic",
	}
	return b.with(ctx, func(channel *amqp.Channel) error {
		for _, exchange := range []string{c.ListenExchange, c.PushExchange} {
			if err := channel.ExchangeDeclare(exchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
				return fmt.Errorf("declaring %s: %w", exchange, err)
			}
		}
		for _, q := range []struct{ queue, routing, exchange string }{
			{c.Listen, c.ListenRouting, c.ListenExchange},
			{c.Push, c.PushRouting, c.PushExchange},
		} {
			// RabbitMQ compares the arguments it knows: a changed name or scope is no conflict with the queue that exists.
			if _, err := channel.QueueDeclare(q.queue, true, false, false, false, arguments); err != nil {
				return fmt.Errorf("declaring %s: %w", q.queue, err)
			}
			if err := channel.QueueBind(q.queue, q.routing, q.exchange, false, nil); err != nil {
				return fmt.Errorf("binding %s: %w", q.queue, err)
			}
		}
		return nil
	})
}

// PublishJob implements [Broker]. It returns when the broker has confirmed the message.
func (b *AMQP) PublishJob(ctx context.Context, connectorID string, body []byte) error {
	c := b.Coordinates(connectorID)
	return b.publish(ctx, c.ListenExchange, c.ListenRouting, body)
}

// PublishPush implements [Broker]. It returns when the broker has confirmed the message.
func (b *AMQP) PublishPush(ctx context.Context, connectorID string, body []byte) error {
	c := b.Coordinates(connectorID)
	return b.publish(ctx, c.PushExchange, c.PushRouting, body)
}

func (b *AMQP) publish(ctx context.Context, exchange, key string, body []byte) error {
	return b.with(ctx, func(channel *amqp.Channel) error {
		confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
		if err != nil {
			return fmt.Errorf("publishing to %s: %w", key, err)
		}
		confirmed, err := confirmation.WaitContext(ctx)
		if err != nil {
			return fmt.Errorf("waiting for the confirm of %s: %w", key, err)
		}
		if !confirmed {
			return fmt.Errorf("publishing to %s: the broker refused it", key)
		}
		return nil
	})
}

// with runs f on the publishing channel, once more on a new one when the old one turns out to be dead.
func (b *AMQP) with(ctx context.Context, f func(*amqp.Channel) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh, err := b.open()
	if err != nil {
		return err
	}
	if err = f(b.channel); err == nil {
		return nil
	}
	b.drop()
	if fresh || ctx.Err() != nil {
		return err
	}
	if _, err := b.open(); err != nil {
		return err
	}
	return f(b.channel)
}

func (b *AMQP) open() (fresh bool, err error) {
	if b.channel != nil && !b.channel.IsClosed() {
		return false, nil
	}
	b.drop()
	if b.link, err = amqp.Dial(b.url); err != nil {
		return true, fmt.Errorf("connecting to the broker: %w", err)
	}
	if b.channel, err = b.link.Channel(); err == nil {
		err = b.channel.Confirm(false)
	}
	if err != nil {
		b.drop()
		return true, fmt.Errorf("opening a channel: %w", err)
	}
	return true, nil
}

func (b *AMQP) drop() {
	if b.link != nil {
		_ = b.link.Close() // closes its channel; an error means it was closed before
	}
	b.link, b.channel = nil, nil
}

// Close disconnects the publishing side; ConsumePush disconnects itself.
func (b *AMQP) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
	return nil
}

// ConsumePush implements [Broker] as the platform's worker does: one message at a time.
func (b *AMQP) ConsumePush(ctx context.Context, connectorID string, handle func(body []byte) error) error {
	return b.follow(ctx, b.Coordinates(connectorID).Push, handle)
}

// ConsumeJobs implements [Broker] in the same way.
func (b *AMQP) ConsumeJobs(ctx context.Context, connectorID string, handle func(body []byte) error) error {
	return b.follow(ctx, b.Coordinates(connectorID).Listen, handle)
}

// follow consumes a queue until ctx ends.
func (b *AMQP) follow(ctx context.Context, queue string, handle func(body []byte) error) error {
	for {
		b.consume(ctx, queue, handle) //nolint:errcheck // a lost broker is tried again until ctx ends
		wait := time.NewTimer(reconnectWait)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}

func (b *AMQP) consume(ctx context.Context, queue string, handle func(body []byte) error) error {
	link, err := amqp.Dial(b.url)
	if err != nil {
		return fmt.Errorf("connecting to the broker: %w", err)
	}
	defer link.Close()
	channel, err := link.Channel()
	if err != nil {
		return fmt.Errorf("opening a channel: %w", err)
	}
	if err := channel.Qos(1, 0, false); err != nil {
		return fmt.Errorf("setting prefetch: %w", err)
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consuming %s: %w", queue, err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case delivery, open := <-deliveries:
			if !open {
				return errors.New("the broker closed the channel")
			}
			if handle(delivery.Body) != nil {
				err = delivery.Nack(false, true)
			} else {
				err = delivery.Ack(false)
			}
			if err != nil {
				return fmt.Errorf("acknowledging: %w", err)
			}
		}
	}
}

// Coordinates implements [Broker] from the URL.
func (b *AMQP) Coordinates(connectorID string) Coordinates {
	c := named(b.Prefix, connectorID)
	uri, err := amqp.ParseURI(b.url)
	if err != nil {
		return c // a URL that is none fails when it is dialled
	}
	c.Host, c.VHost, c.Port, c.User, c.Pass = uri.Host, uri.Vhost, uri.Port, uri.Username, uri.Password
	c.UseSSL = uri.Scheme == "amqps"
	return c
}
