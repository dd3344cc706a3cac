package graphtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/stages"
	"opencti-ipqs-worker/stix"
)

// history is what happens to one observable: writes of two other sources, of people and of the decay manager, and
// enrichments, with all that a pipeline can do to them. It is made of a seed, and is the same each time that it runs.
type history struct {
	seed    uint64
	version string // OpenCTI's release
	kind    kind
	policy  stages.ScorePolicy
	revive  stages.RevivePolicy
	min     int
	auto    bool // CONNECTOR_AUTO_UPDATE
	country bool
	draft   string // the draft that the enrichments are asked for in
	events  []event
	final   answer
}

// event is one thing that happens. Its numbers are what a kind of event makes of them.
type event struct {
	do string
	n  [6]int
}

// doings are the events with their weights.
var doings = []struct {
	do     string
	weight int
}{
	{"take", 8},      // a job is looked up, and waits to be published
	{"publish", 8},   // a job that waits is published, and its objects are imported
	{"redeliver", 3}, // a job that was published is published again
	{"observable", 3},
	{"indicator", 3},
	{"relate", 2},
	{"system", 1},
	{"address", 1},
	{"decay", 3},
	{"revoke", 2},
	{"delete", 2},
}

func newHistory(seed uint64) history {
	r := rand.New(rand.NewPCG(seed, 13))
	all := kinds()
	k := all[r.IntN(len(all))]
	h := history{
		seed: seed, kind: k, final: k.answers[r.IntN(len(k.answers))],
		policy: stages.ScorePolicies()[r.IntN(4)], revive: stages.RevivePolicies()[r.IntN(3)],
		min: []int{26, 26, 26, 0, 75}[r.IntN(5)], auto: r.IntN(4) == 0, country: r.IntN(2) == 0,
	}
	if !h.auto && r.IntN(6) == 0 {
		h.draft = "draft-1"
	}
	if !h.auto && h.draft == "" {
		h.version = []string{"", "", "", "6.9.28", "6.2.0", "5.12.24", "5.4.1"}[r.IntN(7)]
	}
	total := 0
	for _, d := range doings {
		total += d.weight
	}
	for range 4 + r.IntN(12) {
		at, e := r.IntN(total), event{}
		for _, d := range doings {
			if at < d.weight {
				e.do = d.do
				break
			}
			at -= d.weight
		}
		for i := range e.n {
			e.n[i] = r.IntN(1 << 16)
		}
		h.events = append(h.events, e)
	}
	return h
}

func (h history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %s, OpenCTI %s, score policy %s, revive %s, indicators from %d, auto update %t, countries %t, draft %q, at last %s",
		h.seed, h.kind.name, cmp.Or(h.version, openctitest.DefaultVersion), h.policy, h.revive, h.min, h.auto, h.country, h.draft, h.final.name)
	for i, e := range h.events {
		fmt.Fprintf(&b, "\n%3d %s %v", i, e.do, e.n)
	}
	return b.String()
}

func (h history) settings() settings {
	s := defaults()
	s.enrichment.Score, s.enrichment.Revive, s.enrichment.Countries = h.policy, h.revive, h.country
	for kind := range s.enrichment.IndicatorFrom {
		s.enrichment.IndicatorFrom[kind] = h.min
	}
	s.version, s.autoUpdate, s.scope = h.version, h.auto, []string{h.kind.name}
	return s
}

// play is a history that happens.
type play struct {
	history

	w       *world
	id      string
	log     []string
	sources [2]source

	before, live openctitest.Graph // as the worker and as others see it, since when objects are in the queue
	waiting      []waiting         // looked up, and not published yet
	published    []stages.Job      // as they were before they were published
	revoked      bool              // a person revoked the indicator that there is, where OpenCTI keeps no history of it
	disturbed    time.Time         // when somebody else did something last
	ownScore     *int              // the score of the observable that the worker set last
	asked        answer            // what IPQS answered last
}

type waiting struct {
	job    stages.Job
	readAt time.Time
}

// run runs the history. The error says what it damaged, or where it does not converge.
func (h history) run(t *testing.T) error {
	t.Helper()
	p := &play{history: h, w: newWorld(t, h.settings()), sources: [2]source{newSource("Vendor", 100), newSource("Feed", 60)}}
	v, err := alone(t, h.kind, h.final)
	if err == nil {
		err = p.run(t.Context(), v)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s\nwhat happened:\n%s", err, h, strings.Join(p.log, "\n"))
	}
	return err
}

func (p *play) run(ctx context.Context, v verdict) error {
	if p.country {
		p.w.platform.AddCountries()
	}
	p.w.platform.SetAutoJobs(p.auto)
	p.id, p.asked = p.w.platform.AddObservable(p.kind.observable(p.w)), p.final
	for i, e := range p.events {
		time.Sleep(time.Second)
		if err := p.happen(ctx, e); err != nil {
			return fmt.Errorf("event %d, %s: %w", i, e.do, err)
		}
	}
	if err := p.converge(ctx, v); err != nil {
		return fmt.Errorf("at last: %w", err)
	}
	if complaints := p.w.platform.Complaints(); len(complaints) > 0 {
		return fmt.Errorf("OpenCTI complains: %q", complaints)
	}
	return nil
}

func (p *play) logf(format string, arguments ...any) {
	p.log = append(p.log, time.Now().Format("2006-01-02 15:04:05 ")+fmt.Sprintf(format, arguments...))
}

func (p *play) happen(ctx context.Context, e event) error {
	switch e.do {
	case "take":
		return p.take(ctx, p.kind.answers[e.n[0]%len(p.kind.answers)], openctitest.Manual)
	case "publish":
		if len(p.waiting) == 0 {
			return nil
		}
		i := e.n[0] % len(p.waiting)
		next := p.waiting[i]
		p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
		return p.publish(ctx, next, e.n[1]%4 == 0)
	case "redeliver":
		if len(p.published) == 0 {
			return nil
		}
		job := p.published[e.n[0]%len(p.published)]
		job.Repeated = true
		return p.publish(ctx, waiting{job, time.Now()}, e.n[1]%4 == 0)
	}
	if err := p.imported(ctx); err != nil {
		return err
	}
	p.disturbed = time.Now()
	err := p.other(ctx, e)
	if i := p.indicator(p.view()); i == nil || !i.Revoked {
		p.revoked = false
	}
	return errors.Join(err, p.automatic(ctx))
}

// take has a job looked up. It fails where the worker changes anything before it publishes.
func (p *play) take(ctx context.Context, a answer, trigger openctitest.Trigger) error {
	job, err := p.w.job(ctx, p.id, trigger, p.draft)
	if err != nil {
		p.logf("no job: %v", err) // of an observable that is gone
		return nil
	}
	return p.lookUp(ctx, job, a)
}

func (p *play) lookUp(ctx context.Context, job stages.Job, a answer) error {
	readAt := time.Now()
	time.Sleep(time.Second)
	p.w.answer, p.asked = a.report(p.kind), a
	job, err := p.w.run(ctx, job, "resolve", "bundle")
	if reason := skipped(err); reason != "" {
		p.logf("a job about %s is skipped: %s", a.name, reason)
		return nil
	}
	if err != nil {
		return err
	}
	p.logf("IPQS answers %s", a.name)
	p.waiting = append(p.waiting, waiting{job, readAt})
	return nil
}

// publish publishes a job. The state that a job has read counts for ten seconds: it waits longer if somebody has done something
// since. The objects can stay in the queue, until they are imported before anybody else does something.
func (p *play) publish(ctx context.Context, next waiting, queued bool) error {
	if !p.disturbed.Before(next.readAt) {
		time.Sleep(11 * time.Second)
	}
	if len(p.published) < 20 {
		p.published = append(p.published, next.job)
	}
	if p.before == nil {
		p.before, p.live = p.view(), p.w.platform.Graph()
	}
	before := len(p.w.push)
	_, err := p.w.run(ctx, next.job, "publish", "publish")
	reason, sent := skipped(err), len(p.w.push)-before
	if err != nil && reason == "" {
		return err
	}
	p.logf("published %d objects %s", sent, reason)
	if reason != "" && sent > 0 {
		return fmt.Errorf("a job that was skipped (%s) published %d objects", reason, sent)
	}
	if queued {
		return nil
	}
	return p.imported(ctx)
}

// imported imports what was published, and checks what that and the publishing changed.
func (p *play) imported(ctx context.Context) error {
	if p.before == nil {
		return nil
	}
	before, live := p.before, p.live
	p.before, p.live = nil, nil
	p.w.importAll(ctx)
	if err := p.check(before, p.view()); err != nil {
		return err
	}
	if p.draft != "" {
		if err := same(live, p.w.platform.Graph()); err != nil {
			return fmt.Errorf("outside of the draft: %w", err)
		}
	}
	return p.automatic(ctx)
}

// automatic works off the jobs that OpenCTI sent by itself. One write leads to one job at most, which writes nothing new.
func (p *play) automatic(ctx context.Context) error {
	for n := 0; len(p.w.jobs) > 0; n++ {
		if n > 3 {
			return errors.New("automatic jobs do not end")
		}
		job, err := stages.Open(<-p.w.jobs)
		if err != nil {
			return err
		}
		before := p.w.platform.Graph()
		p.w.answer = p.asked.report(p.kind)
		time.Sleep(time.Second)
		_, err = p.w.run(ctx, job, "resolve", "publish")
		reason := skipped(err)
		if err != nil && reason == "" {
			return err
		}
		p.logf("an automatic job published %d objects %s", len(p.w.push), reason)
		p.w.importAll(ctx)
		if err := p.check(before, p.w.platform.Graph()); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) pattern() string {
	pattern, err := stix.Pattern(p.kind.name, p.kind.value)
	if err != nil {
		return ""
	}
	return pattern
}
