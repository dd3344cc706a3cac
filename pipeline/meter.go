package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"opencti-ipqs-worker/stages"
)

// Labels of the pipeline's metrics. Each has a closed set of values: names of hops, [stages.Reason], [stages.Class], and
// the words in this file.
const (
	LabelHop      = attribute.Key("hop")
	LabelOutcome  = attribute.Key("outcome")
	LabelReason   = attribute.Key("reason")
	LabelClass    = attribute.Key("class")
	LabelHow      = attribute.Key("how")
	LabelDelivery = attribute.Key("delivery")
	LabelQueue    = attribute.Key("queue")
	LabelEnd      = attribute.Key("end")
)

// Values of [LabelHow]: how a stage came to be tried again.
const (
	retriedInHand = "in_hand" // after a short wait, while the message is in hand
	retriedParked = "parked"  // after a waiting room
	retriedPaused = "paused"  // back in its queue while the hop pauses
)

// Values of [LabelDelivery]: what a message waited as.
const (
	deliveryFirst = "first"
	deliveryRetry = "retry"      // in a waiting room, or in its queue while the hop paused
	deliveryAgain = "redelivery" // somebody had it before and did not acknowledge it
)

// meters are the pipeline's instruments. Prometheus shows their names with underscores, units and _total:
// ipqs_worker_hop_duration_seconds, ipqs_worker_retries_total.
type meters struct {
	meter  metric.Meter
	labels labels

	hop, attempt, wait, job         metric.Float64Histogram
	inFlight                        metric.Int64UpDownCounter
	retries, faults, letters, ended metric.Int64Counter
	depth, consumers, pausedHop     metric.Int64ObservableGauge
	oldest                          metric.Float64ObservableGauge
	redelivered, dropped            metric.Int64Counter
}

// labels makes each set of labels once. There are few of them, as their values are, and a set costs more than a measurement.
type labels struct {
	mu    sync.Mutex
	known atomic.Pointer[map[[6]string]metric.MeasurementOption] // replaced, not changed
}

// of returns the set of some labels. Sets of more than three are made each time.
func (l *labels) of(kvs ...attribute.KeyValue) metric.MeasurementOption {
	var key [6]string
	if 2*len(kvs) > len(key) {
		return metric.WithAttributes(kvs...)
	}
	for i, kv := range kvs {
		key[2*i], key[2*i+1] = string(kv.Key), kv.Value.String()
	}
	if known := l.known.Load(); known != nil {
		if set, ok := (*known)[key]; ok {
			return set
		}
	}
	set := metric.WithAttributeSet(attribute.NewSet(kvs...))
	l.mu.Lock()
	defer l.mu.Unlock()
	more := map[[6]string]metric.MeasurementOption{key: set}
	if known := l.known.Load(); known != nil {
		maps.Copy(more, *known)
	}
	l.known.Store(&more)
	return set
}

func newMeters(provider metric.MeterProvider) (*meters, error) {
	m := &meters{meter: provider.Meter("opencti-ipqs-worker/pipeline")}
	var problems []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := m.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		problems = append(problems, err)
		return c
	}
	histogram := func(name, description string, buckets []float64) metric.Float64Histogram {
		h, err := m.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(buckets...))
		problems = append(problems, err)
		return h
	}
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := m.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		problems = append(problems, err)
		return g
	}
	// Seconds in hand, and seconds that a job can wait.
	quick := []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	patient := []float64{.01, .05, .25, 1, 5, 15, 30, 60, 300, 900, 3600, 14400}

	m.hop = histogram("ipqs_worker.hop.duration", "Time that a job was in a hop's hands, by what came of it.", quick)
	m.attempt = histogram("ipqs_worker.attempt.duration", "Time of one run of a hop's stage, by what came of it.", quick)
	m.wait = histogram("ipqs_worker.queue.wait", "Time that a job waited for a hop, from when it was put into the queue.", patient)
	m.job = histogram("ipqs_worker.job.duration", "Time from OpenCTI's request, or a replay, to the end of the job.", patient)
	m.retries = counter("ipqs_worker.retries", "{retry}", "Times that a hop tries a job again, by why and how.")
	m.faults = counter("ipqs_worker.faults", "{fault}", "Runs of a stage that did not go well, and jobs that the next hop's queue did not take.")
	m.letters = counter("ipqs_worker.dead_letters", "{letter}", "Jobs that a hop gave up, by why.")
	m.ended = counter("ipqs_worker.jobs", "{job}", "Jobs that ended, by how and why.")
	m.redelivered = counter("ipqs_worker.redeliveries", "{message}", "Messages that somebody had in hand before and did not acknowledge.")
	m.dropped = counter("ipqs_worker.jobs_dropped", "{message}", "Messages that a hop dropped without an end of their job, by why.")
	m.depth = gauge("ipqs_worker.queue.depth", "{message}", "Messages that wait: for the hop (work), in its waiting rooms (retry), given up (poison).")
	m.consumers = gauge("ipqs_worker.queue.consumers", "{consumer}", "Consumers of the hop's queue, of all workers.")
	m.pausedHop = gauge("ipqs_worker.hop.paused", "", "1 while the hop takes no jobs because none could be done.")
	inFlight, err := m.meter.Int64UpDownCounter("ipqs_worker.hop.in_flight", metric.WithUnit("{job}"),
		metric.WithDescription("Jobs in the hop's hands."))
	problems = append(problems, err)
	m.inFlight = inFlight
	oldest, err := m.meter.Float64ObservableGauge("ipqs_worker.queue.oldest_age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest job that waits for the hop or is in its hands, at most, since it was put into the queue."))
	problems = append(problems, err)
	m.oldest = oldest
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("making the pipeline's metrics: %w", err)
	}
	return m, nil
}

// begin makes the series of the hops that must be there before anything happens: a rule sees a first increase only then.
func (m *meters) begin(ctx context.Context, hops []Hop, only []string) {
	for _, hop := range hops {
		if len(only) > 0 && !slices.Contains(only, hop.Name()) {
			continue
		}
		name := metric.WithAttributes(LabelHop.String(hop.Name()))
		m.inFlight.Add(ctx, 0, name)
		m.redelivered.Add(ctx, 0, name)
		m.dropped.Add(ctx, 0, metric.WithAttributes(LabelHop.String(hop.Name()), LabelReason.String(string(stages.ReasonCopy))))
		for _, fault := range []stages.Fault{ // that rules ask for
			{Class: stages.AccountWide, Reason: stages.ReasonAuth},
			{Class: stages.Permanent, Reason: stages.ReasonCapability},
			{Class: stages.Permanent, Reason: stages.ReasonContract},
			{Class: stages.Transient, Reason: stages.ReasonBroker},
		} {
			m.faults.Add(ctx, 0, metric.WithAttributes(LabelHop.String(hop.Name()), LabelClass.String(string(fault.Class)),
				LabelReason.String(string(fault.Reason))))
		}
	}
	for _, end := range []End{Published, Skipped, DeadLettered} {
		m.ended.Add(ctx, 0, metric.WithAttributes(LabelEnd.String(string(end)), LabelReason.String("")))
	}
}

// metered measures every trip: what waits before it, what is in hand, what came of it.
func (p *Pipeline) metered(hop Hop) message.HandlerMiddleware {
	name := LabelHop.String(hop.Name())
	of := p.meters.labels.of(name)
	line := p.lines[hop.topic()]
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			trip, m := tripOf(msg), p.meters
			ctx := msg.Context()
			m.inFlight.Add(ctx, 1, of)
			line.take(trip)
			defer func() { // also should something of ours panic
				line.leave(trip)
				m.inFlight.Add(ctx, -1, of)
			}()
			if trip.delivery == deliveryAgain {
				m.redelivered.Add(ctx, 1, of)
			}
			if !trip.enqueued.IsZero() {
				m.wait.Record(ctx, seconds(trip.began.Sub(trip.enqueued)), m.labels.of(name, LabelDelivery.String(trip.delivery)))
			}
			out, err := next(msg)
			p.count(ctx, name, trip)
			return out, err
		}
	}
}

// count tells what came of a trip.
func (p *Pipeline) count(ctx context.Context, hop attribute.KeyValue, trip *trip) {
	m, now := p.meters, p.Now()
	m.hop.Record(ctx, seconds(now.Sub(trip.began)), m.labels.of(hop, LabelOutcome.String(outcome(trip))))
	reason := LabelReason.String("")
	if trip.fault != nil {
		reason = LabelReason.String(string(trip.fault.Reason))
	}
	switch trip.fate {
	case parked:
		m.retries.Add(ctx, 1, m.labels.of(hop, reason, LabelHow.String(retriedParked)))
	case paused:
		m.retries.Add(ctx, 1, m.labels.of(hop, reason, LabelHow.String(retriedPaused)))
	case returned, dropped: // the broker gives it to somebody, or nobody has to do anything
	}
	if trip.end == "" {
		return
	}
	end := LabelEnd.String(string(trip.end))
	m.ended.Add(ctx, 1, m.labels.of(end, reason))
	m.job.Record(ctx, seconds(now.Sub(trip.requested)), m.labels.of(end))
	if trip.end == DeadLettered {
		m.letters.Add(ctx, 1, m.labels.of(hop, reason))
	}
}

// tried tells what came of an attempt.
func (m *meters) tried(ctx context.Context, hop Hop, took time.Duration, fault *stages.Fault) {
	name := LabelHop.String(hop.Name())
	m.attempt.Record(ctx, seconds(took), m.labels.of(name, LabelOutcome.String(attemptOutcome(fault))))
	if fault != nil {
		m.faulted(ctx, hop, fault)
	}
}

func (m *meters) faulted(ctx context.Context, hop Hop, fault *stages.Fault) {
	m.faults.Add(ctx, 1, m.labels.of(LabelHop.String(hop.Name()), LabelClass.String(string(fault.Class)),
		LabelReason.String(string(fault.Reason))))
}

// retried tells that a stage runs again while the message is in hand, after a fault.
func (m *meters) retried(ctx context.Context, hop Hop, fault *stages.Fault) {
	m.retries.Add(ctx, 1, m.labels.of(LabelHop.String(hop.Name()), LabelReason.String(string(fault.Reason)),
		LabelHow.String(retriedInHand)))
}

// attemptOutcome is "ok" or the class of the fault.
func attemptOutcome(fault *stages.Fault) string {
	if fault == nil {
		return "ok"
	}
	return string(fault.Class)
}

// seconds is never negative: clocks of two machines differ.
func seconds(d time.Duration) float64 { return max(d.Seconds(), 0) }
