//go:build linux

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what a run of the benchmarks found.
type Report struct {
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"took_ns"`
	Machine Machine       `json:"machine"`
	Quick   bool          `json:"quick"`
	Rows    []Row         `json:"rows"`
}

// Machine is what the figures are good for.
type Machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	OS      string `json:"os"`
	Go      string `json:"go"`
	Version string `json:"version"` // of the worker
	// Load is the load average of a minute when the benchmarks began: anything but a small number spoils them.
	Load string `json:"load"`
}

// Row is one figure, or a group that belongs together.
type Row struct {
	Name   string `json:"name"`
	How    string `json:"how"`
	Target string `json:"target,omitempty"`
	// Reached is the figure, in words; Met says whether it is what was wanted, nil where there is no target.
	Reached string   `json:"reached,omitempty"`
	Met     *bool    `json:"met,omitempty"`
	Series  []Series `json:"series,omitempty"`
	// Text is what another tool printed.
	Text string `json:"text,omitempty"`
	// Error says why there is no figure.
	Error string `json:"error,omitempty"`
	// Load is the load average of a minute when the row was done.
	Load string `json:"load,omitempty"`
}

// Series is one thing measured several times.
type Series struct {
	Name string    `json:"name"`
	Unit string    `json:"unit"`
	Runs []float64 `json:"runs"`
}

// Median is the middle of the runs, the mean of the middle two of an even number, 0 of none.
func (s Series) Median() float64 { return median(s.Runs) }

func median(runs []float64) float64 {
	sorted := slices.Sorted(slices.Values(runs))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}

func (r *Row) add(name, unit string, value float64) {
	for i := range r.Series {
		if r.Series[i].Name == name && r.Series[i].Unit == unit {
			r.Series[i].Runs = append(r.Series[i].Runs, value)
			return
		}
	}
	r.Series = append(r.Series, Series{Name: name, Unit: unit, Runs: []float64{value}})
}

// of is the median of a series, 0 where there is none.
func (r *Row) of(name, unit string) float64 {
	for _, s := range r.Series {
		if s.Name == name && s.Unit == unit {
			return s.Median()
		}
	}
	return 0
}

// reach notes the figure, and whether it is good enough.
func (r *Row) reach(met bool, format string, args ...any) {
	r.Reached, r.Met = fmt.Sprintf(format, args...), &met
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// WriteJSON writes the whole report.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteMarkdown writes the report for people: one table of what was wanted and reached, and all runs below it.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "# Benchmarks of ipqs-worker %s\n\n%s, %s, %d × %s, %s. Load average when it began: %s.", m.Version,
		r.Began.UTC().Format("2006-01-02 15:04 UTC"), m.OS, m.Cores, m.CPU, m.Go, m.Load)
	fmt.Fprintf(&b, " It took %v.", r.Took.Round(time.Second))
	if r.Quick {
		b.WriteString(" This is the short form: too few runs to rely on.")
	}
	b.WriteString("\n\n| figure | to reach | reached | |\n|---|---|---|---|\n")
	for _, row := range r.Rows {
		verdict := ""
		switch {
		case row.Error != "":
			verdict = "failed"
		case row.Met != nil && *row.Met:
			verdict = "yes"
		case row.Met != nil:
			verdict = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", row.Name, row.Target, row.Reached, verdict)
	}
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", row.Name, row.How)
		if row.Error != "" {
			fmt.Fprintf(&b, "\nNo figure: %s\n", row.Error)
		}
		if len(row.Series) > 0 {
			b.WriteString("\n| | unit | median | runs |\n|---|---|---|---|\n")
		}
		for _, s := range row.Series {
			runs := make([]string, len(s.Runs))
			for i, v := range s.Runs {
				runs[i] = number(v)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.Name, s.Unit, number(s.Median()), strings.Join(runs, ", "))
		}
		if row.Text != "" {
			fmt.Fprintf(&b, "\n```\n%s\n```\n", strings.TrimSpace(row.Text))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// number writes three digits that count.
func number(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
