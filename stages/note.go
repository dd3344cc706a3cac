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
		fmt.Fprintf(&b, "## IPQS: no verdict\n\n%s **%s**: %s, so there is no verdict.\n", e.Type, named(e), unscored(report))
	} else {
		fmt.Fprintf(&b, "## IPQS: %s, score %d of 100\n\n%s **%s**: %s.\n", v.Level, *v.Score, e.Type, named(e),
			means(v, report))
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

// means says what a level is in words. A leak describes a victim, and a scan is of a file: for them the words of risk are not
// the right ones.
func means(v *Verdict, report *ipqs.Report) string {
	bad := *v.Score == 100
	switch {
	case report.Kind == ipqs.KindLeakPassword && bad:
		return "its password is known from a leak"
	case report.Kind == ipqs.KindLeakPassword:
		return "its password is known from no leak"
	case report.Leak != nil && bad:
		return "known from a leak: the account's owner is a victim"
	case report.Leak != nil:
		return "known from no leak"
	case report.File != nil && bad:
		return "an engine detects malware"
	case report.File != nil:
		return "no engine detects anything"
	default:
		return v.Model.grade(v.Level).Means
	}
}

// unscored says why there is no score.
func unscored(report *ipqs.Report) string {
	switch {
	case report.Leak != nil:
		return "IPQS does not say whether it is known from a leak"
	case report.File != nil:
		return "the scan was inconclusive"
	default:
		return "IPQS gives no score"
	}
}

// named is the observable's value, or as much of it as is good to read and the id that tells it from others. An account
// goes by its id alone.
func named(e *opencti.Entity) string {
	const most = 200
	if e.Type == "User-Account" {
		return e.StandardID
	}
	value := []rune(e.Value)
	if len(value) <= most {
		return escape(e.Value)
	}
	return escape(string(value[:most])) + "… (" + e.StandardID + ")"
}
