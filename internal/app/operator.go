package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
)

// operatorPatience bounds how long an operator waits for OpenCTI, and then for its broker: unlike a worker, who has all the
// time there is, somebody is looking at a terminal.
const operatorPatience = 30 * time.Second

// Operator is at the broker as somebody who looks after the queues: nothing is consumed, nothing enriched.
type Operator struct {
	looker
	pipeline.Transport
}

// looker is a carrier whose queues can be looked at.
type looker interface {
	pipeline.Postbox
	Depth(ctx context.Context, topic string) (messages, consumers int, err error)
}

// Operate goes where the workers of the same configuration are: it asks OpenCTI where that is, by the registration that
// they make too, and connects. OpenCTI answers nobody else, and a registration overwrites the one before; from the same
// configuration it has the very same fields, so nothing changes for the workers. Queues of ours that are not there yet are
// made, as a worker would. Close the Operator.
func Operate(ctx context.Context, o Options) (*Operator, error) {
	operator, topics, err := approach(ctx, o)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, operatorPatience)
	defer cancel()
	if err := operator.Declare(waiting, topics...); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no connection within %v: %w", operatorPatience, errors.Join(operator.Ready(), err))
		}
		return nil, fmt.Errorf("connecting to the broker: %w", errors.Join(err, operator.Close()))
	}
	return operator, nil
}

// Look is Operate for somebody who only looks: it makes no queue, and does not wait for the connection, which Ready tells of.
func Look(ctx context.Context, o Options) (*Operator, error) {
	operator, _, err := approach(ctx, o)
	return operator, err
}

// approach begins to connect. The topics are those that Declare has to know.
func approach(ctx context.Context, o Options) (*Operator, []pipeline.Topic, error) {
	if withoutRabbitMQ(o.Config.Connector) {
		return nil, nil, &OptionsError{errors.New("this connector has no queues: with CONNECTOR_LISTEN_PROTOCOL=API and " +
			"CONNECTOR_QUEUE_PROTOCOL=api jobs stay within its process, and what it gives up is in its log and in OpenCTI's works alone")}
	}
	client, err := newClient(o)
	if err != nil {
		return nil, nil, &OptionsError{err}
	}
	to, err := registered(ctx, o, client)
	if err != nil {
		return nil, nil, fmt.Errorf("asking OpenCTI where the queues are: %w", remedied(err))
	}
	topics := pipeline.Topics(hops(o.Config.Connector))
	carrier, err := rabbitMQ(o, to, topics)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	look, ok := carrier.(looker)
	if !ok {
		return nil, nil, errors.Join(errors.New("connecting to the broker: its dead letters can't be looked through"), carrier.Close())
	}
	return &Operator{looker: look, Transport: carrier}, topics, nil
}

func registered(ctx context.Context, o Options, client *opencti.Client) (opencti.Registration, error) {
	ctx, cancel := context.WithTimeout(ctx, operatorPatience)
	defer cancel()
	return client.Register(ctx, connector(o.Config.Connector))
}
