//go:build linux

package bench

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// perWorker is how many lookups each worker has under way at once in [Bench.Scale]: so few that eight workers together are
// far below what this machine, which they share with the broker and the stand-ins, can do in one.
const perWorker = 2

// Scale measures what more worker processes bring where IPQS is what takes the time.
func (b *Bench) Scale(ctx context.Context, row *Row) error {
	const latency = 100 * time.Millisecond
	row.Name = "1, 2, 4, 8 workers, IPQS takes 100 ms"
	row.How = fmt.Sprintf("Worker processes of one connector, each with `run --concurrency lookup=%d`, so that one can do %d jobs a second "+
		"and scale comes from processes, not from the concurrency within one; nothing is kept or shared. They consume before the "+
		"first job comes; counted from the first request about a job to the end of the last work.", perWorker, int(perWorker/latency.Seconds()))
	row.Target = "4 workers ≥ 3.5 × one"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	counts := []int{1, 2, 4, 8}
	name := func(n int) string { return fmt.Sprintf("workers %d", n) }
	err = b.turns(ctx, len(counts), func(i int) error {
		n := counts[i]
		jobs := int(float64(n*perWorker) / latency.Seconds() * b.length(10*time.Second).Seconds())
		rate, err := w.together(ctx, n, jobs, latency)
		if err != nil {
			return fmt.Errorf("%d workers: %w", n, err)
		}
		row.add(name(n), "jobs/s", rate)
		return nil
	})
	if err != nil {
		return err
	}
	one := row.of(name(1), "jobs/s")
	var parts []string
	for _, n := range counts {
		parts = append(parts, fmt.Sprintf("%d: %.2f", n, ratio(row.of(name(n), "jobs/s"), one)))
	}
	row.reach(ratio(row.of(name(4), "jobs/s"), one) >= 3.5, "× one worker %s", strings.Join(parts, ", "))
	return nil
}

// together has so many workers do jobs, and returns how many they did a second.
func (w *world) together(ctx context.Context, workers, jobs int, latency time.Duration) (rate float64, err error) {
	var first *process
	for range workers {
		p, err := w.start(ctx, fmt.Sprint("WORKER_CONCURRENCY=lookup=", perWorker), "IPQS_CACHE_TTL=0", "WORKER_DEBUG_PORT=0")
		if err != nil {
			return 0, err
		}
		defer p.stop()
		first = p
	}
	for {
		if n, err := w.platform.consumers(workerQueue("lookup")); err != nil || n >= workers {
			if err != nil {
				return 0, err
			}
			break
		}
		if err := first.ended(); err != nil {
			return 0, err
		}
		if !pause(ctx, 50*time.Millisecond) {
			return 0, fmt.Errorf("waiting for the workers: %w", context.Cause(ctx))
		}
	}
	if err := w.standins.reset(ctx, latency); err != nil {
		return 0, err
	}
	if err := w.fill(ctx, jobs); err != nil {
		return 0, err
	}
	state, err := w.standins.until(ctx, first, func(s State) bool { return s.Processed >= jobs })
	if err != nil {
		return 0, err
	}
	return float64(jobs) / state.Last.Sub(state.First).Seconds(), nil
}
