package stages

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// VerdictRow is a row of a Note's history: consecutive answers of IPQS that led to the same level and score.
type VerdictRow struct {
	// From and To are when IPQS gave the first and the last of these answers, in UTC, to the second.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Level as texts show it, and the score from 0 to 100; "" and nil where IPQS gave no score.
	Level Level `json:"level,omitempty"`
	Score *int  `json:"score,omitempty"`
	// Findings of the last answer, separated by ", ".
	Findings string `json:"findings,omitempty"`
}

// historyLength is how many verdicts a Note lists.
const historyLength = 10

const (
	historyTitle = "Last verdicts"
	noLevel      = "no verdict"
	noScore      = "–"
	noFindings   = "no findings"
	// withdrawnLine begins the line of a Note that says that we revoked our indicator.
	withdrawnLine = "- **Indicator:** withdrawn"
)

// clockDifference is how much the clocks of two workers may differ.
const clockDifference = time.Hour

var historyColumns = []string{"First answer", "Last answer", "Level", "Score", "Findings"}

// noteRecord is what a Note that we wrote earlier tells the next job: the platform is the only store of both.
type noteRecord struct {
	History   []VerdictRow // the newest first
	Withdrawn bool         // we revoked our indicator, because the score fell below the threshold
}

// parseNote reads back what [noteContent] wrote. People can edit a Note, so it takes only rows with valid times, levels, scores
// and findings of this program's vocabulary, at most ten; everything else is ignored. So are rows from the future, more than the
// difference of two workers' clocks: they would stay the newest.
func parseNote(content string, now time.Time) noteRecord {
	var record noteRecord
	inTable, known := false, knownWords()
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, withdrawnLine) {
			record.Withdrawn = true
		}
		cells := cellsOf(line)
		switch {
		case slices.Equal(cells, historyColumns):
			inTable = true
		case cells == nil:
			inTable = false
		case inTable:
			if row, ok := known.row(cells); ok && !row.To.After(now.Add(clockDifference)) {
				record.History = append(record.History, row)
			}
		}
	}
	sortHistory(record.History)
	record.History = record.History[:min(len(record.History), historyLength)]
	return record
}

// cellsOf splits a table's line at its unescaped bars and removes backslashes; nil is a line of something else.
func cellsOf(line string) []string {
	if len(line) < 2 || line[0] != '|' || line[len(line)-1] != '|' {
		return nil
	}
	var cells []string
	var cell strings.Builder
	for i := 1; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
			cell.WriteByte(line[i])
		case line[i] == '|':
			cells = append(cells, strings.TrimSpace(cell.String()))
			cell.Reset()
		default:
			cell.WriteByte(line[i])
		}
	}
	return cells
}

// words are the levels and findings that a history can hold.
type words struct {
	levels   map[Level]bool
	findings map[string]bool
}

func knownWords() words {
	w := words{levels: map[Level]bool{lowScore: true}, findings: map[string]bool{}}
	for _, m := range Models() {
		for _, g := range m.Grades() {
			w.levels[g.Level] = true
		}
	}
	for _, p := range Products() {
		for _, f := range Facts(p) {
			w.findings[f.Name] = true
		}
	}
	return w
}

func (w words) row(cells []string) (VerdictRow, bool) {
	if len(cells) != len(historyColumns) {
		return VerdictRow{}, false
	}
	from, err := time.Parse(instantLayout, cells[0])
	if err != nil {
		return VerdictRow{}, false
	}
	to, err := time.Parse(instantLayout, cells[1])
	if err != nil || to.Before(from) {
		return VerdictRow{}, false
	}
	row := VerdictRow{From: second(from), To: second(to)}
	if cells[2] != noLevel || cells[3] != noScore {
		score, err := strconv.Atoi(cells[3])
		if err != nil || score < 0 || score > 100 || !w.levels[Level(cells[2])] {
			return VerdictRow{}, false
		}
		row.Level, row.Score = Level(cells[2]), &score
	}
	var findings []string
	for finding := range strings.SplitSeq(cells[4], ",") {
		if finding = strings.TrimSpace(finding); w.findings[finding] && !slices.Contains(findings, finding) {
			findings = append(findings, finding)
		}
	}
	row.Findings = strings.Join(findings, ", ")
	return row, true
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// historyRow is the row of a job's own answer.
func historyRow(v *Verdict, risk *Risk) VerdictRow {
	at := second(risk.At)
	row := VerdictRow{From: at, To: at, Findings: strings.Join(reasons(v, risk.Report), ", ")}
	if v.Score != nil {
		row.Level, row.Score = shownLevel(v), v.Score
	}
	return row
}

// mergeHistory adds an answer to the history, the newest first, and keeps at most ten rows. An answer whose time a row covers
// is in the history already and changes nothing, except that the newest answer can get another verdict (another model, for
// example). An answer that is older than the newest row is inserted in its place.
func mergeHistory(old []VerdictRow, current VerdictRow) []VerdictRow {
	rows := slices.Clone(old)
	sortHistory(rows)
	covers := func(r VerdictRow) bool { return !current.From.Before(r.From) && !current.To.After(r.To) }
	switch i := slices.IndexFunc(rows, covers); {
	case i < 0:
		rows = insert(rows, current)
	case i == 0 && current.To.Equal(rows[0].To) && !rows[0].same(current):
		if rows[0].From.Equal(rows[0].To) {
			rows = rows[1:] // the same answer under its former verdict
		}
		if len(rows) == 0 || !covers(rows[0]) || !rows[0].same(current) {
			rows = slices.Insert(rows, 0, current)
		}
	}
	return rows[:min(len(rows), historyLength)]
}

// insert puts an answer that no row covers between the rows before and after it, or extends one of them.
func insert(rows []VerdictRow, current VerdictRow) []VerdictRow {
	i := slices.IndexFunc(rows, func(r VerdictRow) bool { return r.To.Before(current.From) })
	if i < 0 {
		i = len(rows)
	}
	switch {
	case i < len(rows) && rows[i].same(current):
		rows[i].To, rows[i].Findings = current.To, current.Findings
	case i > 0 && rows[i-1].same(current):
		rows[i-1].From = current.From
	default:
		rows = slices.Insert(rows, i, current)
	}
	return rows
}

// same reports whether two rows have the same verdict.
func (r VerdictRow) same(other VerdictRow) bool {
	if r.Score == nil || other.Score == nil {
		return r.Score == other.Score
	}
	return r.Level == other.Level && *r.Score == *other.Score
}

func sortHistory(rows []VerdictRow) {
	slices.SortStableFunc(rows, func(a, b VerdictRow) int {
		return cmp.Or(b.To.Compare(a.To), b.From.Compare(a.From))
	})
}

// writeHistory writes the table that [parseNote] reads.
func writeHistory(b *strings.Builder, rows []VerdictRow) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s\n\n| %s |\n|%s\n", historyTitle, strings.Join(historyColumns, " | "), strings.Repeat(" --- |", len(historyColumns)))
	for _, r := range rows {
		level, score := string(r.Level), noScore
		if r.Score != nil {
			score = strconv.Itoa(*r.Score)
		} else {
			level = noLevel
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", instant(r.From), instant(r.To), level, score, escape(cmp.Or(r.Findings, noFindings)))
	}
}
