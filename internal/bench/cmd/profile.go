//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
)

// profiled is the worker with profiles of its whole life, in the directory that BENCH_PROFILE names: what it is without
// traces. The program that is shipped has no such thing.
func profiled(ctx context.Context) error {
	directory := os.Getenv("BENCH_PROFILE")
	c, _, err := config.Load(config.Options{Path: os.DevNull, Environ: os.Environ()})
	if err != nil {
		return err
	}
	runtime.SetMutexProfileFraction(10)

	runtime.SetBlockProfileRate(int(100 * time.Microsecond))
	stop, err := profile(filepath.Join(directory, "cpu.pprof"))
	if err != nil {
		return err
	}
	err = app.Run(ctx, app.Options{
		Config: c, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Tracer: noop.NewTracerProvider(), Version: "profiled",
	})
	err = errors.Join(err, stop())
	for _, name := range []string{"allocs", "mutex", "block"} {
		err = errors.Join(err, write(filepath.Join(directory, name+".pprof"), func(w io.Writer) error {
			return pprof.Lookup(name).WriteTo(w, 0)
		}))
	}
	return err
}

// profile writes where processor time goes until stop is called.
func profile(path string) (stop func() error, err error) {
	file, err := os.Create(path) //nolint:gosec // what was asked for
	if err != nil {
		return nil, fmt.Errorf("writing a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("profiling: %w", err), file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
