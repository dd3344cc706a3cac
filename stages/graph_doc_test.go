package stages

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The Note in docs/graph.md is one that the code writes. -update writes it.
func TestGraphDocumentShowsANote(t *testing.T) {
	t.Parallel()
	const path = "../docs/graph.md"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, string(raw), "<!-- note -->", "\n```text\n"+exampleNote(t)+"```\n\n")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("%s (-code +document), rewrite with -update:\n%s", path, diff)
	}
}

// exampleNote is the Note of the golden case note_example, after two earlier verdicts.
func exampleNote(t *testing.T) string {
	t.Helper()
	for _, c := range goldenCases() {
		if c.name != "note_example" {
			continue
		}
		r := report(c.kind, c.fields)
		r.RequestID = "4Xn1mTqEJP"
		risk := &Risk{At: at, UsedAt: at.Add(3*time.Hour + 5*time.Minute), Cached: true, Report: r}
		v := c.scoring.verdict(r)
		return noteContent(noteFacts{Entity: &c.entity, Verdict: v, Risk: risk, History: mergeHistory(earlierVerdicts(), historyRow(v, risk))})
	}
	t.Fatal("there is no golden case note_example")
	return ""
}

// earlierVerdicts are two verdicts before [at].
func earlierVerdicts() []VerdictRow {
	return []VerdictRow{
		{From: second(at.AddDate(0, 0, -9)), To: second(at.AddDate(0, 0, -2)), Level: High, Score: new(68), Findings: "recent abuse, proxy"},
		{From: second(at.AddDate(0, -1, 0)), To: second(at.AddDate(0, -1, 0)), Level: Low, Score: new(12)},
	}
}
