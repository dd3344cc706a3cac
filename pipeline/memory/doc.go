// Package memory is the embedded transport: it carries messages between hops inside one process, without a broker.
//
// Watermill's gochannel does the carrying. A [Transport] adds what a queue has and a Go channel has not:
//
//   - A message published before anybody subscribed waits, and several subscribers of a topic share its messages.
//   - Up to Topic.Prefetch messages are in hand at once, in any order of settling.
//   - A message that was nacked, or not settled before the drain time was over, is handed out again, after a pause that
//     grows from 10 ms to one second, and bears [pipeline.MetadataRedelivered].
//   - Publish waits while the topic's buffer is full, so that a fast hop waits for a slow one.
//   - What reaches a topic without subscribers (Prefetch 0, a poison queue) is kept and can be read by
//     [Transport.DeadLetters] and [Transport.Browse].
//   - What reaches a topic with a Delay goes on to its topic Back after that time, timed by one timer per topic.
//
// Each topic has a gochannel of its own: a gochannel's Publish and Subscribe share one lock for all its topics, and a hop
// that waits for room in one topic would hold up the hops that could make it.
//
// Nothing outlives the process: what was not settled when the Transport closes is gone.
package memory
