package e2e

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/stix"
)

var fiveHops = []string{"resolve", "lookup", "score", "bundle", "publish"}

func TestTwoHundredJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	worker := w.start()
	jobs := w.enrich(observables(200))
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	checkWorks(t, w, jobs, false)
	checkObjects(t, w, jobs)
	checkTraces(t, w, jobs)
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}

// A crash in the middle loses nothing: what was in hand is done again, under the same ids and the same trace.
func TestTwoHundredJobsAndACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{Latency: 30 * time.Millisecond, LatencyJitter: 20 * time.Millisecond})
	first := w.start()
	jobs := w.enrich(observables(200))
	if err := w.platform.Wait(w.ctx, func() bool { return w.complete() >= 60 }); err != nil {
		t.Fatal(err)
	}
	spared := w.those(jobs, func(work openctitest.Work) bool { return work.Status == "complete" && work.ProcessedTimes > 0 })
	w.whole(spared) // their spans have arrived: what is missing later is the crash's doing
	first.kill()
	spared = append(spared, w.those(jobs, func(work openctitest.Work) bool { return work.ReceivedTimes == 0 })...)
	if done := w.complete(); done == len(jobs) {
		t.Fatalf("all %d works were complete before the crash: it shows nothing", done)
	}
	second := w.start()
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	checkWorks(t, w, jobs, true)
	checkObjects(t, w, jobs)
	if status := second.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkTracesAfterACrash(t, w, jobs, spared)
	checkSecrets(t, w)
}

// checkWorks looks at every work: complete, everything expected was imported, ended well. crashed allows that an end was
// told twice, which OpenCTI takes without harm.
func checkWorks(t *testing.T, w *world, jobs []job, crashed bool) {
	t.Helper()
	for _, j := range jobs {
		work, ok := w.platform.Work(j.work)
		switch {
		case !ok || work.Status != "complete" || work.Forced:
			t.Errorf("work of %s %s = %+v, want complete", j.Type, j.Value, work)
		case work.Expected == 0 || work.Processed < work.Expected:
			t.Errorf("work of %s %s: %d of %d objects imported", j.Type, j.Value, work.Processed, work.Expected)
		case len(work.Errors) > 0:
			t.Errorf("work of %s %s has errors %v", j.Type, j.Value, work.Errors)
		case work.ProcessedTimes != 1 && !crashed:
			t.Errorf("work of %s %s was ended %d times, want once", j.Type, j.Value, work.ProcessedTimes)
		}
	}
	if complaints := w.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI's stand-in complains: %q", complaints)
	}
}

// object is what the checks read of an imported object.
type object struct {
	Type, ID, Value, Name, Pattern, Content, Created string
	AccountLogin                                     string `json:"account_login"`
	Number                                           int
	IdentityClass                                    string   `json:"identity_class"`
	RelationshipType                                 string   `json:"relationship_type"`
	SourceRef                                        string   `json:"source_ref"`
	TargetRef                                        string   `json:"target_ref"`
	CreatedByRef                                     string   `json:"created_by_ref"`
	ObjectRefs                                       []string `json:"object_refs"`
	Labels                                           []string `json:"labels"`
	ObservableLabels                                 []string `json:"x_opencti_labels"`
	Score                                            *int     `json:"x_opencti_score"`
	Markings                                         []string `json:"object_marking_refs"`
}

// id is what the object's id has to be, from what it says.
func (o object) id() string {
	switch o.Type {
	case "identity":
		return stix.IdentityID(o.Name, o.IdentityClass)
	case "indicator":
		return stix.IndicatorID(o.Pattern)
	case "note":
		return stix.NoteID(o.ObjectRefs[0])
	case "relationship":
		return stix.RelationshipID(o.RelationshipType, o.SourceRef, o.TargetRef)
	case "autonomous-system":
		return stix.AutonomousSystemID(o.Number)
	default:
		return stix.ObservableID(o.Type, o.Value+o.AccountLogin)
	}
}

// minScore is the default of IPQS_INDICATOR_MIN_SCORE.
const minScore = 26

// checkObjects looks at every object that was imported, and that each job brought what it has to.
func checkObjects(t *testing.T, w *world, jobs []job) {
	t.Helper()
	all := map[string]object{}
	related := map[string][]string{} // "kind source" to targets
	for id, imported := range w.platform.Imported() {
		var o object
		if err := json.Unmarshal(imported.Object, &o); err != nil {
			t.Fatalf("object %s: %v", id, err)
		}
		all[id] = o
		if o.ID != o.id() {
			t.Errorf("%s has id %s, want %s", imported.Object, o.ID, o.id())
		}
		if o.Type == "relationship" {
			related[o.RelationshipType+" "+o.SourceRef] = append(related[o.RelationshipType+" "+o.SourceRef], o.TargetRef)
		}
	}
	author := stix.IdentityID("IPQS", "organization")
	for _, o := range all {
		for _, ref := range append([]string{o.SourceRef, o.TargetRef, o.CreatedByRef}, o.ObjectRefs...) {
			if _, ok := all[ref]; ref != "" && !ok {
				t.Errorf("%s %s refers to %s, which never came", o.Type, o.ID, ref)
			}
		}
		if o.Type == "relationship" || o.Type == "indicator" || o.Type == "note" {
			if o.CreatedByRef != author {
				t.Errorf("%s %s is by %s, want %s", o.Type, o.ID, o.CreatedByRef, author)
			}
		}
		if o.Type == "autonomous-system" && !slices.ContainsFunc(pairs(related, "belongs-to"), func(target string) bool { return target == o.ID }) {
			t.Errorf("nothing belongs to autonomous system %d", o.Number)
		}
	}
	asking, err := ipqs.NewClient(ipqs.Options{BaseURL: w.ipqs.BaseURL, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	resolved, belonging := 0, 0
	for _, j := range jobs {
		observable, ok := all[j.id]
		if !ok {
			t.Errorf("%s %s was not imported", j.Type, j.Value)
			continue
		}
		if observable.Score == nil {
			t.Errorf("%s %s has no score", j.Type, j.Value)
			continue
		}
		if !hasNote(all, j.id) {
			t.Errorf("%s %s has no note", j.Type, j.Value)
		}
		if j.Account != nil {
			continue // whoever is in a leak is a victim: there is no indicator
		}
		pattern, err := stix.Pattern(j.Type, j.Value)
		if err != nil {
			t.Fatal(err)
		}
		indicator, made := all[stix.IndicatorID(pattern)]
		own, given := markings(t, j)
		if diff := cmp.Diff([]any{j.Value, own}, []any{observable.Value, observable.Markings}); diff != "" {
			t.Errorf("%s %s: value and markings (-want +got):\n%s", j.Type, j.Value, diff)
		}
		if label := riskLabel(*observable.Score); !slices.Contains(observable.ObservableLabels, label) {
			t.Errorf("%s %s: labels = %q, want %s among them", j.Type, j.Value, observable.ObservableLabels, label)
		}
		if wanted := *observable.Score >= minScore; made != wanted {
			t.Errorf("%s %s has an indicator: %t with the score %d, want %t", j.Type, j.Value, made, *observable.Score, wanted)
		} else if made {
			if diff := cmp.Diff([]any{pattern, observable.Score, observable.ObservableLabels, given},
				[]any{indicator.Pattern, indicator.Score, indicator.Labels, indicator.Markings}); diff != "" {
				t.Errorf("%s %s: pattern, score, labels, markings of the indicator (-want +got):\n%s", j.Type, j.Value, diff)
			}
			if diff := cmp.Diff([]string{j.id}, related["based-on "+indicator.ID]); diff != "" {
				t.Errorf("%s %s: the indicator is based on (-want +got):\n%s", j.Type, j.Value, diff)
			}
		}
		network, address := relationships(t, asking, j)
		belonging, resolved = belonging+len(network), resolved+len(address)
		if diff := cmp.Diff([][]string{network, address}, [][]string{related["belongs-to "+j.id], related["resolves-to "+j.id]}); diff != "" {
			t.Errorf("%s %s: belongs to and resolves to (-want +got):\n%s", j.Type, j.Value, diff)
		}
	}
	if resolved == 0 || belonging == 0 {
		t.Errorf("%d domains resolve to something and %d addresses belong to a network, want some of each", resolved, belonging)
	}
}

// markings are the ids of those that a job's observable has, and of those that new objects about it get.
func markings(t *testing.T, j job) (own, given []string) {
	t.Helper()
	for _, name := range j.Markings {
		id, ok := stix.TLP(name)
		if !ok {
			t.Fatalf("%s is no TLP marking", name)
		}
		own = append(own, id)
	}
	if len(own) > 0 {
		return own, own
	}
	id, _ := stix.TLP("TLP:CLEAR")
	return nil, []string{id}
}

// relationships are the ids that a job's observable has to be related to, by what IPQS says of it: the stand-in says the
// same of the same value whenever it is asked.
func relationships(t *testing.T, asking *ipqs.Client, j job) (network, address []string) {
	t.Helper()
	kinds := map[string]ipqs.Kind{"IPv4-Addr": ipqs.KindIP, "IPv6-Addr": ipqs.KindIP, "Domain-Name": ipqs.KindURL}
	kind, ok := kinds[j.Type]
	if !ok {
		return nil, nil
	}
	report, err := asking.Lookup(context.Background(), ipqs.Query{Kind: kind, Value: j.Value})
	if err != nil {
		t.Fatal(err)
	}
	if report.IP != nil {
		if number, known := report.IP.ASN.Int(); known {
			network = []string{stix.AutonomousSystemID(number)}
		}
		return network, nil
	}
	if addr, err := netip.ParseAddr(string(report.URL.IPAddress)); err == nil {
		kind := "ipv6-addr"
		if addr.Is4() {
			kind = "ipv4-addr"
		}
		address = []string{stix.ObservableID(kind, addr.String())}
	}
	return nil, address
}

func pairs(related map[string][]string, kind string) []string {
	var targets []string
	for key, list := range related {
		if strings.HasPrefix(key, kind+" ") {
			targets = append(targets, list...)
		}
	}
	return targets
}

func hasNote(all map[string]object, id string) bool {
	for _, o := range all {
		if o.Type == "note" && slices.Contains(o.ObjectRefs, id) {
			return true
		}
	}
	return false
}

// checkTraces waits for every job's trace: its five hops, in order, under the one trace id that follows from the work's.
func checkTraces(t *testing.T, w *world, jobs []job) {
	t.Helper()
	w.whole(jobs)
	for _, j := range jobs {
		trace := j.trace()
		if diff := cmp.Diff(fiveHops, w.collector.hops(trace)); diff != "" {
			t.Errorf("hops of work %s (-want +got):\n%s", j.work, diff)
		}
		for _, problem := range w.collector.disorder(trace) {
			t.Errorf("trace of work %s: %s", j.work, problem)
		}
	}
	if traces := w.collector.traces(); traces != len(jobs) {
		t.Errorf("%d traces of %d jobs, want one a job", traces, len(jobs))
	}
}

// checkTracesAfterACrash is checkTraces, but for the spans that the killed process had not sent: those of hops that it
// was in, or had just left. Jobs that were finished before it, or begun after, have all five hops; what is there of the
// others hangs together as strictly.
func checkTracesAfterACrash(t *testing.T, w *world, jobs, spared []job) {
	t.Helper()
	for _, j := range jobs {
		trace := j.trace()
		hops := w.collector.hops(trace)
		if len(hops) == 0 {
			t.Errorf("work %s has no trace", j.work)
		}
		if slices.ContainsFunc(spared, func(s job) bool { return s.work == j.work }) {
			if diff := cmp.Diff(fiveHops, hops); diff != "" {
				t.Errorf("hops of work %s, which was not in hand at the crash (-want +got):\n%s", j.work, diff)
			}
		}
		for _, problem := range w.collector.disorder(trace) {
			t.Errorf("trace of work %s: %s", j.work, problem)
		}
	}
	if len(spared) < 60 {
		t.Errorf("%d jobs were not in hand at the crash, want at least the 60 that were waited for", len(spared))
	}
	if traces := w.collector.traces(); traces != len(jobs) {
		t.Errorf("%d traces of %d jobs, want one a job", traces, len(jobs))
	}
}

// those returns the jobs whose works are as wanted.
func (w *world) those(jobs []job, wanted func(openctitest.Work) bool) []job {
	var found []job
	for _, j := range jobs {
		if work, ok := w.platform.Work(j.work); ok && wanted(work) {
			found = append(found, j)
		}
	}
	return found
}

// whole waits until the traces of the jobs have all their hops.
func (w *world) whole(jobs []job) {
	w.t.Helper()
	for _, j := range jobs {
		trace := j.trace()
		if err := w.collector.wait(w.ctx, func() bool { return len(w.collector.hops(trace)) == len(fiveHops) }); err != nil {
			w.t.Fatalf("trace of work %s has hops %v: %v", j.work, w.collector.hops(trace), err)
		}
	}
}

// disorder lists the hops of a trace that do not follow on the one before: only the first may have no parent, and a
// parent that is there has to be the hop before.
func (c *collector) disorder(trace string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	place := make(map[string]int) // of a hop's span among the five
	above := make(map[string]string)
	for _, span := range c.spans[trace] {
		above[string(span.GetSpanId())] = string(span.GetParentSpanId())
		if name, ok := strings.CutPrefix(span.GetName(), "hop "); ok {
			place[string(span.GetSpanId())] = slices.Index(fiveHops, name)
		}
	}
	var problems []string
	for _, span := range c.spans[trace] {
		at, ok := place[string(span.GetSpanId())]
		if !ok {
			continue
		}
		up := string(span.GetParentSpanId()) // past the spans of sending and waiting
		parent, known := place[up]
		for up != "" && !known {
			up = above[up]
			parent, known = place[up]
		}
		switch {
		case len(span.GetParentSpanId()) == 0 && at != 0:
			problems = append(problems, span.GetName()+" has no parent")
		case known && parent != at && parent != at-1: // the same one tried it again
			problems = append(problems, span.GetName()+" follows on "+fiveHops[parent])
		}
	}
	return problems
}

func (c *collector) traces() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spans)
}

// riskLabel is the label of a score, as the README has it.
func riskLabel(score int) string {
	switch {
	case score <= 25:
		return `IPQS:RISK="LOW"`
	case score <= 50:
		return `IPQS:RISK="MEDIUM"`
	case score <= 75:
		return `IPQS:RISK="HIGH"`
	default:
		return `IPQS:RISK="CRITICAL"`
	}
}
