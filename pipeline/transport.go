package pipeline

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

// MetadataRedelivered is set to "true" by a Transport on a message that it hands out again: after a nack, a lost
// connection, or a crash of whoever had it before. A message never handed out before has no such key.
const MetadataRedelivered = "redelivered"

// Topic is one stream of messages: what a hop reads, or where it puts what it gave up.
type Topic struct {
	// Name is the topic's name in Watermill's terms; a transport derives its queue's name from it.
	Name string
	// Prefetch is how many messages a subscriber may have in hand at once. Zero means that nobody of ours subscribes
	// (a poison queue).
	Prefetch int
	// Foreign marks a topic whose queue somebody else owns (OpenCTI's listen queue): never declared by us.
	Foreign bool
}

// Transport carries messages between hops: Watermill's interfaces, and three promises that the pipeline builds on.
//
//   - Publish returns nil only when every message is safe in its queue (with a broker: confirmed, and routed).
//     It may be called from many goroutines at once, and gives up with an error instead of hanging.
//   - A message that Subscribe handed out stays the transport's until Ack; a Nack, a closed transport or a dead process
//     makes it be handed out again, marked by [MetadataRedelivered].
//   - When the context of Subscribe ends, no new message is handed out, those in hand may still be acked, and the
//     channel closes once they are settled or the transport's drain time is over. The messages' own contexts outlive it.
type Transport interface {
	message.Publisher
	message.Subscriber

	// Declare makes the queues of topics that are ours to make. It is idempotent.
	Declare(ctx context.Context, topics ...Topic) error
	// Ready returns nil while messages can be carried, else why not.
	Ready() error
}
