package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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

It needs the configuration of the workers, the very same one: it asks OpenCTI where the queues are by the registration that
they make too, which overwrites the one before. It takes no jobs, and may run beside the workers.

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
				if err != nil {
					return err
				}
				return deadletters.Show(d.out, letter, time.Now())
			})
		},
	}
}

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
				shown, err := d.progressOf(ctx, &store, f, replay.Limit)
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
				shown, err := d.progressOf(ctx, &store, f, 0)
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
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func (d *deadLetters) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export FILE|-",
		Short: "Write dead letters to a file, for import",
		Long: `export writes a JSON object a line for each letter that the filters let through, as it is, its body in base64: to a file
that is not there yet and that only its owner can read, or with - to standard output. Nothing is masked, and the letters
stay where they are.`,
		Args: one("a file to write, or - for standard output"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			if _, err := os.Lstat(path); path != "-" && !errors.Is(err, os.ErrNotExist) {
				return usage(fmt.Errorf("%s is there already: want a new file", path))
			}
			return d.with(cmd, nil, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				shown, err := d.progressOf(ctx, &store, f, 0)
				if err != nil {
					return err
				}
				var tally deadletters.Tally
				err = d.write(path, func(w io.Writer) (err error) {
					tally, err = store.Export(ctx, f, w)
					return err
				})
				shown.done()
				if err != nil {
					return err
				}
				d.tell("%s", counted(tally, "exported", f))
				return nil
			})
		},
	}
}

func (d *deadLetters) importCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "import FILE|- | --file FILE",
		Short: "Put exported dead letters back",
		Long: `import puts letters that export wrote, and that the filters let through, back into the poison queues that they came from,
under their ids. A letter whose id is there already is passed over, so an import that was interrupted can be repeated.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				args = append(args, file)
			}
			if err := one("a file that export wrote, or - for standard input")(cmd, args); err != nil {
				return err
			}
			from := d.in
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return usage(fmt.Errorf("reading the letters: %w", err))
				}
				defer func() { _ = file.Close() }()
				from = file
			}
			return d.with(cmd, nil, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				shown := d.progress(0)
				store.Seen = shown.step
				result, err := store.Import(ctx, f, from)
				shown.done()
				text := "imported " + result.Done.String()
				if result.Duplicates > 0 {
					text += fmt.Sprintf(", passed over %d that are there already", result.Duplicates)
				}
				if result.FilteredOut > 0 {
					text += fmt.Sprintf(", left out %d by the filters", result.FilteredOut)
				}
				d.tell("%s", text)
				if err != nil {
					return fmt.Errorf("importing from %s: %w", source(args[0]), err)
				}
				return nil
			})
		},
	}
	addFile(cmd, &file, "file that export wrote")
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
		return &statusError{exitFailure, err}
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

// one is cobra.ExactArgs(1) that says what is wanted.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Errorf("found %d arguments, want %s", len(args), what))
		}
		return nil
	}
}
