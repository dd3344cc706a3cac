package pipeline

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// MetadataRedelivered is set to "true" by a Transport on a message that it hands out again: after a nack, a lost
// connection, or a crash of whoever had it before. A message never handed out before has no such key.
const MetadataRedelivered = "redelivered"

// MetadataDeliveries is set by a Transport to how often a message was handed out before without being acked, in decimal. A
// nack and a return on shutdown count like a crash. It is absent on a first delivery, and where the transport cannot tell
// (RabbitMQ's classic queues).
const MetadataDeliveries = "deliveries"

// Topic is one stream of messages: what a hop reads, or where it puts what it gave up.
type Topic struct {
	// Name is the topic's name in Watermill's terms; a transport derives its queue's name from it.
	Name string
	// Prefetch is how many messages a subscriber may have in hand at once. Zero means that nobody of ours subscribes
	// (a poison queue).
	Prefetch int
	// Foreign marks a topic whose queue OpenCTI owns: it is consumed, never declared and never published to.
	Foreign bool
	// Delay makes the topic a waiting room: what is published to it is handed out on the topic Back after that time, without
	// anybody of ours holding it meanwhile. Its Prefetch is zero. Both are zero for any other topic.
	Delay time.Duration
	Back  string
	// Poison names the topic where a broker puts a message that it refuses to hand out once more, having done so too often.
	// Without one it goes on for ever.
	Poison string
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

// Narrower is a transport whose subscriptions can be made narrower while they run.
type Narrower interface {
	// SetWindow sets how many messages of a topic may be in hand at once, from here on: 0 hands out nothing new, the topic's
	// Prefetch is the widest. Messages in hand stay in hand. It applies to the topic's subscriptions, also to those to come.
	SetWindow(topic string, n int)
}

// Postbox is a transport whose topics without a subscriber, the poison queues, can be looked through.
type Postbox interface {
	// Browse calls visit for each message of the topic, oldest first, as many as there were when it began, and does what
	// visit says. What is kept stays in the topic, in the order it had as far as the transport can. It ends with the first
	// error of visit, having done what visit said before.
	Browse(ctx context.Context, topic string, visit func(*message.Message) (Fate, error)) error
}

// Fate is what becomes of a message that was browsed. The zero value keeps it.
type Fate struct {
	// Drop takes it out of the topic.
	Drop bool
	// Replay, if set, is published to the topic To and the message taken out, as one: whatever interrupts it, either both
	// have happened or neither.
	Replay *message.Message
	To     string
}
