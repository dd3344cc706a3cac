package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

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
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if jobs < 1 {
				return usage(fmt.Errorf("--jobs is %d: want 1 or more", jobs))
			}
			level := slog.LevelError + 1 // the demo's faults are meant to be: they are in the summary
			if verbose {
				level = slog.LevelDebug
			}
			err := demo.Run(cmd.Context(), demo.Options{
				Out: p.out, Progress: p.err, Terminal: p.attended(cmd), Jobs: jobs, Version: versionText(),
				Logger: telemetry.NewLogger(p.err, level, false),
			})
			if err != nil {
				return &statusError{exitFailure, err}
			}
			return nil
		},
	}
	addBar(cmd)
	cmd.AddCommand(p.demoServeCommand())
	cmd.Flags().IntVar(&jobs, "jobs", 300, "how many observables to enrich")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log everything to standard error")
	return cmd
}

func (p *program) demoServeCommand() *cobra.Command {
	o := demo.ServeOptions{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the stand-ins to workers that run beside this process",
		Long: `serve puts stand-ins for OpenCTI and IPQS on ports and asks for one enrichment after the other, for workers that run as
processes of their own: it is what deploy/compose.demo.yaml is made of. run, status, doctor and dead-letters
need a RabbitMQ beside it, enrich none. At the beginning it prints the
variables that a worker needs; what was enriched is kept in memory, so this is for hours.`,
		Example: `  ipqs-worker demo serve --amqp amqp://localhost/ --rate 5`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(o.Rate >= 0 && o.Rate <= 1000) {
				return usage(fmt.Errorf("--rate is %v: want 0 to 1000", o.Rate))
			}
			o.Logger = telemetry.NewLogger(p.err, slog.LevelWarn, false)
			o.Listening = func(opencti, ipqs string) {
				for _, variable := range demo.Environ(opencti, ipqs) {
					_, _ = fmt.Fprintln(p.out, variable)
				}
				_, _ = fmt.Fprintf(p.err, "the stand-ins listen: OpenCTI at %s, IPQS at %s\n", opencti, ipqs)
			}
			if err := demo.Serve(cmd.Context(), o); err != nil {
				return &statusError{exitFailure, err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.AMQP, "amqp", "amqp://guest:guest@localhost:5672/", "the RabbitMQ to use, and to tell workers of")
	cmd.Flags().StringVar(&o.OpenCTI, "opencti", "127.0.0.1:8080", "where OpenCTI's stand-in listens")
	cmd.Flags().StringVar(&o.IPQS, "ipqs", "127.0.0.1:8081", "where IPQS' stand-in listens")
	cmd.Flags().Float64Var(&o.Rate, "rate", 2, "how many enrichments to ask for each second")
	return cmd
}
