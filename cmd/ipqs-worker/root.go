package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/telemetry"
)

// version is stamped by the build; a build without a stamp tells what the Go toolchain knows.
var version = ""

// The exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // something could not be done
	exitUsage   = 2 // wrong arguments, configuration or input: nothing was contacted, nothing done
)

// statusError is an error that ends the program with its own status.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// ended is what ends a command that had begun: with the status of a wrong configuration where that is all it came to.
func ended(err error) error {
	if _, ok := errors.AsType[*app.OptionsError](err); ok {
		return usage(err)
	}
	return &statusError{exitFailure, err}
}

func usage(err error) error { return &statusError{exitUsage, err} }

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// program is what the commands share.
type program struct {
	stdio
	environ []string
	// stop restores the signals' own effect: a second Ctrl-C ends the program at once.
	stop       context.CancelFunc
	configPath string
}

// execute runs the command line and returns the exit status.
func execute(ctx context.Context, stop context.CancelFunc, args []string, std stdio, environ []string) int {
	// A second signal ends the program at once. Not within the first second: whoever stops a whole process group sends two.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	p := &program{stdio: std, environ: environ, stop: stop}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(std.err, "ipqs-worker: %v\n", err)
	if failed, ok := errors.AsType[*statusError](err); ok {
		return failed.status
	}
	return exitUsage // cobra's own: an unknown command or flag, or a value that is none of its kind
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ipqs-worker",
		Short: "Enrich OpenCTI's observables with IPQualityScore's risk scores",
		Long: `ipqs-worker is an OpenCTI connector that enriches IP addresses, e-mail addresses, phone numbers, URLs and domains
with the risk scores of IPQualityScore (IPQS). Each job goes through five durable steps over RabbitMQ:

  resolve the entity, look it up, score it, bundle it as STIX 2.1, publish it to OpenCTI

Configuration comes from environment variables and, below them, from config.yml. The sample file config.yml.sample
documents each option.

Exit status: 0 done, 1 something could not be done, 2 wrong arguments, configuration or input.`,
		Example: `  ipqs-worker demo                          see it work, without accounts, broker or network
  ipqs-worker enrich 198.51.100.7           look something up right now
  ipqs-worker run                           be the connector`,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	// Cobra's own flag for this comes with templates, and those with methods by name: the linker could leave nothing out.
	asked := root.Flags().Bool("version", false, "print the version")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asked {
			return p.printVersion()
		}
		return cmd.Help()
	}
	root.PersistentFlags().StringVar(&p.configPath, "config", "", "configuration file (default: config.yml, if there is one)")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(p.runCommand(), p.enrichCommand(), p.deadLettersCommand(), p.healthCommand(), p.statusCommand(), p.doctorCommand(), p.traceCommand(), p.demoCommand(), p.versionCommand(), p.manCommand())
	root.SetHelpCommand(helpCommand())
	refuseUnknownShells(root)
	return root
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return p.printVersion() },
	}
}

func (p *program) printVersion() error {
	if _, err := fmt.Fprintln(p.out, "ipqs-worker", versionText()); err != nil {
		return &statusError{exitFailure, err}
	}
	return nil
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.0.0-dev"
}

// configure loads the configuration for a purpose and makes the logger that it asks for. Its warnings are logged.
func (p *program) configure(purpose config.Purpose) (config.Config, *slog.Logger, error) {
	c, logger, _, err := p.configureLevel(purpose)
	return c, logger, err
}

// configureLevel is configure, with what the logger's level can be changed by.
func (p *program) configureLevel(purpose config.Purpose) (config.Config, *slog.Logger, *slog.LevelVar, error) {
	c, warnings, err := config.Load(config.Options{
		Path: p.configPath, PathSet: p.configPath != "", Environ: p.environ, Require: purpose,
	})
	if err != nil {
		// A misspelt name is often why another one is missing.
		for _, w := range warnings {
			err = fmt.Errorf("%w\n  also, %s", err, w)
		}
		return c, nil, nil, usage(err)
	}
	level := new(slog.LevelVar)
	level.Set(c.Connector.LogLevel)
	logger := telemetry.NewLogger(p.err, level, c.OpenCTI.JSONLogging)
	for _, w := range warnings {
		logger.Warn("configuration", slog.String("option", w.Name), slog.String("problem", w.Text))
	}
	return c, logger, level, nil
}
