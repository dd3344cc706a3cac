// Package pipeline carries enrichment jobs over five hops, in Watermill's router, on any [Transport].
//
//	listen queue ─▶ resolve ─▶ lookup ─▶ score ─▶ bundle ─▶ publish ─▶ OpenCTI
//	                  │          │         │        │          │
//	                  ▼          ▼         ▼        ▼          ▼
//	              resolve.poison  …    one poison queue per hop
//
// A hop reads a topic of its own name, runs its [stages.Stage], and puts the job into the next hop's topic. The message
// is acknowledged when the transport has confirmed that one, so at every moment each job is in exactly one queue, or in
// two for the blink between confirm and acknowledgement. A crash repeats a stage; it never loses a job.
//
// A job that can't be done for a while is tried again while it is in hand, for seconds; then it waits in one of the hop's
// waiting rooms ("lookup.retry.5m"), where nobody holds it and its attempts are written on it; then it is given up. When no
// job of a hop can be done, for the breaker is open or the account or token is refused, the hop pauses: its jobs wait in
// their queue as they came, and one at a time looks whether it goes on ([Pipeline.Paused]).
//
// OpenCTI's queue is one line for everybody, so resolve empties it fast, and the hop that takes long, lookup, has a lane
// ("lookup.urgent") for the jobs that somebody waits for ([stages.Job.Urgent]).
//
// A job ends in one of three ways, and OpenCTI is told which: published, skipped with a reason, or dead-lettered: put
// into the hop's poison queue as it came, with the reason beside it.
//
// A playbook waits for its job, so that one has a deadline, counted from when it was first taken up: no attempt and no wait
// goes beyond it. Every end answers the playbook, before the message is acknowledged and before there is a dead letter,
// which says so ([MetadataAnswered]). What a crash repeats is answered again: OpenCTI can't be asked whether it was. What a lost
// connection repeats is not ([Copies]).
//
// Read [Definition] first: it is the pipeline. What surrounds every stage (span, measurement, poison queue, retries) is
// one list in [Pipeline.around].
//
// Queues are called after the hop that reads them ("lookup", "lookup.poison"), not after what happened to the job before
// ("enrichment.resolved"): whoever looks at a broker at night wants to know who is behind, not what is done.
package pipeline
