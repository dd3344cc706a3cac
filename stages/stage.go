package stages

import (
	"context"
	"time"
)

// Stage is one step of a job, as a value.
type Stage struct {
	// Name is a verb; it names the hop, its queue, its metrics and its span.
	Name string
	// Needs are the sections that Run reads; the job has them all. Uses are those that it reads if the job has them: a job that
	// an earlier release of the worker put in a queue may lack them. Fills are those it adds.
	Needs, Uses, Fills []Section
	// Timeout bounds one run.
	Timeout time.Duration
	// Run returns the job with its sections filled. On an error ([Fault], or anything else, see [AsFault]) it returns the
	// job as far as it got.
	Run func(ctx context.Context, job Job) (Job, error)
}
