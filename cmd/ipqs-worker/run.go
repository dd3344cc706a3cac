package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/telemetry"
)

func (p *program) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Be the connector: register with OpenCTI and enrich until told to stop",
		Long: `run registers the connector with OpenCTI, takes jobs from its queue and enriches until it gets SIGTERM or SIGINT. Then
it takes no new job, finishes those in hand within WORKER_SHUTDOWN_TIMEOUT, and leaves the rest in their queues. A second
signal ends it at once; nothing is lost then either.

It needs OPENCTI_URL, OPENCTI_TOKEN, CONNECTOR_ID and IPQS_PRIVATE_KEY. While OpenCTI does not answer it keeps trying. A
wrong configuration is reported whole, before anything is contacted.

Traces go to OTEL_EXPORTER_OTLP_ENDPOINT, if that is set.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, logger, err := p.configure(config.ForRun)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			tracer, shutdown, err := telemetry.Tracing(ctx, telemetry.Options{
				ServiceName: "ipqs-worker", Version: versionText(), Logger: logger,
			})
			if err != nil {
				return usage(fmt.Errorf("setting up tracing: %w", err))
			}
			defer func() {
				// The spans of the last jobs are worth a moment after the signal.
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				if err := shutdown(last); err != nil {
					logger.WarnContext(ctx, "sending the last spans", slog.Any("error", err))
				}
			}()
			if err := app.Run(ctx, app.Options{Config: c, Logger: logger, Tracer: tracer, Version: versionText()}); err != nil {
				return &statusError{exitFailure, err}
			}
			logger.InfoContext(ctx, "stopped")
			return nil
		},
	}
}
