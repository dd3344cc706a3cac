package app

import (
	"context"
	"errors"

	"opencti-ipqs-worker/internal/config"
)

// within is the carrier that others are put around.
func within(carrier Carrier) Carrier {
	for {
		switch c := carrier.(type) {
		case pushing:
			carrier = c.Carrier
		case *called:
			carrier = c.Carrier
		default:
			return carrier
		}
	}
}

// depth counts what waits in a topic, where the carrier can tell.
func depth(ctx context.Context, carrier Carrier, topic string) (messages, consumers int, err error) {
	counter, ok := within(carrier).(interface {
		Depth(ctx context.Context, topic string) (messages, consumers int, err error)
	})
	if !ok {
		return 0, 0, errors.New("this carrier does not count")
	}
	return counter.Depth(ctx, topic)
}

// Depth implements [pipeline.Counter].
func (p pushing) Depth(ctx context.Context, topic string) (messages, consumers int, err error) {
	return depth(ctx, p, topic)
}

// Depth implements [pipeline.Counter].
func (c *called) Depth(ctx context.Context, topic string) (messages, consumers int, err error) {
	return depth(ctx, c, topic)
}

// systemOf is what carries jobs, in the words of OpenTelemetry's conventions.
func systemOf(c config.Connector) string {
	if withoutRabbitMQ(c) {
		return "in_process"
	}
	return "rabbitmq"
}

// queuesOf says what the broker calls a topic.
func queuesOf(carrier Carrier) func(topic string) string {
	if c, ok := within(carrier).(interface{ Queue(topic string) string }); ok {
		return c.Queue
	}
	return nil
}
