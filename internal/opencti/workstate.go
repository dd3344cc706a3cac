package opencti

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// Values of a work's status; the third one is "progress".
const (
	statusWait     = "wait"
	statusComplete = "complete"
)

// work is a work as the platform keeps it. Tracking is zero when the counters are gone or were never made.
type work struct {
	Status        string  `json:"status"`
	ProcessedTime *string `json:"processed_time"` // set by toProcessed, of any of the work's jobs
	Tracking      struct {
		Expected  int `json:"import_expected_number"`
		Processed int `json:"import_processed_number"`
	} `json:"tracking"`
	Messages []workMessage `json:"messages"`
	Errors   []workMessage `json:"errors"`
}

type workMessage struct {
	Message *string `json:"message"`
}

func (m workMessage) text() string {
	if m.Message == nil {
		return ""
	}
	return *m.Message
}

// announcement is the message that goes with the expectations of a job.
func announcement(n int, entityID string) string {
	return fmt.Sprintf("Publishing %d objects for %s.", n, entityID)
}

// ending is the message of a job's end: the text for the analyst, the entity, and how many announced objects it settles.
func ending(message, entityID string, announced int) string {
	switch {
	case entityID == "":
		return message
	case announced == 0:
		return fmt.Sprintf("%s (%s)", message, entityID)
	default:
		return fmt.Sprintf("%s (%s, %d announced)", message, entityID, announced)
	}
}

// What announcement and ending write.
var (
	announcements = regexp.MustCompile(`^Publishing (\d+) objects for (\S+)\.$`)
	endings       = regexp.MustCompile(`(?s)^(.*) \(([^\s,()]+)(?:, (\d+) announced)?\)$`)
)

// reports are what one job has reported on its work before.
type reports struct {
	announced int // objects, of all its announcements
	settled   int // of them, those that an end of the job settled
	// texts are the messages of its ends, without what ending adds; succeeded says that one of them was none in error.
	texts     []string
	succeeded bool
}

// open returns how many objects the job has announced without an end that settles them.
func (r reports) open() int { return max(r.announced-r.settled, 0) }

// endedWith reports whether the job has ended with this message.
func (r reports) endedWith(message string) bool {
	return slices.Contains(r.texts, message)
}

// of returns the reports of the job on an entity.
func (w *work) of(entityID string) reports { return w.reports()[entityID] }

// reports returns the reports of all jobs, by entity. The messages of earlier releases of the connector name no entity.
func (w *work) reports() map[string]reports {
	all := make(map[string]reports)
	end := func(m workMessage, inError bool) {
		match := endings.FindStringSubmatch(m.text())
		if match == nil {
			if inError { // of a message that names no entity
				r := all[""]
				r.texts = append(r.texts, m.text())
				all[""] = r
			}
			return
		}
		r := all[match[2]]
		r.settled += number(match[3])
		r.texts = append(r.texts, match[1])
		r.succeeded = r.succeeded || !inError
		all[match[2]] = r
	}
	for _, m := range w.Messages {
		if match := announcements.FindStringSubmatch(m.text()); match != nil {
			r := all[match[2]]
			r.announced += number(match[1])
			all[match[2]] = r
			continue
		}
		end(m, false)
	}
	for _, m := range w.Errors {
		end(m, true)
	}
	return all
}

func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// outstanding returns how many announced objects the platform waits for.
func (w *work) outstanding() int { return max(w.Tracking.Expected-w.Tracking.Processed, 0) }

// settled reports whether the work is open although the platform waits for no object.
func (w *work) settled() bool { return w.Status != statusComplete && w.outstanding() == 0 }

// ended is settled, of a work of which at least one job has ended.
func (w *work) ended() bool { return w.settled() && w.ProcessedTime != nil }

// involved reports whether a job of the work has announced objects or ended.
func (w *work) involved() bool { return w.ProcessedTime != nil || len(w.reports()) > 0 }

// plan is what a job that publishes n objects announces.
type plan struct {
	announce int // objects, in its message
	expect   int // expectations to add
	state    WorkState
}

// plan compares n objects of a job with what the work shows. equal says that the release completes a work only when exactly
// as many objects are imported as expected.
func (w *work) plan(job WorkJob, n int, equal bool) plan {
	all := w.reports()
	own := all[job.EntityID]
	announced := 0 // by all jobs
	for _, r := range all {
		announced += r.announced
	}
	open := own.open()
	p := plan{announce: n, expect: n}
	p.state = WorkState{Tracked: true, open: n, involved: w.involved()}
	switch {
	case !job.Again:
	case open > 0:
		// Announced before, and maybe published in part. It can have fewer objects now, because another job has created some of
		// them meanwhile. What is imported beyond the announcements of the others is its own; the rest would be waited for in vain.
		p.announce = max(n-open, 0)
		p.expect = p.announce
		p.state.open = open + p.announce
		imported := max(w.Tracking.Processed-(announced-own.announced), 0)
		p.state.surplus = max(open-n-imported, 0)
	case len(own.texts) > 0:
		// An earlier delivery has ended the job and settled what it announced. Its objects may still be imported: more of them
		// would complete the work before those of other jobs.
		return plan{state: WorkState{involved: true}}
	default:
		// The platform runs the two mutations of an announcement at the same time: the expectations can be there without it.
		p.expect = n - min(max(w.Tracking.Expected-announced, 0), n)
	}
	if excess := w.Tracking.Processed - w.Tracking.Expected; equal && p.expect > 0 && excess > 0 {
		p.expect += excess // objects that came twice: without them the two numbers would never be equal
	}
	return p
}
