package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// ErrNotFound means that no poison queue has the letter asked for: it was replayed or dropped, or somebody else is going
// through the queue.
var ErrNotFound = errors.New("no such dead letter")

// errEnough ends a browse early.
var errEnough = errors.New("enough")

// Transport is what a [Store] needs of the pipeline's transport.
type Transport interface {
	pipeline.Postbox
	// Publish returns nil when every message is safe in the topic's queue.
	Publish(topic string, messages ...*message.Message) error
	// Depth returns how many messages of topic wait in its queue, and how many consumers it has.
	Depth(ctx context.Context, topic string) (messages, consumers int, err error)
}

// Store is the poison queues of a pipeline.
type Store struct {
	Transport Transport
	// Hops are the pipeline's, in its order: letters are gone through in it, and in each hop from the oldest on.
	Hops []pipeline.Hop
	// Seen, if set, is called for each letter that is looked at, in a queue or in an import.
	Seen func()
	// Now is the clock that ages are taken from; nil is the real one.
	Now func() time.Time
}

// HopNames lists the hops' names, in the pipeline's order.
func (s Store) HopNames() []string {
	names := make([]string, len(s.Hops))
	for i, hop := range s.Hops {
		names[i] = hop.Name()
	}
	return names
}

func (s Store) seen() {
	if s.Seen != nil {
		s.Seen()
	}
}

func (s Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// List calls visit for each letter that the filter lets through, and ends with its first error. A letter that is there twice
// is visited once.
func (s Store) List(ctx context.Context, f Filter, visit func(pipeline.DeadLetter) error) (Tally, error) {
	return s.each(ctx, f, pipeline.Fate{}, func(letter pipeline.DeadLetter) (pipeline.Fate, error) {
		return pipeline.Fate{}, visit(letter)
	})
}

// Find returns the letter with the id, from the hops that the filter lets through, or [ErrNotFound].
func (s Store) Find(ctx context.Context, id string, f Filter) (pipeline.DeadLetter, error) {
	var letter pipeline.DeadLetter
	found := false
	f.IDs = []string{id}
	tally, err := s.each(ctx, f, pipeline.Fate{}, func(one pipeline.DeadLetter) (pipeline.Fate, error) {
		letter, found = one, true
		return pipeline.Fate{}, errEnough
	})
	if err == nil && !found {
		err = fmt.Errorf("looking for %s among %d dead letters: %w", id, tally.Seen.Total, ErrNotFound)
	}
	return letter, err
}

// Drop removes the letters that the filter lets through, for good.
func (s Store) Drop(ctx context.Context, f Filter) (Tally, error) {
	return s.each(ctx, f, pipeline.Fate{Drop: true}, func(pipeline.DeadLetter) (pipeline.Fate, error) {
		return pipeline.Fate{Drop: true}, nil
	})
}

// each goes through the poison queues of the hops that the filter lets through. What decide says is done to each of the
// letters. An [*unfitError] from it keeps the letter and goes on; errEnough keeps it and ends everything well. The second
// of two letters that are one, as a worker died in the wrong moment, is not decided about: once the first one is, it gets
// the twin's fate.
func (s Store) each(
	ctx context.Context, f Filter, twin pipeline.Fate, decide func(pipeline.DeadLetter) (pipeline.Fate, error),
) (Tally, error) {
	began := s.now() // one moment for all: what is filtered out stays so during a long replay
	decided := make(map[identity]bool)
	tally := Tally{Missing: slices.Clone(f.IDs)}
	for _, hop := range s.Hops {
		if !among(f.Hops, hop.Name()) {
			continue
		}
		err := s.Transport.Browse(ctx, hop.Poison(), func(msg *message.Message) (pipeline.Fate, error) {
			if err := ctx.Err(); err != nil {
				return pipeline.Fate{}, err
			}
			letter := pipeline.ReadDeadLetter(hop.Poison(), msg)
			letter.Hop = hop.Name() // where it is, whatever it says
			id := identity{letter.Hop, letter.ID, letter.JobID}
			if decided[id] {
				tally.Twins++
				return twin, nil
			}
			tally.Seen.add(letter)
			s.seen()
			if !f.Match(letter, began) {
				return pipeline.Fate{}, nil
			}
			tally.Missing = slices.DeleteFunc(tally.Missing, func(id string) bool { return strings.EqualFold(id, letter.ID) })
			fate, err := decide(letter)
			if unfit, ok := errors.AsType[*unfitError](err); ok {
				tally.Refused = append(tally.Refused, unfit.error)
				return pipeline.Fate{}, nil
			}
			if err == nil {
				tally.Done.add(letter)
				decided[id] = letter.JobID != ""
			}
			return fate, err
		})
		if errors.Is(err, errEnough) {
			return tally, nil
		}
		if errors.Is(err, rabbitmq.ErrNoQueue) {
			continue // no worker has declared it, so nothing was given up
		}
		if err != nil {
			return tally, fmt.Errorf("going through the dead letters of %s: %w", hop.Name(), err)
		}
	}
	tally.Whole = true
	return tally, nil
}

// identity is what makes a letter the one that it is: its id follows from the job that was given up, so a job that was given
// up twice is there twice under one id. The bodies may differ in when and how often something was done.
type identity struct{ hop, id, job string }

// unfitError is why a letter can't be done what was asked for, while others can.
type unfitError struct{ error }

func (e *unfitError) Unwrap() error { return e.error }
