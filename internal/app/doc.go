// Package app puts the worker together: it registers with OpenCTI, connects the pipeline to what the registration leads
// to, and keeps it running until it is told to stop.
//
// [Run] is the connector. Two loops make it, and neither waits for the other: presence registers, pings, and registers
// again when OpenCTI has forgotten the connector, was away, or the broker stays away; follow runs one session after the
// other. A session is a carrier and a pipeline on it, at the broker and the queues that OpenCTI named. When a later
// registration names others, the session is drained and the next one begins there; else it never notices.
//
// While OpenCTI is away there is no session. A job cannot be begun or ended without it: it would fail its attempts within
// seconds, become a dead letter, and leave a work that nobody can end. So the jobs stay in their queues, untouched.
//
// [EnrichAll] is the same five stages for values typed on a command line, without OpenCTI and without a broker. All of it
// is constructors, an errgroup and a defer or two: there is no container and no global.
package app
