package deadletters

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"opencti-ipqs-worker/pipeline"
)

// WriteTable returns what writes letters as lines of a table, for [Store.List], and what writes the table out in the end.
func WriteTable(w io.Writer, now time.Time) (row func(pipeline.DeadLetter) error, flush func() error) {
	const mostOfError = 60
	masker := newMasker("")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tHOP\tREASON\tTYPE\tAGE\tATTEMPTS\tERROR")
	row = func(letter pipeline.DeadLetter) error {
		text := []rune(Printable(masker.text(letter.Error)))
		if len(text) > mostOfError {
			text = append(text[:mostOfError-1], '…')
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", Printable(letter.ID), letter.Hop,
			Printable(cmp.Or(string(letter.Reason), "-")), Printable(cmp.Or(letter.EntityType, "-")), Age(letter.LastAt, now),
			letter.Attempts, cmp.Or(string(text), "-"))
		return err
	}
	return row, table.Flush
}

// WriteJSON returns what writes letters as JSON objects, one a line, without their bodies.
func WriteJSON(w io.Writer) func(pipeline.DeadLetter) error {
	masker := newMasker("")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return func(letter pipeline.DeadLetter) error {
		return encoder.Encode(facts{
			ID: letter.ID, Hop: letter.Hop, Reason: string(letter.Reason), Class: string(letter.Class),
			Error:    masker.text(letter.Error),
			Attempts: letter.Attempts, FirstAt: letter.FirstAt, LastAt: letter.LastAt,
			EntityType: letter.EntityType, EntityID: letter.EntityID, WorkID: letter.WorkID, JobID: letter.JobID,
			TraceID: letter.TraceID, Version: letter.Version, Answered: letter.Answered, Bytes: len(letter.Body),
		})
	}
}

// facts is what a list says of a letter in JSON. What is not known is left out.
type facts struct {
	ID         string    `json:"id"`
	Hop        string    `json:"hop"`
	Reason     string    `json:"reason,omitempty"`
	Class      string    `json:"class,omitempty"`
	Error      string    `json:"error,omitempty"`
	Attempts   int       `json:"attempts"`
	FirstAt    time.Time `json:"first_attempt_at,omitzero"`
	LastAt     time.Time `json:"dead_lettered_at,omitzero"`
	EntityType string    `json:"entity_type,omitempty"`
	EntityID   string    `json:"entity_id,omitempty"`
	WorkID     string    `json:"work_id,omitempty"`
	JobID      string    `json:"job_id,omitempty"`
	TraceID    string    `json:"trace_id,omitempty"`
	Version    string    `json:"worker_version,omitempty"`
	Answered   bool      `json:"playbook_answered,omitempty"`
	Bytes      int       `json:"body_bytes"`
}
