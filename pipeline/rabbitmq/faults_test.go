package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// Networks that fail.

// throughProxy makes a transport behind a fault proxy.
func throughProxy(t *testing.T, change func(*rabbitmq.Options)) (*rabbitmq.Transport, *pipelinetest.FaultProxy) {
	t.Helper()
	url := pipelinetest.AMQPURL(t)
	proxy := pipelinetest.NewFaultProxy(t, host(t, url))
	transport := open(t, func(o *rabbitmq.Options) {
		o.Connection.AmqpURI = proxy.Through(t, url)
		if change != nil {
			change(o)
		}
	})
	return transport, proxy
}

// Connections are lost over and over, with many publishers and a full window: nothing is lost, and nobody hangs.
func TestConnectionsLost(t *testing.T) {
	t.Parallel()
	for _, queueType := range []string{rabbitmq.Classic, rabbitmq.Quorum} {
		t.Run(queueType, func(t *testing.T) {
			t.Parallel()
			const publishers, each, cuts = 32, 60, 8
			transport, proxy := throughProxy(t, func(o *rabbitmq.Options) {
				o.QueueType = queueType
				o.ConfirmTimeout = 10 * time.Second
			})
			declare(t, transport, "cut")
			messages := subscribe(t, transport, "cut")

			var mu sync.Mutex
			seen := make(map[string]int)
			deliveries := 0
			var handlers sync.WaitGroup
			handlers.Go(func() {
				for msg := range messages {
					handlers.Go(func() {
						time.Sleep(rand.N(5 * time.Millisecond)) // Work, of which some is in hand at each cut.
						if msg.UUID == "" || len(msg.Payload) == 0 {
							t.Errorf("received an empty message")
						}
						mu.Lock()
						seen[string(msg.Payload)]++
						deliveries++
						mu.Unlock()
						msg.Ack()
					})
				}
			})
			published := make(chan error, publishers)
			for p := range publishers {
				go func() {
					var err error
					for i := 0; i < each && err == nil; i++ {
						time.Sleep(rand.N(30 * time.Millisecond))
						for try := 0; try == 0 || err != nil && try < 5; try++ {
							err = transport.Publish("cut", text(fmt.Sprintf("%d-%d", p, i)))
						}
					}
					published <- err
				}()
			}
			for range cuts {
				time.Sleep(100 * time.Millisecond)
				proxy.Cut()
				eventually(t, "not connected again", func() bool { return transport.Ready() == nil })
			}
			for range publishers {
				if err := <-published; err != nil {
					t.Errorf("Publish() five times = %v, want nil once", err)
				}
			}
			eventually(t, "messages were lost", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(seen) == publishers*each
			})
			if err := transport.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
			handlers.Wait()
			t.Logf("%d messages, %d deliveries, %d cuts", publishers*each, deliveries, cuts)
		})
	}
}

func TestPublishWhileDisconnected(t *testing.T) {
	t.Parallel()
	const wait = 300 * time.Millisecond
	transport, proxy := throughProxy(t, func(o *rabbitmq.Options) { o.ConnectWait = wait })
	declare(t, transport, "away")
	publish(t, transport, "away", text("a"))

	proxy.Refuse(true)
	proxy.Cut()
	eventually(t, "ready without a connection", func() bool { return errors.Is(transport.Ready(), rabbitmq.ErrNotConnected) })
	for range 2 {
		began := time.Now()
		if err := transport.Publish("away", text("b")); !errors.Is(err, rabbitmq.ErrNotConnected) {
			t.Errorf("Publish() = %v, want %v", err, rabbitmq.ErrNotConnected)
		}
		if took := time.Since(began); took > 15*wait { // less than the default
			t.Errorf("Publish() gave up after %v, want about %v at most", took, wait)
		}
	}
	proxy.Refuse(false)
	eventually(t, "not connected again", func() bool { return transport.Ready() == nil })
	publish(t, transport, "away", text("c"))
}

// A short loss is waited for, and what was not confirmed is sent again: the work behind it is not done twice. The second
// sending says that there was a first, which may have arrived.
func TestPublishOutlastsAShortLoss(t *testing.T) {
	t.Parallel()
	transport, proxy := throughProxy(t, nil)
	declare(t, transport, "short")
	publish(t, transport, "short", text("a"))
	proxy.Stall()
	done := make(chan error, 1)
	go func() { done <- transport.Publish("short", text("b")) }()
	eventually(t, "nothing is on its way", func() bool { return proxy.Held() > 0 })
	proxy.Cut()
	proxy.Resume()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Publish() = %v, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("Publish() hangs")
	}
	marked := map[string]int{}
	for messages := subscribe(t, transport, "short"); marked["b"] == 0; {
		msg := receive(t, messages)
		if msg.Metadata.Get(pipeline.MetadataRepeated) == "true" {
			marked[string(msg.Payload)]++
		}
		msg.Ack()
	}
	if marked["a"] > 0 {
		t.Error("a message that was sent once is marked as repeated")
	}
}

// A network that swallows everything: nothing hangs, neither publishing nor the end.
func TestStalledNetwork(t *testing.T) {
	t.Parallel()
	patient := open(t, nil)
	declare(t, patient, "stalled")
	transport, proxy := throughProxy(t, func(o *rabbitmq.Options) {
		o.ConfirmTimeout = 500 * time.Millisecond
		o.DrainTimeout = 500 * time.Millisecond
		o.Prefix = strings.TrimSuffix(patient.Queue("stalled"), ".stalled")
		o.Topics = topics("stalled")
	})
	messages := subscribe(t, transport, "stalled")
	publish(t, patient, "stalled", text("a"))
	hand := receive(t, messages)
	proxy.Stall()

	// The last one is more than sockets buffer: a write blocks.
	for _, payload := range []string{"b", "c", strings.Repeat("d", 32<<20)} {
		if err := transport.Publish("stalled", text(payload)); !errors.Is(err, rabbitmq.ErrConfirmTimeout) {
			t.Errorf("Publish() = %v, want %v", err, rabbitmq.ErrConfirmTimeout)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := transport.Depth(ctx, "stalled"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Depth() = %v, want %v", err, context.DeadlineExceeded)
	}
	if err := transport.Push(ctx, "", transport.Queue("stalled"), [][]byte{nil}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Push() = %v, want %v", err, context.DeadlineExceeded)
	}
	hand.Ack()
	began := time.Now()
	if err := transport.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Close() took %v without a network, want a few seconds", took)
	}
	for msg := range messages {
		t.Errorf("received %q after Close()", msg.Payload)
	}
}

// After a confirm that did not come, the channel is given up, with all that waits on it, and the next publication has a new
// one.
func TestConfirmTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 6 * time.Second // half of which is plenty, also for a busy machine
	transport, proxy := throughProxy(t, func(o *rabbitmq.Options) { o.ConfirmTimeout = timeout })
	declare(t, transport, "slow")
	publish(t, transport, "slow", text("a"))
	proxy.Stall()
	first := make(chan error, 1)
	go func() { first <- transport.Publish("slow", text("b"), text("c")) }()
	time.Sleep(timeout / 2) // The later one has half of its time left when the first one gives up.
	began := time.Now()
	if err := transport.Publish("slow", text("d")); !errors.Is(err, rabbitmq.ErrConfirmTimeout) {
		t.Errorf("Publish() = %v, want %v", err, rabbitmq.ErrConfirmTimeout)
	}
	if took := time.Since(began); took >= timeout {
		t.Errorf("Publish() took its whole %v, want it to end with the one before it", took)
	}
	if err := <-first; !errors.Is(err, rabbitmq.ErrConfirmTimeout) {
		t.Errorf("the first Publish() = %v, want %v", err, rabbitmq.ErrConfirmTimeout)
	}
	proxy.Resume()
	eventually(t, "publishing does not work again", func() bool { return transport.Publish("slow", text("e")) == nil })
}

func TestSubscribeBeforeThereIsABroker(t *testing.T) {
	t.Parallel()
	url := pipelinetest.AMQPURL(t)
	proxy := pipelinetest.NewFaultProxy(t, host(t, url))
	proxy.Refuse(true)
	namespace := pipelinetest.Namespace()
	makeQueue(t, namespace+".early", queueArguments)
	transport := open(t, func(o *rabbitmq.Options) {
		o.Prefix = namespace
		o.Connection.AmqpURI = proxy.Through(t, url)
		o.Topics = topics("early")
	})
	messages := subscribe(t, transport, "early")
	if err := transport.Ready(); !errors.Is(err, rabbitmq.ErrNotConnected) {
		t.Errorf("Ready() = %v, want %v", err, rabbitmq.ErrNotConnected)
	}
	proxy.Refuse(false)
	publish(t, transport, "early", text("a"))
	receive(t, messages).Ack()
}

// A message in hand when its connection is lost is finished, comes again, and still no more than the window are in hand.
func TestWindowOutlivesConnections(t *testing.T) {
	t.Parallel()
	const prefetch = 10 // That of declare.
	transport, proxy := throughProxy(t, nil)
	declare(t, transport, "window")
	for i := range 3 * prefetch {
		publish(t, transport, "window", text(strconv.Itoa(i)))
	}
	messages := subscribe(t, transport, "window")
	var hand []interface{ Ack() bool }
	for range prefetch {
		msg := receive(t, messages)
		defer func() {
			if err := msg.Context().Err(); err == nil {
				t.Errorf("the context of message %s goes on at the end", msg.Payload)
			}
		}()
		hand = append(hand, msg)
	}
	proxy.Cut()
	eventually(t, "not consuming again", func() bool {
		_, consumers, err := transport.Depth(t.Context(), "window")
		return err == nil && consumers == 1 && transport.Ready() == nil
	})
	select {
	case msg := <-messages:
		t.Fatalf("received %q, with %d messages in hand already", msg.Payload, prefetch)
	case <-time.After(250 * time.Millisecond):
	}
	for _, msg := range hand {
		msg.Ack()
	}
	again := 0
	for range 3 * prefetch {
		msg := receive(t, messages)
		if msg.Metadata.Get("redelivered") == "true" {
			again++
		}
		msg.Ack()
	}
	if again < prefetch {
		t.Errorf("%d messages came again, want the %d that were in hand at least", again, prefetch)
	}
}
