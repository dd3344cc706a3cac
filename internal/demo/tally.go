package demo

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/internal/tracetree"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// tally counts what came of the jobs.
type tally struct {
	jobs int
	all  chan struct{} // closed when every job has ended

	mu     sync.Mutex
	ends   map[string]pipeline.Outcome // by job
	twice  int                         // ends beyond a job's first
	took   map[string][]time.Duration  // by hop
	tries  map[string]int              // attempts of lookup by job
	levels map[string]map[stages.Level]int
}

func newTally(jobs int) *tally {
	return &tally{
		jobs: jobs, all: make(chan struct{}), ends: make(map[string]pipeline.Outcome),
		took: make(map[string][]time.Duration), tries: make(map[string]int), levels: make(map[string]map[stages.Level]int),
	}
}

// add counts an outcome and returns how many jobs have ended.
func (t *tally) add(o pipeline.Outcome) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took[o.Hop] = append(t.took[o.Hop], o.Took)
	if o.Hop == "lookup" {
		t.tries[o.Job.ID] = o.Attempts
	}
	if o.End == "" {
		return len(t.ends)
	}
	if _, ended := t.ends[o.Job.ID]; ended {
		t.twice++
		return len(t.ends)
	}
	t.ends[o.Job.ID] = o
	if v := o.Job.Verdict; o.End == pipeline.Published && v != nil {
		kind := o.Job.Request.EntityType
		if t.levels[kind] == nil {
			t.levels[kind] = make(map[stages.Level]int)
		}
		t.levels[kind][v.Level]++
	}
	if len(t.ends) == t.jobs {
		close(t.all)
	}
	return len(t.ends)
}

// ended counts the jobs that have.
func (t *tally) ended() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ends)
}

// summary writes what came of it all.
func (t *tally) summary(w io.Writer, platform *openctitest.Platform, took time.Duration, spans tracetest.SpanStubs) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	ends := make(map[pipeline.End]int)
	reasons := make(map[pipeline.End]map[stages.Reason]int)
	for _, o := range t.ends {
		ends[o.End]++
		if o.Fault != nil {
			if reasons[o.End] == nil {
				reasons[o.End] = make(map[stages.Reason]int)
			}
			reasons[o.End][o.Fault.Reason]++
		}
	}
	complete := 0
	for _, work := range platform.Works() {
		if work.Status == "complete" {
			complete++
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(table, format+"\n", args...) }
	line("\n%d jobs in %s\n", t.jobs, took.Round(100*time.Millisecond))
	for _, end := range []pipeline.End{pipeline.Published, pipeline.Skipped, pipeline.DeadLettered} {
		line("  %s\t%d%s", end, ends[end], list(reasons[end]))
	}
	line("  works complete in OpenCTI\t%d\t%d objects imported", complete, len(platform.Imported()))
	line("\nHow risky IPQS calls the published ones, by type:")
	line("TYPE\tLOW\tMEDIUM\tHIGH\tCRITICAL\tUNKNOWN")
	for _, kind := range slices.Sorted(maps.Keys(t.levels)) {
		n := t.levels[kind]
		line("%s\t%d\t%d\t%d\t%d\t%d", kind, n[stages.Low], n[stages.Medium], n[stages.High], n[stages.Critical], n[""])
	}
	line("\nHow long the jobs were in each hop's hands, with all retries:")
	line("HOP\tTRIPS\tP50\tP95\tMAX")
	for _, hop := range []string{"resolve", "lookup", "score", "bundle", "publish"} {
		times := t.took[hop]
		slices.Sort(times)
		line("%s\t%d\t%s\t%s\t%s", hop, len(times), at(times, 50), at(times, 95), at(times, 100))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return t.trace(w, spans)
}

// trace draws the trace of the published job that needed the most attempts.
func (t *tally) trace(w io.Writer, spans tracetest.SpanStubs) error {
	var jobs []string
	for id, o := range t.ends {
		if o.End == pipeline.Published {
			jobs = append(jobs, id)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	job := slices.MaxFunc(jobs, func(a, b string) int { return cmp.Or(cmp.Compare(t.tries[a], t.tries[b]), cmp.Compare(b, a)) })
	id := telemetry.TraceID(job)
	var drawn []tracetree.Span
	for _, s := range spans {
		if s.SpanContext.TraceID() == id {
			drawn = append(drawn, span(s))
		}
	}
	request := t.ends[job].Job.Request
	_, err := fmt.Fprintf(w, "\nOne job as a trace: %s, of %s %s, which took %d attempts to look up:\n\n", id, request.EntityType, request.EntityID, t.tries[job])
	if err != nil {
		return err
	}
	return tracetree.Render(w, drawn)
}

func span(s tracetest.SpanStub) tracetree.Span {
	out := tracetree.Span{
		ID: s.SpanContext.SpanID().String(), Name: s.Name, Start: s.StartTime, End: s.EndTime, Failed: s.Status.Code == codes.Error,
	}
	if s.Parent.IsValid() {
		out.Parent = s.Parent.SpanID().String()
	}
	for _, a := range s.Attributes {
		if a.Key == pipeline.AttributeOutcome {
			out.Note = a.Value.AsString()
		}
	}
	return out
}

// account returns an error when a job has not ended exactly once, here or in OpenCTI.
func (t *tally) account(platform *openctitest.Platform) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ends) != t.jobs || t.twice > 0 {
		return fmt.Errorf("%d of %d jobs ended, %d of them more than once", len(t.ends), t.jobs, t.twice)
	}
	for _, work := range platform.Works() {
		if work.Status != "complete" || work.ProcessedTimes != 1 {
			return fmt.Errorf("work %s is %s and was ended %d times", work.ID, work.Status, work.ProcessedTimes)
		}
	}
	if complaints := platform.Complaints(); len(complaints) > 0 {
		return fmt.Errorf("OpenCTI's stand-in complains: %s", complaints[0])
	}
	return nil
}

// list is a column of reasons and how often they were met, or no column.
func list(reasons map[stages.Reason]int) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, reasons[reason]))
	}
	if len(parts) == 0 {
		return ""
	}
	return "\t" + strings.Join(parts, ", ")
}

// at returns the given percentile of sorted times.
func at(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	d := times[(len(times)-1)*percent/100]
	if d >= time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
