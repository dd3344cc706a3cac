//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Whole measures the worker with stand-ins that answer at once.
func (b *Bench) Whole(ctx context.Context, row *Row) error {
	row.Name = "whole worker"
	row.How = "The worker as a process of its own with its defaults, real stages, RabbitMQ on the same machine, and stand-ins for OpenCTI " +
		"and IPQS in another process that answer at once. Jobs wait when it starts; counted from the first request about a job " +
		"to the end of the last work. Processor time is that of the worker from its start."
	row.Target = "≥ 500 jobs/s, ≤ 2 ms CPU per job"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	err = b.turns(ctx, 1, func(int) error {
		n := b.count(6000)
		r, err := w.whole(ctx, n, 0)
		if err != nil {
			return err
		}
		row.add("worker", "jobs/s", r.rate)
		row.add("worker", "ms CPU/job", milliseconds(r.cpu))
		row.add("worker", "MiB at most", r.memory)
		if r.broker > 0 {
			row.add("broker", "ms CPU/job", milliseconds(r.broker))
		}
		row.add("stand-ins, of that", "ms/job", milliseconds(r.share))
		calls := 0
		for name, times := range r.state.Requests {
			if name != "IPQS" {
				calls += times
			}
		}
		row.add("GraphQL requests", "per job", float64(calls)/float64(n))
		return nil
	})
	if err != nil {
		return err
	}
	rate, cpu := row.of("worker", "jobs/s"), row.of("worker", "ms CPU/job")
	b.whole = rate
	row.reach(rate >= 500 && cpu <= 2, "%.0f jobs/s, %.2f ms CPU, %.2f GraphQL requests per job", rate, cpu, row.of("GraphQL requests", "per job"))
	return nil
}

// Tracing measures what traces cost the worker.
func (b *Bench) Tracing(ctx context.Context, row *Row) error {
	row.Name = "tracing"
	row.How = "The whole worker without traces, with one job in a hundred traced, and with all; spans go over HTTP to the process of the " +
		"stand-ins, which takes and drops them."
	row.Target = "1 % traced: ≥ 0.97 of the rate without"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	endpoint := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + w.standins.address + tracesPath
	ways := []struct {
		name        string
		environment []string
	}{
		{"off", nil},
		{"1 %", []string{endpoint, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01"}},
		{"100 %", []string{endpoint}},
	}
	err = b.turns(ctx, len(ways), func(i int) error {
		n := b.count(6000)
		r, err := w.whole(ctx, n, 0, ways[i].environment...)
		if err != nil {
			return fmt.Errorf("%s: %w", ways[i].name, err)
		}
		row.add(ways[i].name, "jobs/s", r.rate)
		row.add(ways[i].name, "ms CPU/job", milliseconds(r.cpu))
		row.add(ways[i].name, "bytes of spans/job", float64(r.state.Traced)/float64(n))
		return nil
	})
	if err != nil {
		return err
	}
	if row.of("1 %", "bytes of spans/job") == 0 || row.of("100 %", "bytes of spans/job") == 0 {
		return errors.New("no spans came")
	}
	of := func(name, unit string) float64 { return ratio(row.of(name, unit), row.of("off", unit)) }
	row.reach(of("1 %", "jobs/s") >= 0.97, "rate: 1 %% %.3f, 100 %% %.2f; CPU: 1 %% %.3f, 100 %% %.2f",
		of("1 %", "jobs/s"), of("100 %", "jobs/s"), of("1 %", "ms CPU/job"), of("100 %", "ms CPU/job"))
	return nil
}

// Slow measures the worker while IPQS takes 100 ms for an answer, by lookup concurrency.
func (b *Bench) Slow(ctx context.Context, row *Row) error {
	const latency = 100 * time.Millisecond
	row.Name = "whole worker, IPQS takes 100 ms"
	row.How = "The same by WORKER_LOOKUP_CONCURRENCY, against what the concurrency allows (concurrency / 0.1 s) or the figure above, " +
		"whichever is less."
	row.Target = "≥ 0.9 of min(concurrency / 0.1 s, figure above)"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	if b.whole == 0 {
		r, err := w.whole(ctx, b.count(6000), 0)
		if err != nil {
			return err
		}
		b.whole = r.rate
	}
	concurrencies := []int{8, 16, 32, 64, 128, 256}
	if b.Quick {
		concurrencies = []int{8, 64, 256}
	}
	limit := func(c int) float64 { return min(float64(c)/latency.Seconds(), b.whole) }
	name := func(c int) string { return fmt.Sprintf("concurrency %d", c) }
	err = b.turns(ctx, len(concurrencies), func(i int) error {
		c := concurrencies[i]
		n := int(limit(c) * b.length(8*time.Second).Seconds())
		r, err := w.whole(ctx, n, latency, fmt.Sprintf("WORKER_LOOKUP_CONCURRENCY=%d", c))
		if err != nil {
			return fmt.Errorf("concurrency %d: %w", c, err)
		}
		row.add(name(c), "jobs/s", r.rate)
		return nil
	})
	if err != nil {
		return err
	}
	met := true
	var parts []string
	for _, c := range concurrencies {
		share := ratio(row.of(name(c), "jobs/s"), limit(c))
		met = met && share >= 0.9
		parts = append(parts, fmt.Sprintf("%d: %.2f", c, share))
	}
	row.reach(met, "%s", strings.Join(parts, ", "))
	return nil
}

// Latency measures how long single jobs take.
func (b *Bench) Latency(ctx context.Context, row *Row) error {
	row.Name = "latency at 50 jobs/s"
	row.How = "A job message every 20 ms; from the time at which it is due to the end of its work, less what the stand-ins themselves took " +
		"for one job on average."
	row.Target = "p50 ≤ 15 ms, p99 ≤ 60 ms"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	err = b.turns(ctx, 1, func(int) error {
		if err := w.standins.reset(ctx, 0); err != nil {
			return err
		}
		worker, err := w.start(ctx)
		if err != nil {
			return err
		}
		defer worker.stop()
		const warm = 50
		n := warm + b.count(750)
		err = every(ctx, 50, n, func(i int, at time.Time) error {
			return w.platform.fill(ctx, w.platform.listen, 1, func(int) []byte { return job(i, false, at) })
		})
		if err != nil {
			return err
		}
		if _, err := w.standins.until(ctx, worker, func(s State) bool { return s.Processed >= n }); err != nil {
			return err
		}
		state, err := w.standins.state(ctx, true)
		if err != nil {
			return err
		}
		share := milliseconds(state.Handling) / float64(n)
		row.add("p50", "ms", percentile(state.Took[warm:], 50)-share)
		row.add("p99", "ms", percentile(state.Took[warm:], 99)-share)
		row.add("stand-ins' share", "ms", share)
		return nil
	})
	if err != nil {
		return err
	}
	p50, p99 := row.of("p50", "ms"), row.of("p99", "ms")
	row.reach(p50 <= 15 && p99 <= 60, "p50 %.1f ms, p99 %.1f ms", p50, p99)
	return nil
}

// Growth measures whether a longer backlog makes the worker slower or larger.
func (b *Bench) Growth(ctx context.Context, row *Row) error {
	row.Name = "cost of growth"
	row.How = "The whole worker with so many jobs waiting when it starts, until all have ended. The longest backlogs are run less often."
	row.Target = "rate flat within 10 %; memory flat, below 64 MiB"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	backlogs := []int{1000, 10_000, 100_000}
	if b.Quick {
		backlogs = backlogs[:2]
	} else if b.Million {
		backlogs = append(backlogs, 1_000_000)
	}
	name := func(n int) string { return fmt.Sprintf("backlog %d", n) }
	runs := make(map[int]int)
	err = b.turns(ctx, len(backlogs), func(i int) error {
		n := backlogs[i]
		if most := 600_000 / n; runs[n] >= max(most/3, 1) {
			return nil
		}
		runs[n]++
		r, err := w.whole(ctx, n, 0)
		if err != nil {
			return fmt.Errorf("backlog of %d: %w", n, err)
		}
		row.add(name(n), "jobs/s", r.rate)
		row.add(name(n), "MiB at most", r.memory)
		return nil
	})
	if err != nil {
		return err
	}
	var rates, sizes []float64
	for _, n := range backlogs {
		rates = append(rates, row.of(name(n), "jobs/s"))
		sizes = append(sizes, row.of(name(n), "MiB at most"))
	}
	least, most := extremes(rates)
	_, size := extremes(sizes)
	// The shortest backlog is the reference: being faster on a longer one is no cost of growth.
	met := least >= 0.9*rates[0] && size < 64
	row.reach(met, "%.0f to %.0f jobs/s, at most %.0f MiB", least, most, size)
	return nil
}

func extremes(values []float64) (least, most float64) {
	least, most = values[0], values[0]
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	return least, most
}

// Manual measures how long an analyst waits behind jobs that nobody waits for.
func (b *Bench) Manual(ctx context.Context, row *Row) error {
	row.Name = "manual job behind automatic ones"
	row.How = "So many automatic jobs wait in the lookup hop's queue, IPQS takes 100 ms for an answer and 16 are asked at once; from the " +
		"message of a job that an analyst asked for to the end of its work."
	row.Target = "≤ 2 s behind 100,000"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	n := 100_000
	if b.Quick {
		n = 10_000
	}
	if err := w.queueUp(ctx, n); err != nil {
		return err
	}
	waiting, err := w.platform.depth(workerQueue("lookup"))
	if err != nil {
		return err
	}
	if err := w.standins.reset(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	worker, err := w.start(ctx)
	if err != nil {
		return err
	}
	defer worker.stop()
	before, err := w.standins.until(ctx, worker, func(s State) bool { return s.Processed >= 200 })
	if err != nil {
		return err
	}
	for i := range b.rounds() {
		at := time.Now()
		if err := w.platform.fill(ctx, w.platform.listen, 1, func(int) []byte { return job(n+i, true, at) }); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		state, err := w.standins.until(limited, worker, func(s State) bool { return len(s.Manual) > len(before.Manual)+i })
		cancel()
		if err != nil {
			return fmt.Errorf("behind %d jobs: %w", waiting, err)
		}
		row.add(fmt.Sprintf("behind %d", waiting), "s", state.Manual[len(state.Manual)-1].Seconds())
	}
	_, worst := extremes(row.Series[0].Runs)
	middle := row.Series[0].Median()
	row.reach(middle <= 2 && (waiting >= 90_000 || b.Quick), "%.2f s, %.2f s at most, behind %d", middle, worst, waiting)
	return nil
}

// Start measures how soon a worker works.
func (b *Bench) Start(ctx context.Context, row *Row) error {
	row.Name = "start"
	row.How = "Jobs wait in OpenCTI's queue; from OpenCTI's answer to the registration to the first request about a job."
	row.Target = "≤ 200 ms"
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	err = b.turns(ctx, 2, func(i int) error {
		name := "queues are there"
		if i == 0 {
			name = "first start ever"
			if err := w.platform.tidy(); err != nil {
				return err
			}
			w.platform.close()
			if w.platform, err = newPlatform(b.URL); err != nil {
				return err
			}
		}
		r, err := w.whole(ctx, 100, 0)
		if err != nil {
			return err
		}
		row.add(name, "ms", milliseconds(r.state.First.Sub(r.state.Registered)))
		return nil
	})
	if err != nil {
		return err
	}
	first, again := row.of("first start ever", "ms"), row.of("queues are there", "ms")
	row.reach(max(first, again) <= 200, "%.0f ms, %.0f ms where the queues have to be made", again, first)
	return nil
}
