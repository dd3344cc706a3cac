package stages

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

// The people and ids of the tests below.
const (
	otherAuthor   = "identity--99999999-9999-4999-8999-999999999999"
	riskIndicator = "indicator--3ae0b0a2-7289-5fda-8a85-02d057ba0968" // of ipv4()
)

// sent describes the objects that a bundle holds, one line each.
func sent(t *testing.T, bundle []byte) []string {
	t.Helper()
	var b struct {
		Objects []struct {
			Type, ID, Name string
			Score          *int     `json:"x_opencti_score"`
			Labels         []string `json:"labels"`
			OCTILabels     []string `json:"x_opencti_labels"`
			Types          []string `json:"indicator_types"`
			Revoked        bool
			Confidence     *int
			Relationship   string   `json:"relationship_type"`
			Refs           []string `json:"object_refs"`
			Target         string   `json:"target_ref"`
		}
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range b.Objects {
		line := o.Type
		if o.Relationship != "" {
			kind, _, _ := strings.Cut(o.Target, "--")
			line = o.Relationship + " " + kind
		}
		if o.Score != nil {
			line += fmt.Sprintf(" %d", *o.Score)
		}
		if labels := append(o.Labels, o.OCTILabels...); len(labels) > 0 {
			line += " " + strings.Join(labels, ",")
		}
		if len(o.Types) > 0 {
			line += " " + strings.Join(o.Types, ",")
		}
		if o.Revoked {
			line += " revoked"
		}
		if o.Type == "indicator" && o.Confidence != nil {
			line += fmt.Sprintf(" confidence %d", *o.Confidence)
		}
		if len(o.Refs) > 1 {
			line += " with indicator"
		}
		lines = append(lines, line)
	}
	return lines
}

// steady is the state of ipv4() on a platform that has the author and nothing else of the worker's.
func steady() State {
	s := readNow(ipv4())
	s.Author = &opencti.Reference{ID: "author", StandardID: authorID}
	return *s
}

// noteRow is a row of a note's history, an hour before the tests' time.
func noteRow(score int, findings string) VerdictRow {
	level, _, _ := Bands.decide(report(ipqs.KindIP, `{}`), score)
	before := second(at.Add(-time.Hour))
	return VerdictRow{From: before, To: before, Level: level, Score: &score, Findings: findings}
}

// ownIndicator is an indicator of the worker's with what a verdict of that score gives it.
func ownIndicator(score int, change func(*KnownIndicator)) *KnownIndicator {
	level, _, _ := Bands.decide(report(ipqs.KindIP, `{}`), score)
	grade := Bands.grade(level)
	i := &KnownIndicator{
		ID: riskIndicator, Own: true, Linked: true, Score: &score, Base: &score, Confidence: new(50),
		Types: []string{grade.IndicatorType}, Labels: []opencti.Label{{ID: "own", Value: grade.Label.Value}},
	}
	if change != nil {
		change(i)
	}
	return i
}

// afterVerdict is the state after a verdict of that score was applied.
func afterVerdict(score int, indicator *KnownIndicator, rows ...VerdictRow) State {
	s := steady()
	s.Indicator = indicator
	s.Note = &KnownNote{Created: "2026-01-03T00:00:00.000Z", Confidence: new(50), History: append([]VerdictRow{noteRow(score, "")}, rows...)}
	return s
}

// labelled is ipv4() with a score and labels.
func labelled(score int, values ...string) opencti.Entity {
	e := ipv4()
	e.Score = &score
	for _, value := range values {
		e.Labels = append(e.Labels, opencti.Label{ID: value, Value: value})
	}
	return e
}

const (
	low      = `IPQS:RISK="LOW"`
	medium   = `IPQS:RISK="MEDIUM"`
	high     = `IPQS:RISK="HIGH"`
	critical = `IPQS:RISK="CRITICAL"`
)

// TestCompose_writesWhatChanged: what a verdict changes, for what OpenCTI has.
func TestCompose_writesWhatChanged(t *testing.T) {
	t.Parallel()
	foreignIndicator := func(linked bool) *KnownIndicator {
		return ownIndicator(90, func(i *KnownIndicator) { i.Own, i.Linked = false, linked })
	}
	revoked := func(expired bool, score int) func(*KnownIndicator) {
		return func(i *KnownIndicator) { i.Revoked, i.Expired, i.Score = true, expired, &score }
	}
	describedAsWithdrawn := "IPQS: LOW, score 10 of 100 (likely legitimate). Findings: no findings. Queried 2026-03-04T05:06:07Z." +
		" Withdrawn 2026-03-04T05:06:07Z: the score fell below the threshold for indicators."
	withdrawn := func(s State) State { s.Note.Withdrawn = true; return s }
	byOther := labelled(90)
	byOther.Author = &opencti.Reference{ID: "other", StandardID: otherAuthor}
	tests := []struct {
		name    string
		entity  opencti.Entity
		state   State
		answer  string
		options func(*Enrichment)
		want    []string
		changes Changes
		says    string // in the note
	}{
		{
			name: "an empty platform", entity: ipv4(), state: *readNow(ipv4()), answer: `{"fraud_score":80,"ASN":64500}`,
			want: []string{
				"identity", "ipv4-addr 80 " + critical, "indicator 80 " + critical + " malicious-activity confidence 50",
				"based-on ipv4-addr", "autonomous-system", "belongs-to autonomous-system", "note with indicator",
			},
		},
		{
			name: "the first enrichment on a platform that has the author", entity: ipv4(), state: steady(), answer: `{"fraud_score":80,"ASN":64500}`,
			want: []string{
				"ipv4-addr 80 " + critical, "indicator 80 " + critical + " malicious-activity confidence 50",
				"based-on ipv4-addr", "autonomous-system", "belongs-to autonomous-system", "note with indicator",
			},
		},
		{
			name: "below the threshold", entity: ipv4(), state: steady(), answer: `{"fraud_score":25}`,
			want: []string{"ipv4-addr 25 " + low, "note"},
		},
		{
			name: "the autonomous system is linked", entity: ipv4(), answer: `{"fraud_score":25,"ASN":64500}`,
			state: func() State {
				s := steady()
				s.Links = []opencti.Link{{Type: stix.BelongsTo, To: opencti.Reference{ID: "as", StandardID: stix.AutonomousSystemID(64500)}}}
				return s
			}(),
			want: []string{"ipv4-addr 25 " + low, "note"},
		},
		{
			name: "the same verdict", entity: labelled(80, critical), state: afterVerdict(80, ownIndicator(80, nil)), answer: `{"fraud_score":80}`,
			want: []string{"note with indicator"},
		},
		{
			name: "the same verdict, decayed since", entity: labelled(80, critical), answer: `{"fraud_score":80}`,
			state: afterVerdict(80, ownIndicator(80, func(i *KnownIndicator) { i.Score = new(40) })),
			want:  []string{"note with indicator"},
		},
		{
			name: "a higher score", entity: labelled(60, high), state: afterVerdict(60, ownIndicator(60, nil)), answer: `{"fraud_score":80}`,
			want: []string{
				"ipv4-addr 80 " + critical, "indicator 80 " + critical + " malicious-activity confidence 50", "note with indicator",
			},
			changes: Changes{
				Labels:    []LabelOn{{ipv4().StandardID, opencti.Label{ID: high, Value: high}}, {riskIndicator, opencti.Label{ID: "own", Value: high}}},
				Indicator: riskIndicator, Patch: opencti.IndicatorPatch{RemoveTypes: []string{typeAnomalous}},
			},
		},
		{
			name: "other findings", entity: labelled(80, critical), state: afterVerdict(80, ownIndicator(80, nil)), answer: `{"fraud_score":80,"vpn":true}`,
			want: []string{"indicator 80 " + critical + " malicious-activity,anonymization confidence 50", "note with indicator"},
		},
		{
			name: "an own indicator keeps its higher confidence", entity: labelled(60, critical), answer: `{"fraud_score":81}`,
			state: afterVerdict(80, ownIndicator(80, func(i *KnownIndicator) { i.Confidence = new(100) })),
			want: []string{
				"ipv4-addr 81 " + critical, "indicator 81 " + critical + " malicious-activity confidence 100", "note with indicator",
			},
		},
		{
			name: "types and labels of a person stay", entity: labelled(80, critical, "theirs"), answer: `{"fraud_score":80}`,
			state: afterVerdict(80, ownIndicator(80, func(i *KnownIndicator) {
				i.Types = append(i.Types, "attribution")
				i.Labels = append(i.Labels, opencti.Label{ID: "x", Value: "theirs"})
			})),
			want: []string{"note with indicator"},
		},

		// The indicator of another source.
		{
			name: "another author's indicator is only linked", entity: labelled(80, critical), answer: `{"fraud_score":80}`,
			state: afterVerdict(80, foreignIndicator(false)), want: []string{"based-on ipv4-addr", "note with indicator"},
			says: "belongs to another source",
		},
		{
			name: "another author's indicator that is linked", entity: labelled(80, critical), answer: `{"fraud_score":80}`,
			state: afterVerdict(80, foreignIndicator(true)), want: []string{"note with indicator"}, says: "belongs to another source",
		},
		{
			name: "another author's indicator, below the threshold", entity: labelled(80, critical), answer: `{"fraud_score":0}`,
			state: afterVerdict(80, foreignIndicator(true)), want: []string{"ipv4-addr 0 " + low, "note with indicator"},
			changes: Changes{Labels: []LabelOn{{ipv4().StandardID, opencti.Label{ID: critical, Value: critical}}}},
			says:    "belongs to another source",
		},

		// Withdrawn and revoked.
		{
			name: "falls below the threshold", entity: labelled(80, critical), answer: `{"fraud_score":10}`,
			state: afterVerdict(80, ownIndicator(80, nil)),
			want:  []string{"ipv4-addr 10 " + low, "indicator 10 " + low + " benign revoked confidence 50", "note with indicator"},
			changes: Changes{
				Labels:    []LabelOn{{ipv4().StandardID, opencti.Label{ID: critical, Value: critical}}, {riskIndicator, opencti.Label{ID: "own", Value: critical}}},
				Indicator: riskIndicator,
				Patch:     opencti.IndicatorPatch{RemoveTypes: []string{typeMalicious}, Revoke: true, Description: describedAsWithdrawn},
			},
			says: "withdrawn",
		},
		{
			name: "falls to a score that it has had", entity: labelled(80, critical), answer: `{"fraud_score":10}`,
			state: afterVerdict(80, ownIndicator(80, nil), noteRow(10, "")),
			want:  []string{"ipv4-addr 10 " + low, "indicator 10 " + low + " benign revoked confidence 50", "note with indicator"},
			changes: Changes{
				Labels:    []LabelOn{{ipv4().StandardID, opencti.Label{ID: critical, Value: critical}}, {riskIndicator, opencti.Label{ID: "own", Value: critical}}},
				Indicator: riskIndicator,
				Patch:     opencti.IndicatorPatch{RemoveTypes: []string{typeMalicious}, Revoke: true, Description: describedAsWithdrawn},
			},
			says: "withdrawn",
		},
		{
			name: "withdrawn, and still below", entity: labelled(10, low), answer: `{"fraud_score":10}`,
			state: withdrawn(afterVerdict(10, ownIndicator(10, revoked(false, 10)))), want: []string{"note with indicator"}, says: "withdrawn",
		},
		{
			name: "withdrawn as its description says, and still below", entity: labelled(10, low), answer: `{"fraud_score":10}`,
			state: afterVerdict(10, ownIndicator(10, func(i *KnownIndicator) { i.Revoked, i.Withdrawn = true, true })),
			want:  []string{"note with indicator"}, says: "withdrawn",
		},
		{
			name: "withdrawn, and no score", entity: labelled(10, low), answer: `{}`,
			state: withdrawn(afterVerdict(10, ownIndicator(10, revoked(false, 10)))), want: []string{"note with indicator"}, says: "withdrawn",
		},
		{
			name: "withdrawn, and above with a new score", entity: labelled(10, low), answer: `{"fraud_score":81}`,
			state: withdrawn(afterVerdict(10, ownIndicator(10, revoked(false, 10)), noteRow(80, ""))),
			want: []string{
				"ipv4-addr 81 " + critical, "indicator 81 " + critical + " malicious-activity confidence 50", "note with indicator",
			},
			changes: Changes{
				Labels:    []LabelOn{{ipv4().StandardID, opencti.Label{ID: low, Value: low}}, {riskIndicator, opencti.Label{ID: "own", Value: low}}},
				Indicator: riskIndicator, Patch: opencti.IndicatorPatch{RemoveTypes: []string{typeBenign}, Restore: true},
			},
		},
		{
			name: "withdrawn, and above with a score that it has had", entity: labelled(10, low), answer: `{"fraud_score":80}`,
			state: withdrawn(afterVerdict(10, ownIndicator(10, revoked(false, 10)), noteRow(80, ""))),
			want: []string{
				"ipv4-addr 80 " + critical, "indicator 80 " + critical + " malicious-activity confidence 50", "note with indicator",
			},
			changes: Changes{
				Labels:    []LabelOn{{ipv4().StandardID, opencti.Label{ID: low, Value: low}}, {riskIndicator, opencti.Label{ID: "own", Value: low}}},
				Indicator: riskIndicator, Patch: opencti.IndicatorPatch{RemoveTypes: []string{typeBenign}, Restore: true},
			},
		},
		{
			name: "expired, and confirmed", entity: labelled(80, critical), answer: `{"fraud_score":80}`,
			state: afterVerdict(80, ownIndicator(80, revoked(true, 20))), want: []string{"note with indicator"},
			changes: Changes{Indicator: riskIndicator, Patch: opencti.IndicatorPatch{Restore: true}},
		},
		{
			name: "expired, and confirmed with another score", entity: labelled(80, critical), answer: `{"fraud_score":90}`,
			state: afterVerdict(80, ownIndicator(80, revoked(true, 20))),
			want: []string{
				"ipv4-addr 90 " + critical, "indicator 90 " + critical + " malicious-activity confidence 50", "note with indicator",
			},
			changes: Changes{Indicator: riskIndicator, Patch: opencti.IndicatorPatch{Restore: true}},
		},
		{
			name: "expired at once, and confirmed", entity: labelled(10, low), answer: `{"fraud_score":10}`,
			options: func(e *Enrichment) { e.IndicatorFrom = nil },
			state:   afterVerdict(10, ownIndicator(10, revoked(true, 20))), want: []string{"note with indicator"},
		},
		{
			name: "expired, never to be revived", entity: labelled(80, critical), answer: `{"fraud_score":80}`,
			options: func(e *Enrichment) { e.Revive = ReviveNever },
			state:   afterVerdict(80, ownIndicator(80, revoked(true, 20))), want: []string{"note with indicator"}, says: "left revoked",
		},
		{
			name: "revoked by a person, and confirmed with another score", entity: labelled(80, critical), answer: `{"fraud_score":90}`,
			state: afterVerdict(80, ownIndicator(80, revoked(false, 20))),
			want:  []string{"ipv4-addr 90 " + critical, "note with indicator"}, says: "left revoked",
		},
		{
			name: "revoked by a person, always to be revived", entity: labelled(80, critical), answer: `{"fraud_score":80}`,
			options: func(e *Enrichment) { e.Revive = ReviveAlways },
			state:   afterVerdict(80, ownIndicator(80, revoked(false, 20))), want: []string{"note with indicator"},
			changes: Changes{Indicator: riskIndicator, Patch: opencti.IndicatorPatch{Restore: true}},
		},
		{
			name: "revoked by a person, and below", entity: labelled(80, critical), answer: `{"fraud_score":5}`,
			state:   afterVerdict(80, ownIndicator(80, revoked(false, 20))),
			want:    []string{"ipv4-addr 5 " + low, "note with indicator"},
			changes: Changes{Labels: []LabelOn{{ipv4().StandardID, opencti.Label{ID: critical, Value: critical}}}},
		},

		// The score of the observable.
		{
			name: "respect: a higher score of another author stays", entity: byOther, state: steady(), answer: `{"fraud_score":10}`,
			want: []string{"ipv4-addr " + low, "note"},
		},
		{
			name: "respect: a lower score of another author does not", entity: byOther, state: steady(), answer: `{"fraud_score":95}`,
			options: func(e *Enrichment) { e.IndicatorFrom = MinScores{"ip": 100} },
			want:    []string{"ipv4-addr 95 " + critical, "note"},
		},
		{
			name: "respect: a higher score without an author does not", entity: labelled(90), state: steady(), answer: `{"fraud_score":10}`,
			want: []string{"ipv4-addr 10 " + low, "note"},
		},
		{
			name: "replace", entity: byOther, state: steady(), answer: `{"fraud_score":10}`,
			options: func(e *Enrichment) { e.Score = ReplaceScore }, want: []string{"ipv4-addr 10 " + low, "note"},
		},
		{
			name: "raise: lower", entity: labelled(90), state: steady(), answer: `{"fraud_score":10}`,
			options: func(e *Enrichment) { e.Score = RaiseScore }, want: []string{"ipv4-addr " + low, "note"},
		},
		{
			name: "raise: higher", entity: labelled(5), state: steady(), answer: `{"fraud_score":10}`,
			options: func(e *Enrichment) { e.Score = RaiseScore }, want: []string{"ipv4-addr 10 " + low, "note"},
		},
		{
			name: "keep: not even where there is none", entity: ipv4(), state: steady(), answer: `{"fraud_score":10}`,
			options: func(e *Enrichment) { e.Score = KeepScore }, want: []string{"ipv4-addr " + low, "note"},
		},
		{
			name: "no score", entity: labelled(80, critical), state: afterVerdict(80, ownIndicator(80, nil)), answer: `{}`,
			want: []string{"note with indicator"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			options := usual
			if tt.options != nil {
				tt.options(&options)
			}
			answer := report(ipqs.KindIP, tt.answer)
			job := Job{ID: "j", Entity: &tt.entity, State: &tt.state, Risk: &Risk{At: at, UsedAt: at, Report: answer}}
			job.Verdict = Scoring{Model: Bands}.verdict(answer)
			got, err := compose(options, job)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, sent(t, got.Bundle)); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(&tt.changes, got.Changes); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if !strings.Contains(string(got.Bundle), tt.says) || tt.says == "" && strings.Contains(string(got.Bundle), "**Indicator:**") {
				t.Errorf("the note does not say %q: %s", tt.says, got.Bundle)
			}
		})
	}
}
