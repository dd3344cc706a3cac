package graphtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/stages"
	"opencti-ipqs-worker/stix"
)

const (
	address          = "198.51.100.7"
	addressID        = "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"
	addressIndicator = "Indicator [ipv4-addr:value = '" + address + "']"
)

// TestGraph_OthersObjects: what other sources wrote is the same after an enrichment. Each case is named after the damage that
// objects of the worker would do to it; a failure shows the graph before and after.
func TestGraph_OthersObjects(t *testing.T) {
	t.Parallel()
	vendor := newSource("Vendor", 100)
	vendors := func(o object) object {
		return merged(object{"created_by_ref": vendor.author, "object_marking_refs": []string{markings[0]}}, o)
	}
	tests := []struct {
		name     string
		kind     int // in kinds
		theirs   []object
		markings []string // of the observable
		answers  []int    // of the kind
		same     []string // keys of objects that do not change
		want     func(g openctitest.Graph) string
	}{
		{
			// Fact 1.
			name: "an indicator of a clean address would be revoked by decay", kind: 0, answers: []int{0},
			want: func(g openctitest.Graph) string {
				if _, ok := g[addressIndicator]; ok {
					return "a clean address has an indicator"
				}
				return ""
			},
		},
		{
			// Fact 2.
			name: "an indicator of another source would be renamed", kind: 0, answers: []int{4, 0},
			theirs: []object{vendors(object{
				"type": "indicator", "id": stix.IndicatorID("[ipv4-addr:value = '198.51.100.7']"), "pattern": "[ipv4-addr:value = '198.51.100.7']",
				"pattern_type": "stix", "name": "C2 of group X", "x_opencti_score": 90, "confidence": 80,
			})},
			same: []string{addressIndicator},
			want: func(g openctitest.Graph) string {
				if o, ok := g[addressIndicator+" based-on IPv4-Addr "+address]; !ok || !isOwn(o) {
					return "the indicator is not linked to the observable"
				}
				return ""
			},
		},
		{
			// Fact 3.
			name: "the score of another source would fall", kind: 0, answers: []int{3},
			theirs: []object{vendors(object{"type": "ipv4-addr", "id": addressID, "value": address, "x_opencti_score": 90})},
			want: func(g openctitest.Graph) string {
				o := g["IPv4-Addr "+address]
				if *o.Score != 90 || o.Author != "Organization Vendor" || !slices.Contains(o.Labels, `IPQS:RISK="MEDIUM"`) {
					return fmt.Sprintf("the observable has the score %d, the author %q and the labels %q", *o.Score, o.Author, o.Labels)
				}
				return ""
			},
		},
		{
			// Fact 4.
			name: "types of earlier verdicts would stay", kind: 0, answers: []int{6, 5, 3},
			want: func(g openctitest.Graph) string {
				if got := g[addressIndicator].IndicatorTypes; !sameSet(got, []string{"unknown", "anonymization"}) {
					return fmt.Sprintf("the indicator has the types %q", got)
				}
				return ""
			},
		},
		{
			// Fact 5.
			name: "an autonomous system would take author, name and marking of one address", kind: 0, answers: []int{4, 2},
			theirs:   []object{vendors(object{"type": "autonomous-system", "id": stix.AutonomousSystemID(64500), "number": 64500, "name": "Example Backbone"})},
			markings: []string{"TLP:AMBER"},
			same:     []string{"Autonomous-System 64500"},
		},
		{
			// Fact 6.
			name: "a resolved address would take an author and a marking", kind: 2, answers: []int{3},
			theirs: []object{{"type": "ipv4-addr", "id": stix.ObservableID("ipv4-addr", "203.0.113.9"), "value": "203.0.113.9", "x_opencti_score": 5}},
			same:   []string{"IPv4-Addr 203.0.113.9"},
			want: func(g openctitest.Graph) string {
				if _, ok := g["Domain-Name example.com resolves-to IPv4-Addr 203.0.113.9"]; !ok {
					return "the address is not linked to the domain"
				}
				return ""
			},
		},
		{
			// Fact 7.
			name: "each verdict would add a note", kind: 0, answers: []int{0, 4, 6},
			want: func(g openctitest.Graph) string {
				var notes []openctitest.Object
				for _, o := range g {
					if o.Type == "Note" {
						notes = append(notes, o)
					}
				}
				if len(notes) != 1 {
					return fmt.Sprintf("%d notes, want one", len(notes))
				}
				var scores []string
				for _, found := range row.FindAllStringSubmatch(notes[0].Content, -1) {
					scores = append(scores, found[1])
				}
				if !slices.Equal(scores, []string{"100", "77", "0"}) {
					return fmt.Sprintf("the note has rows with the scores %q, want 100, 77 and 0", scores)
				}
				return ""
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, k := newWorld(t, defaults()), kinds()[tt.kind]
				o := k.observable(w)
				o.Markings = tt.markings
				id := w.platform.AddObservable(o)
				if err := w.write(t.Context(), vendor, tt.theirs...); err != nil {
					t.Fatal(err)
				}
				before := w.platform.Graph()
				for _, i := range tt.answers {
					time.Sleep(time.Hour)
					if err := w.enrich(t.Context(), id, k.answers[i].report(k)); err != nil {
						t.Fatal(err)
					}
				}
				w.platform.Decay(time.Now().Add(time.Minute))
				after := w.platform.Graph()
				var problems []string
				for _, key := range tt.same {
					if diff := cmp.Diff(before[key], after[key], bookkeeping); diff != "" {
						problems = append(problems, key+" changed")
					}
				}
				if tt.want != nil {
					if problem := tt.want(after); problem != "" {
						problems = append(problems, problem)
					}
				}
				if len(problems) > 0 {
					t.Errorf("%s; the graph (-before +after):\n%s", strings.Join(problems, "; "), cmp.Diff(before, after))
				}
			})
		})
	}
}

func merged(objects ...object) object {
	all := object{}
	for _, o := range objects {
		maps.Copy(all, o)
	}
	return all
}

// TestGraph_ScorePolicies: which score an observable has after an answer, by the policy and by who gave the one before.
func TestGraph_ScorePolicies(t *testing.T) {
	t.Parallel()
	vendor := newSource("Vendor", 100)
	tests := []struct {
		before  int
		foreign bool
		want    map[stages.ScorePolicy]int // after an answer of 77
	}{
		{90, true, map[stages.ScorePolicy]int{stages.RespectScore: 90, stages.ReplaceScore: 77, stages.RaiseScore: 90, stages.KeepScore: 90}},
		{90, false, map[stages.ScorePolicy]int{stages.RespectScore: 77, stages.ReplaceScore: 77, stages.RaiseScore: 90, stages.KeepScore: 90}},
		{10, true, map[stages.ScorePolicy]int{stages.RespectScore: 77, stages.ReplaceScore: 77, stages.RaiseScore: 77, stages.KeepScore: 10}},
		{10, false, map[stages.ScorePolicy]int{stages.RespectScore: 77, stages.ReplaceScore: 77, stages.RaiseScore: 77, stages.KeepScore: 10}},
	}
	for _, tt := range tests {
		for policy, want := range tt.want {
			t.Run(fmt.Sprintf("%s, %d before, author %t", policy, tt.before, tt.foreign), func(t *testing.T) {
				t.Parallel()
				s := defaults()
				s.enrichment.Score = policy
				w, k := newWorld(t, s), kinds()[0]
				o := object{"type": "ipv4-addr", "id": addressID, "value": address, "x_opencti_score": tt.before}
				if tt.foreign {
					o["created_by_ref"] = vendor.author
				}
				if err := w.write(t.Context(), vendor, o); err != nil {
					t.Fatal(err)
				}
				if err := w.enrich(t.Context(), addressID, k.answers[4].report(k)); err != nil {
					t.Fatal(err)
				}
				after, _ := w.platform.Object(addressID)
				if *after.Score != want {
					t.Errorf("score = %d, want %d", *after.Score, want)
				}
				if !slices.ContainsFunc(after.Labels, ownLabel) {
					t.Errorf("labels = %q, want those of the verdict under each policy", after.Labels)
				}
			})
		}
	}
}

// TestGraph_DeletedObservable (fact 21): an observable that is deleted during its lookup is not created again, nor is anything
// about it.
func TestGraph_DeletedObservable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(t, defaults()), kinds()[0]
		id := w.platform.AddObservable(k.observable(w))
		job, err := w.job(t.Context(), id, openctitest.Manual, "")
		if err != nil {
			t.Fatal(err)
		}
		w.answer = k.answers[6].report(k)
		if job, err = w.run(t.Context(), job, "resolve", "lookup"); err != nil {
			t.Fatal(err)
		}
		w.platform.DeleteObject(id)
		time.Sleep(time.Minute)
		before := w.platform.Graph()
		_, err = w.run(t.Context(), job, "score", "publish")
		w.importAll(t.Context())
		if diff := cmp.Diff(before, w.platform.Graph()); diff != "" || skipped(err) == "" {
			t.Errorf("run() = %v, want a skipped job; the graph (-before +after):\n%s", err, diff)
		}
	})
}

// TestGraph_OwnUpdate (fact 22): with CONNECTOR_AUTO_UPDATE the worker's own write brings about one more job, which writes
// nothing and asks IPQS nothing; another source's write brings about one that does.
func TestGraph_OwnUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := defaults()
		s.autoUpdate = true
		w, k := newWorld(t, s), kinds()[0]
		w.platform.SetAutoJobs(true)
		id := w.platform.AddObservable(k.observable(w))
		if err := w.enrich(t.Context(), id, k.answers[4].report(k)); err != nil {
			t.Fatal(err)
		}
		automatic := func(ctx context.Context) (jobs, lookups int) {
			for ; len(w.jobs) > 0; jobs++ {
				job, err := stages.Open(<-w.jobs)
				if err != nil {
					t.Fatal(err)
				}
				asked := w.lookups
				if _, err := w.run(ctx, job, "resolve", "publish"); err != nil && skipped(err) == "" {
					t.Fatal(err)
				}
				lookups += w.lookups - asked
				w.importAll(ctx)
			}
			return jobs, lookups
		}
		before := w.platform.Graph()
		if jobs, lookups := automatic(t.Context()); jobs != 1 || lookups != 0 {
			t.Errorf("%d jobs with %d lookups after the worker's own write, want one without", jobs, lookups)
		}
		if diff := cmp.Diff(before, w.platform.Graph()); diff != "" {
			t.Errorf("the graph (-before +after):\n%s", diff)
		}
		vendor := newSource("Vendor", 100)
		if err := w.write(t.Context(), vendor, object{"type": "ipv4-addr", "id": id, "value": address, "x_opencti_score": 5}); err != nil {
			t.Fatal(err)
		}
		if jobs, lookups := automatic(t.Context()); jobs != 2 || lookups != 1 {
			t.Errorf("%d jobs with %d lookups after another source's write, want one for it and one for the worker's", jobs, lookups)
		}
	})
}

// TestGraph_RevokedAfterWithdrawal: a note that says that the worker revoked its indicator is out of date when the indicator was
// valid again and a person has revoked it since.
func TestGraph_RevokedAfterWithdrawal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(t, defaults()), kinds()[0]
		id := w.platform.AddObservable(k.observable(w))
		for _, i := range []int{4, 1} {
			time.Sleep(time.Hour)
			if err := w.enrich(t.Context(), id, k.answers[i].report(k)); err != nil {
				t.Fatal(err)
			}
		}
		pattern, err := stix.Pattern("IPv4-Addr", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.write(t.Context(), newSource("Feed", 100), object{
			"type": "indicator", "id": stix.IndicatorID(pattern), "pattern": pattern, "pattern_type": "stix", "name": address, "x_opencti_score": 60,
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if !w.platform.RevokeIndicator(stix.IndicatorID(pattern), person) {
			t.Fatal("the other source has not made the indicator valid again")
		}
		time.Sleep(time.Hour)
		before := w.platform.Graph()[addressIndicator]
		if err := w.enrich(t.Context(), id, k.answers[6].report(k)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, w.platform.Graph()[addressIndicator]); diff != "" {
			t.Errorf("the indicator that a person revoked (-before +after):\n%s", diff)
		}
	})
}

// TestGraph_Withdrawn: an indicator of the worker's is revoked when the score falls below the threshold, also at a score that
// the worker gave before, and comes back when it rises again.
func TestGraph_Withdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(t, defaults()), kinds()[0]
		id := w.platform.AddObservable(k.observable(w))
		for step, want := range []struct {
			answer  int
			revoked bool
		}{{4, false}, {1, true}, {6, false}, {1, true}, {1, true}, {4, false}, {0, true}} {
			time.Sleep(time.Hour)
			if err := w.enrich(t.Context(), id, k.answers[want.answer].report(k)); err != nil {
				t.Fatal(err)
			}
			if o := w.platform.Graph()[addressIndicator]; o.Revoked != want.revoked {
				t.Errorf("step %d, score %s: revoked %t, want %t; %+v", step, k.answers[want.answer].name, o.Revoked, want.revoked, o.Decay)
			}
		}
	})
}

// TestGraph_WithdrawnBeforeTheNote: OpenCTI revokes the indicator at once, but the note that says why waits for its import, or
// is lost with the worker and published by a repeated job. Until then no job takes it for the decision of a person.
func TestGraph_WithdrawnBeforeTheNote(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, version string
		lost          bool
	}{
		{"the note waits for its import", "", false},
		{"the worker died before it published", "", true},
		{"the note waits for its import, 6.7.5", "6.7.5", false},
		{"the worker died before it published, before there was decay", "5.4.1", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				options := defaults()
				options.version = test.version
				w, k := newWorld(t, options), kinds()[0]
				id := w.platform.AddObservable(k.observable(w))
				high, low := k.answers[4].report(k), k.answers[1].report(k)
				if err := w.enrich(t.Context(), id, high); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				w.answer = low
				job, err := w.job(t.Context(), id, openctitest.Manual, "")
				if err == nil {
					job, err = w.run(t.Context(), job, "resolve", "bundle")
				}
				if err == nil {
					_, err = w.run(t.Context(), job, "publish", "publish")
				}
				if err != nil {
					t.Fatal(err)
				}
				if test.lost {
					w.push = nil
					job.Repeated = true
				} else {
					time.Sleep(time.Hour)
					if job, err = w.job(t.Context(), id, openctitest.Manual, ""); err == nil {
						job, err = w.run(t.Context(), job, "resolve", "bundle")
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.run(t.Context(), job, "publish", "publish"); err != nil {
					t.Fatal(err)
				}
				w.importAll(t.Context())
				time.Sleep(time.Hour)
				if err := w.enrich(t.Context(), id, k.answers[6].report(k)); err != nil {
					t.Fatal(err)
				}
				if o := w.platform.Graph()[addressIndicator]; o.Revoked {
					t.Errorf("the indicator that the worker withdrew stays revoked after a verdict above the threshold: %+v", o.Decay)
				}
			})
		})
	}
}
