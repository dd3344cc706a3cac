//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/pipeline/rabbitmq"
	"opencti-ipqs-worker/stages"
)

// stub is the world outside the stages, in this process and at once.
type stub struct {
	reports map[ipqs.Kind]*ipqs.Report
	// blocked, if set, keeps every lookup until its context ends.
	blocked bool
}

func newStub(ctx context.Context) (*stub, error) {
	fake := ipqstest.New(ipqstest.Options{})
	client, err := ipqs.NewClient(ipqs.Options{Key: key, BaseURL: ipqstest.BaseURL, HTTPClient: fake.Client()})
	if err != nil {
		return nil, err
	}
	s := &stub{reports: make(map[ipqs.Kind]*ipqs.Report)}
	for kind, format := range values {
		if s.reports[kind], err = client.Lookup(ctx, ipqs.Query{Kind: kind, Value: fmt.Sprintf(format, 7, 7)}); err != nil {
			return nil, fmt.Errorf("asking the fake IPQS: %w", err)
		}
	}
	return s, nil
}

func (s *stub) Lookup(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
	if s.blocked {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.reports[q.Kind], nil
}

// State is that of a platform that has the author and nothing else of the worker's.
func (*stub) State(_ context.Context, q opencti.StateQuery) (opencti.State, error) {
	entity, err := entityOf(q.EntityID)
	return opencti.State{Entity: entity, Author: &opencti.Reference{ID: "1", StandardID: q.AuthorID}}, err
}

func entityOf(id string) (opencti.Entity, error) {
	for _, k := range kinds {
		if len(id) > len(k.typ) && id[:len(k.typ)] == k.typ {
			h := hash(id)
			return opencti.Entity{
				ID: "3f2c0c7e-8a41-4a9b-9a3b-1c1f6a0f7b10", StandardID: id, Type: k.name, Value: fmt.Sprintf(values[k.kind], h>>8%256, h%256),
				CreatedAt: "2026-01-02T03:04:05.678Z",
				Markings: []opencti.Marking{{
					ID: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", Type: "TLP", Definition: "TLP:GREEN", Order: 2,
				}},
			}, nil
		}
	}
	return opencti.Entity{}, opencti.ErrNotFound
}

func (*stub) Received(context.Context, opencti.WorkJob, string) error { return nil }

func (*stub) Processed(context.Context, opencti.WorkJob, string, opencti.WorkState) error {
	return nil
}

func (*stub) Announce(context.Context, opencti.WorkJob, int) (opencti.WorkState, error) {
	return opencti.WorkState{Tracked: true}, nil
}
func (*stub) EnsureLabel(context.Context, string, string) error         { return nil }
func (*stub) RemoveLabel(context.Context, string, string, string) error { return nil }
func (*stub) PatchIndicator(context.Context, string, opencti.IndicatorPatch, string) error {
	return nil
}

func (*stub) Country(context.Context, string, string) (opencti.Country, bool, error) {
	return opencti.Country{}, false, nil
}
func (*stub) Push(context.Context, [][]byte) error { return nil }

func envelope(o opencti.PushOptions, bundle []byte) ([]byte, error) {
	o.ApplicantID = "88ec0c6a-13ce-5e39-b486-354fe4a7084f"
	return opencti.PushMessage(o, bundle)
}

func (s *stub) definition() []pipeline.Hop {
	return pipeline.Definition(pipeline.World{
		Entities: s, Works: s, Labels: s, Indicators: s, Countries: s, Intake: s, Envelope: envelope, Risks: s, Now: time.Now, Lookups: 16,
		Policy: stages.Policy{
			Scope: []string{"IPv4-Addr", "Domain-Name", "Email-Addr"}, MaxTLP: opencti.TLPAmber,
		},
		Enrichment: stages.Enrichment{DefaultTLP: opencti.TLPClear, IPRelationships: true, DomainRelationships: true},
	})
}

// Embedded measures the five stages without a broker.
func (b *Bench) Embedded(ctx context.Context, row *Row) error {
	row.Name = "embedded transport"
	row.How = "10,000 observables through all five hops in one process, from the job message to the messages for OpenCTI, with stubs for " +
		"OpenCTI and IPQS that answer at once. Jobs are encoded and decoded between hops, as with a broker."
	row.Target = "≥ 10,000 jobs/s"
	s, err := newStub(ctx)
	if err != nil {
		return err
	}
	err = b.turns(ctx, 1, func(int) error {
		const n = 10_000
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cpu := selfCPU()
		took, err := s.run(ctx, n)
		if err != nil {
			return err
		}
		cpu = selfCPU() - cpu
		runtime.ReadMemStats(&after)
		row.add("pipeline", "jobs/s", n/took.Seconds())
		row.add("pipeline", "µs CPU/job", float64(cpu.Microseconds())/n)
		row.add("pipeline", "allocations/job", float64(after.Mallocs-before.Mallocs)/n)
		return nil
	})
	if err != nil {
		return err
	}
	rate := row.of("pipeline", "jobs/s")
	row.reach(rate >= 10_000, "%.0f jobs/s", rate)
	return nil
}

// run carries n jobs through the five hops on the memory transport.
func (s *stub) run(ctx context.Context, n int) (time.Duration, error) {
	hops := s.definition()
	transport := memory.New(memory.Options{Topics: pipeline.Topics(hops)})
	defer func() { _ = transport.Close() }() // nothing is left in it
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ended atomic.Int64
	var failed atomic.Pointer[stages.Fault]
	p, err := pipeline.New(pipeline.Options{Hops: hops, Transport: transport, Ends: nobody{}, Observe: func(o pipeline.Outcome) {
		if o.End != "" && o.End != pipeline.Published {
			failed.Store(o.Fault)
		}
		if o.End != "" && ended.Add(1) == int64(n) {
			cancel()
		}
	}})
	if err != nil {
		return 0, err
	}
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = job(i, false, time.Now())
	}
	var began time.Time
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Run(running) })
	group.Go(func() error {
		select {
		case <-p.Running():
		case <-running.Done():
			return nil
		}
		began = time.Now()
		for _, body := range bodies {
			msg := message.NewMessage(watermill.NewULID(), body)
			msg.SetContext(running)
			if err := transport.Publish(pipeline.ListenTopic, msg); err != nil && running.Err() == nil {
				return err
			}
		}
		return nil
	})
	<-running.Done()
	took := time.Since(began)
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if fault := failed.Load(); fault != nil {
		return 0, fmt.Errorf("a job was not published: %w", fault)
	}
	if ended.Load() < int64(n) {
		return 0, errors.New("interrupted")
	}
	return took, nil
}

// queueUp has n automatic jobs wait in the lookup hop's queue: a pipeline of our own resolves them, and looks nothing up.
func (w *world) queueUp(ctx context.Context, n int) error {
	s, err := newStub(ctx)
	if err != nil {
		return err
	}
	s.blocked = true
	hops := s.definition()
	transport, err := rabbitmq.New(rabbitmq.Options{
		Connection: wamqp.ConnectionConfig{AmqpURI: w.b.URL}, Prefix: "ipqs-worker." + connectorID,
		Foreign: map[string]string{pipeline.ListenTopic: w.platform.listen}, DrainTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { _ = transport.Close() }() // what is in hand goes back
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var resolved atomic.Int64
	p, err := pipeline.New(pipeline.Options{Hops: hops, Transport: transport, Ends: nobody{}, Drain: time.Second, Observe: func(o pipeline.Outcome) {
		if o.Hop == hops[0].Name() && o.Fault == nil && resolved.Add(1) == int64(n) {
			cancel()
		}
	}})
	if err != nil {
		return err
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Run(running) })
	group.Go(func() error { return w.fill(context.WithoutCancel(running), n) })
	return group.Wait()
}
