package stages

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/ipqs"
)

// hour is a time on the day of these tests.
func hour(h int) time.Time { return time.Date(2026, time.March, 4, h, 0, 0, 0, time.UTC) }

func verdictRow(from, to int, level Level, score int) VerdictRow {
	return VerdictRow{From: hour(from), To: hour(to), Level: level, Score: &score, Findings: "proxy"}
}

func TestMergeHistory(t *testing.T) {
	t.Parallel()
	low, high := verdictRow(1, 3, Low, 10), verdictRow(5, 7, High, 60)
	unscored := VerdictRow{From: hour(9), To: hour(9)}
	full := make([]VerdictRow, 0, historyLength)
	for h := range historyLength {
		full = append(full, verdictRow(20-h, 20-h, Low, h))
	}
	tests := []struct {
		name    string
		old     []VerdictRow
		current VerdictRow
		want    []VerdictRow
	}{
		{"the first", nil, low, []VerdictRow{low}},
		{"another verdict", []VerdictRow{low}, high, []VerdictRow{high, low}},
		{"the same verdict again", []VerdictRow{high, low}, verdictRow(9, 9, High, 60), []VerdictRow{verdictRow(5, 9, High, 60), low}},
		{"the same level, another score", []VerdictRow{high}, verdictRow(9, 9, High, 61), []VerdictRow{verdictRow(9, 9, High, 61), high}},
		{"the same answer", []VerdictRow{high, low}, verdictRow(7, 7, High, 60), []VerdictRow{high, low}},
		{"an answer within a row", []VerdictRow{high, low}, verdictRow(6, 6, Low, 1), []VerdictRow{high, low}},
		{"an earlier verdict comes back", []VerdictRow{high, low}, verdictRow(9, 9, Low, 10), []VerdictRow{verdictRow(9, 9, Low, 10), high, low}},
		{"an older answer is put in its place", []VerdictRow{high, low}, verdictRow(4, 4, Medium, 30), []VerdictRow{high, verdictRow(4, 4, Medium, 30), low}},
		{"an older answer extends the row before it", []VerdictRow{high, low}, verdictRow(4, 4, Low, 10), []VerdictRow{high, verdictRow(1, 4, Low, 10)}},
		{"an older answer extends the row after it", []VerdictRow{high, low}, verdictRow(4, 4, High, 60), []VerdictRow{verdictRow(4, 7, High, 60), low}},
		{"the oldest answer", []VerdictRow{high, low}, verdictRow(0, 0, Medium, 30), []VerdictRow{high, low, verdictRow(0, 0, Medium, 30)}},
		{"the newest answer under another model", []VerdictRow{verdictRow(9, 9, High, 60), low}, verdictRow(9, 9, LowRisk, 60), []VerdictRow{verdictRow(9, 9, LowRisk, 60), low}},
		{"the newest of several answers under another model", []VerdictRow{high, low}, verdictRow(7, 7, LowRisk, 60), []VerdictRow{verdictRow(7, 7, LowRisk, 60), high, low}},
		{
			"and under the first model again",
			[]VerdictRow{verdictRow(7, 7, LowRisk, 60), high, low},
			verdictRow(7, 7, High, 60),
			[]VerdictRow{high, low},
		},
		{"no score", []VerdictRow{high}, unscored, []VerdictRow{unscored, high}},
		{"no score again", []VerdictRow{unscored, high}, VerdictRow{From: hour(10), To: hour(10)}, []VerdictRow{{From: hour(9), To: hour(10)}, high}},
		{"in another order", []VerdictRow{low, high}, verdictRow(9, 9, High, 60), []VerdictRow{verdictRow(5, 9, High, 60), low}},
		{"the eleventh", full, verdictRow(21, 21, High, 60), append([]VerdictRow{verdictRow(21, 21, High, 60)}, full[:historyLength-1]...)},
		{"older than ten", full, verdictRow(1, 1, High, 60), full},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(tt.old)
			got := mergeHistory(tt.old, tt.current)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("mergeHistory() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(got, mergeHistory(got, tt.current)); diff != "" {
				t.Errorf("mergeHistory() of the same answer again changes the history:\n%s", diff)
			}
			if diff := cmp.Diff(before, tt.old); diff != "" {
				t.Errorf("mergeHistory() changed its argument:\n%s", diff)
			}
		})
	}
}

// Each Note is written from what is read out of the one before it: three verdicts are three dated rows, and twelve are ten.
func TestNoteContent_CarriesTheHistory(t *testing.T) {
	t.Parallel()
	content := ""
	note := func(at time.Time, score int) {
		e := ipv4()
		risk := &Risk{At: at, UsedAt: at, Report: report(ipqs.KindIP, fmt.Sprintf(`{"fraud_score":%d,"proxy":true,"tor":true}`, score))}
		v := flagged.verdict(risk.Report)
		history := mergeHistory(parseNote(content, hour(24)).History, historyRow(v, risk))
		content = noteContent(noteFacts{Entity: &e, Verdict: v, Risk: risk, History: history})
	}
	for h, score := range []int{10, 60, 60, 90} {
		note(hour(h), score)
	}
	want := `
### Last verdicts

| First answer | Last answer | Level | Score | Findings |
| --- | --- | --- | --- | --- |
| 2026-03-04T03:00:00Z | 2026-03-04T03:00:00Z | CRITICAL | 90 | TOR, proxy |
| 2026-03-04T01:00:00Z | 2026-03-04T02:00:00Z | HIGH | 60 | TOR, proxy |
| 2026-03-04T00:00:00Z | 2026-03-04T00:00:00Z | LOW | 10 | TOR, proxy |
`
	if !strings.HasSuffix(content, want) {
		t.Errorf("the Note is\n%s\nwant it to end in%s", content, want)
	}
	for h := 4; h < 16; h++ {
		note(hour(h), h)
	}
	rows := parseNote(content, hour(24)).History
	if len(rows) != historyLength || *rows[0].Score != 15 || *rows[historyLength-1].Score != 6 {
		t.Errorf("after twelve more verdicts the history is %+v, want the scores 15 to 6", rows)
	}
}

func TestParseNote(t *testing.T) {
	t.Parallel()
	const head = "| First answer | Last answer | Level | Score | Findings |\n| --- | --- | --- | --- | --- |\n"
	one := []VerdictRow{verdictRow(1, 3, Low, 10)}
	tests := []struct {
		name    string
		content string
		want    noteRecord
	}{
		{"nothing", "", noteRecord{}},
		{"a person's text", "We called them.\n\n| a | b |\n", noteRecord{}},
		{"a row", head + "| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 10 | proxy |\n", noteRecord{History: one}},
		{"no line break at the end", head + "| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 10 | proxy |", noteRecord{History: one}},
		{
			"escaped, padded and aligned by an editor",
			"| First answer | Last answer | Level | Score | Findings |\r\n|:---|---:|---|---|---|\r\n" +
				`|  2026\-03\-04T01:00:00Z|2026-03-04T03:00:00Z |LOW|  10|  proxy  |` + "\r\n",
			noteRecord{History: one},
		},
		{"findings that are none of ours", head + "| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 10 | proxy, <b>x</b>, proxy |", noteRecord{History: one}},
		{"no score", head + "| 2026-03-04T09:00:00Z | 2026-03-04T09:00:00Z | no verdict | – | no findings |", noteRecord{History: []VerdictRow{{From: hour(9), To: hour(9)}}}},
		{
			"rows that are not ours", head + "| yesterday | 2026-03-04T03:00:00Z | LOW | 10 | |\n| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | FINE | 10 | |\n" +
				"| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 101 | |\n| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | – | |\n" +
				"| 2026-03-04T03:00:00Z | 2026-03-04T01:00:00Z | LOW | 10 | |\n| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW |\n" +
				"| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 10 | proxy |", noteRecord{History: one},
		},
		{"a row outside of the table", head + "\n| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 10 | proxy |", noteRecord{}},
		{
			"in another order", head + "| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 10 | proxy |\n| 2026-03-04T05:00:00Z | 2026-03-04T07:00:00Z | HIGH | 60 | proxy |",
			noteRecord{History: []VerdictRow{verdictRow(5, 7, High, 60), verdictRow(1, 3, Low, 10)}},
		},
		{
			"rows from the future", head + "| 2026-03-04T01:00:00Z | 2026-03-04T10:00:01Z | LOW | 10 | proxy |\n| 2026-03-04T01:00:00Z | 2026-03-04T10:00:00Z | LOW | 10 | proxy |",
			noteRecord{History: []VerdictRow{verdictRow(1, 10, Low, 10)}},
		},
		{"withdrawn", "- **Indicator:** withdrawn because the score fell below the threshold for indicators\n", noteRecord{Withdrawn: true}},
		{"not withdrawn", "- **Indicator:** revoked in OpenCTI\nnot - **Indicator:** withdrawn\n", noteRecord{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, parseNote(tt.content, hour(9))); diff != "" {
				t.Errorf("parseNote() (-want +got):\n%s", diff)
			}
		})
	}
}

// What a stranger's server says about itself, and what a value says, is not taken for a row or for our statement.
func TestParseNote_IgnoresTextOfStrangers(t *testing.T) {
	t.Parallel()
	hostile := "x |\n" + withdrawnLine + "\n| First answer | Last answer | Level | Score | Findings |\n| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 0 | |\n"
	r := report(ipqs.KindURL, `{"risk_score":90}`)
	r.URL.PageTitle, r.URL.Server, r.URL.Technologies, r.RequestID = ipqs.Text(hostile), ipqs.Text(hostile), ipqs.List{hostile}, ipqs.Text(hostile)
	e := url(hostile)
	v := flagged.verdict(r)
	got := parseNote(noteContent(noteFacts{Entity: &e, Verdict: v, Risk: &Risk{At: at, Report: r, Sent: hostile}}), at)
	if diff := cmp.Diff(noteRecord{}, got); diff != "" {
		t.Errorf("parseNote() (-want +got):\n%s", diff)
	}
}

// A Note may hold anything: people edit it. What is read out of it has at most ten rows and is the same when it is written and
// read again.
func FuzzParseNote(f *testing.F) {
	const head = "| First answer | Last answer | Level | Score | Findings |\n"
	for _, seed := range []string{
		"", "|", "||", "|\\|", head, head + "| 2026-03-04T01:00:00Z | 2026-03-04T03:00:00Z | LOW | 10 | proxy, TOR |",
		head + "| 0000-01-01T00:00:00Z | 9999-12-31T23:59:59.9Z | no verdict | – |  |", withdrawnLine, head + "| \\",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		got := parseNote(content, hour(24))
		if len(got.History) > historyLength {
			t.Fatalf("parseNote() = %d rows, want at most %d", len(got.History), historyLength)
		}
		var b strings.Builder
		writeHistory(&b, got.History)
		if diff := cmp.Diff(got.History, parseNote(b.String(), hour(24)).History); diff != "" {
			t.Fatalf("the history of %q differs when it is written and read again (-first +again):\n%s", content, diff)
		}
		merged := mergeHistory(got.History, verdictRow(5, 5, High, 60))
		if len(merged) > historyLength {
			t.Fatalf("mergeHistory() = %d rows, want at most %d", len(merged), historyLength)
		}
	})
}
