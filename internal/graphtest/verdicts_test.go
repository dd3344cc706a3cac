package graphtest

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/stages"
)

// TestGraph_ThreeVerdicts: three verdicts for one observable make one note with three dated rows and one external reference, and
// the indicator has the types of the last one. The first enrichment on a platform that has the author sends six objects, an
// unchanged repeat sends one.
func TestGraph_ThreeVerdicts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(t, defaults()), kinds()[0]
		other := w.platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.99"})
		if err := w.enrich(t.Context(), other, k.answers[0].report(k)); err != nil { // which makes the author
			t.Fatal(err)
		}
		id := w.platform.AddObservable(k.observable(w))
		// sent enriches and returns the types of the objects that were published.
		sent := func(answer int) []string {
			t.Helper()
			job, err := w.job(t.Context(), id, openctitest.Manual, "")
			if err != nil {
				t.Fatal(err)
			}
			w.answer = k.answers[answer].report(k)
			if _, err := w.run(t.Context(), job, "resolve", "publish"); err != nil {
				t.Fatal(err)
			}
			var types []string
			for _, message := range w.push {
				types = append(types, typeOf(t, message))
			}
			w.importAll(t.Context())
			time.Sleep(time.Hour)
			return types
		}
		want := []string{"indicator", "autonomous-system", "relationship", "relationship", "note", "ipv4-addr"}
		got := sent(3) // 40, VPN
		if last := len(got) - 1; last < 0 || got[last] != "ipv4-addr" {
			t.Errorf("the first enrichment sent %q, want the observable last", got)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the first enrichment sent (-want +got):\n%s", diff)
		}
		sent(5) // 88, TOR
		sent(4) // 77
		for range 2 {
			if got := sent(4); !slices.Equal(got, []string{"note"}) {
				t.Errorf("an unchanged repeat sent %q, want the note alone", got)
			}
		}

		var notes, references []openctitest.Object
		graph := w.platform.Graph()
		for key, o := range graph {
			switch {
			case o.Type == "Note" && slices.Contains(o.Objects, "IPv4-Addr "+address):
				notes = append(notes, o)
				if !slices.Contains(o.Objects, addressIndicator) {
					t.Errorf("%s is about %q, want the indicator too", key, o.Objects)
				}
			case o.Type == "External-Reference" && slices.Contains(graph["IPv4-Addr "+address].ExternalReferences, key):
				references = append(references, o)
			}
		}
		if len(notes) != 1 || len(references) != 1 {
			t.Fatalf("%d notes and %d references, want one of each", len(notes), len(references))
		}
		var scores []string
		for _, found := range row.FindAllStringSubmatch(notes[0].Content, -1) {
			scores = append(scores, found[1])
		}
		if diff := cmp.Diff([]string{"77", "88", "40"}, scores); diff != "" {
			t.Errorf("scores of the rows (-want +got):\n%s\n%s", diff, notes[0].Content)
		}
		if types := graph[addressIndicator].IndicatorTypes; !sameSet(types, []string{"malicious-activity"}) {
			t.Errorf("types of the indicator = %q, want those of the last verdict", types)
		}
	})
}

// TestGraph_OwnUpdateBeforeTheImport: an update job that comes between the worker's edit of the labels and the import of its
// objects asks IPQS nothing and sends nothing, nor does the one that comes after.
func TestGraph_OwnUpdateBeforeTheImport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := defaults()
		s.autoUpdate = true
		w, k := newWorld(t, s), kinds()[0]
		id := w.platform.AddObservable(k.observable(w))
		if err := w.enrich(t.Context(), id, k.answers[4].report(k)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		job, err := w.job(t.Context(), id, openctitest.Manual, "")
		if err != nil {
			t.Fatal(err)
		}
		w.answer = k.answers[0].report(k) // another level, so labels come off
		if _, err := w.run(t.Context(), job, "resolve", "publish"); err != nil {
			t.Fatal(err)
		}
		published, asked := len(w.push), w.lookups
		for _, imported := range []bool{false, true} {
			if imported {
				w.importAll(t.Context())
				published = 0
			}
			job, err := w.job(t.Context(), id, openctitest.AutoUpdate, "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.run(t.Context(), job, "resolve", "publish")
			if skipped(err) != stages.ReasonOwnUpdate || len(w.push) != published || w.lookups != asked {
				t.Errorf("imported %t: run() = %v, %d objects, %d lookups, want a skipped job", imported, err, len(w.push)-published, w.lookups-asked)
			}
			time.Sleep(time.Minute)
		}
	})
}

// typeOf is the type of the object in a message of the push queue.
func typeOf(t *testing.T, message []byte) string {
	t.Helper()
	var envelope struct{ Content string }
	var bundle struct{ Objects []struct{ Type string } }
	if err := json.Unmarshal(message, &envelope); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(envelope.Content)
	if err != nil || json.Unmarshal(raw, &bundle) != nil || len(bundle.Objects) != 1 {
		t.Fatalf("a message holds no object: %v", err)
	}
	return bundle.Objects[0].Type
}
