package standin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// release is what a release of OpenCTI does with works, written down from its documentation and not from the code.
type release struct {
	version   string
	playbooks bool // a playbook can ask
	drafts    bool // a job can come from a draft
	tracked   bool // objects may name their work, and are counted
	byReport  bool // a work that expects nothing only ends with one expectation, reported
	manualAs  bool // a manual job names the user who asked
}

func releases() []release {
	return []release{
		{version: "5.4.1", tracked: true, manualAs: true},
		{version: "5.12.33", playbooks: true, tracked: true, manualAs: true},
		{version: "6.0.0", playbooks: true, tracked: true},
		{version: "6.4.0", playbooks: true, drafts: true, tracked: true},
		{version: "6.8.10", playbooks: true, drafts: true},
		{version: "6.9.28", playbooks: true, drafts: true},
		{version: "7.260318.0", playbooks: true, drafts: true},
		{version: "7.260428.0", playbooks: true, drafts: true, byReport: true},
		{version: "7.260817.0", playbooks: true, drafts: true, tracked: true},
	}
}

// The triggers, and the ways that a job can end.
var (
	triggers = []string{"manual", "auto", "playbook", "draft"}
	ends     = []string{"published", "score unknown", "out of scope", "above TLP", "dead-lettered"}
)

// sentences is how the message begins that a work ends in error with.
var sentences = map[string]string{
	"out of scope":  "Hostname is not in the scope of this connector",
	"above TLP":     "TLP:RED is above what this connector may look up (TLP:AMBER). Nothing was changed; skipped (tlp).",
	"dead-lettered": "IPQS knows no such domain: Invalid URL. Please check the URL and try again. Nothing was changed; dead letter 01",
}

const draftID = "0d7a5f0e-7b3c-4a52-9a55-5d0c6e1a2b3c"

// cell is one job of the matrix.
type cell struct {
	trigger, end string
	observable   string // its standard id
	work         string // a work's id, or a playbook's execution
}

// TestEveryReleaseTriggerAndEnd gives the connector, against each release, a job for every trigger that the release knows
// and every way to end, and looks at what OpenCTI has of each.
func TestEveryReleaseTriggerAndEnd(t *testing.T) {
	t.Parallel()
	for _, r := range releases() {
		t.Run(r.version, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			world := connector(ctx, t, standin.Options{Version: r.version}, nil)
			var cells []cell
			works := 0
			for i, trigger := range triggers {
				if trigger == "playbook" && !r.playbooks || trigger == "draft" && !r.drafts {
					continue
				}
				for j, end := range ends {
					c := ask(ctx, t, world, trigger, end, 10*i+j)
					if c.work != "" { // OpenCTI sends no automatic job for what is out of scope
						cells = append(cells, c)
					}
					if c.work != "" && trigger != "playbook" {
						works++
					}
				}
			}
			if err := world.Platform.Wait(ctx, func() bool { return ended(world.Platform) == works }); err != nil {
				t.Errorf("%d of %d works ended: %v", ended(world.Platform), works, err)
			}
			answers := len(cells) - works
			if err := world.Platform.Wait(ctx, func() bool { return len(world.Platform.PlaybookAnswers()) >= answers }); err != nil {
				t.Errorf("waiting for %d answers to playbooks: %v", answers, err)
			}
			settled(ctx, t, world, cells, r)
			for _, c := range cells {
				t.Run(c.trigger+"/"+c.end, func(t *testing.T) {
					if c.trigger == "playbook" {
						checkPlaybook(t, world.Platform, c)
					} else {
						checkWork(t, world.Platform, c, r)
					}
				})
			}
			if complaints := world.Platform.Complaints(); len(complaints) > 0 {
				t.Errorf("OpenCTI complains: %q", complaints)
			}
		})
	}
}

// ended counts the works that OpenCTI shows as complete and that the connector has ended: with the last object imported,
// a counted work is complete a moment before.
func ended(p *openctitest.Platform) int {
	n := 0
	for _, work := range p.Works() {
		if work.Status == "complete" && work.ProcessedTimes > 0 {
			n++
		}
	}
	return n
}

// connector runs the connector in a new world until the test ends.
func connector(ctx context.Context, tb testing.TB, o standin.Options, observe func(pipeline.Outcome)) *standin.World {
	tb.Helper()
	world, err := standin.New(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	c, _, err := config.Load(config.Options{Environ: append(world.Environ(), "CONNECTOR_METRICS_PORT=0")})
	if err != nil {
		tb.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- app.Run(running, app.Options{
			Config: c, Logger: slog.New(slog.DiscardHandler), Version: "test", Connect: world.Connect, Observe: observe,
		})
	}()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Errorf("Run() = %v", err)
		}
		world.Close()
	})
	if err := world.Registered(ctx); err != nil {
		tb.Fatal(err)
	}
	return world
}

// ask adds an observable that will end as wanted, and asks for its enrichment.
func ask(ctx context.Context, t *testing.T, world *standin.World, trigger, end string, n int) cell {
	t.Helper()
	o := openctitest.Observable{
		Type: "Domain-Name", Value: fmt.Sprintf("host-%d.example.com", n), CreatedAt: "2026-01-02T03:04:05.678Z",
		Labels: []string{"seen before"},
	}
	switch end {
	case "score unknown":
		o.Value = fmt.Sprintf("noscore-%d.example.com", n)
	case "out of scope":
		o.Type = "Hostname"
	case "above TLP":
		o.Markings = []string{"TLP:GREEN", "TLP:RED"}
	case "dead-lettered":
		world.IPQS.Script(ipqs.KindURL, o.Value, ipqstest.Refusal(ipqstest.MessageInvalidURL))
	}
	if trigger == "draft" {
		o.DraftID = draftID
	}
	c := cell{trigger: trigger, end: end, observable: world.Platform.AddObservable(o)}
	var err error
	switch trigger {
	case "draft":
		c.work, err = world.Platform.EnrichInDraft(ctx, c.observable, openctitest.Manual, draftID)
	case "playbook":
		c.work, err = world.Platform.Enrich(ctx, c.observable, openctitest.ByPlaybook)
	case "auto":
		if end == "out of scope" {
			return c
		}
		c.work, err = world.Platform.Enrich(ctx, c.observable, openctitest.Auto)
	default:
		c.work, err = world.Platform.Enrich(ctx, c.observable, openctitest.Manual)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// settled waits for the objects of jobs whose works end before their objects are imported: those that are not counted.
func settled(ctx context.Context, t *testing.T, world *standin.World, cells []cell, r release) {
	t.Helper()
	for _, c := range cells {
		if r.tracked || c.trigger == "playbook" || !brings(c.end) {
			continue
		}
		if err := world.Platform.Wait(ctx, func() bool { return len(of(world.Platform, c.observable)) > 0 }); err != nil {
			t.Errorf("waiting for the objects of %s/%s: %v", c.trigger, c.end, err)
		}
	}
}

func brings(end string) bool { return end == "published" || end == "score unknown" }

// of returns what was imported about an observable: itself, and the notes on it.
func of(p *openctitest.Platform, observable string) []openctitest.Import {
	var found []openctitest.Import
	for id, imported := range p.Imported() {
		var o struct {
			ObjectRefs []string `json:"object_refs"`
		}
		if json.Unmarshal(imported.Object, &o) == nil && slices.Contains(o.ObjectRefs, observable) || id == observable {
			found = append(found, imported)
		}
	}
	if len(found) < 2 {
		return nil // not all of it has come yet
	}
	return found
}

func checkWork(t *testing.T, p *openctitest.Platform, c cell, r release) {
	t.Helper()
	work, ok := p.Work(c.work)
	if !ok {
		t.Fatal("the work is gone")
	}
	if work.Status != "complete" || work.Forced || work.ReceivedTimes != 1 || work.ProcessedTimes != 1 || work.Dropped > 0 {
		t.Errorf("work = %+v, want it complete, received and ended once, nothing dropped", work)
	}
	objects := of(p, c.observable)
	switch {
	case brings(c.end):
		if len(work.Errors) > 0 || len(objects) == 0 {
			t.Errorf("work has errors %v and %d objects, want none and some", work.Errors, len(objects))
		}
	case len(work.Errors) != 1 || !strings.HasPrefix(work.Errors[0].Message, sentences[c.end]):
		t.Errorf("work has errors %v, want one that begins with %q", work.Errors, sentences[c.end])
	case len(objects) > 0:
		t.Errorf("%d objects came of a job that brings none", len(objects))
	}
	counted := 0
	switch {
	case r.tracked && brings(c.end):
		counted = work.Imported
		if counted < 3 { // the author, the observable, the note
			t.Errorf("%d objects are counted for the work, want all of them", counted)
		}
	case r.byReport:
		counted = 1
	}
	if work.Expected != counted || work.Processed != counted {
		t.Errorf("work expects %d and has %d, want %d of both", work.Expected, work.Processed, counted)
	}
	for _, imported := range objects {
		if named := slices.Contains(imported.Works, c.work); named != r.tracked {
			t.Errorf("an object names its work: %v, want %v on this release", named, r.tracked)
		}
		if c.trigger == "draft" && imported.DraftID != draftID {
			t.Errorf("an object goes into draft %q, want %q", imported.DraftID, draftID)
		}
		if asUser := imported.ApplicantID != openctitest.UserID; asUser != (r.manualAs && c.trigger == "manual") {
			t.Errorf("an object is imported as %s", imported.ApplicantID)
		}
	}
	checkScore(t, p, c)
}

// checkScore looks at what the observable has in the end: labels are only ever added, and without a score none is.
func checkScore(t *testing.T, p *openctitest.Platform, c cell) {
	t.Helper()
	o, _ := p.Observable(c.observable)
	scored := c.end == "published"
	if (o.Score != nil) != scored {
		t.Errorf("the observable's score = %v, want one: %v", o.Score, scored)
	}
	ours := slices.ContainsFunc(o.Labels, func(label string) bool { return strings.HasPrefix(label, "IPQS:RISK=") })
	if ours != scored || !slices.Contains(o.Labels, "seen before") {
		t.Errorf("the observable's labels = %q, want the old one, and ours: %v", o.Labels, scored)
	}
}

func checkPlaybook(t *testing.T, p *openctitest.Platform, c cell) {
	t.Helper()
	var answers []openctitest.PlaybookAnswer
	for _, a := range p.PlaybookAnswers() {
		if a.ExecutionID == c.work {
			answers = append(answers, a)
		}
	}
	if len(answers) != 1 {
		t.Fatalf("the step was answered %d times, want once", len(answers))
	}
	answer := answers[0]
	if objects := of(p, c.observable); len(objects) > 0 {
		t.Errorf("%d objects of a playbook's job were published", len(objects))
	}
	if !brings(c.end) {
		if !bytes.Equal(answer.Bundle, answer.Previous) {
			t.Errorf("answer = %s, want the bundle as it came: %s", answer.Bundle, answer.Previous)
		}
		return
	}
	previous, given := bundleObjects(t, answer.Previous), bundleObjects(t, answer.Bundle)
	for id := range previous {
		if _, ok := given[id]; !ok {
			t.Errorf("%s of the playbook's bundle is not in the answer", id)
		}
	}
	if len(given) <= len(previous) {
		t.Errorf("the answer has %d objects, the bundle had %d: nothing was added", len(given), len(previous))
	}
	base := string(given[c.observable])
	if scored := strings.Contains(base, `"score"`) && strings.Contains(base, `IPQS:RISK=`); scored != (c.end == "published") {
		t.Errorf("the observable = %s, want a score and a label: %v", base, c.end == "published")
	}
	if !strings.Contains(base, "seen before") || strings.Contains(base, "x_opencti_labels") {
		t.Errorf("the observable = %s, want its old label, and no custom property beside the extension's", base)
	}
}

func bundleObjects(t *testing.T, bundle json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	var b struct{ Objects []json.RawMessage }
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	objects := map[string]json.RawMessage{}
	for _, object := range b.Objects {
		var o struct{ ID string }
		if err := json.Unmarshal(object, &o); err != nil {
			t.Fatal(err)
		}
		objects[o.ID] = object
	}
	return objects
}
