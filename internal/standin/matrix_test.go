package standin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
)

// release is what a release of OpenCTI knows and does, written down from its documentation and not from the code.
type release struct {
	version    string
	edges      bool // markings and labels are connections
	playbooks  bool // a playbook can ask
	eventID    bool // and its answer names the event
	drafts     bool // a job can come from a draft
	updates    bool // a change can be told automatically
	bundleType bool // the envelope has bundle_type
	noSplit    bool // and no_split
	force      bool // a score has to be forced with update
	tracked    bool // objects may name their work, and are counted
	byReport   bool // a work that expects nothing only ends with one expectation, reported
	manualAs   bool // a manual job names the user who asked
}

func releases() []release {
	return []release{
		{version: "5.4.1", edges: true, force: true, tracked: true, manualAs: true},
		{version: "5.12.33", playbooks: true, force: true, tracked: true, manualAs: true},
		{version: "6.0.0", playbooks: true, tracked: true},
		{version: "6.4.0", playbooks: true, eventID: true, drafts: true, bundleType: true, tracked: true},
		{version: "6.8.10", playbooks: true, eventID: true, drafts: true, bundleType: true, updates: true, noSplit: true},
		{version: "6.9.28", playbooks: true, eventID: true, drafts: true, bundleType: true, updates: true, noSplit: true},
		{version: "7.260318.0", playbooks: true, eventID: true, drafts: true, bundleType: true, updates: true, noSplit: true},
		{version: "7.260428.0", playbooks: true, eventID: true, drafts: true, bundleType: true, updates: true, noSplit: true, byReport: true},
		{version: "7.260817.0", playbooks: true, eventID: true, drafts: true, bundleType: true, updates: true, noSplit: true, tracked: true},
	}
}

// The triggers, and the ways that a job can end.
var (
	triggers = []string{"manual", "auto", "auto update", "playbook", "draft"}
	ends     = []string{"published", "score unknown", "out of scope", "above TLP", "dead-lettered"}
)

// sentences is what an analyst reads in the work of a job that ended so; a number of objects and the id of a dead letter
// are left out.
var sentences = map[string]string{
	"published":     "IPQS: CRITICAL, score 87 of 100 (no findings). New answer. N objects sent.",
	"score unknown": "IPQS: no verdict (no findings). New answer. N objects sent.",
	"out of scope":  "Hostname is not in the scope of this connector (Domain-Name). Nothing was changed; skipped (scope).",
	"above TLP":     "TLP:RED is above what this connector may look up (TLP:AMBER). Nothing was changed; skipped (tlp).",
	"dead-lettered": "IPQS rejected the domain: Invalid URL. Please check the URL and try again. " +
		"Nothing was changed; dead letter ID (invalid_value).",
}

// What the jobs of the matrix are about.
const (
	value      = "host.example.com"
	createdAt  = "2026-01-02T03:04:05.678Z"
	draftID    = "0d7a5f0e-7b3c-4a52-9a55-5d0c6e1a2b3c"
	manualUser = "4e7c1f0a-6f0e-4f6f-9d2b-1d3b8b2a5c11" // who asks for manual jobs, which 5.x tells
)

// cell is one job, in a world of its own.
type cell struct {
	release
	trigger, end string

	world      *standin.World
	observable string // its standard id
	work       string // a work's id, or a playbook's execution
	pushed     *pushed
}

// exists reports whether the release knows the trigger and sends such a job: no automatic one about what is out of scope.
func (c *cell) exists() bool {
	switch c.trigger {
	case "playbook":
		return c.playbooks
	case "draft":
		return c.drafts
	case "auto":
		return c.end != "out of scope"
	case "auto update":
		return c.updates && c.end != "out of scope"
	default:
		return true
	}
}

// brings reports whether objects come of it.
func (c *cell) brings() bool { return c.end == "published" || c.end == "score unknown" }

// TestEveryReleaseTriggerAndEnd gives the connector, against each release, a job for every trigger that the release knows
// and every way to end. It compares all that OpenCTI and IPQS were asked, every message that was published, and what became
// of the work.
func TestEveryReleaseTriggerAndEnd(t *testing.T) {
	t.Parallel()
	cells := 0
	for _, r := range releases() {
		for _, trigger := range triggers {
			for _, end := range ends {
				c := &cell{release: r, trigger: trigger, end: end}
				if !c.exists() {
					continue
				}
				cells++
				t.Run(r.version+"/"+trigger+"/"+end, func(t *testing.T) {
					t.Parallel()
					c.run(t)
				})
			}
		}
	}
	if want := 9*4 + 5*4 + 9*5 + 8*5 + 6*5; cells != want {
		t.Errorf("the matrix has %d cells, want %d", cells, want)
	}
}

func (c *cell) run(t *testing.T) {
	ctx := limited(t)
	ends, observe := endings()
	c.pushed = &pushed{}
	c.world = connect(ctx, t, standin.Options{Version: c.version}, c.pushed, observe, "CONNECTOR_SCOPE=Domain-Name", "CONNECTOR_AUTO_UPDATE=true",
		"CONNECTOR_SKIP_AS=error") // skip_test.go is about the default
	c.ask(ctx, t)
	select {
	case o := <-ends:
		want := map[string]pipeline.End{"out of scope": pipeline.Skipped, "above TLP": pipeline.Skipped, "dead-lettered": pipeline.DeadLettered}[c.end]
		if want == "" {
			want = pipeline.Published
		}
		if o.End != want {
			t.Errorf("the job ended %s (%v), want %s", o.End, o.Fault, want)
		}
	case <-ctx.Done():
		t.Fatal("the job did not end")
	}
	messages := c.pushed.all(t)
	platform := c.world.Platform
	if err := platform.Wait(ctx, func() bool { return platform.Totals().Imported == len(messages) }); err != nil {
		t.Errorf("%d of %d messages were imported: %v", platform.Totals().Imported, len(messages), err)
	}
	c.checkCalls(t)
	c.checkMessages(t, messages)
	if c.trigger == "playbook" {
		c.checkPlaybook(t)
	} else {
		c.checkWork(ctx, t, len(messages))
	}
	if complaints := platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI complains: %q", complaints)
	}
}

// ask adds the observable that will end as wanted, and asks for its enrichment.
func (c *cell) ask(ctx context.Context, t *testing.T) {
	t.Helper()
	o := openctitest.Observable{Type: "Domain-Name", Value: value, CreatedAt: createdAt, Labels: []string{"seen before"}}
	answer := ipqstest.Response{Body: `{"success":true,"message":"Success.","domain":"host.example.com","ip_address":"203.0.113.9","risk_score":87}`}
	switch c.end {
	case "score unknown":
		answer.Body = `{"success":true,"message":"Success.","domain":"host.example.com","ip_address":"203.0.113.9"}`
	case "out of scope":
		o.Type = "Hostname"
	case "above TLP":
		o.Markings = []string{"TLP:GREEN", "TLP:RED"}
	case "dead-lettered":
		answer = ipqstest.Refusal(ipqstest.MessageInvalidURL)
	}
	c.world.IPQS.Script(ipqs.KindURL, value, answer)
	trigger, draft := map[string]openctitest.Trigger{
		"auto": openctitest.Auto, "auto update": openctitest.AutoUpdate, "playbook": openctitest.ByPlaybook,
	}[c.trigger], ""
	if trigger == "" {
		trigger = openctitest.Manual
	}
	if c.trigger == "draft" {
		o.DraftID, draft = draftID, draftID
	}
	c.observable = c.world.Platform.AddObservable(o)
	var err error
	if c.work, err = c.world.Platform.EnrichInDraft(ctx, c.observable, trigger, draft); err != nil {
		t.Fatal(err)
	}
}

// checkCalls compares how often OpenCTI and IPQS were asked what: nothing else, and nothing more than once.
func (c *cell) checkCalls(t *testing.T) {
	t.Helper()
	want := map[string]int{"About": 1, "Register": 1}
	read := "State"
	if c.edges {
		read = "StateLegacy"
	}
	if c.trigger != "playbook" || c.end != "out of scope" { // a playbook's bundle says what it is about
		want[read] = 1
	}
	if !c.updates && c.trigger != "playbook" && c.end != "out of scope" && c.end != "above TLP" {
		want[read] = 2 // before 6.8.9 a job's message has no value, from which the ids of indicator and note follow
	}
	if c.end == "published" {
		want["LabelAdd"] = 1 // for its colour
	}
	switch c.trigger {
	case "playbook":
		want["About"]++ // before what must not be asked twice
		step := "PlaybookStepLegacy"
		if c.eventID {
			step = "PlaybookStep"
		}
		want[step] = 1
	default:
		want["WorkReceived"], want["WorkProcessed"] = 1, 1
		want["Work"] = 1 // has another job received or ended it?
		if c.tracked && c.brings() {
			want["WorkAnnounce"] = 1
			want["Work"]++ // what have other jobs announced?
		}
		if !c.brings() {
			want["Work"]++ // has it ended so before, and is anything open that nobody will report?
		}
		if c.byReport {
			want["WorkReport"] = 1
			want["Work"]++ // is it still open?
		}
	}
	if diff := cmp.Diff(want, c.world.Platform.Requests()); diff != "" {
		t.Errorf("requests to OpenCTI (-want +got):\n%s", diff)
	}
	lookups := map[ipqs.Kind]int{}
	if c.brings() || c.end == "dead-lettered" {
		lookups[ipqs.KindURL] = 1
	}
	if diff := cmp.Diff(lookups, c.world.IPQS.Requests()); diff != "" {
		t.Errorf("requests to IPQS (-want +got):\n%s", diff)
	}
}

// checkMessages compares every message: all keys of its envelope, and its object with the golden file.
func (c *cell) checkMessages(t *testing.T, messages []message) {
	t.Helper()
	if c.trigger == "playbook" || !c.brings() {
		if len(messages) > 0 {
			t.Errorf("%d messages were published, want none", len(messages))
		}
		return
	}
	var objects []json.RawMessage
	for i, m := range messages {
		want := map[string]any{
			"action_sequence": float64(i + 1), "applicant_id": openctitest.UserID, "entities_types": []any{}, "update": c.force,
		}
		if c.manualAs && c.trigger == "manual" {
			want["applicant_id"] = manualUser
		}
		if c.bundleType {
			want["bundle_type"] = "QUEUE_BUNDLE"
		}
		if c.noSplit {
			want["no_split"] = false
		}
		if c.drafts {
			want["draft_id"] = nil
		}
		if c.trigger == "draft" {
			want["draft_id"] = draftID
		}
		if c.tracked {
			want["work_id"] = c.work
		}
		if diff := cmp.Diff(want, m.Envelope); diff != "" {
			t.Errorf("envelope of message %d (-want +got):\n%s", i+1, diff)
		}
		objects = append(objects, m.Object)
	}
	golden(t, "published "+c.end, objects)
}

var letter = regexp.MustCompile(`dead letter [0-9A-Z]{26}`)

// checkWork compares the whole work.
func (c *cell) checkWork(ctx context.Context, t *testing.T, messages int) {
	t.Helper()
	platform := c.world.Platform
	err := platform.Wait(ctx, func() bool {
		w, _ := platform.Work(c.work)
		return w.Status == "complete"
	})
	if err != nil {
		t.Errorf("waiting for the work to be complete: %v", err)
	}
	got, _ := platform.Work(c.work)
	want := openctitest.Work{
		ID: c.work, ConnectorID: standin.ConnectorID, EntityID: c.observable, Status: "complete",
		Jobs: 1, ReceivedTimes: 1, ProcessedTimes: 1,
		Messages: []openctitest.WorkMessage{{Message: "IPQS: the job is being worked on."}},
		Alive:    got.Alive, // the platform's own business
	}
	sentence := openctitest.WorkMessage{Message: sentences[c.end]}
	if c.brings() {
		sentence.Message = strings.Replace(sentence.Message, "N objects", fmt.Sprintf("%d objects", messages), 1)
		if c.tracked {
			want.ReceivedTimes = 2 // the announcement is the message of another one
			want.Messages = append(want.Messages, openctitest.WorkMessage{
				Message: fmt.Sprintf("Publishing %d objects for %s.", messages, c.observable),
			})
			sentence.Message += fmt.Sprintf(" (%s, %d announced)", c.observable, messages)
		} else {
			sentence.Message += fmt.Sprintf(" (%s)", c.observable)
		}
		want.Messages = append(want.Messages, sentence)
	} else {
		sentence.Message += fmt.Sprintf(" (%s)", c.observable)
		want.Errors = []openctitest.WorkMessage{sentence}
	}
	switch {
	case c.tracked && c.brings():
		want.Expected, want.Processed, want.Imported = messages, messages, messages
	case c.byReport:
		want.Processed = 1 // a report completes it
	}
	for i := range got.Errors {
		got.Errors[i].Message = letter.ReplaceAllString(got.Errors[i].Message, "dead letter ID")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("work (-want +got):\n%s", diff)
	}
	c.checkObservable(t)
}

// checkObservable looks at what the observable has in the end: labels are only ever added, and without a score none is.
func (c *cell) checkObservable(t *testing.T) {
	t.Helper()
	o, _ := c.world.Platform.Observable(c.observable)
	labels := []string{"seen before"}
	var score *int
	if c.end == "published" {
		labels, score = append(labels, `IPQS:RISK="CRITICAL"`), new(87)
	}
	if diff := cmp.Diff(labels, o.Labels); diff != "" {
		t.Errorf("the observable's labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(score, o.Score); diff != "" {
		t.Errorf("the observable's score (-want +got):\n%s", diff)
	}
}

// checkPlaybook compares the one answer: the bundle as it came where nothing came of the job, else its objects and ours.
func (c *cell) checkPlaybook(t *testing.T) {
	t.Helper()
	answers := c.world.Platform.PlaybookAnswers()
	if len(answers) != 1 || answers[0].ExecutionID != c.work || answers[0].DataInstanceID != c.observable {
		t.Fatalf("answers = %+v, want one, to the step that asked", answers)
	}
	if works := c.world.Platform.Works(); len(works) > 0 {
		t.Errorf("there are works %+v, want none for a playbook", works)
	}
	answer := answers[0]
	if !c.brings() {
		if !bytes.Equal(answer.Bundle, answer.Previous) {
			t.Errorf("answer = %s, want the bundle as it came: %s", answer.Bundle, answer.Previous)
		}
		return
	}
	var previous, given struct {
		ID      string
		Objects []json.RawMessage
	}
	for text, into := range map[*json.RawMessage]any{&answer.Previous: &previous, &answer.Bundle: &given} {
		if err := json.Unmarshal(*text, into); err != nil {
			t.Fatal(err)
		}
	}
	if given.ID != previous.ID || len(previous.Objects) != 1 || len(given.Objects) <= 1 {
		t.Errorf("answer = %s with %d objects, want %s with more than its %d", given.ID, len(given.Objects), previous.ID, len(previous.Objects))
	}
	golden(t, "answered "+c.end, given.Objects)
}
