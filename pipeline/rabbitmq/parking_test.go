package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// onBoth runs a test on each type of queue.
func onBoth(t *testing.T, test func(t *testing.T, queueType string)) {
	t.Helper()
	for _, queueType := range []string{rabbitmq.Classic, rabbitmq.Quorum} {
		t.Run(queueType, func(t *testing.T) {
			t.Parallel()
			test(t, queueType)
		})
	}
}

// declareTopics makes queues and deletes them at the end of the test.
func declareTopics(t *testing.T, transport *rabbitmq.Transport, topics ...pipeline.Topic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := transport.Declare(ctx, topics...); err != nil {
		t.Fatalf("Declare() = %v", err)
	}
	for _, topic := range topics {
		if !topic.Foreign {
			deleteQueue(t, transport.Queue(topic.Name))
		}
	}
}

func depth(t *testing.T, transport *rabbitmq.Transport, topic string) int {
	t.Helper()
	messages, _, err := transport.Depth(t.Context(), topic)
	if err != nil {
		t.Fatalf("Depth(%q) = %v", topic, err)
	}
	return messages
}

func payloads(t *testing.T, transport *rabbitmq.Transport, topic string) []string {
	t.Helper()
	var found []string
	err := transport.Browse(t.Context(), topic, func(msg *message.Message) (pipeline.Fate, error) {
		found = append(found, string(msg.Payload))
		return pipeline.Fate{}, nil
	})
	if err != nil {
		t.Fatalf("Browse(%q) = %v", topic, err)
	}
	return found
}

// OpenCTI's own queue is classic or quorum as it likes; ours are as configured.
func TestWaitingForForeignQueue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, queueType string) {
		listen := "listen_" + queueType + "_" + t.Name()
		makeQueue(t, listen, nil)
		transport := open(t, func(o *rabbitmq.Options) {
			o.QueueType = queueType
			o.Foreign = map[string]string{"resolve": listen}
		})
		declareTopics(t, transport,
			pipeline.Topic{Name: "resolve.retry", Delay: 200 * time.Millisecond, Back: "resolve"},
			pipeline.Topic{Name: "resolve", Prefetch: 4, Foreign: true})
		messages := subscribe(t, transport, "resolve")
		publish(t, transport, "resolve.retry", text("job"))
		msg := receive(t, messages)
		if string(msg.Payload) != "job" || msg.Metadata.Get(pipeline.MetadataRedelivered) != "" {
			t.Errorf("received %q with %v, want it as published, unmarked", msg.Payload, msg.Metadata)
		}
		if death := msg.Metadata.Get("amqp.x-death"); !strings.Contains(death, "resolve.retry") {
			t.Errorf("amqp.x-death = %q, want the waiting room named", death)
		}
		msg.Ack()
	})
}

func TestTopicsThatPassOn(t *testing.T) {
	t.Parallel()
	transport := open(t, nil)
	tests := []struct {
		name  string
		topic pipeline.Topic
		want  string
	}{
		{"no way back", pipeline.Topic{Name: "a", Delay: time.Second}, "both or none"},
		{"no delay", pipeline.Topic{Name: "a", Back: "b"}, "both or none"},
		{"too short", pipeline.Topic{Name: "a", Delay: time.Microsecond, Back: "b"}, "want 1ms to"},
		{"too long", pipeline.Topic{Name: "a", Delay: 50 * 24 * time.Hour, Back: "b"}, "want 1ms to"},
		{"subscribers", pipeline.Topic{Name: "a", Delay: time.Second, Back: "b", Prefetch: 1}, "no subscribers"},
		{"unknown way back", pipeline.Topic{Name: "a", Delay: time.Second, Back: "b"}, `"b", which is unknown`},
		{"unknown poison", pipeline.Topic{Name: "a", Prefetch: 1, Poison: "c"}, `"c", which is unknown`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := transport.Declare(t.Context(), tt.topic); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Declare(%+v) = %v, want an error with %q", tt.topic, err, tt.want)
			}
		})
	}
}

// A message that came too often is in the poison queue, as it was: the broker never drops it.
func TestDeliveryLimit(t *testing.T) {
	t.Parallel()
	transport := open(t, func(o *rabbitmq.Options) {
		o.QueueType = rabbitmq.Quorum
		o.Arguments = func(topic string) amqp.Table {
			if topic == "work" {
				return amqp.Table{"x-delivery-limit": int64(2)} // Of the same kind as ours, which takes longer.
			}
			return nil
		}
	})
	declareTopics(t, transport,
		pipeline.Topic{Name: "work", Prefetch: 4, Poison: "work.poison"}, pipeline.Topic{Name: "work.poison"})
	messages := subscribe(t, transport, "work")
	msg := message.NewMessage("crashing", []byte("crash"))
	msg.Metadata.Set("own", "kept")
	publish(t, transport, "work", msg)
	for _, want := range []string{"", "1", "2"} {
		got := receive(t, messages)
		if count := got.Metadata.Get(pipeline.MetadataDeliveries); count != want {
			t.Errorf("%s = %q, want %q", pipeline.MetadataDeliveries, count, want)
		}
		got.Nack()
	}
	eventually(t, "the message is not in the poison queue", func() bool { return depth(t, transport, "work.poison") == 1 })
	err := transport.Browse(t.Context(), "work.poison", func(got *message.Message) (pipeline.Fate, error) {
		if string(got.Payload) != "crash" || got.Metadata.Get("own") != "kept" || got.UUID != msg.UUID {
			t.Errorf("poison: %s %q %v, want the message as published", got.UUID, got.Payload, got.Metadata)
		}
		if reason := got.Metadata.Get("amqp.x-first-death-reason"); reason != "delivery_limit" {
			t.Errorf("amqp.x-first-death-reason = %q, want delivery_limit", reason)
		}
		return pipeline.Fate{}, nil
	})
	if err != nil {
		t.Errorf("Browse() = %v", err)
	}
}

// The limits as we set them are taken by the broker, and looking at a letter often does not end it.
func TestLettersAreLookedAtOften(t *testing.T) {
	t.Parallel()
	transport := open(t, func(o *rabbitmq.Options) { o.QueueType = rabbitmq.Quorum })
	declareTopics(t, transport,
		pipeline.Topic{Name: "work", Prefetch: 4, Poison: "work.poison"}, pipeline.Topic{Name: "work.poison"})
	publish(t, transport, "work.poison", text("letter"))
	for i := range 30 { // RabbitMQ 4 drops after 20 by default.
		eventually(t, fmt.Sprintf("after %d looks the letter is gone", i), func() bool { return len(payloads(t, transport, "work.poison")) == 1 })
	}
}

// A classic queue refuses a replay when the transaction is committed: the letter is not lost.
func TestReplayRefused(t *testing.T) {
	t.Parallel()
	const letters, length = 8, 3
	transport := open(t, func(o *rabbitmq.Options) {
		o.Arguments = func(topic string) amqp.Table {
			if topic == "full" {
				return amqp.Table{"x-max-length": int64(length), "x-overflow": "reject-publish"}
			}
			return nil
		}
	})
	declareTopics(t, transport, pipeline.Topic{Name: "full", Prefetch: 4}, pipeline.Topic{Name: "letters"})
	for i := range letters {
		publish(t, transport, "letters", text(fmt.Sprint("letter ", i)))
	}
	err := transport.Browse(t.Context(), "letters", func(msg *message.Message) (pipeline.Fate, error) {
		return pipeline.Fate{Replay: msg, To: "full"}, nil
	})
	if !errors.Is(err, rabbitmq.ErrRefused) {
		t.Errorf("Browse() = %v, want %v", err, rabbitmq.ErrRefused)
	}
	eventually(t, "letters are lost", func() bool { return depth(t, transport, "letters") == letters-length })
	if n := depth(t, transport, "full"); n != length {
		t.Errorf("%d were replayed, want %d", n, length)
	}
}

// cut is a connection that dies after so many bytes written.
type cut struct {
	net.Conn
	left *atomic.Int64
	dies func() // called when it does
}

func (c cut) Write(p []byte) (int, error) {
	if left := c.left.Add(-int64(len(p))); left < 0 {
		if n := int64(len(p)) + left; n > 0 {
			_, _ = c.Conn.Write(p[:n]) // Part of what was to be sent may arrive, as with a process that is killed.
		}
		_ = c.Close()
		c.dies()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

// However a replay is interrupted, every letter is in one queue of the two, and in one only.
func TestReplayKilled(t *testing.T) {
	t.Parallel()
	const letters, rounds = 400, 25
	onBoth(t, func(t *testing.T, queueType string) {
		quiet := func(o *rabbitmq.Options) { o.QueueType, o.Prefix = queueType, "replay."+t.Name() }
		transport := open(t, quiet)
		names := []pipeline.Topic{{Name: "work", Prefetch: 4}, {Name: "letters"}}
		declareTopics(t, transport, names...)
		for i := range letters {
			publish(t, transport, "letters", text(fmt.Sprintf("%03d %s", i, strings.Repeat("x", 500))))
		}
		for round := range rounds {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			killed, err := rabbitmq.New(options(t, func(o *rabbitmq.Options) {
				quiet(o)
				o.Topics = names
				left := new(atomic.Int64)
				left.Store(3000 + rand.Int64N(3000)) // The handshakes, and some replays of 700 bytes.
				o.Connection.AmqpConfig = &amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
					conn, err := net.Dial(network, addr)
					return cut{conn, left, cancel}, err // who is killed finds nothing out
				}}
			}))
			if err != nil {
				t.Fatalf("New() = %v", err)
			}
			err = killed.Browse(ctx, "letters", func(msg *message.Message) (pipeline.Fate, error) {
				return pipeline.Fate{Replay: msg, To: "work"}, nil
			})
			cancel()
			if err == nil {
				break
			}
			if closeErr := killed.Close(); closeErr != nil {
				t.Errorf("Close() = %v", closeErr)
			}
			eventually(t, fmt.Sprintf("round %d: letters and replays are not %d", round, letters), func() bool {
				return depth(t, transport, "letters")+depth(t, transport, "work") == letters
			})
		}
		if n := depth(t, transport, "work"); n == 0 || n == letters {
			t.Errorf("%d of %d letters were replayed: the kills came too early or too late to show anything", n, letters)
		}
		all := payloads(t, transport, "letters")
		messages := subscribe(t, transport, "work")
		for len(all) < letters {
			msg := receive(t, messages)
			all = append(all, string(msg.Payload))
			msg.Ack()
		}
		slices.Sort(all)
		if distinct := slices.Compact(all); len(distinct) != letters {
			t.Errorf("%d different letters are left, want %d", len(distinct), letters)
		}
	})
}

// Browsing holds a window of bodies, not the queue. It is not parallel: what other tests have in memory would be counted.
func TestBrowseMany(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a queue with 20,000 letters")
	}
	const letters, size = 20_000, 4096
	transport := open(t, nil)
	declareTopics(t, transport, pipeline.Topic{Name: "letters"})
	body := strings.Repeat("x", size)
	batch := make([]*message.Message, 1000)
	for range letters / len(batch) {
		for i := range batch {
			batch[i] = text(body)
		}
		publish(t, transport, "letters", batch...)
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	visited, most := 0, uint64(0)
	start := time.Now()
	err := transport.Browse(t.Context(), "letters", func(*message.Message) (pipeline.Fate, error) {
		if visited++; visited%4000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		return pipeline.Fate{Drop: visited%2 == 0}, nil
	})
	if err != nil || visited != letters {
		t.Errorf("Browse() = %v after %d letters, want nil after %d", err, visited, letters)
	}
	t.Logf("%d letters in %v, heap %d KiB before, at most %d KiB", visited, time.Since(start), before.HeapAlloc>>10, most>>10)
	if grown := int64(most) - int64(before.HeapAlloc); grown > letters*size/4 {
		t.Errorf("the heap grew by %d bytes while %d letters of %d bytes were browsed", grown, letters, size)
	}
	eventually(t, "half of the letters are not back", func() bool { return depth(t, transport, "letters") == letters/2 })
}
