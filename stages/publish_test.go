package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// twoObjects is a bundle that splits in two.
const twoObjects = `{"type":"bundle","id":"bundle--11111111-1111-4111-8111-111111111111","objects":[
	{"type":"note","spec_version":"2.1","id":"note--11111111-1111-4111-8111-111111111111","content":"c","object_refs":["url--11111111-1111-4111-8111-111111111111"]},
	{"type":"url","spec_version":"2.1","id":"url--11111111-1111-4111-8111-111111111111","value":"https://example.com/"}]}`

func publishJob() Job {
	return Job{
		ID:      "work_1",
		Request: &opencti.Request{WorkID: "work_1", ApplicantID: "user", DraftID: "draft"},
		Entity:  new(ipv4()),
		State:   readNow(ipv4()),
		Risk:    &Risk{At: at, UsedAt: at, Report: report(ipqs.KindURL, `{"risk_score":78,"phishing":true}`)},
		Verdict: &Verdict{Score: new(78), Level: Critical, Labels: []Label{{"L", "#010203"}}, Factors: []string{"phishing"}},
		Bundle:  json.RawMessage(twoObjects),
	}
}

// readNow is the state of an entity that nothing was written about, read just now.
func readNow(e opencti.Entity) *State {
	ids := hintOf(&e, nil)
	return &State{ReadAt: at, IndicatorID: ids.IndicatorID, NoteID: ids.NoteID}
}

// shown wraps an object so that a test sees what surrounds it.
func shown(o opencti.PushOptions, bundle []byte) ([]byte, error) {
	var b struct{ Objects []struct{ Type string } }
	if err := json.Unmarshal(bundle, &b); err != nil {
		return nil, err
	}
	return []byte(strings.Join([]string{b.Objects[0].Type, o.WorkID, o.ApplicantID, o.DraftID, string(rune('0' + o.Sequence))}, "/")), nil
}

func TestPublish(t *testing.T) {
	t.Parallel()
	const done = "processed work_1 IPQS: CRITICAL, score 78 of 100 (phishing). New answer. 2 objects sent."
	tests := []struct {
		name     string
		state    opencti.WorkState
		repeated bool
		want     []string
	}{
		{"tracked", opencti.WorkState{Tracked: true}, false, []string{
			"label L #010203", "announce work_1 2 objects", "push url/work_1/user/draft/1", "push note/work_1/user/draft/2", done,
		}},
		{"untracked messages carry no work", opencti.WorkState{}, false, []string{
			"label L #010203", "announce work_1 2 objects", "push url//user/draft/1", "push note//user/draft/2", done,
		}},
		{"a repeated job looks first", opencti.WorkState{Tracked: true}, true, []string{
			"state  draft", "label L #010203", "announce work_1 5 objects",
			"push identity/work_1/user/draft/1", "push indicator/work_1/user/draft/2", "push relationship/work_1/user/draft/3",
			"push note/work_1/user/draft/4", "push ipv4-addr/work_1/user/draft/5", strings.Replace(done, "2 objects", "5 objects", 1),
		}},
		{"a repeated job whose work has ended is published without the work", opencti.WorkState{}, true, []string{
			"state  draft", "label L #010203", "announce work_1 5 objects",
			"push identity//user/draft/1", "push indicator//user/draft/2", "push relationship//user/draft/3",
			"push note//user/draft/4", "push ipv4-addr//user/draft/5", strings.Replace(done, "2 objects", "5 objects", 1),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &platform{state: tt.state, found: opencti.State{Entity: ipv4()}}
			job := publishJob()
			job.Repeated = tt.repeated
			if _, err := p.publishing(shown).Run(context.Background(), job); err != nil {
				t.Fatalf("Run() error = %v", err)
			}
			if diff := cmp.Diff(tt.want, p.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if p.again != tt.repeated || p.entity != job.Request.EntityID {
				t.Errorf("announced as again = %v for %q, want %v for %q", p.again, p.entity, tt.repeated, job.Request.EntityID)
			}
			if p.ended != tt.state {
				t.Errorf("ended with the state %+v, want the one of the announcement: %+v", p.ended, tt.state)
			}
		})
	}
}

func TestPublishStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fails  string
		err    error
		calls  int
		class  Class
		reason Reason
	}{
		{"label", opencti.ErrUnavailable, 1, Transient, ReasonUnavailable},
		{"announce", opencti.ErrUnavailable, 2, Transient, ReasonUnavailable},
		{"push", errors.New("unroutable"), 3, Transient, ReasonBroker},
		{"push", context.Canceled, 3, Stopping, ReasonStopping},
		{"processed", opencti.ErrAuth, 5, AccountWide, ReasonAuth},
	}
	for _, tt := range tests {
		t.Run(tt.fails, func(t *testing.T) {
			t.Parallel()
			p := &platform{fail: map[string]error{tt.fails: tt.err}, state: opencti.WorkState{Tracked: true}}
			_, err := p.publishing(shown).Run(context.Background(), publishJob())
			f := AsFault(err)
			if f == nil || f.Class != tt.class || f.Reason != tt.reason {
				t.Errorf("Run() error = %+v, want class %s, reason %s", f, tt.class, tt.reason)
			}
			if len(p.calls) != tt.calls {
				t.Errorf("made %d calls %q, want %d", len(p.calls), p.calls, tt.calls)
			}
		})
	}
}

func TestPublishRefusesABundleItCannotSplit(t *testing.T) {
	t.Parallel()
	p := &platform{}
	job := publishJob()
	job.Bundle = json.RawMessage(`{"type":"bundle"}`)
	_, err := p.publishing(shown).Run(context.Background(), job)
	if f := AsFault(err); f == nil || f.Class != Permanent || f.Reason != ReasonMalformed {
		t.Errorf("Run() error = %+v, want a permanent fault, malformed", f)
	}
	if len(p.calls) != 0 {
		t.Errorf("told OpenCTI %q of a bundle that can't be sent", p.calls)
	}
}

func TestEnding(t *testing.T) {
	t.Parallel()
	work := &opencti.Request{WorkID: "work_1", EntityType: "IPv4-Addr"}
	playbook := &opencti.Request{Playbook: &opencti.Playbook{StepID: "step", Bundle: json.RawMessage(`{"a":1}`)}}
	tests := []struct {
		name    string
		inError bool // CONNECTOR_SKIP_AS
		request *opencti.Request
		fault   *Fault
		letter  string
		want    []string
	}{
		{
			"skipped by policy completes", false, work, fault(Skip, ReasonTLP, "TLP:RED is above TLP:AMBER"), "",
			[]string{"nothing work_1 TLP:RED is above TLP:AMBER. Nothing was changed; skipped (tlp)."},
		},
		{
			"skipped by policy is in error on request", true, work, fault(Skip, ReasonTLP, "TLP:RED is above TLP:AMBER"), "",
			[]string{"failed work_1 TLP:RED is above TLP:AMBER. Nothing was changed; skipped (tlp)."},
		},
		{
			"a private address completes", false, work, fault(Skip, ReasonPrivate, "the address is private"), "",
			[]string{"nothing work_1 The address is private. Nothing was changed; skipped (private_address)."},
		},
		{
			"a private address is never an error", true, work, fault(Skip, ReasonPrivate, "the address is private"), "",
			[]string{"nothing work_1 The address is private. Nothing was changed; skipped (private_address)."},
		},
		{
			"an internal name is never an error", true, work, fault(Skip, ReasonInternalName, "the host name is internal"), "",
			[]string{"nothing work_1 The host name is internal. Nothing was changed; skipped (internal_name)."},
		},
		{
			"dead letter", false, work, AsFault(fmt.Errorf("asking IPQS: %w", &ipqs.APIError{
				Class: ipqs.ClassItem, Kind: ipqs.KindIP, Status: 200, Message: "Invalid IPv4 address.",
			})), "01J",
			[]string{"failed work_1 IPQS rejected the address: Invalid IPv4 address. Nothing was changed; dead letter 01J (invalid_value)."},
		},
		{"playbook goes on unchanged", false, playbook, fault(Skip, ReasonScope, "x"), "", []string{`playbook step {"a":1}`}},
		{"playbook goes on after a failure", true, playbook, fault(Permanent, ReasonOther, "x"), "01J", []string{`playbook step {"a":1}`}},
		{"nobody to tell", false, nil, fault(Permanent, ReasonMalformed, "x"), "01J", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &platform{}
			e := Ending{Works: p, Playbooks: p, SkipInError: tt.inError}
			end := func() error { return e.Skipped(context.Background(), Job{Request: tt.request}, tt.fault) }
			if tt.letter != "" {
				end = func() error {
					return e.DeadLettered(context.Background(), Job{Request: tt.request}, tt.fault, tt.letter)
				}
			}
			if err := end(); err != nil {
				t.Fatalf("end error = %v", err)
			}
			if diff := cmp.Diff(tt.want, p.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// Trap: the number announced is the number of messages that the splitter makes, not of objects that go in; and the splitter
// leaves references alone whose objects are not in the bundle, or every marking would be stripped.
func TestPublishAnnouncesWhatItSendsAndKeepsMarkings(t *testing.T) {
	t.Parallel()
	job := publishJob()
	job.Bundle = json.RawMessage(`{"type":"bundle","id":"bundle--11111111-1111-4111-8111-111111111111","objects":[
		{"type":"url","spec_version":"2.1","id":"url--11111111-1111-4111-8111-111111111111","value":"https://example.com/"},
		{"type":"url","spec_version":"2.1","id":"url--11111111-1111-4111-8111-111111111111","value":"https://example.com/"},
		{"type":"x-unknown","spec_version":"2.1","id":"x-unknown--11111111-1111-4111-8111-111111111111"},
		{"type":"note","spec_version":"2.1","id":"note--11111111-1111-4111-8111-111111111111","content":"c",
			"object_refs":["url--11111111-1111-4111-8111-111111111111"],
			"created_by_ref":"identity--22222222-2222-4222-8222-222222222222",
			"object_marking_refs":["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"]}]}`)
	p := &platform{state: opencti.WorkState{Tracked: true}}
	var sent []string
	whole := func(_ opencti.PushOptions, bundle []byte) ([]byte, error) {
		sent = append(sent, string(bundle))
		return bundle, nil
	}
	if _, err := p.publishing(whole).Run(context.Background(), job); err != nil {
		t.Fatalf("Run() error = %v", err)
	}
	if len(sent) != 2 || !slices.Contains(p.calls, "announce work_1 2 objects") {
		t.Errorf("%d messages sent, calls %q, want 2 of both", len(sent), p.calls)
	}
	for _, kept := range []string{"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82", "identity--22222222-2222-4222-8222-222222222222"} {
		if !strings.Contains(sent[len(sent)-1], kept) {
			t.Errorf("the note was sent without %s: %s", kept, sent[len(sent)-1])
		}
	}
}

// TestPublish_changes: what an import cannot change is changed before the objects are sent, in the job's draft.
func TestPublish_changes(t *testing.T) {
	t.Parallel()
	job := publishJob()
	job.Changes = &Changes{
		Labels:    []LabelOn{{"url--1", opencti.Label{ID: "7", Value: "l"}}, {"indicator--1", opencti.Label{ID: "8", Value: "m"}}},
		Indicator: "indicator--1", Patch: opencti.IndicatorPatch{RemoveTypes: []string{"benign"}},
	}
	p := &platform{state: opencti.WorkState{Tracked: true}}
	if _, err := p.publishing(shown).Run(context.Background(), job); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"label L #010203", "announce work_1 2 objects", "unlabel url--1 7 draft", "unlabel indicator--1 8 draft",
		"patch indicator--1 {RemoveTypes:[benign] Revoke:false Restore:false Description:} draft",
	}
	if diff := cmp.Diff(want, p.calls[:min(len(p.calls), len(want))]); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestPublish_readsTheStateAgain: where it is older than ten seconds or the job was delivered before, and not else. The bundle is
// made of what it finds.
func TestPublish_readsTheStateAgain(t *testing.T) {
	t.Parallel()
	const read = "state ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db draft"
	tests := []struct {
		name   string
		change func(*Job)
		reads  int
	}{
		{"just read", func(*Job) {}, 0},
		{"read ten seconds ago", func(j *Job) { j.State.ReadAt = at.Add(-10 * time.Second) }, 0},
		{"read before", func(j *Job) { j.State.ReadAt = at.Add(-10*time.Second - 1) }, 1},
		{"read by a clock ahead", func(j *Job) { j.State.ReadAt = at.Add(11 * time.Second) }, 1},
		{"delivered before", func(j *Job) { j.Repeated = true }, 1},
		{"replayed", func(j *Job) { j.Replayed = true }, 1},
		{"of an earlier release", func(j *Job) { j.State = nil }, 2}, // the ids of the note and the indicator are not known
		{"of another indicator", func(j *Job) { j.State.IndicatorID = "indicator--1" }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := publishJob()
			job.Request.EntityID = ipv4().StandardID
			tt.change(&job)
			found := opencti.State{Entity: ipv4(), Author: &opencti.Reference{ID: "1", StandardID: authorID}}
			found.Entity.Labels = []opencti.Label{{ID: "3", Value: `IPQS:FLAG="tor"`}}
			p := &platform{state: opencti.WorkState{Tracked: true}, found: found}
			if _, err := p.publishing(shown).Run(context.Background(), job); err != nil {
				t.Fatal(err)
			}
			reads := 0
			for _, call := range p.calls {
				if call == read {
					reads++
				}
			}
			composed := slices.Contains(p.calls, "unlabel "+ipv4().StandardID+" 3 draft") &&
				slices.Contains(p.calls, "push ipv4-addr/work_1/user/draft/4")
			if reads != tt.reads || composed != (tt.reads > 0) {
				t.Errorf("read %d times, made again %v, want %d: %q", reads, composed, tt.reads, p.calls)
			}
		})
	}
}

// TestPublish_writesNothing: an entity that was deleted meanwhile is not created again, and an older answer does not replace
// a newer one.
func TestPublish_writesNothing(t *testing.T) {
	t.Parallel()
	noted := func(to time.Time) func(*Job) {
		return func(j *Job) {
			j.State.Note = &KnownNote{History: []VerdictRow{{From: to, To: to, Level: Low, Score: new(1)}}}
		}
	}
	tests := []struct {
		name   string
		job    func(*Job)
		err    error
		reason Reason // "" where it is published
	}{
		{"deleted", func(j *Job) { j.State.ReadAt = at.Add(-time.Minute) }, opencti.ErrNotFound, ReasonDeleted},
		{"a newer answer", func(j *Job) { j.Risk.At = at.Add(-time.Hour); noted(at.Add(-time.Minute))(j) }, nil, ReasonOutdated},
		{"the same answer", noted(second(at)), nil, ""},
		{"an older answer", noted(at.Add(-time.Minute)), nil, ""},
		{"an answer in the future", noted(at.Add(time.Hour)), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := publishJob()
			tt.job(&job)
			p := &platform{fail: map[string]error{"state": tt.err}, found: opencti.State{Entity: ipv4()}}
			got, err := p.publishing(shown).Run(context.Background(), job)
			if tt.reason == "" {
				if err != nil {
					t.Errorf("Run() error = %v", err)
				}
				return
			}
			if f := AsFault(err); f == nil || f.Class != Skip || f.Reason != tt.reason || f.Reason.InError() {
				t.Errorf("Run() error = %+v, want it skipped for the reason %s, and the work not in error", f, tt.reason)
			}
			if calls := slices.DeleteFunc(p.calls, func(c string) bool { return strings.HasPrefix(c, "state ") }); len(calls) > 0 {
				t.Errorf("calls %q, want none that writes", calls)
			}
			if string(got.Bundle) != string(job.Bundle) {
				t.Errorf("the job has another bundle")
			}
		})
	}
}
