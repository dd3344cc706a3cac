package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/pipeline"
)

func (d *deadLetters) replayCommand() *cobra.Command {
	var replay deadletters.Replay
	var all, dry bool
	var output, file string
	cmd := &cobra.Command{
		Use:   "replay ID… | --all | filters",
		Short: "Give dead letters back to the hops that gave them up",
		Long: `replay gives letters back to the hop where they were given up, with as many attempts as a new job has; with --from resolve
to the first hop, which reads the entity from OpenCTI again. Which ones: those with the ids, those that the filters let
through, or --all. Works of the letters ended in error long ago; OpenCTI adds what a replay has to say to them.`,
		Example: `  ipqs-worker dead-letters replay --all --dry-run
  ipqs-worker dead-letters replay --hop lookup --older 1h --rate 5 --limit 1000
  ipqs-worker dead-letters replay --from resolve 01K9Z8Q4M3TBV5E2CJ6W7XN0RA`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			ids, err := d.ids(ids, file)
			switch {
			case err != nil:
				return usage(err)
			case cmd.Flags().Changed("rate") && !(replay.Rate > 0 && replay.Rate <= 1e6):
				return usage(fmt.Errorf("--rate is %v: want letters a second, more than 0", replay.Rate))
			case cmd.Flags().Changed("limit") && replay.Limit < 1:
				return usage(fmt.Errorf("--limit is %d: want 1 or more", replay.Limit))
			case replay.From != "" && replay.From != pipeline.FirstHop:
				return usage(fmt.Errorf("--from is %q: want %s; without it letters go to the hop that gave them up", replay.From, pipeline.FirstHop))
			}
			if err := d.selected(ids, all); err != nil {
				return err
			}
			row, flush, err := d.rows(output)
			if err != nil {
				return err
			}
			return d.with(cmd, ids, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				if dry {
					tally, err := store.Preview(ctx, f, replay, row)
					return d.ended(tally, errors.Join(err, flush()), "would be replayed", f)
				}
				shown, err := d.progressOf(cmd, &store, f, replay.Limit)
				if err != nil {
					return err
				}
				tally, err := store.Replay(ctx, f, replay)
				shown.done()
				return d.ended(tally, err, "replayed", f)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter")
	addFile(cmd, &file, "file with one id a line")
	addBar(cmd)
	cmd.Flags().StringVar(&replay.From, "from", "", "hop to begin again at: "+pipeline.FirstHop)
	cmd.Flags().Float64Var(&replay.Rate, "rate", 0, "letters a second at most")
	cmd.Flags().IntVar(&replay.Limit, "limit", 0, "letters at most")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "list what would be replayed, and do nothing")
	addOutput(cmd, &output)
	return cmd
}

func (d *deadLetters) dropCommand() *cobra.Command {
	var all, yes bool
	var file string
	cmd := &cobra.Command{
		Use:   "drop ID… | --all | filters",
		Short: "Delete dead letters for good",
		Long: `drop deletes letters: those with the ids, those that the filters let through, or --all. There is no way back but an export
that was made before, so it asks for --yes; list shows what the same filters let through.`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			ids, err := d.ids(ids, file)
			if err != nil {
				return usage(err)
			}
			if err := d.selected(ids, all); err != nil {
				return err
			}
			if !yes {
				return usage(errors.New("drop deletes for good: look at what it is with list, keep it with export, then say --yes"))
			}
			return d.with(cmd, ids, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				shown, err := d.progressOf(cmd, &store, f, 0)
				if err != nil {
					return err
				}
				tally, err := store.Drop(ctx, f)
				shown.done()
				return d.ended(tally, err, "dropped", f)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter")
	addFile(cmd, &file, "file with one id a line")
	addBar(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

// selected checks that it was said which letters are meant: whoever forgets a filter must not mean all of them.
func (d *deadLetters) selected(ids []string, all bool) error {
	f, err := d.filter(ids)
	switch {
	case err != nil:
		return usage(err)
	case all && !f.IsZero():
		return usage(errors.New("--all is every dead letter: want it without ids and filters"))
	case !all && f.IsZero():
		return usage(errors.New("which dead letters? want ids, a filter (--hop, --reason, --type, --older, --newer), or --all"))
	}
	return nil
}

// ids returns the ids that arguments or a file name.
func (d *deadLetters) ids(args []string, file string) ([]string, error) {
	switch {
	case file == "":
		return args, nil
	case len(args) > 0:
		return nil, errors.New("ids come from arguments or from --file: give one of the two")
	}
	lines, err := d.lines(file)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, line := range lines {
		if id := strings.TrimSpace(line); id != "" && !strings.HasPrefix(id, "#") {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s holds no id: want one a line", source(file))
	}
	return ids, nil
}
