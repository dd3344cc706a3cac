package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"opencti-ipqs-worker/internal/demo"
	"opencti-ipqs-worker/internal/telemetry"
)

func (p *program) demoCommand() *cobra.Command {
	var jobs int
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: no accounts, no broker, no network",
		Long: `demo starts stand-ins for OpenCTI and IPQS in this process, has the stand-in OpenCTI ask for a few hundred enrichments,
and runs the connector's own code on the embedded transport. The stand-in IPQS is as real ones are on a bad day: slow,
throttling, failing now and then, refusing what is no address.

It ends with a summary, and status 0 only if every job is accounted for: published, skipped with a reason, or
dead-lettered with its reason, and its work complete in OpenCTI.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if jobs < 1 {
				return usage(fmt.Errorf("--jobs is %d: want 1 or more", jobs))
			}
			level := slog.LevelError + 1 // the demo's faults are meant to be: they are in the summary
			if verbose {
				level = slog.LevelDebug
			}
			progress, isFile := p.err.(*os.File)
			err := demo.Run(cmd.Context(), demo.Options{
				Out: p.out, Progress: p.err, Terminal: isFile && term.IsTerminal(int(progress.Fd())), Jobs: jobs, Version: versionText(),
				Logger: telemetry.NewLogger(p.err, level, false),
			})
			if err != nil {
				return &statusError{exitFailure, err}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&jobs, "jobs", 300, "how many observables to enrich")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log everything to standard error")
	return cmd
}
