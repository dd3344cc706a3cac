package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"opencti-ipqs-worker/stages"
)

// Hop is one trip of a job: from the topic of the hop's name, through its stage, into the next hop's topic.
type Hop struct {
	Stage stages.Stage
	// Prefetch is how many jobs may be in this hop's hands at once.
	Prefetch int
	// Urgent, if not zero, gives the hop a second topic for the jobs that somebody waits for ([stages.Job.Urgent]), of which so
	// many more may be in its hands: they don't wait behind all the others.
	Urgent int
	// Listen gives the first hop a second topic, whose queue belongs to OpenCTI: new jobs arrive there. The hop consumes that
	// queue and never publishes to it; retries and replays use the hop's own topic, which then has a quarter of Prefetch.
	Listen bool
	// Retry is how often and how patiently a failed stage is run again before the job goes to the poison queue.
	Retry Schedule
	// Delays is the part of the waiting rooms' names between topic and wait, as in "lookup.retry.30s"; empty is "retry".
	Delays string

	lane string // what the topic's name ends in: "", urgentLane or listenLane
}

const (
	// urgentLane ends the name of the topic for urgent jobs. It is a queue of its own as quorum queues know no priorities.
	urgentLane = ".urgent"
	// listenLane ends the name of the topic whose queue belongs to OpenCTI.
	listenLane = ".listen"
)

// topic is what the hop reads, in the lane that it is.
func (h Hop) topic() string { return h.Name() + h.lane }

// home is the topic that the hop sends a job back to, at once or through a waiting room. It is the topic that the job came
// from, unless OpenCTI owns that one.
func (h Hop) home() string {
	if h.lane == listenLane {
		return h.Name()
	}
	return h.topic()
}

// lanes returns the hop as often as it has topics to read.
func (h Hop) lanes() []Hop {
	own := h
	if h.Listen {
		own.Prefetch = max(h.Prefetch/4, 1)
	}
	lanes := []Hop{own}
	if h.Urgent > 0 {
		urgent := h
		urgent.lane, urgent.Prefetch = urgentLane, h.Urgent
		lanes = append(lanes, urgent)
	}
	if h.Listen {
		h.lane = listenLane
		lanes = append(lanes, h)
	}
	return lanes
}

// Schedule is how patiently a stage is repeated: first while the job is in hand, after waits that grow exponentially, with
// jitter; then, as often as there is a long wait, the same again after the job has been in a waiting room.
type Schedule struct {
	Attempts    int           // runs of the stage while the job is in hand, the first included
	First, Most time.Duration // the first wait between them and the longest one
	// Later are the long waits, the shortest first; the same one may come several times. Each different one is a topic.
	Later []time.Duration
}

// Name is the stage's: it names the hop's topic, its metrics and its span.
func (h Hop) Name() string { return h.Stage.Name }

// Poison is the topic where the hop puts what it gave up.
func (h Hop) Poison() string { return h.Name() + poisonSuffix }

// Topics lists what a transport has to carry for hops: each hop's own topic, its poison queue and its waiting rooms; where it
// has a lane for urgent jobs, that one's topic and waiting rooms; and where it listens, the topic of OpenCTI's queue.
func Topics(hops []Hop) []Topic {
	var topics []Topic
	for _, hop := range hops {
		for _, lane := range hop.lanes() {
			if lane.lane == listenLane {
				topics = append(topics, Topic{Name: lane.topic(), Prefetch: lane.Prefetch, Foreign: true, Poison: hop.Poison()})
				continue
			}
			topics = append(topics, Topic{Name: lane.topic(), Prefetch: lane.Prefetch, Poison: hop.Poison()})
			if lane.lane == "" {
				topics = append(topics, Topic{Name: hop.Poison()})
			}
			for _, wait := range hop.Retry.rooms() {
				topics = append(topics, Topic{Name: lane.room(wait), Delay: wait, Back: lane.topic()})
			}
		}
	}
	return topics
}

// Validate checks that hops make a pipeline: names differ, every stage finds the sections it needs filled, none is filled
// twice, and every number makes sense. It returns all problems joined.
func Validate(hops []Hop) error {
	var problems []error
	if len(hops) == 0 {
		problems = append(problems, errors.New("no hops"))
	}
	filled := []stages.Section{stages.SectionRequest}
	var names []string
	for i, hop := range hops {
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("hop %d (%s): "+format, append([]any{i + 1, hop.Name()}, args...)...))
		}
		if hop.Name() == "" || slices.Contains(names, hop.Name()) {
			problem("its name must be set and differ from the others")
		}
		names = append(names, hop.Name())
		if hop.Urgent < 0 || hop.Urgent > 0 && i == 0 {
			problem("urgent is %d, want at least 0, and 0 for the first hop: OpenCTI does not say which job is urgent", hop.Urgent)
		}
		if hop.Listen && i > 0 {
			problem("it listens to OpenCTI's queue, which only the first hop can read")
		}
		if hop.Stage.Run == nil || hop.Stage.Timeout <= 0 {
			problem("its stage needs a function and a timeout")
		}
		if hop.Prefetch < 1 {
			problem("prefetch is %d, want at least 1", hop.Prefetch)
		}
		if hop.Retry.Attempts < 1 || hop.Retry.Attempts > 1 && (hop.Retry.First <= 0 || hop.Retry.Most < hop.Retry.First) {
			problem("retry is %+v, want at least one attempt and growing waits", hop.Retry)
		}
		if later := hop.Retry.Later; !slices.IsSorted(later) || len(later) > 0 && later[0] <= 0 {
			problem("the long waits of its retry are %v, want them above zero and sorted", later)
		}
		for _, section := range slices.Concat(hop.Stage.Needs, hop.Stage.Uses) {
			if !slices.Contains(filled, section) {
				problem("it needs %s, which no earlier stage fills", section)
			}
		}
		for _, section := range hop.Stage.Fills {
			if slices.Contains(filled, section) {
				problem("it fills %s, which is filled already", section)
			}
			filled = append(filled, section)
		}
	}
	return errors.Join(problems...)
}

// known checks that names are hops'.
func known(names []string, hops []Hop) error {
	all := make([]string, len(hops))
	for i, hop := range hops {
		all[i] = hop.Name()
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return fmt.Errorf("there is no hop %q, want some of %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

// spent lists, for each hop, the sections that no later hop needs: they are not carried on.
func spent(hops []Hop) [][]stages.Section {
	all := []stages.Section{stages.SectionRequest}
	for _, hop := range hops {
		all = append(all, hop.Stage.Fills...)
	}
	out := make([][]stages.Section, len(hops))
	for i := range hops {
		for _, section := range all {
			needed := section == stages.SectionRequest // whatever becomes of a job, its request says who asked
			for _, later := range hops[i+1:] {
				needed = needed || reads(later.Stage, section)
			}
			if !needed {
				out[i] = append(out[i], section)
			}
		}
	}
	return out
}
