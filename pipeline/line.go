package pipeline

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/metric"

	"opencti-ipqs-worker/stages"
)

// MetadataRequestedAt is when OpenCTI asked for the job, or when the job was replayed, RFC 3339 with milliseconds. It goes
// from hop to hop.
const MetadataRequestedAt = "ipqs_worker_requested_at"

// Counter is a transport that can tell how many messages wait in a topic, without those in hand, and how many consume it.
type Counter interface {
	Depth(ctx context.Context, topic string) (messages, consumers int, err error)
}

// timed fills in since when a message has waited, and since when its job has.
func (p *Pipeline) timed(msg *message.Message, trip *trip) {
	get := msg.Metadata.Get
	trip.enqueued = readTime(get(MetadataEnqueuedAt))
	if trip.enqueued.IsZero() {
		trip.enqueued = askedAt(trip.job)
	}
	trip.requested = readTime(get(MetadataRequestedAt))
	if trip.requested.IsZero() {
		trip.requested = trip.enqueued
	}
	if trip.requested.IsZero() {
		trip.requested = trip.began
	}
	switch {
	case get(MetadataRedelivered) == "true":
		trip.delivery = deliveryAgain
	case get(MetadataLastReason) != "":
		trip.delivery = deliveryRetry
	default:
		trip.delivery = deliveryFirst
	}
}

// askedAt is when OpenCTI made the job's work, which ends the work's id: work_<connector id>_<RFC 3339>. It is zero where
// that is not so, and for playbooks.
func askedAt(job stages.Job) time.Time {
	id := job.WorkID()
	at, err := time.Parse(time.RFC3339, id[strings.LastIndexByte(id, '_')+1:])
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// line is who waits for a hop: what is in its hands is known, of what is in the queue only how much. The queue is first in,
// first out, so all in it came after the last one that was taken, and after it was last seen empty: that is how old the
// oldest can be.
type line struct {
	mu     sync.Mutex
	inHand map[*trip]struct{}
	since  time.Time // nothing in the queue is older; zero if that is not known
	depths map[string]int
	seers  int // consumers, where the work is among depths
}

func newLine() *line { return &line{inHand: make(map[*trip]struct{})} }

func (l *line) take(t *trip) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inHand[t] = struct{}{}
	if t.delivery == deliveryFirst && t.enqueued.After(l.since) {
		l.since = t.enqueued
	}
}

func (l *line) leave(t *trip) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inHand, t)
}

// look is told what the transport counted.
func (l *line) look(at time.Time, depths map[string]int, consumers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.depths, l.seers = depths, consumers
	if n, counted := depths[queueWork]; counted && n == 0 && at.After(l.since) {
		l.since = at
	}
}

// oldest is how long the oldest job has waited, at most, and whether that is known.
func (l *line) oldest(now time.Time) (age time.Duration, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for t := range l.inHand {
		if !t.enqueued.IsZero() {
			age, known = max(age, now.Sub(t.enqueued)), true
		}
	}
	switch n, counted := l.depths[queueWork]; {
	case counted && n == 0:
		return age, true
	case counted && !l.since.IsZero():
		return max(age, now.Sub(l.since)), true
	default:
		return age, known
	}
}

// Values of [LabelQueue].
const (
	queueWork   = "work"
	queueRetry  = "retry"
	queuePoison = "poison"
)

const (
	// countEvery is how often the messages that wait are counted. It costs the broker one question for each queue.
	countEvery = 15 * time.Second
	// countTimeout bounds one count of all queues.
	countTimeout = 10 * time.Second
)

// observe registers what is read when metrics are, until stop is called.
func (p *Pipeline) observe() (stop func(), err error) {
	m := p.meters
	registration, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := p.Now()
		for _, hop := range p.Hops {
			name := LabelHop.String(hop.Name())
			var shut int64
			if _, is := p.gates[hop.Name()].paused(); is {
				shut = 1
			}
			o.ObserveInt64(m.pausedHop, shut, metric.WithAttributes(name))
			p.observeLines(o, hop, now)
		}
		return nil
	}, m.depth, m.consumers, m.pausedHop, m.oldest)
	if err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister() }, nil
}

// observeLines tells of the lines of a hop, of which there is one for each lane.
func (p *Pipeline) observeLines(o metric.Observer, hop Hop, now time.Time) {
	name := LabelHop.String(hop.Name())
	var oldest time.Duration
	depths, consumers, aged, counted := make(map[string]int), 0, false, false
	for _, lane := range hop.lanes() {
		line := p.lines[lane.topic()]
		if age, known := line.oldest(now); known {
			oldest, aged = max(oldest, age), true
		}
		line.mu.Lock()
		for queue, n := range line.depths {
			depths[queue] += n
		}
		if _, is := line.depths[queueWork]; is { // the two are counted together
			consumers, counted = max(consumers, line.seers), true
		}
		line.mu.Unlock()
	}
	// Of a queue that others take from, nobody here knows when its first one came.
	if aged && (p.runs(hop) || counted && consumers == 0) {
		o.ObserveFloat64(p.meters.oldest, seconds(oldest), metric.WithAttributes(name))
	}
	for queue, n := range depths {
		o.ObserveInt64(p.meters.depth, int64(n), metric.WithAttributes(name, LabelQueue.String(queue)))
	}
	if counted {
		o.ObserveInt64(p.meters.consumers, int64(consumers), metric.WithAttributes(name))
	}
}

// counting counts what waits in the queues, again and again from when the hops take messages until ctx ends. A queue that can't be counted is left out: we
// may not be allowed to, and the metric is missing then instead of wrong.
func (p *Pipeline) counting(ctx context.Context) {
	counter, ok := p.Transport.(Counter)
	if !ok {
		return
	}
	select {
	case <-p.Running():
	case <-ctx.Done():
		return
	}
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	for {
		p.countAll(ctx, counter)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Pipeline) countAll(ctx context.Context, counter Counter) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	for _, hop := range p.Hops {
		asked, depths, consumers := p.Now(), make(map[string]map[string]int), make(map[string]int)
		for _, lane := range hop.lanes() {
			depths[lane.topic()] = make(map[string]int)
		}
		for _, topic := range Topics([]Hop{hop}) {
			at, lane := queueWork, topic.Name
			if topic.Delay > 0 {
				lane = topic.Back
			} else if topic.Name == hop.Poison() {
				lane = hop.Name()
			}
			switch {
			case topic.Delay > 0:
				at = queueRetry
			case topic.Name == hop.Poison():
				at = queuePoison
			}
			messages, seers, err := counter.Depth(ctx, topic.Name)
			if err != nil {
				p.Logger.LogAttrs(ctx, slog.LevelDebug, "queue not counted", slog.String("topic", topic.Name), slog.String("error", err.Error()))
				continue
			}
			depths[lane][at] += messages
			if at == queueWork {
				consumers[lane] = seers
			}
		}
		for lane, found := range depths {
			p.lines[lane].look(asked, found, consumers[lane])
		}
	}
}
