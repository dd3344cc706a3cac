package credit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"

	"opencti-ipqs-worker/ipqs"
)

const (
	// answerVersion is part of every key: a new one forgets all answers. It changes when a report that was kept would be
	// read wrongly, not when it lacks what newer ones have.
	answerVersion = "1"
	// flightFor bounds one question, waiting in line included. It is not the asker's time limit, which may be shorter than
	// that of others who ask the same.
	flightFor = 2 * time.Minute
	// claimMore is how long another process may take for the same question beside what IPQS may: as long as it waits in line,
	// and a little for what it does before and after. A claim that ended earlier would have it asked, and paid for, twice.
	claimMore = patience + 5*time.Second
	// Waits between looks whether another process has the answer.
	firstLook, lastLook = 10 * time.Millisecond, 250 * time.Millisecond
)

// Cache gives answers again that were given before, and one answer to all who ask the same at the same time, in this
// process and in those it shares a [Store] with. It keeps reports, and for a short while that a value is refused for good;
// never that something went wrong.
//
// Questions with a file are passed on: nothing says what is in it before it is read.
type Cache struct {
	next        ipqs.Lookuper
	store       Store
	key         string
	life        map[ipqs.Kind]time.Duration
	refusals    time.Duration
	fingerprint func(ipqs.Kind) string
	timeout     func(ipqs.Kind) time.Duration
	counts      *counts

	flights singleflight.Group
	stopped context.Context //nolint:containedctx // of the Cache, which outlives every caller
	stop    context.CancelFunc
}

var _ ipqs.Lookuper = (*Cache)(nil)

func newCache(next ipqs.Lookuper, o Options, counts *counts) *Cache {
	c := &Cache{
		next: next, store: o.Store, key: o.Key, life: o.Life, refusals: o.Refusals, counts: counts,
	}
	if c.store == nil {
		c.store, c.life = NewMemory(1), nil
	}
	if c.fingerprint = o.Fingerprint; c.fingerprint == nil {
		c.fingerprint = func(ipqs.Kind) string { return "" }
	}
	if c.timeout = o.Timeout; c.timeout == nil {
		c.timeout = ipqs.DefaultTimeout
	}
	c.stopped, c.stop = context.WithCancel(context.Background())
	return c
}

// record is what is kept of an answer: a report, or a refusal.
type record struct {
	Report  *ipqs.Report `json:"report,omitempty"`
	Refusal *refusal     `json:"refusal,omitempty"`
}

type refusal struct {
	Status  int    `json:"status"`
	Message string `json:"message"` // without the key and the value, as every APIError's
}

// landed is what came of one question that several may have asked.
type landed struct {
	report   *ipqs.Report
	err      error
	panicked any
}

// Lookup returns what was kept, else joins whoever asks the same at this moment, else asks. A caller whose ctx ends leaves;
// the question goes on for the others, and for who asks next: it may be paid for already.
func (c *Cache) Lookup(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
	if q.Value == "" {
		return c.next.Lookup(ctx, q)
	}
	key := Hide(c.key, answerVersion, string(q.Kind), c.fingerprint(q.Kind), q.Value)
	if report, err, ok := c.kept(ctx, key, q); ok {
		c.counts.add(ctx, Observation{Kind: q.Kind, Event: Hit})
		return report, err
	}
	asked := false
	answer := c.flights.DoChan(key, func() (any, error) {
		asked = true
		return c.fly(ctx, key, q), nil
	})
	select {
	case result := <-answer:
		got, _ := result.Val.(landed)
		if got.panicked != nil {
			panic(got.panicked) // where somebody recovers it: singleflight would end the process
		}
		if !asked {
			c.counts.add(ctx, Observation{Kind: q.Kind, Event: Joined})
		}
		return got.report, got.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the answer about %s: %w", q.Kind, ctx.Err())
	}
}

// fly asks on behalf of all who ask the same.
func (c *Cache) fly(ctx context.Context, key string, q ipqs.Query) (got landed) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightFor)
	defer cancel()
	defer context.AfterFunc(c.stopped, cancel)()
	defer func() {
		if p := recover(); p != nil {
			got = landed{panicked: p}
		}
	}()
	if c.life[q.Kind] <= 0 {
		report, err := c.next.Lookup(ctx, q)
		return landed{report: stamped(report), err: err}
	}
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		release, ours := c.store.Claim(ctx, "claim:"+key, c.timeout(q.Kind)+claimMore)
		report, err, ok := c.kept(ctx, key, q) // whoever had the claim has put it there before it gave the claim back
		switch {
		case ours && !ok:
			defer release()
			report, err = c.ask(ctx, key, q)
			return landed{report: report, err: err}
		case ours:
			release()
		}
		if ok {
			c.counts.add(ctx, Observation{Kind: q.Kind, Event: Joined})
			return landed{report: report, err: err}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return landed{err: fmt.Errorf("waiting for another worker's answer about %s: %w", q.Kind, ctx.Err())}
		}
	}
}

// ask asks, and keeps the answer.
func (c *Cache) ask(ctx context.Context, key string, q ipqs.Query) (*ipqs.Report, error) {
	report, err := c.next.Lookup(ctx, q)
	report = stamped(report)
	api, _ := errors.AsType[*ipqs.APIError](err)
	switch {
	case err == nil:
		c.keep(ctx, key, record{Report: report}, c.life[q.Kind])
	case c.refusals > 0 && errors.Is(err, ipqs.ErrItem) && api != nil && api.Status != 0:
		c.keep(ctx, key, record{Refusal: &refusal{Status: api.Status, Message: api.Message}}, c.refusals)
	}
	return report, err
}

// stamped returns the report with the time when it was given, which is now.
func stamped(report *ipqs.Report) *ipqs.Report {
	if report == nil {
		return nil
	}
	given := *report
	given.AskedAt = time.Now().UTC().Truncate(time.Millisecond)
	return &given
}

func (c *Cache) keep(ctx context.Context, key string, r record, life time.Duration) {
	bytes, err := json.Marshal(r)
	if err != nil {
		return // it is asked for again then
	}
	c.store.Put(context.WithoutCancel(ctx), key, bytes, life)
}

// kept returns the answer that was kept: a report, or the error of a refusal.
func (c *Cache) kept(ctx context.Context, key string, q ipqs.Query) (report *ipqs.Report, refused error, ok bool) {
	if c.life[q.Kind] <= 0 {
		return nil, nil, false
	}
	bytes, _ := c.store.Get(ctx, key)
	var r record
	if json.Unmarshal(bytes, &r) != nil { // also where there is nothing
		r = record{}
	}
	switch {
	case r.Refusal != nil && c.refusals > 0 && !q.Afresh:
		return nil, &ipqs.APIError{Class: ipqs.ClassItem, Kind: q.Kind, Status: r.Refusal.Status, Message: r.Refusal.Message}, true
	case r.Report == nil || r.Report.Kind != q.Kind:
		return nil, nil, false
	default:
		r.Report.Cached = true
		return r.Report, nil, true
	}
}

func lengthOf(text string) string { return strconv.Itoa(len(text)) }
