package status

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Style says how a report is written for people.
type Style struct {
	// Bad, Good and Plain put a text into a colour and end it; empty they do nothing.
	Bad, Good, Plain string
}

// cell is one field of a table; its colour takes no place.
type cell struct{ text, colour string }

// Print writes a report for people, at most some thirty lines.
func Print(w io.Writer, r Report, style Style) error {
	ready := 0
	for _, worker := range r.Workers {
		if worker.Ready != nil && *worker.Ready {
			ready++
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %d of %d workers ready\n\n", r.At.Format("15:04:05"), ready, len(r.Workers))
	rows := [][]cell{texts("HOP", "JOBS/S", "FAULTS/S", "WAITING", "OLDEST", "IN HAND", "RETRY", "POISON", "CONSUMERS", "STATE")}
	for _, h := range r.Hops {
		state := h.state(r)
		row := texts(h.Name, rate(h.Rate), rate(h.Faults), count(h.Waiting), age(h.Oldest), count(h.InHand), count(h.Retrying),
			count(h.Poison), count(h.Consumers), state)
		switch state {
		case stateOK:
			row[len(row)-1].colour = style.Good
		case unknownText:
		default:
			row[len(row)-1].colour = style.Bad
		}
		if h.Faults != nil && *h.Faults > 0 {
			row[2].colour = style.Bad
		}
		if h.Poison != nil && *h.Poison > 0 {
			row[7].colour = style.Bad
		}
		rows = append(rows, row)
	}
	table(&out, rows, style)
	if line := r.IPQS.line(); line != "" {
		out.WriteString("\nIPQS  " + line + "\n")
	}
	if len(r.Workers) > 0 {
		out.WriteString("\n")
		rows = [][]cell{texts("WORKER", "VERSION", "STATE")}
		for _, worker := range r.Workers {
			row := texts(worker.Address, cmp.Or(worker.Version, "-"), worker.state())
			row[2].colour = style.Bad
			if row[2].text == stateReady {
				row[2].colour = style.Good
			}
			rows = append(rows, row)
		}
		table(&out, rows, style)
	}
	for i, unknown := range r.Unknown {
		if i == 0 {
			out.WriteString("\nnot known:\n")
		}
		out.WriteString("  " + printable(unknown) + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// state is what is wrong with a hop, if anything is known to be.
func (h Hop) state(r Report) string {
	switch {
	case len(h.Pauses) > 0:
		p := h.Pauses[0]
		next := "probing now"
		if wait := p.NextProbe.Sub(r.At); wait > 0 {
			next = "next probe in " + wait.Round(time.Second).String()
		}
		return fmt.Sprintf("paused for %s: %s, %s", short(r.At.Sub(p.Since)), p.Reason, next)
	case h.Consumers != nil && *h.Consumers == 0 && h.Waiting != nil && *h.Waiting > 0:
		return "nobody takes its jobs"
	case h.Consumers != nil && *h.Consumers == 0:
		return "nobody would take its jobs"
	case h.Consumers == nil && h.InHand == nil:
		return unknownText
	}
	return stateOK
}

const (
	stateOK    = "ok"    // of a hop
	stateReady = "ready" // of a worker
)

func (w Worker) state() string {
	switch {
	case w.Ready == nil:
		return "not known"
	case *w.Ready && len(w.Reasons) == 0:
		return stateReady
	}
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(w.Reasons)) {
		if name == "hops" {
			continue // said above
		}
		reasons = append(reasons, name+": "+w.Reasons[name])
	}
	text := "not ready"
	if *w.Ready {
		text = stateReady
	}
	if len(reasons) == 0 {
		return text
	}
	return text + "; " + clip(printable(strings.Join(reasons, "; ")), 200)
}

func (i *IPQS) line() string {
	if i == nil {
		return ""
	}
	parts := []string{"breaker " + strings.ReplaceAll(cmp.Or(i.Breaker, "not known"), "_", " ")}
	if i.SpentToday != nil {
		text := strconv.Itoa(*i.SpentToday) + " credits spent today"
		if i.DailyBudget != nil && *i.DailyBudget > 0 {
			text = fmt.Sprintf("%d of %d credits spent today", *i.SpentToday, *i.DailyBudget)
		}
		parts = append(parts, text)
	}
	if i.Left != nil {
		text := strconv.Itoa(*i.Left) + " left"
		if i.Reserve != nil && *i.Reserve > 0 {
			text += fmt.Sprintf(", %d of them held back", *i.Reserve)
		}
		parts = append(parts, text)
	}
	if i.Reached {
		parts = append(parts, "NOTHING MAY BE SPENT NOW")
	}
	if i.UnderWay != nil {
		lookups := " lookups under way"
		if *i.UnderWay == 1 {
			lookups = " lookup under way"
		}
		parts = append(parts, strconv.Itoa(*i.UnderWay)+lookups)
	}
	if i.WaitingTurns != nil {
		turns := " wait for their turn"
		if *i.WaitingTurns == 1 {
			turns = " waits for its turn"
		}
		parts = append(parts, strconv.Itoa(*i.WaitingTurns)+turns)
	}
	return strings.Join(parts, ", ")
}

func texts(list ...string) []cell {
	cells := make([]cell, len(list))
	for i, text := range list {
		cells[i].text = text
	}
	return cells
}

// table writes rows in columns: numbers to the right, the first column and those after the numbers to the left.
func table(out *strings.Builder, rows [][]cell, style Style) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	numbers := len(rows[0]) > 3
	for _, row := range rows {
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			text := c.text
			if c.colour != "" {
				text = c.colour + text + style.Plain
			}
			last := i == len(row)-1
			switch {
			case last:
				out.WriteString(text + "\n")
			case numbers && i > 0:
				out.WriteString(pad + text + "  ")
			default:
				out.WriteString(text + pad + "  ")
			}
		}
	}
}

const unknownText = "?"

func count(n *int) string {
	if n == nil {
		return unknownText
	}
	return strconv.Itoa(*n)
}

func rate(n *float64) string {
	if n == nil {
		return unknownText
	}
	return strconv.FormatFloat(*n, 'f', 1, 64)
}

func age(seconds *float64) string {
	if seconds == nil {
		return unknownText
	}
	return short(time.Duration(*seconds * float64(time.Second)))
}

// short writes a duration in its two greatest units.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	default:
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// printable keeps what a worker says from moving the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
