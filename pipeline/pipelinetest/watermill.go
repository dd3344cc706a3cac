package pipelinetest

import (
	"context"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"opencti-ipqs-worker/pipeline"
)

// Watermill runs Watermill's own tests for Pub/Subs. What of them does not apply, by the features given to them:
//
//   - consumer groups: a topic is one queue, and its subscribers share it;
//   - order (also "no message before the one in hand is acked"): several messages are in hand at once, by design;
//   - exactly-once delivery: at least once is what a pipeline of acknowledged hops has;
//   - old messages for new subscribers: what was acked is gone;
//   - restart of the broker: tested with a node of our own, where there is one.
//
// The tests open many Pub/Subs on the same topics. Without a broker these are clients of one transport.
func Watermill(t *testing.T, s Subject) {
	features := tests.Features{
		Persistent: true,
		// With a broker, the long forms take hundreds of connections and tens of thousands of messages to the same end.
		ForceShort: s.Kill != nil,
	}
	namespace := Namespace()
	var shared pipeline.Transport
	if s.Kill == nil {
		shared = s.Open(t, namespace)
	}
	open := func(t *testing.T) undeclared {
		if shared != nil {
			return undeclared{newClient(shared)}
		}
		return undeclared{s.Open(t, namespace)}
	}
	tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return open(t), open(t) // Two, as the tests close one and go on with the other.
	}, nil)
}

// undeclared is a transport whose topics are declared when they are first used, as Watermill's tests expect.
type undeclared struct{ pipeline.Transport }

var _ message.SubscribeInitializer = undeclared{}

func (u undeclared) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return u.Declare(ctx, pipeline.Topic{Name: topic, Prefetch: 100})
}

func (u undeclared) Publish(topic string, messages ...*message.Message) error {
	if err := u.SubscribeInitialize(topic); err != nil {
		return err
	}
	return u.Transport.Publish(topic, messages...)
}

func (u undeclared) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := u.SubscribeInitialize(topic); err != nil {
		return nil, err
	}
	return u.Transport.Subscribe(ctx, topic)
}

// client is one of several users of a transport: closing it ends its own subscriptions only.
type client struct {
	pipeline.Transport
	ctx    context.Context //nolint:containedctx // the life of its subscriptions
	cancel context.CancelFunc
	relays sync.WaitGroup
}

func newClient(t pipeline.Transport) *client {
	c := &client{Transport: t}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *client) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	in, err := c.Transport.Subscribe(ctx, topic)
	if err != nil {
		cancel()
		return nil, err
	}
	stop := context.AfterFunc(c.ctx, cancel)
	out := make(chan *message.Message)
	c.relays.Go(func() {
		defer close(out)
		defer cancel()
		defer stop()
		for msg := range in {
			select {
			case out <- msg:
			case <-ctx.Done():
				msg.Nack()
			}
		}
	})
	return out, nil
}

func (c *client) Close() error {
	c.cancel()
	c.relays.Wait()
	return nil
}
