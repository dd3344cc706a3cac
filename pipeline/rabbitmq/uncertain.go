package rabbitmq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

const (
	// findOut is how long it may take to find out what became of a replay: a broker that was killed needs seconds to come
	// back, and one that did not notice our death two heartbeats.
	findOut = 2 * time.Minute
	// askAgain is the pause between two looks at a queue.
	askAgain = 200 * time.Millisecond
)

// errThere ends a search.
var errThere = errors.New("found")

// resolve sees to a letter whose commit got no answer, as the connection was lost in that moment: cause says how. Mostly the
// broker has done both or neither. But if it was the broker that died, it may have kept the end of the letter and lost the
// message. So unless the letter is still there, its message is published once more, with a confirm: it may be there twice
// then, the second one marked, but it is there.
func (b *browser) resolve(ctx context.Context, d amqp.Delivery, to string, publishing amqp.Publishing, cause error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, findOut, ErrConfirmTimeout)
	defer cancel()
	there, err := b.find(ctx, d)
	if err == nil && there {
		return cause
	}
	if err == nil {
		err = b.publishAgain(ctx, to, publishing)
	}
	if err != nil {
		return fmt.Errorf("%w; whether it is replayed, still there, or gone with the broker is not known: %w", cause, err)
	}
	b.transport.options.Logger.WarnContext(ctx, "a dead letter was replayed when the connection was lost, and again for the case that the broker lost it",
		slog.String("message", publishing.MessageId))
	return fmt.Errorf("%w; this letter is replayed, perhaps twice", cause)
}

// find looks for a letter in the queue, when the broker has noticed that whoever had it in hand is gone.
func (b *browser) find(ctx context.Context, d amqp.Delivery) (there bool, err error) {
	t := b.transport
	noticed, cancel := context.WithTimeout(ctx, t.options.ConfirmTimeout)
	defer cancel()
	for noticed.Err() == nil {
		_, consumers, err := t.Depth(noticed, b.topic)
		if err == nil && consumers == 0 {
			break
		}
		pause(noticed, askAgain) // Whoever consumes it after that is somebody else.
	}
	conn, err := t.publishing.connection(ctx)
	if err != nil {
		return false, err
	}
	search := &browser{transport: t, topic: b.topic, queue: b.queue, conn: conn}
	wanted := t.unmarshal(d)
	err = search.run(ctx, func(msg *message.Message) (pipeline.Fate, error) {
		if (msg.UUID == wanted.UUID || d.MessageId == "") && bytes.Equal(msg.Payload, wanted.Payload) {
			return pipeline.Fate{}, errThere
		}
		return pipeline.Fate{}, nil
	})
	if errors.Is(err, errThere) {
		return true, nil
	}
	return false, err
}

func (b *browser) publishAgain(ctx context.Context, to string, publishing amqp.Publishing) error {
	l, err := b.transport.lane(place{topic: to})
	if err != nil {
		return err
	}
	defer b.transport.publicationsDone.Done()
	publishing.Headers = maps.Clone(publishing.Headers)
	publishing.Headers[pipeline.MetadataRepeated] = "true"
	return l.publish(ctx, &publication{key: l.queue, message: publishing, done: make(chan error, 1)})
}
