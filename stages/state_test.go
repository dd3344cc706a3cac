package stages

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

// states answers with what a platform has, and records what it is asked.
type states struct {
	found opencti.State
	err   error
	asked []opencti.StateQuery
}

func (s *states) State(_ context.Context, q opencti.StateQuery) (opencti.State, error) {
	s.asked = append(s.asked, q)
	return s.found, s.err
}

// TestResolve_readsTheState: once where the message names the note and the indicator, twice where not, and the note's history
// instead of its text.
func TestResolve_readsTheState(t *testing.T) {
	t.Parallel()
	whole := hintOf(new(ipv4()), nil)
	content := noteContent(noteFacts{
		Entity: new(ipv4()), Verdict: &Verdict{Score: new(80), Level: Critical}, Risk: &Risk{At: at, Report: report(ipqs.KindIP, `{}`)},
		Indicator: indicatorWithdrawn, History: []VerdictRow{noteRow(80, "")},
	})
	author := opencti.Reference{ID: "author", StandardID: authorID}
	found := opencti.State{
		Entity: ipv4(), Author: &author,
		Indicator: &opencti.Indicator{Reference: opencti.Reference{ID: "i", StandardID: riskIndicator}, Author: &author, Score: new(40), BaseScore: new(80), Linked: true},
		Note:      &opencti.Note{ID: "n", Content: content, Created: "2026-01-01T00:00:00.000Z", Modified: at, Confidence: new(60)},
		Links:     []opencti.Link{{Type: "belongs-to", To: opencti.Reference{ID: "as"}}},
	}
	want := &State{
		ReadAt: at, IndicatorID: whole.IndicatorID, NoteID: whole.NoteID, Author: &author, Links: found.Links,
		Indicator: &KnownIndicator{ID: riskIndicator, Own: true, Linked: true, Score: new(40), Base: new(80)},
		Note: &KnownNote{
			Created: "2026-01-01T00:00:00.000Z", Modified: at, Confidence: new(60), History: []VerdictRow{noteRow(80, "")}, Withdrawn: true,
		},
	}
	for _, tt := range []struct {
		name  string
		hint  Hint
		scope string
		reads int
	}{
		{"named in the message", whole, "IPv4-Addr", 1},
		{"not named", Hint{}, "IPv4-Addr", 2},
		{"named wrongly", Hint{IndicatorID: "indicator--1", NoteID: "note--1"}, "IPv4-Addr", 2},
		{"not named, and out of scope", Hint{}, "Url", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &states{found: found}
			stage := Resolve(s, &platform{}, Policy{Scope: []string{tt.scope}, MaxTLP: opencti.TLPAmber}, clock)
			job, err := stage.Run(context.Background(), Job{ID: "j", Hint: tt.hint, Request: &opencti.Request{EntityID: "e", DraftID: "draft"}})
			if len(s.asked) != tt.reads {
				t.Errorf("read %d times, want %d: %+v", len(s.asked), tt.reads, s.asked)
			}
			if tt.scope == "Url" {
				if AsFault(err) == nil || job.State != nil {
					t.Errorf("Run() = %+v, %v, want a skipped job", job.State, err)
				}
				return
			}
			last := opencti.StateQuery{EntityID: "e", DraftID: "draft", IndicatorID: whole.IndicatorID, NoteID: whole.NoteID, AuthorID: authorID}
			if diff := cmp.Diff(last, s.asked[len(s.asked)-1]); diff != "" {
				t.Errorf("asked at last (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, job.State); diff != "" || err != nil {
				t.Errorf("state, %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestOwn: an indicator is the worker's by the internal id of its author, which stays when an identity is renamed.
func TestOwn(t *testing.T) {
	t.Parallel()
	ours, renamed := &opencti.Reference{ID: "1", StandardID: authorID}, &opencti.Reference{ID: "1", StandardID: "identity--renamed"}
	for _, tt := range []struct {
		name         string
		author, ours *opencti.Reference
		want         bool
	}{
		{"the same", ours, ours, true},
		{"renamed", renamed, renamed, true},
		{"by its id, while ours is hidden", ours, nil, true},
		{"another", &opencti.Reference{ID: "2", StandardID: otherAuthor}, ours, false},
		{"none", nil, ours, false},
		{"none, and none of ours", nil, nil, false},
	} {
		if got := own(tt.author, tt.ours); got != tt.want {
			t.Errorf("%s: own() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestExpired: OpenCTI's decay manager revoked an indicator when it did so after the indicator's validity had ended. In all other
// cases a person may have.
func TestExpired(t *testing.T) {
	t.Parallel()
	steps := func(times ...time.Duration) []opencti.DecayStep {
		var steps []opencti.DecayStep
		for _, after := range times {
			steps = append(steps, opencti.DecayStep{At: at.Add(after)})
		}
		return steps
	}
	for _, tt := range []struct {
		name string
		i    opencti.Indicator
		want bool
	}{
		{"by the manager", opencti.Indicator{Revoked: true, ValidUntil: at, Decay: steps(-time.Hour, 30*time.Second)}, true},
		{"by a person", opencti.Indicator{Revoked: true, ValidUntil: at, Decay: steps(-time.Hour, 0)}, false},
		{"by a person, the times rounded", opencti.Indicator{Revoked: true, ValidUntil: at, Decay: steps(-time.Hour, time.Second)}, false},
		{"not revoked", opencti.Indicator{ValidUntil: at, Decay: steps(time.Hour)}, false},
		{"without decay", opencti.Indicator{Revoked: true, ValidUntil: at}, false},
		{"without an end", opencti.Indicator{Revoked: true, Decay: steps(0)}, false},
	} {
		if got := expired(&tt.i); got != tt.want {
			t.Errorf("%s: expired() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestWithdrawn: the worker revoked an indicator when its description says so, and nobody revoked it after that.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	const findings = "IPQS: LOW, score 10 of 100 (likely legitimate). Findings: no findings."
	text := findings + withdrawal(at)
	for _, tt := range []struct {
		name string
		i    opencti.Indicator
		want bool
	}{
		{"by the worker", opencti.Indicator{Revoked: true, ValidUntil: at.Add(time.Minute), Description: text}, true},
		{"and imported with the time of the answer", opencti.Indicator{Revoked: true, ValidUntil: at.Add(-time.Hour), Description: text}, true},
		{"stripped by OpenCTI", opencti.Indicator{Revoked: true, ValidUntil: at, Description: text + "\n"}, true},
		{"by a person, later", opencti.Indicator{Revoked: true, ValidUntil: at.Add(time.Hour), Description: text}, false},
		{"by a person", opencti.Indicator{Revoked: true, ValidUntil: at, Description: findings}, false},
		{"valid", opencti.Indicator{ValidUntil: at.Add(-time.Hour), Description: text}, false},
		{"no description", opencti.Indicator{Revoked: true, ValidUntil: at}, false},
		{"no time", opencti.Indicator{Revoked: true, ValidUntil: at, Description: findings + withdrawalMark + "today" + withdrawalReason}, false},
		{"another text", opencti.Indicator{Revoked: true, ValidUntil: at, Description: findings + " " + instant(at) + withdrawalReason}, false},
	} {
		if got := withdrawn(&tt.i); got != tt.want {
			t.Errorf("%s: withdrawn() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestSkippingOwnUpdate: an automatic job about an update is skipped where the verdict of a young note is applied, and in no
// other case.
func TestSkippingOwnUpdate(t *testing.T) {
	t.Parallel()
	flag := flagLabel("vpn").Value
	row := func(age time.Duration, score int, findings string) VerdictRow {
		r := noteRow(score, findings)
		r.From, r.To = at.Add(-age), at.Add(-age)
		return r
	}
	byOther := labelled(90, low)
	byOther.Author = &opencti.Reference{ID: "other", StandardID: otherAuthor}
	update := &opencti.Request{EntityID: "e", Mode: modeAuto, Trigger: triggerUpdate}
	tests := []struct {
		name     string
		request  *opencti.Request
		entity   opencti.Entity
		rows     []VerdictRow
		modified time.Time
		skipped  bool
	}{
		{"applied", update, labelled(80, critical, "theirs"), []VerdictRow{row(time.Minute, 80, "")}, at, true},
		{"applied with a flag", update, labelled(80, critical, flag), []VerdictRow{row(time.Minute, 80, "VPN")}, at, true},
		{"a flag is missing", update, labelled(80, critical), []VerdictRow{row(time.Minute, 80, "VPN")}, at, false},
		{"a flag too many", update, labelled(80, critical, flag), []VerdictRow{row(time.Minute, 80, "")}, at, false},
		{"a higher score of another author, which stays", update, byOther, []VerdictRow{row(time.Minute, 10, "")}, at, true},
		{"another score", update, labelled(79, critical), []VerdictRow{row(time.Minute, 80, "")}, at, false},
		{"labels of another verdict", update, labelled(80, high), []VerdictRow{row(time.Minute, 80, "")}, at, false},
		{"no labels", update, labelled(80), []VerdictRow{row(time.Minute, 80, "")}, at, false},
		{"no note", update, labelled(80, critical), nil, time.Time{}, false},
		{"an old answer, noted just now", update, labelled(80, critical), []VerdictRow{row(20*time.Hour, 80, "")}, at, true},
		{"an old note", update, labelled(80, critical), []VerdictRow{row(2*time.Hour, 80, "")}, at.Add(-61 * time.Minute), false},
		{"an answer in the future", update, labelled(80, critical), []VerdictRow{row(-time.Hour, 80, "")}, at, false},
		{"no score", update, labelled(80), []VerdictRow{{From: at, To: at}}, at, true},
		{"for a new observable", &opencti.Request{EntityID: "e", Mode: modeAuto, Trigger: "create"}, labelled(80, critical), []VerdictRow{row(0, 80, "")}, at, false},
		{"by hand", &opencti.Request{EntityID: "e", Mode: modeManual, Trigger: triggerUpdate}, labelled(80, critical), []VerdictRow{row(0, 80, "")}, at, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state := steady()
			if tt.rows != nil {
				state.Note = &KnownNote{History: tt.rows, Modified: tt.modified}
			}
			resolve := Stage{Run: func(_ context.Context, job Job) (Job, error) {
				job.Entity, job.State = &tt.entity, &state
				return job, nil
			}}
			stage := SkippingOwnUpdate(resolve, Scoring{Model: Bands, FlagLabels: true}, RespectScore, nil, clock)
			_, err := stage.Run(context.Background(), Job{ID: "j", Request: tt.request})
			f := AsFault(err)
			if skipped := f != nil && f.Class == Skip && f.Reason == ReasonOwnUpdate; skipped != tt.skipped || !skipped && err != nil {
				t.Errorf("Run() error = %v, want it skipped: %v", err, tt.skipped)
			}
		})
	}
}

// TestSkippingOwnUpdate_failure: what resolve says of a job it ends goes on.
func TestSkippingOwnUpdate_failure(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	resolve := Stage{Run: func(_ context.Context, job Job) (Job, error) { return job, failed }}
	job := Job{Request: &opencti.Request{Mode: modeAuto, Trigger: triggerUpdate}}
	if _, err := SkippingOwnUpdate(resolve, Scoring{}, "", nil, clock).Run(context.Background(), job); !errors.Is(err, failed) {
		t.Errorf("Run() error = %v, want %v", err, failed)
	}
}

// TestOwnWrites: a job about an observable that the worker has just changed is skipped until its note has the answer, and not for
// longer than ten minutes.
func TestOwnWrites(t *testing.T) {
	t.Parallel()
	written := func(entity string, rows ...VerdictRow) Job {
		state := steady()
		state.Note = &KnownNote{History: rows}
		return Job{Request: &opencti.Request{EntityID: entity}, Entity: new(ipv4()), State: &state, Risk: &Risk{At: at}}
	}
	row := func(after time.Duration) VerdictRow {
		return VerdictRow{From: second(at), To: second(at).Add(after), Score: new(1)}
	}
	w := NewOwnWrites()
	w.add(written("e"), at)
	for _, tt := range []struct {
		name  string
		job   Job
		after time.Duration
		want  bool
	}{
		{"no note yet", written("e"), time.Minute, true},
		{"an older note", written("e", row(-time.Hour)), time.Minute, true},
		{"the note has the answer", written("e", row(0)), time.Minute, false},
		{"the note has a newer answer", written("e", row(time.Hour)), time.Minute, false},
		{"another observable", written("f"), time.Minute, false},
		{"long ago", written("e"), ownWriteAge + 1, false},
	} {
		if got := w.pending(tt.job, at.Add(tt.after)); got != tt.want {
			t.Errorf("%s: pending() = %v, want %v", tt.name, got, tt.want)
		}
	}
	w.add(written("g"), at.Add(2*ownWriteAge))
	if len(w.writes) != 1 {
		t.Errorf("%d writes are remembered, want the last one", len(w.writes))
	}
}

// TestPublish_remembersOwnWrites: only jobs that change the observable are remembered, as others cause no job, and of them only
// those whose objects are published.
func TestPublish_remembersOwnWrites(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		entity string // of the job; the bundle has url--1111…
		labels []LabelOn
		fails  string // a call
		want   int
	}{
		{"the note alone", ipv4().StandardID, nil, "", 0},
		{"the observable", "url--11111111-1111-4111-8111-111111111111", nil, "", 1},
		{"the observable, and the push failed", "url--11111111-1111-4111-8111-111111111111", nil, "push", 0},
		{"a label of it", ipv4().StandardID, []LabelOn{{Object: ipv4().StandardID}}, "", 1},
		{"a label of it, and its removal failed", ipv4().StandardID, []LabelOn{{Object: ipv4().StandardID}}, "unlabel", 0},
		{"a label of the indicator", ipv4().StandardID, []LabelOn{{Object: riskIndicator}}, "", 0},
	} {
		job, writes := publishJob(), NewOwnWrites()
		p := &platform{}
		if tt.fails != "" {
			p.fail = map[string]error{tt.fails: errors.New("no")}
		}
		job.Entity.StandardID, job.Changes = tt.entity, &Changes{Labels: tt.labels}
		stage := Publish(Publishing{
			Entities: p, Works: p, Playbooks: p, Labels: p, Indicators: p, Countries: p, Intake: p, Envelope: shown, Now: clock, OwnWrites: writes,
		})
		if _, err := stage.Run(context.Background(), job); (err != nil) != (tt.fails != "") || len(writes.writes) != tt.want {
			t.Errorf("%s: %d writes are remembered (%v), want %d", tt.name, len(writes.writes), err, tt.want)
		}
	}
}

// TestPublish_country: an address is located at OpenCTI's own country for the code, under its own name. A country is only made
// where OpenCTI has none.
func TestPublish_country(t *testing.T) {
	t.Parallel()
	const russia = "location--11111111-1111-4111-8111-111111111111"
	known := map[string]opencti.Country{"RU": {StandardID: russia, Name: "Russian Federation"}}
	links := []opencti.Link{{Type: stix.LocatedAt, To: opencti.Reference{StandardID: russia}}}
	for _, tt := range []struct {
		name, code string
		links      []opencti.Link
		want       []string // what the bundle has of it
		no         string
	}{
		{"of OpenCTI's", "RU", nil, []string{`"target_ref":"` + russia + `"`}, `"type":"location"`},
		{"linked already", "RU", links, nil, `"located-at"`},
		{"that OpenCTI does not have", "CH", nil, []string{`"type":"location"`, `"name":"Switzerland"`, `"located-at"`}, russia},
		{"no country", "ZZ", nil, nil, `"located-at"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := publishJob()
			job.Risk.Report = report(ipqs.KindIP, `{"fraud_score":80,"country_code":"`+tt.code+`"}`)
			job.State.Links = tt.links
			options := with(func(e *Enrichment) { e.Countries = true })
			job, err := Bundle(options).Run(context.Background(), job)
			if err != nil {
				t.Fatal(err)
			}
			p := &platform{countries: known}
			stage := Publish(Publishing{
				Entities: p, Works: p, Playbooks: p, Labels: p, Indicators: p, Countries: p, Intake: p, Now: clock,
				Envelope:   func(_ opencti.PushOptions, bundle []byte) ([]byte, error) { return bundle, nil },
				Enrichment: options,
			})
			if _, err := stage.Run(context.Background(), job); err != nil {
				t.Fatal(err)
			}
			all := strings.Join(p.calls, "\n")
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("%s is missing in %s", want, all)
				}
			}
			if strings.Contains(all, tt.no) {
				t.Errorf("%s is in %s", tt.no, all)
			}
			if i := slices.IndexFunc(p.calls, func(c string) bool { return strings.HasPrefix(c, "push") && strings.Contains(c, `"type":"location"`) }); i >= 0 &&
				(strings.Contains(p.calls[i], "object_marking_refs") || strings.Contains(p.calls[i], "created_by_ref")) {
				t.Errorf("the country has an author or a marking: %s", p.calls[i])
			}
		})
	}
}
