package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// deadLetters is what the commands about dead letters share.
type deadLetters struct {
	*program
	hops                     []pipeline.Hop
	hopNames, reasons, types []string
	older, newer             string
}

func (p *program) deadLettersCommand() *cobra.Command {
	d := &deadLetters{program: p, hops: pipeline.Definition(pipeline.World{})}
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "See, understand and replay what could not be done",
		Long: `dead-letters looks after the poison queues, one per hop, where the workers put the jobs that they had to give up.

It reads the connector's registration to find the queues, and changes nothing in OpenCTI; where MQ_HOST, MQ_PORT, MQ_VHOST,
MQ_USER, MQ_PASS and MQ_USE_SSL are all set, it does not ask OpenCTI. It takes no jobs, and may run beside the workers. Only
replay and import declare queues: those that they write to.

A letter leaves its poison queue only together with its replay's arrival, or because it was dropped: whatever interrupts
a command, nothing is lost and nothing done twice. (Where the broker dies with it, see docs/dead-letters.md.) While one
command goes through a queue, another sees what is left of it.`,
		Example: `  ipqs-worker dead-letters list --hop lookup --newer 24h
  ipqs-worker dead-letters show 01K9Z8Q4M3TBV5E2CJ6W7XN0RA
  ipqs-worker dead-letters replay --reason quota_exhausted --rate 5
  ipqs-worker dead-letters export letters.jsonl && ipqs-worker dead-letters drop --older 30d --yes`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage(errors.New("dead-letters: want one of list, show, replay, drop, export, import"))
		},
	}
	flags := cmd.PersistentFlags()
	flags.StringSliceVar(&d.hopNames, "hop", nil, "only letters of these hops: "+strings.Join(d.names(), ", "))
	flags.StringSliceVar(&d.reasons, "reason", nil, "only letters given up for these reasons, such as invalid_value or timeout")
	flags.StringSliceVar(&d.types, "type", nil, "only letters about observables of these types, such as IPv4-Addr")
	flags.StringVar(&d.older, "older", "", "only letters given up at least so long ago, such as 90m or 7d")
	flags.StringVar(&d.newer, "newer", "", "only letters given up less long ago, such as 90m or 7d")
	cmd.AddCommand(d.listCommand(), d.showCommand(), d.replayCommand(), d.dropCommand(), d.exportCommand(), d.importCommand())
	return cmd
}

// with connects and does something with the letters that ids and filters mean.
func (d *deadLetters) with(cmd *cobra.Command, ids []string, do func(context.Context, deadletters.Store, deadletters.Filter) error) error {
	filter, err := d.filter(ids)
	if err != nil {
		return usage(err)
	}
	c, logger, err := d.configure(config.ForRun)
	if err != nil {
		return err
	}
	if level := c.Connector.LogLevel; level == slog.LevelInfo { // that of a worker: connections that go well
		logger = telemetry.NewLogger(d.err, slog.LevelWarn, c.OpenCTI.JSONLogging)
	}
	ctx := cmd.Context()
	operator, err := app.Operate(ctx, app.Options{Config: c, Logger: logger, Version: versionText()})
	if err != nil {
		return ended(err)
	}
	err = do(ctx, deadletters.Store{Transport: operator, Hops: d.hops}, filter)
	if ctx.Err() != nil {
		err = errors.New("interrupted: what is not told of here is where it was")
	}
	if err := errors.Join(err, operator.Close()); err != nil {
		return &statusError{exitFailure, err}
	}
	return nil
}

func (d *deadLetters) names() []string { return deadletters.Store{Hops: d.hops}.HopNames() }

func (d *deadLetters) filter(ids []string) (deadletters.Filter, error) {
	f := deadletters.Filter{IDs: ids, Hops: d.hopNames, Reasons: d.reasons, Types: d.types}
	for _, hop := range d.hopNames {
		if !slices.Contains(d.names(), hop) {
			return f, fmt.Errorf("--hop is %q%s: want one of %s", hop, didYouMean(hop, "", d.names()), strings.Join(d.names(), ", "))
		}
	}
	var reasons []string
	for _, reason := range stages.Reasons() {
		reasons = append(reasons, string(reason))
	}
	for _, reason := range d.reasons {
		if !slices.Contains(reasons, reason) {
			return f, fmt.Errorf("--reason is %q%s: want one of %s", reason, didYouMean(reason, "", reasons), strings.Join(reasons, ", "))
		}
	}
	var err error
	if f.Older, err = age("--older", d.older); err != nil {
		return f, err
	}
	if f.Newer, err = age("--newer", d.newer); err != nil {
		return f, err
	}
	if f.Newer > 0 && f.Older >= f.Newer {
		return f, fmt.Errorf("--older %s and --newer %s leave nothing: want --newer to be the longer one", d.older, d.newer)
	}
	return f, nil
}

// age reads a duration, which here may also be in days.
func age(flag, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	age, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		age = time.Duration(n * float64(24*time.Hour))
	}
	if err != nil || age <= 0 {
		return 0, fmt.Errorf("%s is %q: want how long ago, such as 90m, 36h or 7d", flag, text)
	}
	return age, nil
}

// one is cobra.ExactArgs(1) that says what is wanted.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Errorf("found %d arguments, want %s", len(args), what))
		}
		return nil
	}
}
