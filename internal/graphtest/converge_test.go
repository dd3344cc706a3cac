package graphtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/stages"
	"opencti-ipqs-worker/stix"
)

// verdict is what one answer makes of an observable that nobody else knows.
type verdict struct {
	score     *int
	labels    []string
	indicator *openctitest.Object // as without a threshold; nil for what gets no indicator
}

var verdicts sync.Map // verdict by kind and answer

// alone returns the verdict of an answer in an empty OpenCTI.
func alone(t *testing.T, k kind, a answer) (verdict, error) {
	t.Helper()
	if known, ok := verdicts.Load(k.name + " " + a.name); ok {
		return known.(verdict), nil //nolint:forcetypeassert // nothing else is stored
	}
	s := defaults()
	for kind := range s.enrichment.IndicatorFrom {
		s.enrichment.IndicatorFrom[kind] = 0
	}
	w := newWorld(t, s)
	id := w.platform.AddObservable(k.observable(w))
	if err := w.enrich(t.Context(), id, a.report(k)); err != nil {
		return verdict{}, fmt.Errorf("alone: %w", err)
	}
	p := &play{history: history{kind: k}}
	o, _ := w.platform.Object(id)
	v := verdict{o.Score, o.Labels, p.indicator(w.platform.Graph())}
	slices.Sort(v.labels)
	verdicts.Store(k.name+" "+a.name, v)
	return v, nil
}

func (p *play) view() openctitest.Graph { return p.w.platform.GraphInDraft(p.draft) }

// observable is the one that this is about, as the worker sees it; nil when it is gone.
func (p *play) observable(g openctitest.Graph) *openctitest.Object {
	for _, o := range g {
		if o.StandardID == p.id {
			return &o
		}
	}
	return nil
}

// converge has everything finished that is under way, and enriches the observable a last time: everything of the worker's is
// then as that answer has it. The same answer again changes nothing and sends the note alone.
func (p *play) converge(ctx context.Context, v verdict) error {
	for len(p.waiting) > 0 {
		next := p.waiting[0]
		p.waiting = p.waiting[1:]
		if err := p.publish(ctx, next, false); err != nil {
			return err
		}
	}
	if err := p.imported(ctx); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	before := p.view()
	if p.observable(before) == nil {
		return nil
	}
	if err := p.take(ctx, p.final, openctitest.Manual); err != nil {
		return err
	}
	if len(p.waiting) != 1 {
		if p.kind.name == "Artifact" {
			return nil // another source has created it again, without its file
		}
		return errors.New("the last job was skipped")
	}
	if err := p.publish(ctx, p.waiting[0], false); err != nil {
		return err
	}
	if err := p.converged(before, p.view(), v); err != nil {
		return err
	}
	time.Sleep(20 * time.Minute)
	return p.repeat(ctx)
}

// repeat enriches with the same answer again.
func (p *play) repeat(ctx context.Context) error {
	before := p.view()
	job, err := p.w.job(ctx, p.id, openctitest.Manual, p.draft)
	if err != nil {
		return err
	}
	p.w.answer = p.final.report(p.kind)
	if _, err := p.w.run(ctx, job, "resolve", "publish"); err != nil {
		return fmt.Errorf("a repeated answer: %w", err)
	}
	sent := len(p.w.push)
	p.w.importAll(ctx)
	after := p.view()
	for key := range before {
		if after[key].Type == "Note" {
			delete(before, key)
			delete(after, key)
		}
	}
	if sent != 1 || same(before, after) != nil {
		return fmt.Errorf("a repeated answer sent %d objects, want the note alone: %w", sent, same(before, after))
	}
	return nil
}

// converged fails where something of the worker's is not as the last answer has it.
func (p *play) converged(before, after openctitest.Graph, v verdict) error {
	was, is := p.observable(before), p.observable(after)
	if want := p.wantScore(was, v); !reflect.DeepEqual(want, is.Score) {
		return fmt.Errorf("the observable's score is %d, want %d after %d", deref(is.Score), deref(want), deref(was.Score))
	}
	if labels := ownLabels(is.Labels); !slices.Equal(labels, v.labels) {
		return fmt.Errorf("the observable's labels are %q, want %q", labels, v.labels)
	}
	if err := p.checkNote(after, v); err != nil {
		return err
	}
	return p.checkIndicator(before, after, v)
}

func ownLabels(labels []string) []string {
	own := slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return !ownLabel(l) })
	slices.Sort(own)
	return own
}

func (p *play) wantScore(was *openctitest.Object, v verdict) *int {
	higher := was.Score != nil && v.score != nil && *was.Score > *v.score
	switch {
	case v.score == nil, p.policy == stages.KeepScore, p.policy == stages.RaiseScore && higher,
		p.policy == stages.RespectScore && higher && was.Author != "" && !isOwn(*was):
		return was.Score
	default:
		return v.score
	}
}

// row is a row of the table of verdicts, with its score.
var row = regexp.MustCompile(`(?m)^\| \d{4}-\S+ \| \d{4}-\S+ \| [^|]+ \| (\S+) \| .* \|$`)

// checkNote: one note, with at most ten verdicts, the last one first; one link to IPQS.
func (p *play) checkNote(after openctitest.Graph, v verdict) error {
	var notes []openctitest.Object
	references := 0
	for _, o := range after {
		switch {
		case o.Type == "Note" && isOwn(o):
			notes = append(notes, o)
		case o.Type == "External-Reference" && o.SourceName == "IPQualityScore":
			references++
		}
	}
	if len(notes) != 1 || !slices.Contains(append(notes[0].StixIDs, notes[0].StandardID), stix.NoteID(p.id)) {
		return fmt.Errorf("%d notes, want the one of the observable", len(notes))
	}
	if references > 1 {
		return fmt.Errorf("%d links to IPQS, want one at most", references)
	}
	rows := row.FindAllStringSubmatch(notes[0].Content, -1)
	if len(rows) == 0 || len(rows) > 10 {
		return fmt.Errorf("%d verdicts in the note, want one to ten:\n%s", len(rows), notes[0].Content)
	}
	if want := strconv.Itoa(deref(v.score)); v.score != nil && rows[0][1] != want {
		return fmt.Errorf("the first verdict in the note has the score %s, want %s:\n%s", rows[0][1], want, notes[0].Content)
	}
	if o := p.observable(after); !slices.Contains(notes[0].Objects, o.Type+" "+o.Value) {
		return fmt.Errorf("the note is about %q, want the observable", notes[0].Objects)
	}
	if i := p.indicator(after); i != nil && !slices.ContainsFunc(notes[0].Objects, func(o string) bool { return strings.HasPrefix(o, "Indicator ") }) {
		return fmt.Errorf("the note is about %q, want the indicator, too", notes[0].Objects)
	}
	return nil
}

// checkIndicator: one of others is as it was, and linked; one of the worker's is as the answer has it, as far as a person or
// OpenCTI's rule for scores do not stand against it.
func (p *play) checkIndicator(before, after openctitest.Graph, v verdict) error {
	was, is := p.indicator(before), p.indicator(after)
	wanted := v.indicator != nil && v.score != nil && *v.score >= p.min
	switch {
	case was == nil && !wanted:
		if is != nil {
			return errors.New("an indicator below the threshold was made")
		}
		return nil
	case is == nil:
		return errors.New("there is no indicator")
	}
	linked := false
	for _, o := range after {
		linked = linked || o.Type == "based-on" && strings.HasPrefix(o.From, "Indicator ") && o.To == p.observable(after).Type+" "+p.observable(after).Value
	}
	if !linked {
		return errors.New("the indicator is not linked to the observable")
	}
	if was != nil && !isOwn(*was) {
		return nil // check has compared it
	}
	if was != nil && was.Revoked && !p.revivable(*was, before) {
		return nil // check has compared it
	}
	if v.indicator == nil {
		return nil
	}
	if wanted && was != nil && was.Revoked && *v.score <= 20 {
		return nil // decay would revoke it again at once
	}
	if is.Revoked == wanted {
		return fmt.Errorf("the indicator is revoked: %t, want %t: score %d, %+v", is.Revoked, !wanted, *is.Score, is.Decay)
	}
	// A score that the worker gave before is not taken again: another source may have given the one that is there.
	if wanted && *is.Score != *v.score && (was == nil || was.Decay != nil && !gave(*was, *v.score)) {
		return fmt.Errorf("the indicator has the score %d, want %d: %+v", *is.Score, *v.score, is.Decay)
	}
	if !wanted {
		return nil
	}
	if types := slices.DeleteFunc(slices.Clone(is.IndicatorTypes), func(t string) bool { return t == "attribution" }); !sameSet(types, v.indicator.IndicatorTypes) {
		return fmt.Errorf("the indicator has the types %q, want %q", types, v.indicator.IndicatorTypes)
	}
	if labels := ownLabels(is.Labels); !slices.Equal(labels, v.labels) {
		return fmt.Errorf("the indicator has the labels %q, want %q", labels, v.labels)
	}
	if was == nil && (is.Name != v.indicator.Name || is.Confidence == nil || *is.Confidence != 50) {
		return fmt.Errorf("the new indicator is named %q with confidence %d, want %q with 50", is.Name, deref(is.Confidence), v.indicator.Name)
	}
	return nil
}

// revivable reports whether a revoked indicator has to come back when IPQS confirms it: the policy allows it, and OpenCTI tells
// that it expired, or the note that the worker revoked it. A note loses that when a person deletes it, and when a job
// publishes that has read neither, which can be for ten seconds.
func (p *play) revivable(o openctitest.Object, before openctitest.Graph) bool {
	switch {
	case p.revive == stages.ReviveAlways:
		return true
	case p.revive == stages.ReviveNever, !p.mayRevive(o), o.Decay == nil:
		return false
	}
	switch last := o.Decay.History[len(o.Decay.History)-1]; last.By {
	case openctitest.UserID:
		note := before["Note "+stix.NoteID(p.id)]
		return strings.Contains(note.Content, "**Indicator:** withdrawn")
	default:
		return last.At.After(o.ValidUntil.Add(time.Second))
	}
}

func gave(o openctitest.Object, score int) bool {
	return o.Decay != nil && slices.ContainsFunc(o.Decay.History, func(d openctitest.DecayPoint) bool { return d.Score == score })
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
