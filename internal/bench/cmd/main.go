//go:build linux

// Command cmd runs the benchmarks of package bench. It wants a broker in TEST_AMQP_URL, which withnode provides:
//
//	go run ./internal/rabbitnode/withnode -- go run ./internal/bench/cmd -quick
//
// It writes report.md and report.json into its directory, and the table to standard output. The exit status says only
// whether it ran.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"opencti-ipqs-worker/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "standins" {
		return standins(ctx)
	}
	if len(args) > 0 && args[0] == "run" {
		return profiled(ctx)
	}
	o := bench.Options{URL: os.Getenv("TEST_AMQP_URL"), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.Quick, "quick", false, "take a few minutes: fewer and shorter runs")
	flags.BoolVar(&o.Million, "million", false, "measure the cost of growth up to a million jobs")
	flags.IntVar(&o.Rounds, "rounds", 5, "how often what is compared takes turns")
	flags.StringVar(&only, "rows", "", "the rows to measure, separated by commas (default all)")
	flags.StringVar(&o.Directory, "o", "bench", "where to write the reports")
	flags.StringVar(&o.Profile, "profile", "", "where the worker is to leave profiles (cpu, allocs, mutex, block)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if only != "" {
		o.Only = strings.Split(only, ",")
	}
	if o.URL == "" {
		return errors.New("TEST_AMQP_URL is empty, want the address of a RabbitMQ: run it with withnode")
	}
	if err := os.MkdirAll(o.Directory, 0o750); err != nil {
		return fmt.Errorf("making the directory for the reports: %w", err)
	}
	remove, err := program(ctx, &o)
	if err != nil {
		return err
	}
	defer remove()
	stop := func() error { return nil }
	if o.Profile != "" { // of the hops that run in this process
		if stop, err = profile(filepath.Join(o.Profile, "bench.pprof")); err != nil {
			return err
		}
	}
	report, err := bench.New(o).Run(ctx)
	err = errors.Join(err, stop())
	if report == nil {
		return err
	}
	return errors.Join(err,
		write(filepath.Join(o.Directory, "report.json"), report.WriteJSON),
		write(filepath.Join(o.Directory, "report.md"), report.WriteMarkdown),
		report.WriteMarkdown(os.Stdout))
}

// program builds the worker, or takes this one where it is to be profiled.
func program(ctx context.Context, o *bench.Options) (remove func(), err error) {
	version, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		version = []byte("unknown")
	}
	o.Version = strings.TrimSpace(string(version))
	if o.Profile != "" {
		if o.Profile, err = filepath.Abs(o.Profile); err != nil {
			return nil, err
		}
		o.Worker, err = os.Executable()
		return func() {}, errors.Join(err, os.MkdirAll(o.Profile, 0o750))
	}
	directory, err := os.MkdirTemp("", "ipqs-worker-bench")
	if err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	remove = func() { _ = os.RemoveAll(directory) } // it is a temporary one
	o.Worker = filepath.Join(directory, "ipqs-worker")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", o.Worker, "./cmd/ipqs-worker") //nolint:gosec // our own path
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		remove()
		return nil, fmt.Errorf("building the worker: %w\n%s", err, out)
	}
	return remove, nil
}

func write(path string, content func(io.Writer) error) (err error) {
	file, err := os.Create(path) //nolint:gosec // what was asked for
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return content(file)
}

// standins is the process of the stand-ins: it reads what a registration answers, and prints its address.
func standins(ctx context.Context) error {
	var coordinates map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&coordinates); err != nil {
		return fmt.Errorf("reading what a registration answers: %w", err)
	}
	s, err := bench.NewStandins(coordinates)
	if err != nil {
		return err
	}
	return s.Serve(ctx, func(address string) error {
		_, err := fmt.Println(address)
		return err
	})
}
