package pipelinetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/pipeline"
)

// Conformance tests that a transport keeps the promises of [pipeline.Transport].
func Conformance(t *testing.T, s Subject) {
	tests := []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"messages arrive as they were published", testRoundTrip},
		{"a message waits for its subscriber", testWaits},
		{"published again, a message bears no old mark", testMarkIsNotCarried},
		{"prefetch messages are in hand, and no more", testPrefetch},
		{"a nacked message comes again, marked", testNack},
		{"a message that always fails does not spin", testNoHotLoop},
		{"an unsettled message comes again, marked", testUnsettled},
		{"subscribers share the messages", testSharing},
		{"the end of the subscription drains", testDrain},
		{"closing drains, and handlers may publish meanwhile", testCloseDrains},
		{"nothing goes on after the close", testClosed},
		{"the context of a message", testContext},
		{"a message with an ended context is published", testEndedContext},
		{"unknown topics are refused", testUnknownTopic},
		{"declaring twice changes nothing", testDeclareTwice},
		{"ready while messages can be carried", testReady},
		{"nothing is lost under many publishers and failures", testStorm},
		{"a killed subscriber's messages come again, marked", testKilled},
		{"what was published outlives the publisher", testOutlives},
		{"a message waits in its room and comes back unmarked", testWaitingRoom},
		{"a room needs a way back", testBackUnknown},
		{"a window narrows, closes and opens", testWindow},
		{"nothing is lost while a window flaps", testWindowStorm},
		{"letters are kept, dropped and replayed", testBrowse},
		{"a letter that cannot be replayed is kept", testBrowseUnroutable},
		{"deliveries are counted where the transport can", testDeliveries},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			tt.run(t, s)
		})
	}
}

func testRoundTrip(t *testing.T, s Subject) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	payloads := []struct {
		name    string
		payload []byte
	}{
		{"empty", nil},
		{"json", []byte(`{"a":1}`)},
		{"unicode", []byte("Grüße, 世界 🌍")},
		{"every byte", every},
		{"a megabyte", []byte(strings.Repeat("0123456789abcdef", 1<<16))},
	}
	transport := s.open(t, pipeline.Topic{Name: "round", Prefetch: len(payloads)})
	metadata := message.Metadata{
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"empty":       "",
		"schlüssel 🗝": "wert 世界\nzweite Zeile",
		"long":        strings.Repeat("x", 10_000),
	}
	want := make(map[string][]byte)
	for _, p := range payloads {
		msg := message.NewMessage("id-"+p.name, p.payload)
		for key, value := range metadata {
			msg.Metadata.Set(key, value)
		}
		want[msg.UUID] = p.payload
		publish(t, transport, "round", msg)
	}
	messages := subscribe(t.Context(), t, transport, "round")
	for range payloads {
		msg := Receive(t, messages)
		payload, ok := want[msg.UUID]
		if !ok {
			t.Fatalf("received UUID %q, which is unknown or was received before", msg.UUID)
		}
		delete(want, msg.UUID)
		if string(msg.Payload) != string(payload) {
			t.Errorf("%s: received a payload of %d bytes, want %d bytes, the same ones", msg.UUID, len(msg.Payload), len(payload))
		}
		if diff := cmp.Diff(metadata, msg.Metadata); diff != "" {
			t.Errorf("%s: metadata differ (-published +received):\n%s", msg.UUID, diff)
		}
		msg.Ack()
	}
}

func testWaits(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "early", Prefetch: 4})
	publish(t, transport, "early", numbered(20)...)
	messages := subscribe(t.Context(), t, transport, "early")
	var got tally
	for range 20 {
		msg := Receive(t, messages)
		got.add(msg)
		msg.Ack()
	}
	if got.distinct() != 20 {
		t.Errorf("received %d different messages, want 20", got.distinct())
	}
}

func testMarkIsNotCarried(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "next", Prefetch: 1})
	msg := numbered(1)[0]
	msg.Metadata.Set(pipeline.MetadataRedelivered, "true") // As in a message whose metadata were copied from another.
	publish(t, transport, "next", msg)
	got := Receive(t, subscribe(t.Context(), t, transport, "next"))
	if _, ok := got.Metadata[pipeline.MetadataRedelivered]; ok {
		t.Errorf("metadata %v have %q on the first delivery", got.Metadata, pipeline.MetadataRedelivered)
	}
	got.Ack()
}

func testPrefetch(t *testing.T, s Subject) {
	const prefetch, count = 8, 30
	transport := s.open(t, pipeline.Topic{Name: "window", Prefetch: prefetch})
	publish(t, transport, "window", numbered(count)...)
	messages := subscribe(t.Context(), t, transport, "window")
	var hand []*message.Message
	for range prefetch {
		hand = append(hand, Receive(t, messages))
	}
	receiveNone(t, messages, "the window is full")
	// Settling in the opposite order: a message in the back makes room as well as the first one.
	for received := prefetch; received < count; received++ {
		last := len(hand) - 1
		hand[last].Ack()
		hand[last] = Receive(t, messages)
	}
	receiveNone(t, messages, "all were received")
	for _, msg := range hand {
		msg.Ack()
	}
}

func testNack(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "nacked", Prefetch: 2})
	publish(t, transport, "nacked", message.NewMessage(watermill.NewULID(), []byte("bad")))
	messages := subscribe(t.Context(), t, transport, "nacked")
	for delivery := range 3 {
		msg := Receive(t, messages)
		if got, want := redelivered(msg), delivery > 0; got != want {
			t.Errorf("delivery %d: redelivered = %v, want %v", delivery, got, want)
		}
		if string(msg.Payload) != "bad" {
			t.Errorf("delivery %d: payload = %q, want %q", delivery, msg.Payload, "bad")
		}
		msg.Metadata.Set("changed", "by the handler")
		if delivery < 2 {
			msg.Nack()
			continue
		}
		msg.Ack()
	}
	receiveNone(t, messages, "it was acked")
}

func testNoHotLoop(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "failing", Prefetch: 4})
	publish(t, transport, "failing", message.NewMessage(watermill.NewULID(), []byte("bad")))
	messages := subscribe(t.Context(), t, transport, "failing")
	Receive(t, messages).Nack()
	second := time.After(time.Second)
	deliveries := 1
	for over := false; !over; {
		select {
		case msg := <-messages:
			deliveries++
			msg.Nack()
		case <-second:
			over = true
		}
	}
	if deliveries > 20 { // a broker that requeues at once makes thousands
		t.Errorf("a message that always fails was delivered %d times in a second, want 20 at the most", deliveries)
	}
	Receive(t, messages).Ack() // however long it takes, it comes again
}

func testSharing(t *testing.T, s Subject) {
	const count = 50
	transport := s.open(t, pipeline.Topic{Name: "shared", Prefetch: 4})
	var got tally
	var each [2]int
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var consumers sync.WaitGroup
	for i := range each {
		messages := subscribe(ctx, t, transport, "shared")
		consumers.Go(func() {
			for msg := range messages {
				each[i]++
				got.add(msg)
				msg.Ack()
			}
		})
	}
	for _, msg := range numbered(count) {
		publish(t, transport, "shared", msg)
	}
	Eventually(t, "not all messages were received", func() bool { return got.distinct() == count })
	cancel()
	consumers.Wait()
	if sum := each[0] + each[1]; sum != count {
		t.Errorf("the subscribers received %v messages, want %d together", each, count)
	}
}

type contextKey struct{}

func testContext(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "context", Prefetch: 2})
	ctx := context.WithValue(t.Context(), contextKey{}, "value")
	messages := subscribe(ctx, t, transport, "context")
	publish(t, transport, "context", numbered(1)...)
	for _, settle := range []func(*message.Message) bool{(*message.Message).Nack, (*message.Message).Ack} {
		msg := Receive(t, messages)
		if got := msg.Context().Value(contextKey{}); got != "value" {
			t.Errorf("value of the subscription's context = %v, want %q", got, "value")
		}
		if err := msg.Context().Err(); err != nil {
			t.Errorf("context of a message in hand = %v", err)
		}
		settle(msg)
		Eventually(t, "the context of a settled message goes on", func() bool { return msg.Context().Err() != nil })
	}
}

func testEndedContext(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "late", Prefetch: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// A handler that passes on the message it got, or copies its context, publishes after a time limit has ended it.
	publish(t, transport, "late", message.NewMessageWithContext(ctx, watermill.NewULID(), []byte("x")))
	Receive(t, subscribe(t.Context(), t, transport, "late")).Ack()
}

func testUnknownTopic(t *testing.T, s Subject) {
	transport := s.open(t)
	err := transport.Publish("nowhere", numbered(1)...)
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("Publish(nowhere) = %v, want an error that names the topic", err)
	}
	_, err = transport.Subscribe(t.Context(), "nowhere")
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("Subscribe(nowhere) = %v, want an error that names the topic", err)
	}
}

func testDeclareTwice(t *testing.T, s Subject) {
	topic := pipeline.Topic{Name: "twice", Prefetch: 1}
	transport := s.open(t, topic)
	publish(t, transport, "twice", numbered(1)...)
	declare(t, transport, topic, topic)
	Receive(t, subscribe(t.Context(), t, transport, "twice")).Ack()
}

func testReady(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "ready", Prefetch: 1})
	subscribe(t.Context(), t, transport, "ready")
	Eventually(t, "not ready", func() bool { return transport.Ready() == nil })
}

func testStorm(t *testing.T, s Subject) {
	const publishers, each = 20, 50
	transport := s.open(t, pipeline.Topic{Name: "storm", Prefetch: 25})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var acked tally
	var consumer sync.WaitGroup
	messages := subscribe(ctx, t, transport, "storm")
	consumer.Go(func() {
		var handlers sync.WaitGroup
		defer handlers.Wait()
		for msg := range messages {
			handlers.Go(func() {
				if msg.Payload[len(msg.Payload)-1] == '7' && !redelivered(msg) {
					msg.Nack()
					return
				}
				acked.add(msg)
				msg.Ack()
			})
		}
	})
	errs := make(chan error, publishers)
	for p := range publishers {
		go func() {
			for i := range each {
				if err := transport.Publish("storm", message.NewMessage(watermill.NewULID(), fmt.Appendf(nil, "%d-%d", p, i))); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range publishers {
		if err := <-errs; err != nil {
			t.Errorf("Publish() = %v", err)
		}
	}
	Eventually(t, "not all messages were acked", func() bool { return acked.distinct() == publishers*each })
	cancel()
	consumer.Wait()
}
