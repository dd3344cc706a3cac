package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/pipeline"
)

// softMemory is from how much memory on garbage is collected at once instead of when the heap has doubled: a worker needs
// some 60 MiB, and a few large messages would leave as many hundred behind. GOMEMLIMIT sets another one.
const softMemory = 110 << 20

func (p *program) runCommand() *cobra.Command {
	var hops, concurrency []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Be the connector: register with OpenCTI and enrich until told to stop",
		Long: `run registers the connector with OpenCTI, takes jobs from its queue and enriches until it gets SIGTERM or SIGINT. Then
it takes no new job, finishes those in hand within WORKER_SHUTDOWN_TIMEOUT, and leaves the rest in their queues. A second
signal ends it at once; nothing is lost then either.

It needs OPENCTI_URL, OPENCTI_TOKEN, CONNECTOR_ID and IPQS_PRIVATE_KEY. While OpenCTI does not answer it keeps trying. A
wrong configuration is reported whole, before anything is contacted.

Traces go to OTEL_EXPORTER_OTLP_ENDPOINT, if that is set. /metrics, /livez and /readyz are served at
CONNECTOR_METRICS_PORT, profiles and the log level at WORKER_DEBUG_PORT.

With --hops it takes the jobs of some of the five hops only (resolve, lookup, score, bundle, publish). Other processes with
the same configuration have to take those of the others: jobs wait in the queue of a hop that nobody takes.

--concurrency says how many jobs hops have in hand at once in this process, over WORKER_CONCURRENCY; that of lookup is how
many questions to IPQS are under way at once.`,
		Example: `  ipqs-worker run
  ipqs-worker run --hops lookup                   where IPQS is asked, and nowhere else
  ipqs-worker run --hops lookup --concurrency lookup=64
  ipqs-worker run --hops resolve,score,bundle,publish --concurrency resolve=16,publish=64`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, logger, level, err := p.configureLevel(config.ForRun)
			if err != nil {
				return err
			}
			if hops, err = hopsToRun(hops, cmd.Flags().Changed("hops")); err != nil {
				return usage(err)
			}
			if c, err = withConcurrency(c, concurrency, hops, cmd.Flags().Changed("concurrency")); err != nil {
				return usage(err)
			}
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(softMemory)
			}
			ctx := cmd.Context()
			tellElsewhere(ctx, logger, c.IPQS, hops)
			about := telemetry.Options{
				ServiceName: "ipqs-worker", Version: versionText(), InstanceID: uuid.NewString(), Logger: logger,
			}
			otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // else it writes lines of its own form
				logger.WarnContext(ctx, "telemetry", slog.Any("error", err))
			}))
			tracer, endTraces, err := telemetry.Tracing(ctx, about)
			if err != nil {
				return usage(fmt.Errorf("setting up tracing: %w", err))
			}
			meter, metrics, endMetrics, err := telemetry.Metrics(ctx, about)
			if err != nil {
				return errors.Join(usage(fmt.Errorf("setting up metrics: %w", err)), endTraces(ctx))
			}
			defer func() {
				// The spans of the last jobs are worth a moment after the signal.
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				if err := errors.Join(endTraces(last), endMetrics(last)); err != nil {
					logger.WarnContext(ctx, "sending the last of what was measured", slog.Any("error", err))
				}
			}()
			if err := app.Run(ctx, app.Options{
				Config: c, Logger: logger, Level: level, Tracer: tracer, Meter: meter, Metrics: metrics, Version: versionText(), Hops: hops,
			}); err != nil {
				return ended(err)
			}
			logger.InfoContext(ctx, "stopped")
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&hops, "hops", nil, "take the jobs of these hops only (default: all)")
	cmd.Flags().StringSliceVar(&concurrency, "concurrency", nil, "how many jobs hops have in hand at once: hop=n, repeatable")
	return cmd
}

// tellElsewhere warns that not IPQualityScore is asked, where this process asks.
func tellElsewhere(ctx context.Context, logger *slog.Logger, c config.IPQS, hops []string) {
	if address := c.Elsewhere(); address != "" && (len(hops) == 0 || slices.Contains(hops, "lookup")) {
		logger.WarnContext(ctx, "IPQS_BASE_URL is not IPQualityScore's own address: the API key and all that is looked up go there",
			slog.String("address", address))
	}
}

// hopsToRun reads what --hops names: in any case, each once, with nothing between two commas passed over, as --concurrency
// does. Given without a hop it is a mistake, and does not mean all of them.
func hopsToRun(names []string, given bool) ([]string, error) {
	known := strings.Join(pipeline.HopNames(), ",")
	var hops []string
	for _, name := range names {
		hop := strings.ToLower(strings.TrimSpace(name))
		if hop == "" || slices.Contains(hops, hop) {
			continue
		}
		if !slices.Contains(pipeline.HopNames(), hop) {
			return nil, fmt.Errorf("--hops: found %q%s, want some of %s", name, didYouMean(hop, "", pipeline.HopNames()), known)
		}
		hops = append(hops, hop)
	}
	if given && len(hops) == 0 {
		return nil, fmt.Errorf("--hops: found no hop, want some of %s", known)
	}
	return hops, nil
}

// withConcurrency puts what --concurrency says into the configuration. A hop that this process does not run is a mistake
// there, while the variable may be the same for processes of all hops.
func withConcurrency(c config.Config, entries, hops []string, given bool) (config.Config, error) {
	if !given {
		return c, nil
	}
	c, err := c.WithConcurrency(entries)
	if err != nil {
		return c, fmt.Errorf("--concurrency: %w", err)
	}
	for _, entry := range entries {
		hop, _, _ := strings.Cut(entry, "=")
		if hop = strings.ToLower(strings.TrimSpace(hop)); len(hops) > 0 && !slices.Contains(hops, hop) {
			return c, fmt.Errorf("--concurrency: found %q, want some of the hops that --hops names: %s", entry, strings.Join(hops, ","))
		}
	}
	return c, nil
}
