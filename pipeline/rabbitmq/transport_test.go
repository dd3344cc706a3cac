package rabbitmq_test

import (
	"context"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, queueType := range []string{rabbitmq.Classic, rabbitmq.Quorum} {
		t.Run(queueType, func(t *testing.T) {
			t.Parallel()
			pipelinetest.Conformance(t, subject(t, queueType))
		})
	}
}

func TestWatermill(t *testing.T) {
	t.Parallel()
	pipelinetest.Watermill(t, subject(t, rabbitmq.Classic))
}

// killable is a transport whose connections can be taken away, and which remembers its queues.
type killable struct {
	*rabbitmq.Transport
	namespace string
	sockets   *sockets
	forget    func(queue string)
}

func (k killable) Declare(ctx context.Context, topics ...pipeline.Topic) error {
	for _, topic := range topics {
		k.forget(k.namespace + "." + topic.Name)
	}
	return k.Transport.Declare(ctx, topics...)
}

// subject gives transports whose queues are deleted at the end of t.
func subject(t *testing.T, queueType string) pipelinetest.Subject {
	ch := direct(t)
	var mu sync.Mutex
	queues := make(map[string]bool)
	t.Cleanup(func() {
		for queue := range queues {
			if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
				t.Errorf("deleting queue %s: %v", queue, err)
			}
		}
	})
	return pipelinetest.Subject{
		Open: func(t *testing.T, namespace string) pipeline.Transport {
			s := new(sockets)
			transport := open(t, func(o *rabbitmq.Options) {
				o.Prefix, o.QueueType = namespace, queueType
				o.Connection.AmqpConfig = &amqp.Config{Dial: s.dial}
			})
			return killable{transport, namespace, s, func(queue string) {
				mu.Lock()
				defer mu.Unlock()
				queues[queue] = true
			}}
		},
		Kill: func(_ *testing.T, transport pipeline.Transport) { transport.(killable).sockets.kill() },
	}
}
