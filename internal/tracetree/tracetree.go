// Package tracetree draws one trace for a terminal: the spans as a tree, and beside it when each of them ran.
package tracetree

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Span is what the drawing shows of a span.
type Span struct {
	ID, Parent string // Parent is empty, or unknown here, for a root
	Name       string
	// Note stands behind the name: what came of the span, in few words.
	Note       string
	Start, End time.Time
	Failed     bool
}

const barWidth = 40

// Render writes the tree, parents before children and these in the order they began, with a bar for the time of each:
//
//	hop resolve  passed_on   ████                        2.1ms
//	└─ hop lookup  passed_on     ████████████████       31.0ms
func Render(w io.Writer, spans []Span) error {
	if len(spans) == 0 {
		_, err := fmt.Fprintln(w, "no spans")
		return err
	}
	var rows []row
	walk(spans, &rows)
	begin, end := spans[0].Start, spans[0].End
	width := 0
	for _, r := range rows {
		if r.span.Start.Before(begin) {
			begin = r.span.Start
		}
		if r.span.End.After(end) {
			end = r.span.End
		}
		width = max(width, utf8.RuneCountInString(r.label))
	}
	for _, r := range rows {
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(r.label))
		_, err := fmt.Fprintf(w, "%s%s  %s %9s\n", r.label, pad, bar(r.span, begin, end), round(r.span.End.Sub(r.span.Start)))
		if err != nil {
			return err
		}
	}
	return nil
}

type row struct {
	label string
	span  Span
}

// walk lists the spans depth first. Each is listed once, whatever its parents say: a loop of parents is no tree.
func walk(spans []Span, rows *[]row) {
	known := make(map[string]bool, len(spans))
	for _, s := range spans {
		known[s.ID] = true
	}
	children := make(map[string][]Span)
	for _, s := range spans {
		parent := s.Parent
		if !known[parent] || parent == s.ID {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	done := make(map[string]bool, len(spans))
	var list func(parent, indent string)
	list = func(parent, indent string) {
		below := children[parent]
		slices.SortStableFunc(below, func(a, b Span) int { return a.Start.Compare(b.Start) })
		for i, s := range below {
			if done[s.ID] {
				continue
			}
			done[s.ID] = true
			branch, next := "├─ ", "│  "
			if i == len(below)-1 {
				branch, next = "└─ ", "   "
			}
			if parent == "" {
				branch, next = "", ""
			}
			*rows = append(*rows, row{indent + branch + label(s), s})
			list(s.ID, indent+next)
		}
	}
	list("", "")
}

func label(s Span) string {
	text := s.Name
	if s.Failed {
		text = "✗ " + text
	}
	if s.Note != "" {
		text += "  " + s.Note
	}
	return text
}

func bar(s Span, begin, end time.Time) string {
	total := end.Sub(begin)
	if total <= 0 {
		return "█" + strings.Repeat(" ", barWidth-1)
	}
	from := int(int64(barWidth-1) * int64(s.Start.Sub(begin)) / int64(total))
	to := max(int(int64(barWidth)*int64(s.End.Sub(begin))/int64(total)), from+1)
	return strings.Repeat(" ", from) + strings.Repeat("█", to-from) + strings.Repeat(" ", barWidth-to)
}

func round(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}
