package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
	"opencti-ipqs-worker/stages"
)

// unmendableError is why a session could not begin, as far as trying again would change nothing.
type unmendableError struct{ error }

func (e unmendableError) Unwrap() error { return e.error }

// follow runs one session after the other, each on the broker that OpenCTI names at the time, until ctx ends. A session
// is over when OpenCTI names another broker, and when OpenCTI is away: without it no job can be begun or ended, and those
// that tried would be given up. It is ended in order before the next begins: its jobs in hand finish, or go back to
// their queues untouched. A session that ends by itself is begun again after a pause; only if there has never been one
// that worked, what is unmendable ends it all.
func follow(ctx context.Context, p *presence, session func(ctx context.Context, to opencti.Registration) (worked bool, err error)) error {
	pauses := pausesUpTo(longestPause)
	ever := false
	for ctx.Err() == nil {
		to, over, ok := p.registration(ctx)
		if !ok {
			break // told to stop before there was anything to stop
		}
		worked, left, err := until(ctx, over, func(ctx context.Context) (bool, error) { return session(ctx, to) })
		ever = ever || worked
		if ctx.Err() != nil {
			break
		}
		if unmendable, ok := errors.AsType[unmendableError](err); ok && !ever {
			return unmendable.error
		}
		if worked || left {
			pauses.Reset()
		}
		if left {
			p.log.InfoContext(ctx, "the jobs in hand are done or given back, going where OpenCTI points when it answers")
			continue
		}
		wait := pauses.NextBackOff()
		p.log.ErrorContext(ctx, "the pipeline ended by itself, beginning again", slog.Any("error", err),
			slog.Duration("next_try_in", wait.Round(time.Millisecond)))
		p.renew("the pipeline ended")
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-over: // no reason to wait any longer
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil //nolint:nilerr // told to stop: that the last session ended is what was wanted
}

// until runs a session, and ends it when over is closed: left says so.
func until(ctx context.Context, over <-chan struct{}, session func(context.Context) (bool, error)) (worked, left bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		worked, err = session(ctx)
	}()
	select {
	case <-done:
	case <-over:
		left = true
		cancel()
		<-done
	}
	return worked, left, err
}

// session connects to the broker and runs the pipeline on it until ctx ends. worked says that the pipeline took jobs.
func (w *worker) session(ctx context.Context, to opencti.Registration) (worked bool, err error) {
	defer func() { w.broker.end(err) }()
	world := w.world
	carrier, err := w.connect(ctx, to, pipeline.Topics(pipeline.Definition(world)))
	if err != nil {
		return false, unmendableError{err}
	}
	defer func() {
		if err := carrier.Close(); err != nil {
			w.log.WarnContext(ctx, "closing the broker connection", slog.Any("error", err))
		}
	}()
	world.Intake = measuredIntake{carrier, w.meters}
	p, err := pipeline.New(pipeline.Options{
		Hops:      explaining(noticing(pipeline.Definition(world), w.presence.look), w.log, w.meters, w.options.Config.Worker.TraceValues),
		Only:      w.options.Hops,
		Transport: carrier,
		Ends: stages.Ending{
			Works: w.works, Playbooks: w.client, SkipInError: w.options.Config.Connector.SkipInError,
		},
		Logger:  w.log,
		Router:  telemetry.NewWatermillLogger(w.log),
		Tracer:  w.options.Tracer,
		Meter:   w.options.Meter,
		Root:    telemetry.WithJobKey,
		TraceID: traceID,
		Mark:    mark,
		System:  systemOf(w.options.Config.Connector),
		Queue:   queuesOf(carrier),
		Observe: observed(carrier, w.meters.observe(w.options.Observe)),
		Version: w.options.Version,
		Drain:   w.options.Config.Worker.ShutdownTimeout,
		Now:     w.options.Now,

		PlaybookMaxWait: w.options.Config.Playbook.MaxWait,
		Copies:          w.copies,
	})
	if err != nil {
		return false, unmendableError{err}
	}
	w.broker.begin(carrier)
	w.pauses.follow(p.Paused)
	defer w.pauses.follow(nil)
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := p.Run(running)
		if errors.Is(err, rabbitmq.ErrMismatch) {
			return unmendableError{err}
		}
		return err
	})
	group.Go(func() error {
		select {
		case <-p.Running():
			worked = true
			w.broker.run(carrier)
			w.log.InfoContext(running, "enriching", slog.Any("scope", w.options.Config.Connector.Scope))
		case <-running.Done():
		}
		<-running.Done()
		w.broker.drain()
		return nil
	})
	group.Go(func() error {
		watch(running, w.broker.ready, w.presence.every, w.presence.renew)
		return nil
	})
	err = group.Wait()
	return worked, err
}

func traceID(jobID string) string { return telemetry.TraceID(jobID).String() }

// mark has what is logged for a job say so.
func mark(ctx context.Context, m pipeline.Mark) context.Context {
	return telemetry.WithJob(ctx, telemetry.Job{ID: m.JobID, WorkID: m.WorkID, Hop: m.Hop, Attempt: m.Attempt})
}

// noticing calls failed whenever a stage could not ask OpenCTI.
func noticing(hops []pipeline.Hop, failed func()) []pipeline.Hop {
	for i := range hops {
		run := hops[i].Stage.Run
		hops[i].Stage.Run = func(ctx context.Context, job stages.Job) (stages.Job, error) {
			job, err := run(ctx, job)
			if errors.Is(err, opencti.ErrUnavailable) || errors.Is(err, opencti.ErrAuth) {
				failed()
			}
			return job, err
		}
	}
	return hops
}

// watch asks for a new registration whenever the broker has not been ready for as long as patience, until ctx ends:
// OpenCTI may know of another one by now.
func watch(ctx context.Context, ready func() error, patience time.Duration, renew func(why string)) {
	ticker := time.NewTicker(max(patience/8, time.Millisecond))
	defer ticker.Stop()
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch {
		case ready() == nil:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= patience:
			renew("the broker is not ready")
			since = time.Now()
		}
	}
}

// broker is the state of the session's broker, for whoever asks how the worker is.
type broker struct {
	mu      sync.Mutex
	carrier Carrier // nil while there is none
	err     error   // why no jobs are taken, beside what the carrier says; nil when they are
}

var (
	errNoSession = errors.New("not connected: waiting for OpenCTI to say where it is")
	errStarting  = errors.New("not consuming yet")
	errDraining  = errors.New("taking no jobs, those in hand are finished first")
)

func newBroker() *broker { return &broker{err: errNoSession} }

func (b *broker) begin(carrier Carrier) { b.set(carrier, errStarting) }
func (b *broker) run(carrier Carrier)   { b.set(carrier, nil) }
func (b *broker) drain()                { b.set(nil, errDraining) }
func (b *broker) end(err error)         { b.set(nil, cmp.Or(err, errNoSession)) }

func (b *broker) set(carrier Carrier, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.carrier, b.err = carrier, err
}

// ready returns nil while jobs can be carried.
func (b *broker) ready() error {
	b.mu.Lock()
	carrier, err := b.carrier, b.err
	b.mu.Unlock()
	if carrier != nil {
		if err := carrier.Ready(); err != nil {
			return err
		}
	}
	return err
}
