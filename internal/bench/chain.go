//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
	"opencti-ipqs-worker/stages"
)

const (
	chainHops     = 5
	chainPrefetch = 200
	chainWindow   = 1000 // jobs inside a chain at once
	chainBody     = 2048 // bytes of a job
)

// chain is five hops over the broker: who runs it puts jobs into the queue that it reads first.
type chain struct {
	name string
	// body is one job as the first hop wants it.
	body []byte
	// run carries jobs until ctx ends, calling done for each that leaves the last hop. It closes ready when it is about to.
	run func(ctx context.Context, prefix string, ready chan<- struct{}, done func()) error
}

// queue is the queue that the chain's hop number i reads.
func queue(prefix string, i int) string { return prefix + "." + hopName(i) }

func hopName(i int) string { return "hop" + strconv.Itoa(i) }

// measured is what a chain did.
type measured struct {
	rate   float64       // jobs a second
	cpu    time.Duration // of this process, per job
	broker time.Duration // the broker's, per job; 0 if that is not known
}

// saturate keeps the chain full, and measures it once it is warm.
func (b *Bench) saturate(ctx context.Context, c chain, queueType string) (measured, error) {
	debug.FreeOSMemory() // each chain begins with a clean heap
	br, err := dial(b.URL)
	if err != nil {
		return measured{}, err
	}
	defer br.close()
	prefix := fmt.Sprintf("bench.%d.%d", time.Now().UnixNano(), b.runs.Add(1))
	var queues []string
	for i := range chainHops {
		queues = append(queues, queue(prefix, i), queue(prefix, i)+".poison")
		if err := br.declare(queue(prefix, i), arguments(queueType, prefix, i)); err != nil {
			return measured{}, err
		}
	}
	defer func() { _ = br.remove(queues...) }() // the broker is ours, and soon gone

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	window := make(chan struct{}, chainWindow)
	var done atomic.Int64
	ready := make(chan struct{})
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := c.run(running, prefix, ready, func() {
			done.Add(1)
			<-window
		})
		if running.Err() == nil && err == nil {
			err = errors.New("it ended by itself")
		}
		return err
	})
	group.Go(func() error {
		select {
		case <-ready:
		case <-running.Done():
			return nil
		}
		for {
			select {
			case window <- struct{}{}:
			case <-running.Done():
				return nil
			}
			err := br.ch.PublishWithContext(running, "", queue(prefix, 0), true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: c.body})
			if err != nil && running.Err() == nil {
				return fmt.Errorf("publishing a job: %w", err)
			}
		}
	})
	var m measured
	group.Go(func() error {
		defer stop()
		if !pause(running, b.length(1500*time.Millisecond)) {
			return nil
		}
		jobs, cpu, broker, began := done.Load(), selfCPU(), b.brokerCPU(), time.Now()
		if !pause(running, b.length(3*time.Second)) {
			return nil
		}
		jobs, cpu, broker = done.Load()-jobs, selfCPU()-cpu, b.brokerCPU()-broker
		if jobs == 0 {
			return errors.New("no job left the chain")
		}
		m = measured{rate: float64(jobs) / time.Since(began).Seconds(), cpu: cpu / time.Duration(jobs), broker: broker / time.Duration(jobs)}
		return nil
	})
	if err := group.Wait(); err != nil {
		return m, fmt.Errorf("%s: %w", c.name, err)
	}
	return m, nil
}

// arguments are the same for every chain: those of the worker's own queues.
func arguments(queueType, prefix string, i int) amqp.Table {
	table := amqp.Table{amqp.QueueTypeArg: queueType}
	if queueType == rabbitmq.Quorum && i > 0 {
		table["x-delivery-limit"] = int64(100)
		table["x-dead-letter-exchange"] = ""
		table["x-dead-letter-routing-key"] = queue(prefix, i) + ".poison"
		table["x-dead-letter-strategy"] = "at-least-once"
		table[amqp.QueueOverflowArg] = amqp.QueueOverflowRejectPublish
	}
	return table
}

// pause waits; it returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bare is what the client library can do with the same messages and guarantees: a channel to consume and one to publish per
// hop, acks in the order of the confirms, up to 25 at a time. A message bears what ours needs to be found again when the
// broker returns it, and a returned one is not acked: here it ends the run.
func (b *Bench) bare() chain {
	return chain{name: "bare amqp091-go", body: make([]byte, chainBody), run: b.runBare}
}

func (b *Bench) runBare(ctx context.Context, prefix string, ready chan<- struct{}, done func()) error {
	var conns [2]*amqp.Connection
	for i := range conns {
		conn, err := amqp.Dial(b.URL)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // what is in hand is nobody's any more
		conns[i] = conn
	}
	var hops sync.WaitGroup
	for i := range chainHops {
		in, err := conns[0].Channel()
		if err == nil {
			err = in.Qos(chainPrefetch, 0, false)
		}
		if err != nil {
			return err
		}
		out, err := conns[1].Channel()
		if err == nil {
			err = out.Confirm(false)
		}
		if err != nil {
			return err
		}
		deliveries, err := in.Consume(queue(prefix, i), "", false, false, false, false, nil)
		if err != nil {
			return err
		}
		returns := out.NotifyReturn(make(chan amqp.Return, chainPrefetch))
		hops.Go(func() { bareHop(in, out, deliveries, returns, prefix, i, done) })
	}
	close(ready)
	<-ctx.Done()
	for _, conn := range conns {
		_ = conn.Close() // as above
	}
	hops.Wait()
	return nil
}

func bareHop(in, out *amqp.Channel, deliveries <-chan amqp.Delivery, returns <-chan amqp.Return, prefix string, i int, done func()) {
	type flight struct {
		tag     uint64
		confirm *amqp.DeferredConfirmation
	}
	flights, next := make(chan flight, chainPrefetch), queue(prefix, i+1)
	go func() {
		defer close(flights)
		for d := range deliveries {
			f := flight{tag: d.DeliveryTag}
			if i < chainHops-1 {
				id := d.MessageId
				if id == "" {
					id = watermill.NewULID()
				}
				var err error
				f.confirm, err = out.PublishWithDeferredConfirm("", next, true, false, amqp.Publishing{
					Headers:     amqp.Table{wamqp.DefaultMessageUUIDHeaderKey: id},
					ContentType: "application/json", DeliveryMode: amqp.Persistent, MessageId: id, Timestamp: time.Now(), Body: d.Body,
				})
				if err != nil {
					return // it is over
				}
			}
			flights <- f
		}
	}()
	pending := 0
	for f := range flights {
		if f.confirm != nil && (!f.confirm.Wait() || len(returns) > 0) {
			continue // it is over: the deliveries end, or the window fills
		}
		if pending++; pending == 25 || len(flights) == 0 {
			pending = 0
			_ = in.Ack(f.tag, true) // if it fails, it is over
		}
		if f.confirm == nil {
			done()
		}
	}
}

func (b *Bench) options(prefix, queueType string, topics []pipeline.Topic) rabbitmq.Options {
	return rabbitmq.Options{
		Connection: wamqp.ConnectionConfig{AmqpURI: b.URL}, Prefix: prefix, Topics: topics, QueueType: queueType,
		DrainTimeout: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
}

// transport is ours under Watermill's router, with handlers that pass on what they get.
func (b *Bench) transport(queueType string) chain {
	run := func(ctx context.Context, prefix string, ready chan<- struct{}, done func()) error {
		var topics []pipeline.Topic
		for i := range chainHops {
			topics = append(topics, pipeline.Topic{Name: hopName(i), Prefetch: chainPrefetch, Poison: hopName(i) + ".poison", Foreign: i == 0})
		}
		options := b.options(prefix, queueType, topics)
		options.Foreign = map[string]string{topics[0].Name: queue(prefix, 0)}
		transport, err := rabbitmq.New(options)
		if err != nil {
			return err
		}
		defer func() { _ = transport.Close() }() // what is in hand is nobody's any more
		return route(ctx, transport, unclosed{transport}, 1, ready, done)
	}
	return chain{name: "our transport", body: make([]byte, chainBody), run: run}
}

// route runs a chain of handlers that pass on what they get, so many of them a hop.
func route(ctx context.Context, from message.Subscriber, to message.Publisher, handlers int, ready chan<- struct{}, done func()) error {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Second}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	pass := func(msg *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage(msg.UUID, msg.Payload)}, nil
	}
	last := func(*message.Message) error {
		done()
		return nil
	}
	for n := range handlers {
		for i := range chainHops - 1 {
			router.AddHandler(fmt.Sprint(hopName(i), "/", n), hopName(i), from, hopName(i+1), to, pass)
		}
		router.AddConsumerHandler(fmt.Sprint("last/", n), hopName(chainHops-1), from, last)
	}
	go func() {
		<-router.Running()
		close(ready)
	}()
	return router.Run(ctx)
}

// unclosed is a publisher that the router does not close.
type unclosed struct{ message.Publisher }

func (unclosed) Close() error { return nil }

// pipeline is the whole of package pipeline on our transport, with stages that do nothing: the job is decoded and encoded
// at every hop, and all that surrounds a stage surrounds it.
func (b *Bench) pipeline(queueType string) chain {
	bulk := fmt.Appendf(nil, `{"type":"bundle","x":"%0*d"}`, chainBody-600, 7)
	run := func(ctx context.Context, prefix string, ready chan<- struct{}, done func()) error {
		var hops []pipeline.Hop
		for i := range chainHops {
			hops = append(hops, pipeline.Hop{Prefetch: chainPrefetch, Retry: pipeline.Schedule{Attempts: 1}, Stage: stages.Stage{
				Name: hopName(i), Timeout: time.Minute, Needs: []stages.Section{stages.SectionRequest},
				Run: func(_ context.Context, job stages.Job) (stages.Job, error) {
					switch i {
					case 0:
						job.Bundle = bulk
					case chainHops - 1:
						done()
					}
					return job, nil
				},
			}})
		}
		hops[0].Stage.Fills = []stages.Section{stages.SectionBundle}
		hops[chainHops-1].Stage.Needs = []stages.Section{stages.SectionRequest, stages.SectionBundle}
		options := b.options(prefix, queueType, nil)
		options.Foreign = map[string]string{hops[0].Name(): queue(prefix, 0)}
		transport, err := rabbitmq.New(options)
		if err != nil {
			return err
		}
		defer func() { _ = transport.Close() }() // what is in hand is nobody's any more
		p, err := pipeline.New(pipeline.Options{Hops: hops, Transport: transport, Ends: nobody{}, Drain: time.Second})
		if err != nil {
			return err
		}
		go func() {
			select {
			case <-p.Running():
				close(ready)
			case <-ctx.Done():
			}
		}()
		return p.Run(ctx)
	}
	return chain{name: "our pipeline, empty stages", body: job(1, false, time.Unix(1, 0)), run: run}
}

// nobody is told of ends.
type nobody struct{ stages.Ending }

func (nobody) Skipped(context.Context, stages.Job, *stages.Fault) error { return nil }
func (nobody) Copied(context.Context, stages.Job) error                 { return nil }

func (nobody) DeadLettered(context.Context, stages.Job, *stages.Fault, string) error { return nil }

// stock is watermill-amqp's own publisher and subscriber, tuned as well as it can be: so many handlers a hop, a channel for
// each, and a few messages fetched ahead.
func (b *Bench) stock(handlers int) chain {
	run := func(ctx context.Context, prefix string, ready chan<- struct{}, done func()) error {
		config := wamqp.NewDurableQueueConfig(b.URL)
		config.Queue.GenerateName = func(topic string) string { return prefix + "." + topic }
		config.Queue.Arguments = amqp.Table{amqp.QueueTypeArg: rabbitmq.Classic}
		config.Publish.GenerateRoutingKey = config.Queue.GenerateName
		config.Publish.ConfirmDelivery = true
		config.Publish.Mandatory = true
		config.Publish.ChannelPoolSize = 5 * handlers
		config.Consume.Qos.PrefetchCount = 10
		subscriber, err := wamqp.NewSubscriber(config, watermill.NopLogger{})
		if err != nil {
			return err
		}
		defer func() { _ = subscriber.Close() }() // what is in hand is nobody's any more
		publisher, err := wamqp.NewPublisher(config, watermill.NopLogger{})
		if err != nil {
			return err
		}
		defer func() { _ = publisher.Close() }() // as above
		return route(ctx, subscriber, unclosed{publisher}, handlers, ready, done)
	}
	return chain{name: fmt.Sprintf("watermill-amqp, %d handlers", handlers), body: make([]byte, chainBody), run: run}
}
