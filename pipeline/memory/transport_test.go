package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func subject(buffer int) pipelinetest.Subject {
	return pipelinetest.Subject{
		Open: func(t *testing.T, _ string) pipeline.Transport {
			return open(t, memory.Options{Buffer: buffer, DrainTimeout: pipelinetest.DrainTimeout})
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	pipelinetest.Conformance(t, subject(0))
}

func TestWatermill(t *testing.T) {
	t.Parallel()
	pipelinetest.Watermill(t, subject(10_000)) // It publishes as many before it subscribes.
}

func TestPublishWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := open(t, memory.Options{Topics: []pipeline.Topic{{Name: "full", Prefetch: 1}}, Buffer: 2})
		publish(t, transport, "full", text("a"), text("b"))
		done := make(chan error, 1)
		go func() { done <- transport.Publish("full", text("c")) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Publish() into a full topic = %v, want it to wait", err)
		default:
		}
		messages, err := transport.Subscribe(t.Context(), "full")
		if err != nil {
			t.Fatalf("Subscribe() = %v", err)
		}
		for _, want := range []string{"a", "b", "c"} {
			msg := <-messages
			if string(msg.Payload) != want {
				t.Errorf("received %q, want %q", msg.Payload, want)
			}
			msg.Ack()
		}
		if err := <-done; err != nil {
			t.Errorf("Publish() = %v, want nil once there was room", err)
		}
	})
}

func TestPublishStopsWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := open(t, memory.Options{Topics: []pipeline.Topic{{Name: "full", Prefetch: 1}}, Buffer: 1})
		publish(t, transport, "full", text("a"))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		limited := text("b")
		limited.SetContext(ctx)
		if err := transport.Publish("full", limited); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish() with a time limit = %v, want %v", err, context.DeadlineExceeded)
		}

		done := make(chan error, 1)
		go func() { done <- transport.Publish("full", text("c")) }()
		synctest.Wait()
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if err := <-done; !errors.Is(err, memory.ErrClosed) {
			t.Errorf("Publish() while closing = %v, want %v", err, memory.ErrClosed)
		}
	})
}

// A hop that is finishing its work puts it into the next topic although the hop behind has ended already.
func TestPublishToDesertedTopicDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := open(t, memory.Options{Topics: []pipeline.Topic{{Name: "next", Prefetch: 1}}, Buffer: 1})
		ctx, cancel := context.WithCancel(t.Context())
		messages, err := transport.Subscribe(ctx, "next")
		if err != nil {
			t.Fatalf("Subscribe() = %v", err)
		}
		cancel()
		for range messages {
			t.Error("received a message, want none")
		}
		synctest.Wait()
		publish(t, transport, "next", text("a"), text("b"), text("c"))
		if got, consumers, err := transport.Depth(t.Context(), "next"); got != 3 || consumers != 0 || err != nil {
			t.Errorf("Depth() = %d, %d, %v, want 3, 0, nil", got, consumers, err)
		}
		messages, err = transport.Subscribe(t.Context(), "next")
		if err != nil {
			t.Fatalf("Subscribe() = %v", err)
		}
		for _, want := range []string{"a", "b", "c"} {
			msg := <-messages
			if string(msg.Payload) != want {
				t.Errorf("received %q, want %q", msg.Payload, want)
			}
			msg.Ack()
		}
	})
}

func TestPauseGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := open(t, memory.Options{Topics: []pipeline.Topic{{Name: "failing", Prefetch: 1}}})
		publish(t, transport, "failing", text("a"))
		messages, err := transport.Subscribe(t.Context(), "failing")
		if err != nil {
			t.Fatalf("Subscribe() = %v", err)
		}
		(<-messages).Nack()
		var pauses []time.Duration
		for range 10 {
			began := time.Now()
			msg := <-messages
			pauses = append(pauses, time.Since(began))
			msg.Nack()
		}
		(<-messages).Ack()
		want := "[10ms 20ms 40ms 80ms 160ms 320ms 640ms 1s 1s 1s]"
		if got := fmt.Sprint(pauses); got != want {
			t.Errorf("pauses between a nack and the next delivery = %s, want %s", got, want)
		}
	})
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	transport := open(t, memory.Options{
		Topics: []pipeline.Topic{{Name: "lookup", Prefetch: 1}, {Name: "lookup.poison"}},
		Buffer: 1,
	})
	for _, payload := range []string{"a", "b", "c"} {
		msg := text(payload)
		msg.Metadata.Set("reason", "timeout")
		publish(t, transport, "lookup.poison", msg) // More than the buffer: what is kept is not limited.
	}
	got := transport.DeadLetters("lookup.poison")
	if len(got) != 3 {
		t.Fatalf("DeadLetters() returned %d messages, want 3", len(got))
	}
	for i, want := range []string{"a", "b", "c"} {
		if string(got[i].Payload) != want || got[i].Metadata.Get("reason") != "timeout" {
			t.Errorf("DeadLetters()[%d] = %q %v, want %q and its metadata", i, got[i].Payload, got[i].Metadata, want)
		}
		got[i].Metadata.Set("reason", "changed")
	}
	if reason := transport.DeadLetters("lookup.poison")[0].Metadata.Get("reason"); reason != "timeout" {
		t.Errorf("a change of what DeadLetters() returned changed the letter: reason = %q", reason)
	}
	for _, topic := range []string{"lookup", "unknown"} {
		if got := transport.DeadLetters(topic); got != nil {
			t.Errorf("DeadLetters(%q) = %v, want nil", topic, got)
		}
	}
	if _, err := transport.Subscribe(t.Context(), "lookup.poison"); err == nil {
		t.Error("Subscribe() to a topic with prefetch 0 = nil, want an error")
	}
}

func BenchmarkTransport(b *testing.B) {
	for _, prefetch := range []int{1, 32, 200} {
		b.Run(fmt.Sprintf("prefetch=%d", prefetch), func(b *testing.B) {
			transport := memory.New(memory.Options{Topics: []pipeline.Topic{{Name: "bench", Prefetch: prefetch}}})
			defer transport.Close()
			messages, err := transport.Subscribe(b.Context(), "bench")
			if err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, 2048)
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for range b.N {
					if err := transport.Publish("bench", message.NewMessage("id", payload)); err != nil {
						b.Error(err)
					}
				}
			}()
			for range b.N {
				(<-messages).Ack()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func open(t *testing.T, o memory.Options) *memory.Transport {
	t.Helper()
	transport := memory.New(o)
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return transport
}

func publish(t *testing.T, transport *memory.Transport, topic string, messages ...*message.Message) {
	t.Helper()
	if err := transport.Publish(topic, messages...); err != nil {
		t.Fatalf("Publish(%q) = %v", topic, err)
	}
}

func text(payload string) *message.Message { return message.NewMessage(payload, []byte(payload)) }
