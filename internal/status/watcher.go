package status

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// Broker counts what waits.
type Broker interface {
	// Depth returns how many messages of a topic wait, without those in hand, and how many consumers it has.
	Depth(ctx context.Context, topic string) (messages, consumers int, err error)
	// Ready returns nil while the broker can be asked.
	Ready() error
}

// Options says whom a Watcher asks.
type Options struct {
	// Broker is nil where it is not asked, and NoBroker then says why.
	Broker   Broker
	NoBroker string
	// Hops are those of the workers' pipeline; nil is [pipeline.Definition].
	Hops []pipeline.Hop
	// Workers are their addresses, as [Address] returns them.
	Workers []string
	// HTTP carries the requests to the workers; nil is a client without a proxy.
	HTTP *http.Client
	// Patience is how long one look may wait for anybody; zero is 5 s.
	Patience time.Duration
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Watcher looks at a pipeline. One goroutine at a time may use it.
type Watcher struct {
	options Options
	hops    []pipeline.Hop
	before  map[string]tally // of the look before, by worker
}

// tally is what a worker has counted since its start, by hop.
type tally struct {
	at           time.Time
	done, faults map[string]float64
	runs         map[string]bool
}

// New makes a Watcher.
func New(o Options) *Watcher {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	if o.Patience <= 0 {
		o.Patience = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Hops == nil {
		o.Hops = pipeline.Definition(pipeline.World{})
	}
	return &Watcher{options: o, hops: o.Hops}
}

// Look asks everybody. It reports how fast the hops are from the second look on.
func (w *Watcher) Look(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, w.options.Patience)
	defer cancel()
	samples := make([]sample, len(w.options.Workers))
	var asking sync.WaitGroup
	for i, address := range w.options.Workers {
		asking.Go(func() { samples[i] = ask(ctx, w.options.HTTP, address) })
	}
	r := Report{At: w.options.Now()}
	for _, hop := range w.hops {
		r.Hops = append(r.Hops, Hop{Name: hop.Name()})
	}
	counted := w.askBroker(ctx, &r)
	asking.Wait()
	metrics := false
	for i := range samples {
		s := &samples[i]
		r.Workers = append(r.Workers, s.worker)
		if s.worker.Problem != "" {
			r.Unknown = append(r.Unknown, s.worker.Address+": "+s.worker.Problem)
		}
		if s.families == nil {
			continue
		}
		metrics = true
		r.add(s, !counted)
	}
	if metrics {
		w.rates(&r, samples)
	}
	for i := range r.Hops {
		h := &r.Hops[i]
		switch {
		case h.Waiting == nil || *h.Waiting > 0:
		case h.InHand == nil: // nothing is there that is known to be old
			h.Oldest = nil
		case counted && *h.InHand == 0: // workers count every fifteen seconds, and the broker has just said that nothing is left
			h.Oldest = new(float64)
		}
	}
	return r
}

// askBroker fills in what waits, and reports whether the broker said.
func (w *Watcher) askBroker(ctx context.Context, r *Report) bool {
	if w.options.Broker == nil {
		if w.options.NoBroker != "" {
			r.Unknown = append(r.Unknown, "broker: "+w.options.NoBroker)
		}
		return false
	}
	missing := 0
	defer func() {
		if missing > 0 {
			r.Unknown = append(r.Unknown, fmt.Sprintf("broker: %d queues are not there yet: no worker has run", missing))
		}
	}()
	for i, hop := range w.hops {
		topics := pipeline.Topics([]pipeline.Hop{hop})
		if !slices.ContainsFunc(topics, func(t pipeline.Topic) bool { return t.Delay > 0 }) {
			r.Hops[i].Retrying = new(int) // it has no waiting room
		}
		for _, topic := range topics {
			messages, consumers, err := w.options.Broker.Depth(ctx, topic.Name)
			if errors.Is(err, rabbitmq.ErrNoQueue) {
				missing++
				continue
			}
			if err != nil && w.options.Broker.Ready() != nil { // then nobody is there to ask for the others
				r.Unknown = append(r.Unknown, "broker: "+w.options.Broker.Ready().Error())
				return i > 0
			}
			if err != nil {
				r.Unknown = append(r.Unknown, fmt.Sprintf("broker: queue of %s: %v", topic.Name, err))
				continue
			}
			r.Hops[i].count(topic, hop, messages, consumers)
		}
	}
	return true
}

func (h *Hop) count(topic pipeline.Topic, hop pipeline.Hop, messages, consumers int) {
	switch {
	case topic.Delay > 0:
		add(&h.Retrying, messages)
	case topic.Name == hop.Poison():
		add(&h.Poison, messages)
	default:
		add(&h.Waiting, messages)
		if topic.Name == hop.Name() || topic.Foreign { // a worker consumes both
			most(&h.Consumers, consumers)
		}
	}
}

// add adds to what may not be known yet.
func add[N int | float64](sum **N, n N) {
	if *sum == nil {
		*sum = new(N)
	}
	**sum += n
}

// most keeps the greater one.
func most[N int | float64](greatest **N, n N) {
	if *greatest == nil || n > **greatest {
		*greatest = &n
	}
}

// add adds what a worker said. depths says whether the broker did not say what waits.
func (r *Report) add(s *sample, depths bool) {
	for i := range r.Hops {
		h := &r.Hops[i]
		of := func(name string, visit func(m *dto.Metric, value float64)) {
			s.each(name, func(m *dto.Metric, value float64) {
				if label(m, "hop") == h.Name {
					visit(m, value)
				}
			})
		}
		of("ipqs_worker_hop_in_flight", func(_ *dto.Metric, v float64) { add(&h.InHand, int(v)) })
		of("ipqs_worker_queue_oldest_age_seconds", func(_ *dto.Metric, v float64) { most(&h.Oldest, v) })
		if depths { // each worker counts the same queues
			of("ipqs_worker_queue_depth", func(m *dto.Metric, v float64) {
				switch label(m, "queue") {
				case "work":
					most(&h.Waiting, int(v))
				case "retry":
					most(&h.Retrying, int(v))
				case "poison":
					most(&h.Poison, int(v))
				}
			})
			of("ipqs_worker_queue_consumers", func(_ *dto.Metric, v float64) { most(&h.Consumers, int(v)) })
		}
		for _, p := range s.pauses {
			if p.Hop == h.Name {
				h.Pauses = append(h.Pauses, p)
			}
		}
	}
	r.addIPQS(s)
}

// addIPQS adds what a worker said of IPQS.
func (r *Report) addIPQS(s *sample) {
	if s.families["ipqs_worker_breaker_state"] == nil {
		return
	}
	if r.IPQS == nil {
		r.IPQS = &IPQS{}
	}
	states := []string{"", "closed", "half_open", "open"}
	s.each("ipqs_worker_breaker_state", func(m *dto.Metric, v float64) {
		if is := label(m, "state"); v == 1 && slices.Index(states, is) > slices.Index(states, r.IPQS.Breaker) {
			r.IPQS.Breaker = is
		}
	})
	// Of what the workers share, and of what each counts alone, the most is the nearest to the truth.
	for name, to := range map[string]**int{
		"ipqs_worker_budget_spent": &r.IPQS.SpentToday, "ipqs_worker_budget_limit": &r.IPQS.DailyBudget, "ipqs_worker_credits_reserve": &r.IPQS.Reserve,
	} {
		s.each(name, func(_ *dto.Metric, v float64) { most(to, int(v)) })
	}
	s.each("ipqs_worker_credits_left", func(_ *dto.Metric, v float64) {
		if left := int(v); r.IPQS.Left == nil || left < *r.IPQS.Left {
			r.IPQS.Left = &left
		}
	})
	s.each("ipqs_worker_budget_reached", func(_ *dto.Metric, v float64) { r.IPQS.Reached = r.IPQS.Reached || v == 1 })
	s.each("ipqs_worker_limiter_under_way", func(_ *dto.Metric, v float64) { add(&r.IPQS.UnderWay, int(v)) })
	s.each("ipqs_worker_limiter_waiting", func(_ *dto.Metric, v float64) { add(&r.IPQS.WaitingTurns, int(v)) })
}

// left are the outcomes of a trip after which the job is no longer the hop's.
var left = []string{"passed_on", "published", "skipped", "dead_lettered"}

// noFaults are the classes of what is counted as a fault and is none.
var noFaults = []string{"skip", "pending", "stopping"}

// rates compares what the workers counted with the look before. A worker that was not asked then, or has begun anew since,
// counts from the next look on.
func (w *Watcher) rates(r *Report, samples []sample) {
	now := make(map[string]tally)
	for i := range samples {
		s := &samples[i]
		if s.families == nil {
			continue
		}
		t := tally{r.At, map[string]float64{}, map[string]float64{}, map[string]bool{}}
		s.each("ipqs_worker_hop_in_flight", func(m *dto.Metric, _ float64) { t.runs[label(m, "hop")] = true })
		s.each("ipqs_worker_hop_duration_seconds", func(m *dto.Metric, v float64) {
			t.runs[label(m, "hop")] = true
			if slices.Contains(left, label(m, "outcome")) {
				t.done[label(m, "hop")] += v
			}
		})
		s.each("ipqs_worker_faults_total", func(m *dto.Metric, v float64) {
			if !slices.Contains(noFaults, label(m, "class")) {
				t.faults[label(m, "hop")] += v
			}
		})
		now[s.worker.Address] = t
		before, ok := w.before[s.worker.Address]
		seconds := t.at.Sub(before.at).Seconds()
		if !ok || seconds <= 0 {
			continue
		}
		for j := range r.Hops {
			h := &r.Hops[j]
			if !t.runs[h.Name] {
				continue // it can't say how fast the others are
			}
			if done, faults := t.done[h.Name]-before.done[h.Name], t.faults[h.Name]-before.faults[h.Name]; done >= 0 && faults >= 0 {
				add(&h.Rate, done/seconds)
				add(&h.Faults, faults/seconds)
			}
		}
	}
	w.before = now
}

// Heard reports whether anybody could be asked at all.
func (r Report) Heard() bool {
	asked := slices.ContainsFunc(r.Workers, func(w Worker) bool { return w.Ready != nil })
	return asked || slices.ContainsFunc(r.Hops, func(h Hop) bool { return h.Waiting != nil })
}
