package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/pipeline"
)

func testWaitingRoom(t *testing.T, s Subject) {
	const delay = 400 * time.Millisecond
	transport := s.open(t,
		pipeline.Topic{Name: "room", Delay: delay, Back: "work"}, pipeline.Topic{Name: "work", Prefetch: 4})
	messages := subscribe(t.Context(), t, transport, "work")
	metadata := message.Metadata{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "attempt": "2"}
	sent := message.NewMessage("the-id", []byte{0, 1, 2, 255})
	sent.Metadata = metadata
	for round := range 3 { // What came back goes in again.
		start := time.Now()
		publish(t, transport, "room", sent)
		got := Receive(t, messages)
		if waited := time.Since(start); waited < delay-10*time.Millisecond {
			t.Errorf("round %d: came back after %v, want at least %v", round, waited, delay)
		}
		own := message.Metadata{}
		for key, value := range got.Metadata {
			if !strings.HasPrefix(key, "amqp.") { // What the broker tells of this delivery.
				own[key] = value
			}
		}
		if diff := cmp.Diff(metadata, own); diff != "" {
			t.Errorf("round %d: metadata differ, waiting is no delivery (-published +received):\n%s", round, diff)
		}
		if got.UUID != "the-id" || string(got.Payload) != "\x00\x01\x02\xff" {
			t.Errorf("round %d: received %s %q, want it as it was published", round, got.UUID, got.Payload)
		}
		sent = got.Copy()
		got.Ack()
	}
	receiveNone(t, messages, "it was acked")
}

func testBackUnknown(t *testing.T, s Subject) {
	transport := s.Open(t, Namespace())
	room := pipeline.Topic{Name: "room", Delay: time.Second, Back: "nowhere"}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	err := transport.Declare(ctx, room)
	if err == nil {
		err = transport.Publish("room", numbered(1)...)
	}
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("declaring and publishing = %v, want an error that names the topic to go back to", err)
	}
}

func narrower(t *testing.T, transport pipeline.Transport) pipeline.Narrower {
	t.Helper()
	n, ok := transport.(pipeline.Narrower)
	if !ok {
		t.Fatalf("%T is no pipeline.Narrower", transport)
	}
	return n
}

func testWindow(t *testing.T, s Subject) {
	const prefetch, count = 8, 20
	transport := s.open(t, pipeline.Topic{Name: "window", Prefetch: prefetch})
	windows := narrower(t, transport)
	publish(t, transport, "window", numbered(count)...)
	windows.SetWindow("window", 0)
	messages := subscribe(t.Context(), t, transport, "window")
	receiveNone(t, messages, "the window was closed before the subscription began")
	Eventually(t, "a paused subscription is not ready", func() bool { return transport.Ready() == nil })

	var acked tally
	var hand []*message.Message
	take := func(n int) {
		t.Helper()
		for range n {
			hand = append(hand, Receive(t, messages))
		}
	}
	ack := func(n int) {
		for _, msg := range hand[:n] {
			acked.add(msg)
			msg.Ack()
		}
		hand = hand[n:]
	}
	windows.SetWindow("window", 3)
	take(3)
	receiveNone(t, messages, "three are in hand")
	windows.SetWindow("window", 100) // No more than the prefetch.
	take(prefetch - 3)
	receiveNone(t, messages, "the prefetch is in hand")
	windows.SetWindow("window", 0)
	ack(2)
	receiveNone(t, messages, "the window is closed")
	if err := transport.Ready(); err != nil {
		t.Errorf("Ready() while paused = %v, want nil", err)
	}
	windows.SetWindow("window", 2)
	ack(4)
	receiveNone(t, messages, "as many as the window are still in hand")
	ack(1)
	take(1)
	receiveNone(t, messages, "two are in hand again")
	windows.SetWindow("window", prefetch)
	for acked.distinct() < count {
		ack(1)
		if acked.distinct()+len(hand) < count {
			take(1)
		}
	}
	receiveNone(t, messages, "all were acked")
}

func testWindowStorm(t *testing.T, s Subject) {
	const prefetch, count = 8, 400
	transport := s.open(t, pipeline.Topic{Name: "flapping", Prefetch: prefetch})
	windows := narrower(t, transport)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages := subscribe(ctx, t, transport, "flapping")
	var acked tally
	var running sync.WaitGroup
	running.Go(func() {
		for msg := range messages {
			acked.add(msg)
			msg.Ack()
		}
	})
	flapping, settle := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer settle()
	for i := range 2 {
		running.Go(func() {
			ticker := time.NewTicker(time.Millisecond)
			defer ticker.Stop()
			for n := i; flapping.Err() == nil; n++ {
				windows.SetWindow("flapping", n%(prefetch+1))
				if n%7 == 0 {
					<-ticker.C // Now and then long enough for the broker to answer.
				}
			}
		})
	}
	publish(t, transport, "flapping", numbered(count)...)
	<-flapping.Done()
	// Again and again, as one of the others may set another one last.
	Eventually(t, "not all messages were acked", func() bool {
		windows.SetWindow("flapping", prefetch)
		return acked.distinct() == count
	})
	cancel()
	running.Wait()
}

func browse(t *testing.T, transport pipeline.Transport, topic string, visit func(*message.Message) (pipeline.Fate, error)) error {
	t.Helper()
	box, ok := transport.(pipeline.Postbox)
	if !ok {
		t.Fatalf("%T is no pipeline.Postbox", transport)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	return box.Browse(ctx, topic, visit)
}

// kept waits until the topic "letters" has as many as wanted, which takes a broker a moment after they were looked at, and
// looks whether it is they.
func kept(t *testing.T, transport pipeline.Transport, want ...string) {
	t.Helper()
	left := transport.(interface {
		Depth(ctx context.Context, topic string) (messages, consumers int, err error)
	})
	full := func() bool {
		n, _, err := left.Depth(t.Context(), "letters")
		return err == nil && n == len(want)
	}
	Eventually(t, fmt.Sprintf("there are not %d letters", len(want)), full)
	var found []string
	err := browse(t, transport, "letters", func(msg *message.Message) (pipeline.Fate, error) {
		found = append(found, string(msg.Payload))
		return pipeline.Fate{}, nil
	})
	if err != nil {
		t.Fatalf("Browse() = %v", err)
	}
	slices.Sort(found) // Without a promise of order.
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("letters differ (-want +got):\n%s", diff)
	}
	Eventually(t, "what was looked at is not back", full)
}

func testBrowse(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "letters"}, pipeline.Topic{Name: "work", Prefetch: 4})
	kept(t, transport)
	letters := numbered(6)
	for _, msg := range letters {
		msg.Metadata.Set("reason", "panic")
		publish(t, transport, "letters", msg)
	}
	for range 2 { // Whoever looks twice sees the same.
		kept(t, transport, "0", "1", "2", "3", "4", "5")
	}
	err := browse(t, transport, "letters", func(msg *message.Message) (pipeline.Fate, error) {
		if got := msg.Metadata.Get("reason"); got != "panic" {
			t.Errorf("letter %s: reason = %q, want %q", msg.Payload, got, "panic")
		}
		switch string(msg.Payload) {
		case "1":
			return pipeline.Fate{Drop: true}, nil
		case "2", "3":
			return pipeline.Fate{Replay: message.NewMessage("new-"+msg.UUID, []byte("again "+string(msg.Payload))), To: "work"}, nil
		}
		return pipeline.Fate{}, nil
	})
	if err != nil {
		t.Errorf("Browse() = %v", err)
	}
	kept(t, transport, "0", "4", "5")
	stop, visited := errors.New("stopped by the visitor"), 0
	var left string
	err = browse(t, transport, "letters", func(msg *message.Message) (pipeline.Fate, error) {
		if visited++; visited == 2 {
			return pipeline.Fate{Drop: true}, stop
		}
		left = strings.ReplaceAll("045", string(msg.Payload), "")
		return pipeline.Fate{Drop: true}, nil
	})
	if !errors.Is(err, stop) || visited != 2 {
		t.Errorf("Browse() = %v after %d visits, want the visitor's error after 2", err, visited)
	}
	kept(t, transport, strings.Split(left, "")...)

	want := map[string]string{"again 2": "new-" + letters[2].UUID, "again 3": "new-" + letters[3].UUID}
	messages := subscribe(t.Context(), t, transport, "work")
	for range 2 {
		msg := Receive(t, messages)
		if want[string(msg.Payload)] != msg.UUID || redelivered(msg) {
			t.Errorf("replayed: %s %q, redelivered %v, want one of %v", msg.UUID, msg.Payload, redelivered(msg), want)
		}
		delete(want, string(msg.Payload))
		msg.Ack()
	}
	receiveNone(t, messages, "two were replayed")
}

func testBrowseUnroutable(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "letters"}, pipeline.Topic{Name: "work", Prefetch: 4})
	publish(t, transport, "letters", numbered(3)...)
	visited := 0
	err := browse(t, transport, "letters", func(msg *message.Message) (pipeline.Fate, error) {
		visited++
		if visited == 1 {
			return pipeline.Fate{Drop: true}, nil
		}
		return pipeline.Fate{Replay: message.NewMessage(msg.UUID, msg.Payload), To: "nowhere"}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "nowhere") || visited != 2 {
		t.Errorf("Browse() = %v after %d visits, want an error that names the topic after 2", err, visited)
	}
	kept(t, transport, "1", "2")
	for _, topic := range []string{"work", "nowhere"} {
		if err := browse(t, transport, topic, nil); err == nil || !strings.Contains(err.Error(), topic) {
			t.Errorf("Browse(%q) = %v, want an error that names the topic", topic, err)
		}
	}
}

// A transport that counts deliveries counts right, and the count is not carried on.
func testDeliveries(t *testing.T, s Subject) {
	transport := s.open(t, pipeline.Topic{Name: "counted", Prefetch: 2})
	msg := numbered(1)[0]
	msg.Metadata.Set(pipeline.MetadataDeliveries, "7")
	publish(t, transport, "counted", msg)
	messages := subscribe(t.Context(), t, transport, "counted")
	for before := range 3 {
		got := Receive(t, messages)
		count, ok := got.Metadata[pipeline.MetadataDeliveries]
		if ok && (before == 0 || count != strconv.Itoa(before)) {
			t.Errorf("delivery %d: %s = %q, want the number of earlier ones or nothing", before+1, pipeline.MetadataDeliveries, count)
		}
		if before < 2 {
			got.Nack()
			continue
		}
		got.Ack()
	}
}
