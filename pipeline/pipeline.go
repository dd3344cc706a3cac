package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"go.opentelemetry.io/otel/metric"
	meternoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"opencti-ipqs-worker/stages"
)

// Ends is told of the jobs that end before their last hop, so that it can tell whoever asked. It answers no playbook whose
// step has its answer ([stages.Job].Answered).
type Ends interface {
	Skipped(ctx context.Context, job stages.Job, fault *stages.Fault) error
	DeadLettered(ctx context.Context, job stages.Job, fault *stages.Fault, letter string) error
}

// Options is what a pipeline is made of.
type Options struct {
	Hops      []Hop
	Transport Transport
	// Only are the names of the hops whose jobs are taken here, where other processes take those of the rest; empty is all.
	Only []string
	Ends Ends

	Logger *slog.Logger
	// Router is where Watermill's own log goes; nil is nowhere.
	Router watermill.LoggerAdapter
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	// Root marks the context in which the first span of a job is made, so that its trace id can follow from the job's.
	Root func(ctx context.Context, jobID string) context.Context
	// TraceID returns the id that such a trace has, for dead letters where nothing is traced; nil leaves it out.
	TraceID func(jobID string) string
	// Mark marks the context of everything that is done for a job, so that what is logged there can say for which.
	Mark func(ctx context.Context, m Mark) context.Context
	// System is the broker's name in spans, such as "rabbitmq", and Queue the name that it has for a topic.
	System string
	Queue  func(topic string) string
	// Observe is called after every trip, from many goroutines; it must not block. Nil observes nothing.
	Observe func(Outcome)
	// Attended says that somebody waits for the jobs and can act: a fault of the whole account (key, credits, quota) then
	// ends a job at once instead of being tried again.
	Attended bool
	// PlaybookMaxWait is how long a playbook waits for its job, from the moment that it is taken up; zero means 30 s.
	PlaybookMaxWait time.Duration
	// Version of the worker, for dead letters.
	Version string
	// Copies outlives the pipeline where another one goes on with its jobs; nil is a memory of its own.
	Copies *Copies
	// Drain bounds how long Run waits for jobs in hand once its context has ended.
	Drain time.Duration
	Now   func() time.Time
}

// Pipeline is hops on a transport. Make it with [New], run it once with [Pipeline.Run].
type Pipeline struct {
	Options
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	router     *message.Router
	narrower   Narrower         // nil if the transport is none
	gates      map[string]*gate // of each hop
	lines      map[string]*line // of each hop
	meters     *meters
	stopping   <-chan struct{} // closed when Run is to end; set before any job is taken
}

// New checks the hops and wires them into a Watermill router. It neither declares nor subscribes anything: [Pipeline.Run]
// does.
func New(o Options) (*Pipeline, error) {
	if err := Validate(o.Hops); err != nil {
		return nil, fmt.Errorf("checking the pipeline: %w", err)
	}
	if err := known(o.Only, o.Hops); err != nil {
		return nil, err
	}
	if o.Transport == nil || o.Ends == nil {
		return nil, errors.New("a pipeline needs a transport and someone to tell of its ends")
	}
	o.setDefaults()
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: o.Drain}, o.Router)
	if err != nil {
		return nil, fmt.Errorf("making the router: %w", err)
	}
	meters, err := newMeters(o.Meter)
	if err != nil {
		return nil, err
	}
	p := &Pipeline{
		Options:    o,
		tracer:     o.Tracer.Tracer("opencti-ipqs-worker/pipeline"),
		propagator: propagation.TraceContext{},
		router:     router,
		gates:      make(map[string]*gate, len(o.Hops)),
		lines:      make(map[string]*line, len(o.Hops)),
		meters:     meters,
	}
	p.narrower, _ = o.Transport.(Narrower)
	for _, hop := range o.Hops {
		p.gates[hop.Name()] = newGate(p, hop)
		for _, lane := range hop.lanes() {
			p.lines[lane.topic()] = newLine()
		}
	}
	p.mount()
	return p, nil
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Router == nil {
		o.Router = watermill.NopLogger{}
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = meternoop.NewMeterProvider()
	}
	if o.Mark == nil {
		o.Mark = func(ctx context.Context, _ Mark) context.Context { return ctx }
	}
	if o.System == "" {
		o.System = "watermill"
	}
	if o.Queue == nil {
		o.Queue = func(topic string) string { return topic }
	}
	if o.Root == nil {
		o.Root = func(ctx context.Context, _ string) context.Context { return ctx }
	}
	if o.TraceID == nil {
		o.TraceID = func(string) string { return "" }
	}
	if o.Observe == nil {
		o.Observe = func(Outcome) {}
	}
	if o.Copies == nil {
		o.Copies = NewCopies()
	}
	if o.PlaybookMaxWait <= 0 {
		o.PlaybookMaxWait = 30 * time.Second
	}
	if o.Drain <= 0 {
		o.Drain = 25 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// around is what every hop wraps its stage in, outermost first.
func (p *Pipeline) around(hop Hop) []message.HandlerMiddleware {
	return []message.HandlerMiddleware{
		p.opened(hop),        // the message becomes a job, or the reason why it can't
		p.traced(hop),        // one span per hop, child of the traceparent that the message carries
		p.metered(hop),       // what waits, what is in hand, what came of it, in numbers
		p.measured(hop),      // what came of the trip, and how long it took
		p.handedOn(hop),      // what the stage has made is in the next queue, or that is one more fault
		p.once(hop),          // copies of a job that has ended, or is about to, go no further
		p.decided(hop),       // let in or not; then where it goes: on, to the hop again, later, skipped, to the poison queue
		p.retried(hop),       // what may pass in a moment, on the hop's schedule
		middleware.Recoverer, // a panic is one more error
	}
}

// runs reports whether the hop's jobs are taken here.
func (p *Pipeline) runs(hop Hop) bool { return len(p.Only) == 0 || slices.Contains(p.Only, hop.Name()) }

// mount makes each hop read its own topic and publish where the next one reads.
func (p *Pipeline) mount() {
	transport := unclosed{p.Transport}
	spent := spent(p.Hops)
	for i, hop := range p.Hops {
		if !p.runs(hop) {
			continue
		}
		var next *gate
		if i < len(p.Hops)-1 {
			next = p.gates[p.Hops[i+1].Name()]
		}
		run := p.run(hop, spent[i], next)
		for _, lane := range hop.lanes() {
			var handler *message.Handler
			if i < len(p.Hops)-1 {
				handler = p.router.AddHandler(lane.topic(), lane.topic(), transport, p.Hops[i+1].Name(), transport, run)
			} else {
				handler = p.router.AddConsumerHandler(lane.topic(), lane.topic(), transport, func(msg *message.Message) error {
					_, err := run(msg)
					return err
				})
			}
			handler.AddMiddleware(p.around(lane)...)
		}
	}
}

// run is the middle of it all: one attempt of the stage. Next is the gate of the next hop, nil after the last.
func (p *Pipeline) run(hop Hop, spent []stages.Section, next *gate) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		trip := tripOf(msg)
		left, err := p.left(trip)
		if err != nil {
			return nil, err
		}
		trip.attempts++
		if trip.unreadable != nil {
			return nil, trip.unreadable
		}
		job := trip.job
		job.Repeated = trip.repeated || trip.tried || trip.attempts > 1
		ctx, cancel := context.WithTimeout(msg.Context(), min(hop.Stage.Timeout, left))
		defer cancel()
		trip.ran = true
		job, err = p.attempt(ctx, hop, trip, job)
		trip.job, trip.done = job, err == nil
		if fault := stages.AsFault(err); fault != nil && fault.Class == stages.Pending {
			trip.attempts--
		}
		if err != nil || next == nil {
			return nil, err
		}
		if next.shutUntil(trip.deadline) { // a playbook is not to wait there
			return nil, p.late(fmt.Errorf("the next hop, %s, pauses", next.hop.Name()))
		}
		job.Repeated = trip.repeated
		msg, err = encode(job, trip.carried, spent, watermill.NewULID(), p.Now())
		if err != nil {
			return nil, err
		}
		if next.hop.Urgent > 0 && job.Urgent() {
			msg.Metadata.Set(metadataLane, urgentLane)
		}
		return []*message.Message{msg}, nil
	}
}

// Run declares the queues and carries jobs until ctx ends, then lets the jobs in hand finish, for at most Options.Drain.
// It returns nil after such an end, and an error when the hops stopped by themselves. The transport stays open: close it
// afterwards.
func (p *Pipeline) Run(ctx context.Context) error {
	if err := p.Transport.Declare(ctx, Topics(p.Hops)...); err != nil {
		return fmt.Errorf("declaring the queues: %w", err)
	}
	running, stop := context.WithCancel(ctx)
	defer p.reopen() // before it, nobody waits any more
	defer stop()
	p.stopping = running.Done()
	for _, gate := range p.gates {
		gate.stopping = p.stopping
	}
	unobserve, err := p.observe()
	if err != nil {
		return fmt.Errorf("registering the pipeline's metrics: %w", err)
	}
	defer unobserve()
	p.meters.begin(ctx, p.Hops, p.Only)
	var counting sync.WaitGroup
	counting.Go(func() { p.counting(running) })
	defer counting.Wait()
	defer stop()
	if err := p.router.Run(ctx); err != nil {
		return fmt.Errorf("running the hops: %w", err)
	}
	if ctx.Err() == nil {
		return errors.New("running the hops: all of them stopped")
	}
	return nil
}

// Running is closed once every hop takes messages.
func (p *Pipeline) Running() <-chan struct{} { return p.router.Running() }

// reopen leaves the transport as it was, for whoever runs a pipeline on it next.
func (p *Pipeline) reopen() {
	for _, gate := range p.gates {
		gate.keepers.Wait()
		if _, shut := gate.paused(); shut {
			gate.narrow(math.MaxInt)
		}
	}
}
