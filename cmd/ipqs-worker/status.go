package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/status"
)

// statusCommand's options.
type statusFlags struct {
	workers        []string
	watch, without bool
	interval       time.Duration
	output         string
}

func (p *program) statusCommand() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the running pipeline is doing",
		Long: `status shows of each hop how many jobs a second leave it and how many attempts fail, how many wait, for how long the oldest
has, how many are in hand, in waiting rooms and given up, who takes them, and whether it pauses; of IPQS the circuit breaker,
credits and the line; and which workers are ready.

It asks the broker for what waits; where that is, it reads in the connector's registration. It asks the workers at /metrics and
/readyz for the rest: the one on this machine at CONNECTOR_METRICS_PORT, or those that --worker names. What could not be asked
is listed at the end, and shown as "?". It changes nothing and takes no job.

Exit status: 0, or 1 if neither the broker nor a worker answered.`,
		Example: `  ipqs-worker status
  ipqs-worker status --watch --worker worker-1:9095 --worker worker-2:9095
  ipqs-worker status --workers-only --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.status(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.workers, "worker", nil, "address of a worker's state, such as http://worker-1:9095 (default: the worker on this machine)")
	flags.BoolVarP(&f.watch, "watch", "w", false, "look again and again, until interrupted")
	flags.DurationVar(&f.interval, "interval", 2*time.Second, "how long between two looks; without --watch, over how long rates are taken")
	flags.BoolVar(&f.without, "workers-only", false, "do not ask OpenCTI and the broker")
	addOutput(cmd, &f.output)
	return cmd
}

func (p *program) status(ctx context.Context, f statusFlags) error {
	if err := knownOutput(f.output); err != nil {
		return err
	}
	if f.interval < 100*time.Millisecond {
		return usage(fmt.Errorf("--interval is %v: want 100ms or more", f.interval))
	}
	c, _, err := config.Load(config.Options{Path: p.configPath, PathSet: p.configPath != "", Environ: p.environ})
	if err != nil {
		return usage(err)
	}
	o, err := f.whom(c)
	if err != nil {
		return err
	}
	if !f.without {
		operator, err := app.Look(ctx, app.Options{Config: c, Logger: slog.New(slog.DiscardHandler), Version: versionText()})
		if err == nil {
			defer func() { _ = operator.Close() }() // it has done nothing
			o.Broker, o.Hops = operator, operator.Hops
		} else {
			o.NoBroker = err.Error()
		}
	}
	show := p.shower(f)
	watcher := status.New(o)
	report := watcher.Look(ctx)
	if f.watch { // a single look waits until there are rates
		if err := show(report); err != nil {
			return &statusError{exitFailure, err}
		}
	}
	ticker := time.NewTicker(f.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil // how a watch ends
		}
		if report = watcher.Look(ctx); ctx.Err() != nil {
			return nil
		}
		if err := show(report); err != nil {
			return &statusError{exitFailure, err}
		}
		if f.watch {
			continue
		}
		if !report.Heard() {
			return &statusError{exitFailure, errors.New("neither the broker nor a worker answered")}
		}
		return nil
	}
}

// whom says which workers are asked.
func (f statusFlags) whom(c config.Config) (status.Options, error) {
	o := status.Options{NoBroker: "not asked, as --workers-only says"}
	for _, text := range f.workers {
		address, err := status.Address(text)
		if err != nil {
			return o, usage(fmt.Errorf("--worker: %w", err))
		}
		o.Workers = append(o.Workers, address)
	}
	switch {
	case len(o.Workers) > 0:
	case c.Connector.MetricsPort != 0:
		o.Workers = []string{"http://" + net.JoinHostPort(nearby(c.Worker.MetricsHost), strconv.Itoa(c.Connector.MetricsPort))}
	case f.without:
		return o, usage(errors.New("CONNECTOR_METRICS_PORT is 0, so the worker's state is served nowhere: want --worker"))
	}
	return o, nil
}

// shower returns what writes reports: in place on a terminal, one after the other elsewhere.
func (p *program) shower(f statusFlags) func(status.Report) error {
	if f.output == "json" {
		return func(r status.Report) error { return writeJSON(p.out, r) }
	}
	var style status.Style
	if p.coloured() {
		style = status.Style{Bad: red, Good: green, Plain: plain}
	}
	if !f.watch || !p.terminal() {
		first := true
		return func(r status.Report) error {
			if !first {
				if _, err := io.WriteString(p.out, "\n"); err != nil {
					return err
				}
			}
			first = false
			return status.Print(p.out, r, style)
		}
	}
	begun := false
	return func(r status.Report) error {
		var page bytes.Buffer
		if err := status.Print(&page, r, style); err != nil {
			return err
		}
		return redraw(p.out, page.Bytes(), &begun)
	}
}

// redraw writes a page over the one before, without a flicker: each line is emptied only behind what is new in it.
func redraw(w io.Writer, page []byte, begun *bool) error {
	var out bytes.Buffer
	if !*begun {
		out.WriteString(home + clearBelow)
		*begun = true
	}
	out.WriteString(home)
	out.Write(bytes.ReplaceAll(page, []byte("\n"), []byte(clearRight+"\n")))
	out.WriteString(clearBelow)
	_, err := w.Write(out.Bytes())
	return err
}
