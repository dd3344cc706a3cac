package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/deadletters"
)

func (d *deadLetters) listCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters, the oldest of each hop first",
		Long: `list writes a line for each dead letter that the filters let through: a table, or with --output json one JSON object a
line. How many there are is told on standard error.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			row, flush, err := d.rows(output)
			if err != nil {
				return err
			}
			return d.with(cmd, nil, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				tally, err := store.List(ctx, f, row)
				if err := errors.Join(err, flush()); err != nil {
					return err
				}
				d.tell("%s", counted(tally, "listed", f))
				return nil
			})
		},
	}
	addOutput(cmd, &output)
	return cmd
}

func (d *deadLetters) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show all there is to know of one dead letter",
		Long: `show writes what a dead letter says and its body, JSON in lines. What looks like a credential, and what names somebody's
account, is masked; export writes letters as they are.`,
		Args: one("the id of one dead letter, as list tells it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.with(cmd, nil, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				letter, err := store.Find(ctx, args[0], f)
				if errors.Is(err, deadletters.ErrNotFound) {
					return fmt.Errorf("%w: replayed or dropped meanwhile? `list` shows what is there", err)
				}
				if err != nil {
					return err
				}
				return deadletters.Show(d.out, letter, time.Now())
			})
		},
	}
}
