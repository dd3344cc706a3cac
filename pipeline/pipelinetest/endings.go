package pipelinetest

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
)

// The promises about subscriptions and transports that end, in order or not.

func testUnsettled(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "unsettled", Prefetch: 1})
	publish(t, transport, "unsettled", numbered(1)...)
	ctx, cancel := context.WithCancel(t.Context())
	messages := subscribe(ctx, t, transport, "unsettled")
	first := Receive(t, messages)
	cancel()
	closes(t, messages)
	if first.Context().Err() == nil {
		t.Error("the context of a message goes on after the drain time, want it ended")
	}
	again := Receive(t, subscribe(t.Context(), t, transport, "unsettled"))
	if !redelivered(again) {
		t.Error("the message came again unmarked")
	}
	again.Ack()
}

func testDrain(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "drained", Prefetch: 2})
	publish(t, transport, "drained", numbered(5)...)
	ctx, cancel := context.WithCancel(t.Context())
	messages := subscribe(ctx, t, transport, "drained")
	one, two := Receive(t, messages), Receive(t, messages)
	cancel()
	receiveNone(t, messages, "the subscription has ended")
	for _, msg := range []*message.Message{one, two} {
		if err := msg.Context().Err(); err != nil {
			t.Errorf("context of a message in hand = %v, want it to go on", err)
		}
		msg.Ack()
	}
	closes(t, messages)

	rest := subscribe(t.Context(), t, transport, "drained")
	for range 3 {
		msg := Receive(t, rest)
		if payload := string(msg.Payload); payload == string(one.Payload) || payload == string(two.Payload) {
			t.Errorf("message %s was acked while draining, and came again", payload)
		}
		msg.Ack()
	}
	receiveNone(t, rest, "all five were acked")
}

func testCloseDrains(t *testing.T, s Subject) {
	namespace := Namespace()
	topics := []pipeline.Topic{{Name: "in", Prefetch: 3}, {Name: "out"}}
	transport := s.openIn(t, namespace, topics...)
	publish(t, transport, "in", numbered(3)...)
	messages := subscribe(t.Context(), t, transport, "in")
	var hand []*message.Message
	for range 3 {
		hand = append(hand, Receive(t, messages))
	}
	closed := make(chan error, 1)
	go func() { closed <- transport.Close() }()
	Eventually(t, "still ready while closing", func() bool { return transport.Ready() != nil })
	for _, msg := range hand {
		publish(t, transport, "out", message.NewMessage(watermill.NewULID(), msg.Payload))
		msg.Ack()
	}
	closes(t, messages)
	select {
	case err := <-closed:
		if err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
	case <-time.After(Patience):
		t.Fatal("Close() did not return")
	}
	if s.Kill == nil {
		return
	}
	next := s.openIn(t, namespace, topics...)
	receiveNone(t, subscribe(t.Context(), t, next, "in"), "all were acked while closing")
}

func testClosed(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "closed", Prefetch: 1})
	messages := subscribe(t.Context(), t, transport, "closed")
	for range 2 {
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
	}
	closes(t, messages)
	if err := transport.Publish("closed", numbered(1)...); err == nil {
		t.Error("Publish() after Close() = nil, want an error")
	}
	if _, err := transport.Subscribe(t.Context(), "closed"); err == nil {
		t.Error("Subscribe() after Close() = nil, want an error")
	}
	if err := transport.Declare(t.Context(), pipeline.Topic{Name: "more"}); err == nil {
		t.Error("Declare() after Close() = nil, want an error")
	}
	if err := transport.Ready(); err == nil {
		t.Error("Ready() after Close() = nil, want an error")
	}
}

func testKilled(t *testing.T, s Subject) {
	if s.Kill == nil {
		t.Skip("there is no broker: messages end with their transport")
	}
	const count = 10
	namespace := Namespace()
	topic := pipeline.Topic{Name: "killed", Prefetch: count}
	victim := s.openIn(t, namespace, topic)
	publish(t, victim, "killed", numbered(count)...)
	messages := subscribe(t.Context(), t, victim, "killed")
	for range count {
		Receive(t, messages) // In hand, and never settled.
	}
	heir := s.openIn(t, namespace, topic)
	s.Kill(t, victim)
	var got tally
	inherited := subscribe(t.Context(), t, heir, "killed")
	for range count {
		msg := Receive(t, inherited)
		if !redelivered(msg) {
			t.Errorf("message %s came again unmarked", msg.Payload)
		}
		got.add(msg)
		msg.Ack()
	}
	if got.distinct() != count {
		t.Errorf("%d different messages came again, want %d", got.distinct(), count)
	}
}

func testOutlives(t *testing.T, s Subject) {
	if s.Kill == nil {
		t.Skip("there is no broker: messages end with their transport")
	}
	namespace := Namespace()
	topic := pipeline.Topic{Name: "outlives", Prefetch: 1}
	first := s.openIn(t, namespace, topic)
	publish(t, first, "outlives", numbered(1)...)
	s.Kill(t, first)
	msg := Receive(t, subscribe(t.Context(), t, s.openIn(t, namespace, topic), "outlives"))
	if redelivered(msg) {
		t.Error("a message never handed out bears the mark of a redelivery")
	}
	msg.Ack()
}
