//go:build unix

package app

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/observable"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
)

// discarded takes spans as an exporter does and sends them nowhere.
type discarded struct{ spans atomic.Int64 }

func (d *discarded) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	d.spans.Add(int64(len(spans)))
	return nil
}
func (*discarded) Shutdown(context.Context) error { return nil }

// BenchmarkTracing tells what tracing costs: the processor time of a thousand jobs through all five hops, with a hundredth and with all
// of them traced, as a ratio to none. The three take turns, and the median of the turns counts:
// others work on the machine too, which is why it is processor time. Alone has nobody to ask, so that nothing hides the cost; asking has an IPQS behind HTTP.
func BenchmarkTracing(b *testing.B) {
	b.Run("alone", func(b *testing.B) { compare(b, func(trace.TracerProvider) ipqs.Lookuper { return reported{} }) })
	b.Run("asking", func(b *testing.B) {
		server := ipqstest.NewServer(ipqstest.Options{})
		defer server.Close()
		compare(b, func(tracer trace.TracerProvider) ipqs.Lookuper {
			c := config.Config{IPQS: config.IPQS{BaseURL: server.BaseURL}, Worker: config.Worker{LookupConcurrency: 32}}
			base := http.DefaultTransport.(*http.Transport).Clone()
			base.MaxIdleConnsPerHost = 32
			transport, err := telling(Options{Config: c, Tracer: tracer}, base, "ipqs", lookupCall(c.IPQS))
			if err != nil {
				b.Fatal(err)
			}
			client, err := ipqs.NewClient(ipqs.Options{Key: "key", BaseURL: server.BaseURL, HTTPClient: &http.Client{Transport: transport}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(client.CloseIdleConnections)
			return client
		})
	})
}

func compare(b *testing.B, risksOf func(trace.TracerProvider) ipqs.Lookuper) {
	b.Helper()
	const jobs = 1000
	sink := &discarded{}
	tracers := map[string]trace.TracerProvider{}
	for name, ratio := range map[string]string{"off": "", "1%": "0.01", "100%": "1"} {
		if ratio == "" {
			b.Setenv("OTEL_TRACES_EXPORTER", "none")
		}
		b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
		b.Setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
		o := telemetry.Options{ServiceName: "bench", Version: "0"}
		if ratio != "" {
			o.Processors = []sdktrace.SpanProcessor{sdktrace.NewBatchSpanProcessor(sink)}
		}
		tracer, stop, err := telemetry.Tracing(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = stop(context.Background()) })
		tracers[name] = tracer
	}
	names := []string{"off", "1%", "100%"}
	risks := map[string]ipqs.Lookuper{}
	for name, tracer := range tracers {
		risks[name] = risksOf(tracer)
	}
	ratios := map[string][]float64{}
	round := 0
	for b.Loop() {
		took := map[string]time.Duration{}
		for i := range names {
			name := names[(i+round)%len(names)]
			took[name] = carry(b, tracers[name], risks[name], jobs)
		}
		for _, name := range names[1:] {
			ratios[name] = append(ratios[name], took[name].Seconds()/took["off"].Seconds())
		}
		round++
	}
	if sink.spans.Load() == 0 {
		b.Fatal("no span was made: nothing was measured")
	}
	for _, name := range names[1:] {
		slices.Sort(ratios[name])
		b.ReportMetric(ratios[name][len(ratios[name])/2], name+"/off")
	}
}

type reported struct{}

func (reported) Lookup(context.Context, ipqs.Query) (*ipqs.Report, error) {
	return &ipqs.Report{}, nil
}

// carry carries jobs through the five hops and returns the processor time that took.
func carry(b *testing.B, tracer trace.TracerProvider, risks ipqs.Lookuper, n int) time.Duration {
	b.Helper()
	at := local{jobs: map[string]observable.Observable{}}
	var ids []string
	for i := range n {
		one := observable.Observable{Type: "IPv4-Addr", Value: fmt.Sprintf("198.18.%d.%d", i/256, i%256)}
		at.jobs[jobID(one)] = one
		ids = append(ids, jobID(one))
	}
	hops := pipeline.Definition(pipeline.World{
		Entities: at, Works: at, Labels: at, Intake: at, Envelope: at.envelope, Risks: risks, Now: time.Now,
		Policy: stages.Policy{Scope: observable.Types(), MaxTLP: opencti.TLPRed},
	})
	transport := memory.New(memory.Options{Topics: pipeline.Topics(hops), Buffer: n})
	defer func() { _ = transport.Close() }()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var ended atomic.Int64
	p, err := pipeline.New(pipeline.Options{
		Hops: hops, Transport: transport, Ends: at, Tracer: tracer, Root: telemetry.WithJobKey, Mark: mark,
		Observe: func(o pipeline.Outcome) {
			if o.End == pipeline.Published && ended.Add(1) == int64(n) {
				cancel()
			} else if o.End != "" && o.End != pipeline.Published {
				b.Errorf("a job ended as %s: %v", o.End, o.Fault)
				cancel()
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := feed(ctx, transport, pipeline.ListenTopic, ids); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	before := processorTime(b)
	if err := p.Run(ctx); err != nil {
		b.Fatal(err)
	}
	return processorTime(b) - before
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
