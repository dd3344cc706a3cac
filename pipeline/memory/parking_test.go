package memory_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
)

// Each message waits its own time, and those that still wait at the end are kept.
func TestWaitingRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := memory.New(memory.Options{Buffer: 1, Topics: []pipeline.Topic{
			{Name: "room", Delay: time.Hour, Back: "work"}, {Name: "work", Prefetch: 1},
		}})
		start := time.Now()
		depths := func(room, work int) {
			t.Helper()
			synctest.Wait()
			for topic, want := range map[string]int{"room": room, "work": work} {
				if got, _, err := transport.Depth(t.Context(), topic); err != nil || got != want {
					t.Errorf("after %v: depth of %s = %d, %v, want %d", time.Since(start), topic, got, err, want)
				}
			}
		}
		publish(t, transport, "room", text("a"), text("b"))
		time.Sleep(30 * time.Minute)
		publish(t, transport, "room", text("c"))
		depths(3, 0)
		time.Sleep(30 * time.Minute)
		depths(1, 2) // More than the buffer has room for: nobody is there to wait.
		time.Sleep(30 * time.Minute)
		depths(0, 3)
		publish(t, transport, "room", text("d"))
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		time.Sleep(2 * time.Hour)
		depths(1, 3)
	})
}

// A browser that ends keeps its letter, also while it waits for room to replay it.
func TestReplayWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := open(t, memory.Options{Buffer: 1, Topics: []pipeline.Topic{{Name: "work", Prefetch: 1}, {Name: "letters"}}})
		publish(t, transport, "letters", text("a"), text("b"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := transport.Browse(ctx, "letters", func(msg *message.Message) (pipeline.Fate, error) {
			return pipeline.Fate{Replay: msg, To: "work"}, nil
		})
		if err == nil || !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			t.Errorf("Browse() into a full topic = %v, want %v", err, context.DeadlineExceeded)
		}
		if left := transport.DeadLetters("letters"); len(left) != 1 || string(left[0].Payload) != "b" {
			t.Errorf("letters %v are left, want only b", left)
		}
	})
}
