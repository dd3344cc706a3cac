//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Baseline is what the benchmarks of the last release found, for benchstat, from the root of the repository.
const Baseline = "internal/bench/baseline.txt"

// Micro runs the benchmarks of single steps, and has benchstat compare them with the last release.
func (b *Bench) Micro(ctx context.Context, row *Row) error {
	row.Name = "stages"
	row.How = "The benchmarks beside the code: what it costs to decode, score, bundle, make ids, split and encode, by benchstat against " +
		"the last release (" + Baseline + "). `make bench-baseline` makes what was found the next baseline."
	row.Target = "tracked"
	count := 6
	if b.Quick {
		count = 3
	}
	found, err := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=.", "-benchmem", "-benchtime=100ms", //nolint:gosec // a number
		"-count="+strconv.Itoa(count), "-short", "./stix", "./stages", "./pipeline").CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmarks: %w\n%s", err, found)
	}
	path := filepath.Join(b.Directory, "micro.txt")
	if err := os.WriteFile(path, found, 0o600); err != nil {
		return fmt.Errorf("keeping what the benchmarks found: %w", err)
	}
	text, err := exec.CommandContext(ctx, "go", "tool", "-modfile=.ci/bench.mod", "benchstat", Baseline, path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("comparing with the last release: %w\n%s\n%s", err, text, found)
	}
	row.Text, row.Reached = string(text), "see below"
	return nil
}
