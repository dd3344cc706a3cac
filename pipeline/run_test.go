package pipeline_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
)

// Watermill's router closes the publisher of a handler that stops. Ours stays open for whoever comes next.
func TestATransportOutlivesThePipelineOnIt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		hops := []pipeline.Hop{step("a", 1, pass), step("b", 1, pass)}
		transport := memory.New(memory.Options{Topics: pipeline.Topics(hops)})
		for range 2 {
			outcomes, stop := carry(t, pipeline.Options{Hops: hops, Transport: transport})
			put(t, transport, "a", message.NewMessage("m", []byte(`{"internal":{"work_id":"w"},"event":{"entity_id":"x"}}`)))
			if o := ending(outcomes); o.End != pipeline.Published {
				t.Errorf("end = %+v, want published", o)
			}
			if err := stop(); err != nil {
				t.Errorf("Run() = %v", err)
			}
		}
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
}

// brief is a transport whose subscriptions end after a while, as when a broker throws us out for good.
type brief struct{ *memory.Transport }

func (b brief) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(time.Minute, cancel)
	return b.Transport.Subscribe(ctx, topic)
}

func TestHopsThatStopByThemselvesAreAnError(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		hops := []pipeline.Hop{step("a", 1, pass), step("b", 1, pass)}
		transport := memory.New(memory.Options{Topics: pipeline.Topics(hops)})
		p, err := pipeline.New(pipeline.Options{Hops: hops, Transport: brief{transport}, Ends: &told{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(context.Background()); err == nil {
			t.Errorf("Run() = %v, want an error: all hops have stopped", err)
		}
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
}
