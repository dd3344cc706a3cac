package stages

import (
	"fmt"
	"strings"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// theme is a table of a note: what an analyst looks at together.
type theme struct {
	title string
	rows  []row
}

type row struct{ name, value string }

// noteText writes what IPQS said as Markdown: a headline, why, then a table a theme. It says nothing that changes from one
// lookup to the next for the same verdict (request ids, relative times), so the same verdict is the same note.
//
// It names the observable, because a note's id follows from its text and its time: two observables that were made in the
// same instant and of which IPQS says the same would share one note.
func noteText(e *opencti.Entity, v *Verdict, report *ipqs.Report, personal bool) string {
	var b strings.Builder
	if v.Score == nil {
		fmt.Fprintf(&b, "## IPQS: no verdict\n\n%s **%s**: %s, so there is no verdict.\n", e.Type, named(e), meaning(v, report))
	} else {
		fmt.Fprintf(&b, "## IPQS: %s, score %d of 100\n\n%s **%s**: %s.\n", v.Level, *v.Score, e.Type, named(e),
			meaning(v, report))
	}
	var why []string
	if v.Rule != "" {
		why = append(why, fmt.Sprintf("- **Why:** %s (model %s)\n", v.Rule, v.Model.named()))
	}
	if len(v.Factors) > 0 {
		why = append(why, fmt.Sprintf("- **Signals:** %s\n", strings.Join(v.Factors, ", ")))
	}
	if len(why) > 0 {
		b.WriteString("\n" + strings.Join(why, ""))
	}
	for _, t := range themes(report) {
		t.write(&b)
	}
	if personal {
		for _, t := range personalThemes(report.Personal) {
			t.write(&b)
		}
	}
	return b.String()
}

func (t theme) write(b *strings.Builder) {
	var rows []row
	for _, r := range t.rows {
		if r.value != "" {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s | |\n| --- | --- |\n", t.title)
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s |\n", r.name, escape(r.value))
	}
}

// named is the value of the observable, cut off where it is long and followed by the id then. An account is named by its id
// alone.
func named(e *opencti.Entity) string {
	if e.Type == typeAccount {
		return e.StandardID
	}
	if text := excerpt(e.Value); text == escape(e.Value) {
		return text
	}
	return excerpt(e.Value) + " (" + e.StandardID + ")"
}

// excerpt is a value as text, cut off after 200 characters.
func excerpt(value string) string {
	const most = 200
	if runes := []rune(value); len(runes) > most {
		return escape(string(runes[:most])) + "…"
	}
	return escape(value)
}
