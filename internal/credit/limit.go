package credit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"opencti-ipqs-worker/ipqs"
)

// Pacer spaces out what is done.
type Pacer interface {
	// Wait returns when the next one may begin. Its error is ctx's, or says that ctx would end before.
	Wait(ctx context.Context) error
}

// NewPacer makes a [Pacer] of one process that lets so many begin in a second, evenly spaced.
func NewPacer(perSecond float64) Pacer { return rate.NewLimiter(rate.Limit(perSecond), 1) }

const (
	// cutEvery bounds how often the window is halved: what is refused at once was asked at once.
	cutEvery = time.Second
	// slow is how long an answer takes that is no reason to ask more at once.
	slow = 8 * time.Second
	// patience is how long a question waits in line. With the longest that IPQS itself may take, it stays within the time
	// that a job has for its lookup: waiting is not to look like failing.
	patience = 30 * time.Second
	// comeBack is when a question should be asked again that was too long in line.
	comeBack = 5 * time.Second
)

// Limiter has questions wait until IPQS is to be asked: for their turn, the urgent ones first; for one of so many that may
// be under way at once; and for the pace.
//
// How many at once follows what IPQS bears, as TCP does it: half as many when it refuses for there being too many, one more
// when as many as there may be were answered well. It is never more than the operator allows.
type Limiter struct {
	next   ipqs.Lookuper
	line   line
	window window
	pacer  Pacer
	counts *counts
}

var _ ipqs.Lookuper = (*Limiter)(nil)

func newLimiter(next ipqs.Lookuper, most int, pacer Pacer, counts *counts) *Limiter {
	most = max(most, 1)
	return &Limiter{
		next: next, pacer: pacer, counts: counts,
		window: window{most: most, size: float64(most), freed: make(chan struct{}, 1)},
	}
}

// Lookup asks when it is this question's turn. Where that takes too long, the error is [ipqs.ErrThrottled].
func (l *Limiter) Lookup(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
	came := time.Now()
	if err := l.turn(ctx, q); err != nil {
		return nil, err
	}
	began := time.Now()
	l.counts.add(ctx, Observation{Kind: q.Kind, Event: Asked, Waited: began.Sub(came)})
	var err error
	defer func() { l.window.release(err, time.Since(began)) }() // also if the Lookuper panics
	report, err := l.next.Lookup(ctx, q)
	return report, err
}

// turn waits in line. Only who is first waits for the rest, so that an urgent question that comes meanwhile is the next.
func (l *Limiter) turn(ctx context.Context, q ipqs.Query) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := l.line.enter(waiting, q.Urgent)
	if err == nil {
		defer l.line.leave()
		err = l.window.acquire(waiting)
	}
	if err == nil && l.pacer != nil {
		if err = l.pacer.Wait(waiting); err != nil {
			l.window.release(err, 0)
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("waiting to look up %s: %w", q.Kind, ctx.Err())
	default:
		return &ipqs.APIError{
			Class: ipqs.ClassThrottled, Kind: q.Kind, Message: "too many lookups wait for their turn", RetryAfter: comeBack,
		}
	}
}

// line lets one through at a time: the urgent ones first, each sort in the order they came.
type line struct {
	mu     sync.Mutex
	busy   bool
	urgent []chan struct{}
	others []chan struct{}
}

func (l *line) enter(ctx context.Context, urgent bool) error {
	l.mu.Lock()
	if !l.busy {
		l.busy = true
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{}) // closed when it is
	lane := &l.others
	if urgent {
		lane = &l.urgent
	}
	*lane = append(*lane, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	for i, waiting := range *lane {
		if waiting == turn {
			*lane = append((*lane)[:i], (*lane)[i+1:]...)
			l.mu.Unlock()
			return ctx.Err()
		}
	}
	l.mu.Unlock()
	l.leave() // it was its turn at the same moment
	return ctx.Err()
}

func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := &l.urgent
	if len(*lane) == 0 {
		lane = &l.others
	}
	if len(*lane) == 0 {
		l.busy = false
		return
	}
	close((*lane)[0])
	*lane = (*lane)[1:]
}

func (l *line) waiting() (urgent, others int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.urgent), len(l.others)
}

// window is how many questions may be under way at once.
type window struct {
	most  int
	freed chan struct{} // holds one when there may be room; one waits at a time

	mu    sync.Mutex
	size  float64
	inUse int
	cut   time.Time // when it was last halved
}

func (w *window) acquire(ctx context.Context) error {
	for {
		w.mu.Lock()
		if w.inUse < int(w.size) {
			w.inUse++
			w.mu.Unlock()
			return nil
		}
		w.mu.Unlock()
		select {
		case <-w.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release ends a question that took so long. What it says about IPQS moves the window.
func (w *window) release(err error, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inUse--
	now := time.Now()
	switch {
	case errors.Is(err, ipqs.ErrThrottled):
		if now.Sub(w.cut) >= cutEvery {
			w.size, w.cut = max(w.size/2, 1), now
		}
	case (err == nil || errors.Is(err, ipqs.ErrItem)) && took < slow:
		w.size = min(w.size+1/w.size, float64(w.most))
	}
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

func (w *window) state() (size, inUse int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.size), w.inUse
}
