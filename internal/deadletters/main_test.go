package deadletters_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// box is a postbox in this process.
type box struct {
	queues map[string][]*message.Message
	// refuse, if set, says which fates and messages are not taken.
	refuse func(topic string) error
}

var _ deadletters.Transport = (*box)(nil)

func (b *box) Browse(_ context.Context, topic string, visit func(*message.Message) (pipeline.Fate, error)) error {
	var kept []*message.Message
	waiting := b.queues[topic]
	b.queues[topic] = nil
	defer func() { b.queues[topic] = append(kept, append(waiting, b.queues[topic]...)...) }()
	for len(waiting) > 0 {
		msg := waiting[0]
		fate, err := visit(msg)
		if err != nil {
			return fmt.Errorf("browsing: %w", err)
		}
		if fate.Replay != nil {
			if err := b.Publish(fate.To, fate.Replay); err != nil {
				return err
			}
		} else if !fate.Drop {
			kept = append(kept, msg)
		}
		waiting = waiting[1:]
	}
	return nil
}

func (b *box) Publish(topic string, messages ...*message.Message) error {
	if b.refuse != nil {
		if err := b.refuse(topic); err != nil {
			return err
		}
	}
	b.queues[topic] = append(b.queues[topic], messages...)
	return nil
}

func (b *box) Depth(_ context.Context, topic string) (messages, consumers int, err error) {
	return len(b.queues[topic]), 0, nil
}

func (b *box) ids(topic string) []string {
	var ids []string
	for _, msg := range b.queues[topic] {
		ids = append(ids, msg.UUID)
	}
	return ids
}

// replayed lists the letters whose replays are in a topic.
func (b *box) replayed(topic string) []string {
	var ids []string
	for _, msg := range b.queues[topic] {
		ids = append(ids, msg.Metadata.Get(deadletters.MetadataReplays))
	}
	return ids
}

func hops() []pipeline.Hop { return pipeline.Definition(pipeline.World{}) }

// letter makes a dead letter of a hop, given up so long ago.
func letter(id, hop string, reason stages.Reason, entityType string, age time.Duration) *message.Message {
	body, err := json.Marshal(map[string]any{
		"id": "job-" + id, "request": map[string]any{"work": "work-" + id, "id": "entity-" + id, "type": entityType, "mode": "auto"},
	})
	if err != nil {
		panic(err)
	}
	msg := message.NewMessage(id, body)
	for key, value := range map[string]string{
		pipeline.MetadataVersion:      "1",
		pipeline.DeadLetterHop:        hop,
		pipeline.DeadLetterReason:     string(reason),
		pipeline.DeadLetterClass:      string(stages.Permanent),
		pipeline.DeadLetterError:      "IPQS refuses this value",
		pipeline.DeadLetterAttempts:   "2",
		pipeline.DeadLetterFirstAt:    now.Add(-age - time.Minute).Format("2006-01-02T15:04:05.000Z07:00"),
		pipeline.DeadLetterAt:         now.Add(-age).Format("2006-01-02T15:04:05.000Z07:00"),
		pipeline.DeadLetterJob:        "job-" + id,
		pipeline.DeadLetterWorkID:     "work-" + id,
		pipeline.DeadLetterEntityID:   "entity-" + id,
		pipeline.DeadLetterEntityType: entityType,
		pipeline.DeadLetterVersion:    "1.2.3",
		"traceparent":                 "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		msg.Metadata.Set(key, value)
	}
	return msg
}

// newStore has five letters: three of lookup, two of publish.
func newStore() (deadletters.Store, *box) {
	b := &box{queues: map[string][]*message.Message{
		"lookup.poison": {
			letter("L1", "lookup", stages.ReasonInvalidValue, "IPv4-Addr", 72*time.Hour),
			letter("L2", "lookup", stages.ReasonTimeout, "Url", 2*time.Hour),
			letter("L3", "lookup", stages.ReasonTimeout, "IPv4-Addr", time.Minute),
		},
		"publish.poison": {
			letter("P1", "publish", stages.ReasonContract, "Url", 48*time.Hour),
			letter("P2", "publish", stages.ReasonTimeout, "Url", time.Hour),
		},
	}}
	return deadletters.Store{Transport: b, Hops: hops(), Now: func() time.Time { return now }}, b
}

func list(t *testing.T, s deadletters.Store, f deadletters.Filter) []string {
	t.Helper()
	var ids []string
	if _, err := s.List(t.Context(), f, func(letter pipeline.DeadLetter) error {
		ids = append(ids, letter.ID)
		return nil
	}); err != nil {
		t.Fatalf("List() = %v", err)
	}
	return ids
}

// sum lists the letters that are in poison queues or replayed.
func (b *box) sum() []string {
	var all []string
	for _, hop := range hops() {
		all = append(all, b.ids(hop.Poison())...)
		all = append(all, b.replayed(hop.Name())...)
	}
	slices.Sort(all)
	return all
}

var errBroken = errors.New("the connection broke")
