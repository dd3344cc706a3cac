package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/stages"
)

// renderers print results, by the name that --output knows them by.
var renderers = map[string]func(io.Writer, []app.Result, bool) error{
	"table": renderTable,
	"json":  renderJSON,
	"stix":  renderSTIX,
}

// colours of levels, by the first word of what the models call them. All are of one length, for the table counts them into
// the width of its cells.
var colours = map[string]string{
	"CRITICAL": red, "HIGH": red, "MALICIOUS": red, "FAILED": red,
	"MEDIUM": yellow, "MODERATE": yellow, "SUSPICIOUS": yellow,
	"LOW": green, "CLEAN": green,
}

func renderTable(w io.Writer, results []app.Result, coloured bool) error {
	paint := func(text string) string {
		if !coloured {
			return text
		}
		word, _, _ := strings.Cut(strings.ToUpper(text), " ")
		return cmp.Or(colours[word], usual) + text + plain
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "VALUE\tTYPE\tSCORE\t%s\tSIGNALS\n", paint("LEVEL"))
	for _, r := range results {
		score := "-"
		if r.Score != nil {
			score = strconv.Itoa(*r.Score)
		}
		level, signals := string(r.Level), strings.Join(r.Factors, ", ")
		switch {
		case r.Reason != "":
			level, signals = r.Outcome, fmt.Sprintf("%s: %s", r.Reason, r.Error)
			if r.Failed() && !r.Refused() { // enrich has no dead-letter queue
				level = "failed"
			}
			if r.Reason == stages.ReasonAuth {
				signals += "; set IPQS_PRIVATE_KEY to the API key of the account"
			}
		case r.Outcome == app.Interrupted:
			level = r.Outcome
		case r.Score == nil:
			level = "UNKNOWN"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", clip(r.Value, 60), r.Type, score, paint(orDash(level)), orDash(signals))
	}
	return table.Flush()
}

func renderJSON(w io.Writer, results []app.Result, _ bool) error {
	return writeJSON(w, results...)
}

func renderSTIX(w io.Writer, results []app.Result, _ bool) error {
	bundle, err := app.Union(results)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", bundle)
	return err
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
