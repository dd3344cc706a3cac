// Package status finds out what a running pipeline is doing, from outside: of the broker, what waits in the queues and who
// takes it; of the workers, at /metrics and /readyz, what they have in hand, how fast they are and what they wait for.
//
// A [Watcher] looks again and again, and a [Report] is one look. What could not be asked is in the report, with the reason: a
// figure that is missing is not known, and never taken for zero. Where the broker is not asked, the depths are those that the
// workers counted last, every fifteen seconds.
package status
