package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/pipeline"
)

// rows returns what writes letters to standard output.
func (d *deadLetters) rows(output string) (row func(pipeline.DeadLetter) error, flush func() error, err error) {
	if err := knownOutput(output); err != nil {
		return nil, nil, err
	}
	row, flush = deadletters.WriteTable(d.out, time.Now())
	if output == "json" {
		row, flush = deadletters.WriteJSON(d.out), func() error { return nil }
	}
	return row, flush, nil
}

func (d *deadLetters) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(d.err, format+"\n", args...)
}

// counted says how many letters something was done with.
func counted(t deadletters.Tally, done string, f deadletters.Filter) string {
	twins := ""
	if t.Twins > 0 {
		twins = fmt.Sprintf("; %d of them there twice", t.Twins)
	}
	switch {
	case t.Seen.Total == 0:
		return "no dead letters"
	case t.Done.Total == 0 && !f.IsZero():
		return fmt.Sprintf("no dead letter matches; there are %v", t.Seen)
	case !t.Whole:
		return fmt.Sprintf("%s: %v, and there are more", done, t.Done)
	case t.Done.Total == t.Seen.Total:
		return fmt.Sprintf("%s: %v%s", done, t.Done, twins)
	}
	return fmt.Sprintf("%s: %v, of %d dead letters%s", done, t.Done, t.Seen.Total, twins)
}

// ended tells what was done, and returns an error if that is not all that was asked for.
func (d *deadLetters) ended(t deadletters.Tally, err error, done string, f deadletters.Filter) error {
	if err != nil {
		d.tell("%s until it ended: %v", done, t.Done)
		return err
	}
	d.tell("%s", counted(t, done, f))
	problems := slices.Clone(t.Refused)
	if len(t.Missing) > 0 {
		problems = append(problems, fmt.Errorf("no dead letter has the id %s: replayed or dropped before, or in the hands of another command",
			strings.Join(t.Missing, ", ")))
	}
	return errors.Join(problems...)
}

// progressOf shows on a terminal how far it is with the letters. How many there are is the depth of their queues: looking
// through them would take them in hand, and a quorum queue gives them back only after a while, too late for a replay.
func (d *deadLetters) progressOf(cmd *cobra.Command, store *deadletters.Store, f deadletters.Filter, limit int) (*progress, error) {
	shown := d.progress(cmd, 0)
	if shown == nil {
		return nil, nil //nolint:nilnil // nothing to show is no error
	}
	if !f.IsZero() {
		f.IDs, limit = nil, 0 // to find some of them, all are looked at
	}
	var err error
	if shown.total, err = store.AtMost(cmd.Context(), f, deadletters.Replay{Limit: limit}); err != nil {
		return nil, err
	}
	store.Seen = shown.step
	return shown, nil
}
