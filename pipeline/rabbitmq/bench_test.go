package rabbitmq_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

const (
	benchHops     = 5
	benchPrefetch = 200
	benchWindow   = 1000 // jobs inside the chain at once
	benchPayload  = 2048
)

// BenchmarkFiveHops takes jobs of 2 KB through five durable queues, each hop confirmed before the last is acked, under
// Watermill's router. It is for profiles; what the bare client does beside it is measured by package internal/bench.
func BenchmarkFiveHops(b *testing.B) {
	for _, queueType := range []string{rabbitmq.Classic, rabbitmq.Quorum} {
		b.Run("transport/"+queueType, func(b *testing.B) { benchTransport(b, queueType) })
	}
}

func benchTransport(b *testing.B, queueType string) {
	b.Helper()
	var topics []pipeline.Topic
	for i := range benchHops {
		topics = append(topics, pipeline.Topic{Name: strconv.Itoa(i), Prefetch: benchPrefetch})
	}
	o := rabbitmq.Options{
		Connection: wamqp.ConnectionConfig{AmqpURI: pipelinetest.AMQPURL(b)},
		Prefix:     pipelinetest.Namespace(),
		Topics:     topics,
		QueueType:  queueType,
		Logger:     slog.New(slog.DiscardHandler),
	}
	transport, err := rabbitmq.New(o)
	if err != nil {
		b.Fatal(err)
	}
	defer transport.Close()
	if err := transport.Declare(b.Context()); err != nil {
		b.Fatal(err)
	}
	conn, err := amqp.Dial(pipelinetest.AMQPURL(b))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	defer func() { // After the router has ended, before the connection is closed.
		ch, err := conn.Channel()
		if err != nil {
			b.Error(err)
			return
		}
		for _, topic := range topics {
			if _, err := ch.QueueDelete(transport.Queue(topic.Name), false, false, false); err != nil {
				b.Error(err)
			}
		}
	}()
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	window := make(chan struct{}, benchWindow)
	var left sync.WaitGroup
	left.Add(b.N)
	pass := func(msg *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage(msg.UUID, msg.Payload)}, nil
	}
	for i := range benchHops - 1 {
		router.AddHandler(topics[i].Name, topics[i].Name, transport, topics[i+1].Name, unclosed{transport}, pass)
	}
	last := topics[benchHops-1].Name
	router.AddConsumerHandler(last, last, transport, func(*message.Message) error {
		<-window
		left.Done()
		return nil
	})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	<-router.Running()
	payload := make([]byte, benchPayload)

	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		window <- struct{}{}
		go func() {
			if err := transport.Publish(topics[0].Name, message.NewMessage(watermill.NewULID(), payload)); err != nil {
				b.Error(err)
			}
		}()
	}
	left.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	stop()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// unclosed is a publisher that the router does not close.
type unclosed struct{ message.Publisher }

func (unclosed) Close() error { return nil }
