// Package rabbitmq carries messages between hops over RabbitMQ.
//
// Its publisher and subscriber are pipelined: one channel and one consumer per topic with up to Topic.Prefetch messages in
// hand, acked together where they are contiguous; one channel and one goroutine per destination that publishes, with up to
// 256 publications waiting for their confirms. Publishing is persistent, mandatory and confirmed. Two connections, one to
// consume and one to publish, come back by themselves, and a broker that blocks publishing does not hold up acks.
//
// From watermill-amqp come the configuration of connections (ConnectionConfig with TLS and ReconnectConfig), the Marshaler
// interface with its UUID header, and the QueueNameGenerator. Its publisher, subscriber, connection, marshaler and topology
// builder are replaced, as they
//
//   - have one message in flight per channel, so that nothing is batched anywhere (half the rate of this package);
//   - report an unroutable message as published, and lose their pool of channels with a connection;
//   - wait without end, whatever the context, while the broker blocks publishing;
//   - bring a message with a header that is no string (x-death, x-delivery-count) back for ever, thousands of times a second;
//   - hand out empty messages when a queue is deleted, and requeue at once what was nacked;
//   - throw away what is in hand when they stop, and race when they reconnect;
//   - declare queues that others have made.
//
// The list "potholes" in the tests has them all, with the tests of each.
//
// Delivery is at least once. A message comes again after a nack, after the loss of a connection for all that was in hand or
// on its way, and if a publication was repeated because its connection was lost before the confirm. There is no order
// between messages.
package rabbitmq
