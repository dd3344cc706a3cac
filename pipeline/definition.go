package pipeline

import (
	"time"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stages"
)

// World is what the stages meet outside: OpenCTI, IPQS, the clock.
type World struct {
	Entities   stages.Entities
	Works      Works
	Playbooks  stages.Playbooks
	Risks      ipqs.Lookuper
	Sources    stages.Sources
	Labels     stages.Labels
	Indicators stages.Indicators
	Countries  stages.Countries
	Intake     stages.Intake
	Envelope   stages.Envelope
	Now        func() time.Time

	Policy     stages.Policy
	Scoring    stages.Scoring
	Enrichment stages.Enrichment
	// Lookups is how many jobs the lookup hop has in hand at once, asking or in line to; zero means 32.
	Lookups int
	// InHand is how many jobs the other hops have in hand at once, by name; those that it does not name have their defaults.
	InHand map[string]int

	// Posted says that jobs are posted to the worker; else the first hop consumes OpenCTI's queue.
	Posted bool
	// Recents, if set, has automatic jobs skipped about what was enriched a short while ago.
	Recents stages.Recents
	// OwnWrites, if set, has automatic jobs skipped about changes of the worker's own that OpenCTI has not imported yet.
	OwnWrites *stages.OwnWrites
	// SkipOverBudget has jobs skipped that there are no credits for; else they wait for them.
	SkipOverBudget bool
}

// Works is the life of a work in OpenCTI, as resolve and publish tell it.
type Works interface {
	stages.Receiver
	stages.Announcer
}

// FirstHop is the name of the hop that reads OpenCTI's job messages.
const FirstHop = "resolve"

// ListenTopic is the topic of OpenCTI's queue, from which [FirstHop] takes new jobs unless they are posted.
const ListenTopic = FirstHop + listenLane

// HopNames returns the names of the hops of [Definition], in its order.
func HopNames() []string { return []string{"resolve", "lookup", "score", "bundle", "publish"} }

// Definition is the whole pipeline: five hops, in the order a job makes them.
func Definition(w World) []Hop {
	resolve := stages.Resolve(w.Entities, w.Works, w.Policy, w.Now)
	resolve = stages.SkippingOwnUpdate(resolve, w.Scoring, w.Enrichment.Score, w.OwnWrites, w.Now)
	resolve = stages.SkippingRecent(resolve, w.Recents)
	lookup := stages.Lookup(w.Risks, w.Now, w.Sources)
	if w.SkipOverBudget {
		lookup = stages.SkippingOverBudget(lookup)
	}
	publish := stages.Publish(stages.Publishing{
		Entities: w.Entities, Works: w.Works, Playbooks: w.Playbooks, Labels: w.Labels, Indicators: w.Indicators,
		Countries: w.Countries, Intake: w.Intake, Envelope: w.Envelope, Enrichment: w.Enrichment, Now: w.Now,
		OwnWrites: w.OwnWrites,
	})
	return []Hop{
		{Stage: resolve, Prefetch: or(w.InHand["resolve"], 32), Listen: !w.Posted, Retry: outage, Delays: delays},
		{Stage: lookup, Prefetch: or(w.Lookups, 32), Urgent: max(or(w.Lookups, 32)/4, 4), Retry: outlast},
		{Stage: stages.Score(w.Scoring), Prefetch: or(w.InHand["score"], 100), Retry: never},
		{Stage: stages.Bundle(w.Enrichment), Prefetch: or(w.InHand["bundle"], 100), Retry: never},
		{Stage: stages.RememberingRecent(publish, w.Recents), Prefetch: or(w.InHand["publish"], 32), Retry: outage},
	}
}

// delays is in the names of the first hop's waiting rooms. Rooms called "retry" may exist from earlier versions, where they
// returned jobs to OpenCTI's queue or to the hop's own, depending on how jobs came in. RabbitMQ does not change the target of
// a queue that exists.
const delays = "delay"

// How patiently a hop repeats a stage that failed for a while.
var (
	// It meets nobody: the same job fails the same way.
	never = Schedule{Attempts: 1}
	// A hiccup of OpenCTI or the broker, a few seconds.
	brief = Schedule{Attempts: 6, First: 200 * time.Millisecond, Most: 5 * time.Second}
	// OpenCTI away for a quarter of an hour, such as for an upgrade.
	outage = Schedule{Attempts: 6, First: 200 * time.Millisecond, Most: 5 * time.Second, Later: rooms}
	// IPQS fails for this job; when it fails for all, the breaker has the hop pause.
	outlast = Schedule{Attempts: 4, First: 500 * time.Millisecond, Most: 5 * time.Second, Later: rooms}

	rooms = []time.Duration{5 * time.Second, 30 * time.Second, 5 * time.Minute, 5 * time.Minute, 5 * time.Minute}
)

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}
