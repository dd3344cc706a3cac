package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// MetadataReplays is the id of the dead letter that a message replays, in the message's metadata.
const MetadataReplays = "replayed_dead_letter"

// Replay says how letters are given back.
type Replay struct {
	// From is the hop that the letters go to; empty is the one where each was given up.
	From string
	// Rate is how many go a second; zero is as fast as they can.
	Rate float64
	// Limit is how many go at most; zero is all.
	Limit int
	// Each, if set, is called before a letter goes.
	Each func(pipeline.DeadLetter)
}

// Replay gives the letters that the filter lets through back to their hops. Each leaves its poison queue together with its
// replay's arrival, so that an end of ctx, or of the process, changes nothing in how many there are of both. A letter that
// can't be replayed stays, and is counted as refused. One that is there twice is replayed once.
func (s Store) Replay(ctx context.Context, f Filter, r Replay) (Tally, error) {
	var pacer pacer
	if r.Rate > 0 {
		pacer.gap = time.Duration(float64(time.Second) / r.Rate)
	}
	return s.replay(ctx, f, r, pipeline.Fate{Drop: true}, func(letter pipeline.DeadLetter, to string, msg *message.Message) (pipeline.Fate, error) {
		if err := pacer.wait(ctx); err != nil {
			return pipeline.Fate{}, err
		}
		if r.Each != nil {
			r.Each(letter)
		}
		msg.Metadata.Set(MetadataReplays, letter.ID)
		return pipeline.Fate{Replay: msg, To: to}, nil
	})
}

// Preview calls visit for each letter that Replay would give back.
func (s Store) Preview(ctx context.Context, f Filter, r Replay, visit func(pipeline.DeadLetter) error) (Tally, error) {
	return s.replay(ctx, f, r, pipeline.Fate{}, func(letter pipeline.DeadLetter, _ string, _ *message.Message) (pipeline.Fate, error) {
		return pipeline.Fate{}, visit(letter)
	})
}

// AtMost returns how many letters Replay will give back at most, without looking at any.
func (s Store) AtMost(ctx context.Context, f Filter, r Replay) (int, error) {
	total := 0
	for _, hop := range s.Hops {
		if !among(f.Hops, hop.Name()) {
			continue
		}
		n, _, err := s.Transport.Depth(ctx, hop.Poison())
		if errors.Is(err, rabbitmq.ErrNoQueue) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("counting the dead letters of %s: %w", hop.Name(), err)
		}
		total += n
	}
	if n := len(f.IDs); n > 0 {
		total = min(total, n)
	}
	if r.Limit > 0 {
		total = min(total, r.Limit)
	}
	return total, nil
}

// replay decides by send what becomes of the letters that r means, of which it is given the replay and where that goes.
func (s Store) replay(
	ctx context.Context, f Filter, r Replay, twin pipeline.Fate,
	send func(letter pipeline.DeadLetter, to string, msg *message.Message) (pipeline.Fate, error),
) (Tally, error) {
	sent := 0
	return s.each(ctx, f, twin, func(letter pipeline.DeadLetter) (pipeline.Fate, error) {
		if r.Limit > 0 && sent == r.Limit {
			return pipeline.Fate{}, errEnough
		}
		to := cmp.Or(r.From, letter.Hop)
		msg, err := letter.Replay(to)
		if err != nil {
			return pipeline.Fate{}, &unfitError{err}
		}
		sent++
		return send(letter, to, msg)
	})
}

// pacer keeps a gap between one and the next. Its zero value keeps none.
type pacer struct {
	gap  time.Duration
	next time.Time
}

func (p *pacer) wait(ctx context.Context) error {
	if p.gap <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Until(p.next))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.next = time.Now().Add(p.gap)
	return nil
}
