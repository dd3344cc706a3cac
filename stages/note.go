package stages

import (
	"fmt"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/opencti"
)

// theme is a table of a note: what an analyst looks at together.
type theme struct {
	title string
	rows  []row
}

type row struct{ name, value string }

// indicatorState is what a Note says about the indicator, where that needs an explanation.
type indicatorState string

const (
	// indicatorForeign: the value has an indicator of another source, which is linked and not changed.
	indicatorForeign indicatorState = "foreign"
	// indicatorRevoked: a person revoked our indicator, or it cannot be told who did. It stays revoked.
	indicatorRevoked indicatorState = "revoked"
	// indicatorWithdrawn: we revoked our indicator, because the score fell below the threshold.
	indicatorWithdrawn indicatorState = "withdrawn"
)

// noteFacts is what a Note is written from.
type noteFacts struct {
	Entity    *opencti.Entity
	Verdict   *Verdict
	Risk      *Risk
	Indicator indicatorState // "" where there is nothing to explain
	History   []VerdictRow   // with the row of this verdict, see [mergeHistory]
	Personal  bool           // whether the Note may hold what IPQS knows about people
}

// noteAbstract is the title of the Note: level, score and date of the answer.
func noteAbstract(v *Verdict, risk *Risk) string {
	return fmt.Sprintf("IPQS: %s, %s", headline(v), risk.At.UTC().Format("2006-01-02"))
}

// noteContent writes the Note in Markdown: the verdict and its reasons, where the answer comes from, a table per theme of what
// IPQS reports, and the last verdicts. It is a function of its input: the same job writes the same Note. The login of an
// account is not part of it.
func noteContent(n noteFacts) string {
	v, report := n.Verdict, n.Risk.Report
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s **%s**: %s.\n\n", noteAbstract(v, n.Risk), n.Entity.Type, named(n.Entity), meaning(v, report))
	bullet := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "- **%s:** %s\n", name, text)
		}
	}
	if v.Score == nil {
		bullet("Findings", reasonsText(v, report))
	} else {
		bullet("Why", reasonsText(v, report))
		bullet("Level", fmt.Sprintf("%s (model %s)", v.Rule, v.Model.named()))
	}
	bullet("Queried", instant(n.Risk.At)+", "+source(n.Risk))
	if n.Risk.Sent != "" && n.Entity.Account == nil {
		bullet("Sent to IPQS", excerpt(n.Risk.Sent))
	}
	bullet("Request", escape(string(report.RequestID)))
	switch n.Indicator {
	case indicatorForeign:
		bullet("Indicator", "belongs to another source; it is linked and not changed")
	case indicatorRevoked:
		bullet("Indicator", "revoked in OpenCTI and left revoked; IPQS still reports the value")
	case indicatorWithdrawn:
		b.WriteString(withdrawnLine + " because the score fell below the threshold for indicators\n")
	}
	for _, t := range themes(report) {
		t.write(&b)
	}
	if n.Personal {
		for _, t := range personalThemes(report.Personal) {
			t.write(&b)
		}
	}
	writeHistory(&b, n.History)
	return b.String()
}

// indicatorDescription describes our indicator: the verdict and its findings, when IPQS was queried, and the request.
func indicatorDescription(v *Verdict, risk *Risk) string {
	text := fmt.Sprintf("IPQS: %s (%s). Findings: %s. Queried %s", headline(v), meaning(v, risk.Report),
		reasonsText(v, risk.Report), instant(risk.At))
	if id := risk.Report.RequestID; id != "" {
		text += ", request " + escape(string(id))
	}
	return text + "."
}

// withdrawalMark begins, and withdrawalReason ends, what [withdrawal] writes.
const (
	withdrawalMark   = " Withdrawn "
	withdrawalReason = ": the score fell below the threshold for indicators."
)

// withdrawal ends the description of an indicator that the worker revokes. It tells the next job that no person revoked it.
func withdrawal(at time.Time) string { return withdrawalMark + instant(at) + withdrawalReason }

// withdrawnAt returns the time that [withdrawal] wrote at the end of a description, and false where it did not.
func withdrawnAt(description string) (time.Time, bool) {
	text, ok := strings.CutSuffix(strings.TrimSpace(description), withdrawalReason)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(instantLayout, text[strings.LastIndex(text, " ")+1:])
	return at, err == nil && strings.HasSuffix(text, withdrawalMark+instant(at))
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

// named is the value of the observable, cut off where it is long and followed by the id then. User name and password of a URL
// are left out. An account is named by its id alone.
func named(e *opencti.Entity) string {
	value := e.Value
	switch e.Type {
	case typeAccount:
		return e.StandardID
	case "Url", "Domain-Name":
		value = egress.WithoutCredentials(value)
	}
	if text := excerpt(value); text == escape(value) {
		return text
	}
	return excerpt(value) + " (" + e.StandardID + ")"
}

// excerpt is a value as text, cut off after 200 characters.
func excerpt(value string) string {
	const most = 200
	if runes := []rune(value); len(runes) > most {
		return escape(string(runes[:most])) + "…"
	}
	return escape(value)
}
