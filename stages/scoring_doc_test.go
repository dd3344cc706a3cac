package stages

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tables of docs/scoring.md are those of the code. -update writes them.
func TestScoringDocumentIsTheCode(t *testing.T) {
	t.Parallel()
	const path = "../docs/scoring.md"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, string(raw), "<!-- tables -->", modelTables())
	want = between(t, want, "<!-- flags -->", flagTable())
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

func between(t *testing.T, document, mark, text string) string {
	t.Helper()
	before, rest, found := strings.Cut(document, mark+"\n")
	_, after, ended := strings.Cut(rest, "<!-- end -->")
	if !found || !ended {
		t.Fatalf("no %s in the document, or no end of it", mark)
	}
	return before + mark + "\n" + text + "<!-- end -->" + after
}

func modelTables() string {
	var b strings.Builder
	for _, m := range Models() {
		fmt.Fprintf(&b, "\n## Model `%s`\n", m)
		b.WriteString("\n| level | label | colour | meaning without findings | type of the indicator |\n| --- | --- | --- | --- | --- |\n")
		for _, g := range m.Grades() {
			fmt.Fprintf(&b, "| %s | `%s` | `%s` | %s | %s |\n", g.Level, g.Label.Value, g.Label.Color, g.Means, g.IndicatorType)
		}
		if m == Bands {
			b.WriteString("\n| all types | level |\n| --- | --- |\n")
			writeRules(&b, m, ProductIP)
			continue
		}
		for _, p := range Products() {
			fmt.Fprintf(&b, "\n| %s | level |\n| --- | --- |\n", p)
			writeRules(&b, m, p)
		}
	}
	return b.String() + "\n"
}

func writeRules(b *strings.Builder, m Model, p Product) {
	rules := m.Rules(p)
	for i, rule := range rules {
		fmt.Fprintf(b, "| %s | %s |\n", Condition(rules, i), rule.Level)
	}
}

func flagTable() string {
	var b strings.Builder
	b.WriteString("\n| about | flag | label |\n| --- | --- | --- |\n")
	for _, p := range Products() {
		for _, f := range Facts(p) {
			if f.Silent {
				continue
			}
			label := ""
			if f.Flag != "" {
				label = "`" + flagLabel(f.Flag).Value + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", p, f.Name, label)
		}
	}
	return b.String() + "\n"
}
