//go:build linux

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Options says what to measure and how long.
type Options struct {
	// URL is the broker's.
	URL string
	// Worker is the program under test, Version what it says it is.
	Worker, Version string
	// Rounds is how often what is compared takes turns; zero means 5.
	Rounds int
	// Quick takes shorter and fewer runs.
	Quick bool
	// Million adds a backlog of a million jobs to [Bench.Growth].
	Million bool
	// Only, if not empty, are the rows to measure, by the names in [Bench.Rows].
	Only []string
	// Directory is where results of other tools are kept.
	Directory string
	// Profile, if set, is where the worker leaves profiles of [Bench.Whole]; the program must be this one then.
	Profile string
	Logger  *slog.Logger
}

// Bench measures. Make it with [New].
type Bench struct {
	Options
	runs atomic.Int64
	// whole is what the whole worker does, in jobs a second; zero before it is measured.
	whole float64
	// node is the broker's process, 0 if that is not known.
	node int
}

// New fills in what Options leave open.
func New(o Options) *Bench {
	if o.Rounds <= 0 {
		o.Rounds = 5
	}
	return &Bench{Options: o}
}

// Figure is a row to be measured.
type Figure struct {
	Name    string
	Measure func(ctx context.Context, row *Row) error
}

// Rows are all figures, in the order of the report.
func (b *Bench) Rows() []Figure {
	return []Figure{
		{"hops-classic", func(ctx context.Context, row *Row) error { return b.Hops(ctx, row, "classic") }},
		{"hops-quorum", func(ctx context.Context, row *Row) error { return b.Hops(ctx, row, "quorum") }},
		{"stock", b.Stock},
		{"whole", b.Whole},
		{"tracing", b.Tracing},
		{"slow", b.Slow},
		{"scale", b.Scale},
		{"latency", b.Latency},
		{"embedded", b.Embedded},
		{"growth", b.Growth},
		{"manual", b.Manual},
		{"start", b.Start},
		{"micro", b.Micro},
	}
}

// Run measures the rows one after the other. A row that fails says so in the report; only the end of ctx ends the run.
func (b *Bench) Run(ctx context.Context) (*Report, error) {
	if uri, err := amqp.ParseURI(b.URL); err == nil { // else the first row says so
		b.node = brokerPID(uri.Port)
	}
	report := &Report{Began: time.Now(), Machine: machine(b.Version), Quick: b.Quick}
	known := make([]string, 0, len(b.Rows()))
	for _, f := range b.Rows() {
		known = append(known, f.Name)
	}
	for _, name := range b.Only {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("row %q: unknown, want one of %s", name, strings.Join(known, ", "))
		}
	}
	for _, f := range b.Rows() {
		if len(b.Only) > 0 && !slices.Contains(b.Only, f.Name) {
			continue
		}
		began := time.Now()
		row := Row{Name: f.Name}
		if err := f.Measure(ctx, &row); err != nil {
			row.Error = err.Error()
		}
		row.Load = load()
		report.Rows = append(report.Rows, row)
		report.Took = time.Since(report.Began)
		b.Logger.InfoContext(ctx, "measured", slog.String("row", row.Name), slog.String("reached", row.Reached),
			slog.String("error", row.Error), slog.Duration("took", time.Since(began).Round(time.Second)), slog.String("load", row.Load))
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
	}
	return report, nil
}

// length is a time, or less of it in the short form.
func (b *Bench) length(d time.Duration) time.Duration {
	if b.Quick {
		return d / 2
	}
	return d
}

// count is a number of jobs, or fewer in the short form.
func (b *Bench) count(n int) int {
	if b.Quick {
		return max(n/3, 1)
	}
	return n
}

// rounds is how often runs take turns.
func (b *Bench) rounds() int {
	if b.Quick {
		return min(b.Rounds, 3)
	}
	return b.Rounds
}

// turns calls each of n in turns, as often as there are rounds, every other time backwards.
func (b *Bench) turns(ctx context.Context, n int, do func(i int) error) error {
	for round := range b.rounds() {
		for i := range n {
			if round%2 == 1 {
				i = n - 1 - i
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := do(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Hops compares our hops with the bare client.
func (b *Bench) Hops(ctx context.Context, row *Row, queueType string) error {
	row.Name = "hops only, " + queueType + " queues"
	row.How = "Jobs of 2 KB through five durable queues, each hop confirmed before its message is acknowledged, 1,000 jobs under way: " +
		"by the bare client library, by our transport under Watermill's router with handlers that do nothing, and by package " +
		"pipeline with stages that do nothing, which decodes, measures, traces and encodes each job at each hop. Processor time " +
		"is that of this process, the source of the jobs included."
	row.Target = "≥ 0.90 of the bare client"
	chains := []chain{b.bare(), b.transport(queueType), b.pipeline(queueType)}
	if err := b.compare(ctx, row, queueType, chains); err != nil {
		return err
	}
	bare := row.of(chains[0].name, "jobs/s")
	transport, whole := ratio(row.of(chains[1].name, "jobs/s"), bare), ratio(row.of(chains[2].name, "jobs/s"), bare)
	row.reach(whole >= 0.9, "transport %.2f, pipeline %.2f", transport, whole)
	return nil
}

func (b *Bench) compare(ctx context.Context, row *Row, queueType string, chains []chain) error {
	return b.turns(ctx, len(chains), func(i int) error {
		m, err := b.saturate(ctx, chains[i], queueType)
		if err != nil {
			return err
		}
		row.add(chains[i].name, "jobs/s", m.rate)
		row.add(chains[i].name, "µs CPU/job", microseconds(m.cpu))
		if m.broker > 0 {
			row.add(chains[i].name, "µs of the broker/job", microseconds(m.broker))
		}
		return nil
	})
}

// Stock compares our transport with watermill-amqp's.
func (b *Bench) Stock(ctx context.Context, row *Row) error {
	row.Name = "against watermill-amqp"
	row.How = "The same as above on classic queues: watermill-amqp 2.1.3 with a channel per handler, confirms, a pool of channels as " +
		"large as the number of handlers and ten messages fetched ahead, for the best number of handlers a hop, and our transport."
	row.Target = "ours ≥ 1.6 ×"
	var best chain
	var most float64
	for _, n := range []int{8, 16, 32, 64} {
		c := b.stock(n)
		m, err := b.saturate(ctx, c, "classic")
		if err != nil {
			return err
		}
		row.add(c.name+" (to choose)", "jobs/s", m.rate)
		if m.rate > most {
			best, most = c, m.rate
		}
	}
	ours := b.transport("classic")
	if err := b.compare(ctx, row, "classic", []chain{best, ours}); err != nil {
		return err
	}
	factor := ratio(row.of(ours.name, "jobs/s"), row.of(best.name, "jobs/s"))
	row.reach(factor >= 1.6, "%.2f × %s", factor, best.name)
	return nil
}

func machine(version string) Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Version: version, Load: load()}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m
	}
	for line := range bytes.Lines(info) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			m.CPU = string(bytes.TrimSpace(value))
		}
	}
	return m
}

// load is the load average of the last minute, "" where there is no such thing.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// percentile is the smallest of the times that so many per cent are not above, in milliseconds.
func percentile(times []time.Duration, percent float64) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	i := int(math.Ceil(percent/100*float64(len(sorted)))) - 1
	return milliseconds(sorted[max(i, 0)])
}

// brokerCPU is the processor time that the broker has used, 0 if that is not known.
func (b *Bench) brokerCPU() time.Duration {
	if b.node == 0 {
		return 0
	}
	cpu, err := cpuOf(b.node)
	if err != nil {
		return 0
	}
	return cpu
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

var errNoWorker = errors.New("no program to measure was given")
