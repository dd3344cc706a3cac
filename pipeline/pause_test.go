package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
)

// house is a pipeline whose one hop asks somebody who may be away.
type house struct {
	t         *testing.T
	pipeline  *pipeline.Pipeline
	transport *memory.Transport
	outcomes  chan pipeline.Outcome
	log       *bytes.Buffer
	stop      func() error

	breaker *ipqs.Breaker // in front of the one who is asked, if any

	mu    sync.Mutex
	fault error
	asked []time.Time
}

func open(t *testing.T, fault error) *house {
	t.Helper()
	h := &house{t: t, outcomes: make(chan pipeline.Outcome, 100_000), log: &bytes.Buffer{}, fault: fault}
	if errors.Is(fault, ipqs.ErrUnavailable) {
		h.breaker = ipqs.NewBreaker(h, ipqs.BreakerOptions{})
	}
	asking := patient("asking", h.ask, 5*time.Second)
	asking.Retry.First = 100 * time.Millisecond
	asking.Prefetch = 32
	hops := []pipeline.Hop{step("a", 1, pass), asking, step("z", 1, pass)}
	h.transport = memory.New(memory.Options{Topics: pipeline.Topics(hops), DrainTimeout: time.Minute})
	var err error
	h.pipeline, err = pipeline.New(pipeline.Options{
		Hops: hops, Transport: h.transport, Ends: &told{}, Drain: time.Minute,
		Logger:  slog.New(slog.NewTextHandler(h.log, nil)),
		Observe: func(o pipeline.Outcome) { h.outcomes <- o },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.pipeline.Run(ctx) }()
	<-h.pipeline.Running()
	h.stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-done, h.transport.Close())
	})
	t.Cleanup(func() { _ = h.stop() })
	return h
}

func (h *house) ask(ctx context.Context, job stages.Job) (stages.Job, error) {
	if h.breaker != nil {
		_, err := h.breaker.Lookup(ctx, ipqs.Query{})
		return job, err
	}
	_, err := h.Lookup(ctx, ipqs.Query{})
	return job, err
}

func (h *house) Lookup(context.Context, ipqs.Query) (*ipqs.Report, error) {
	time.Sleep(10 * time.Millisecond) // what asking takes, in a bubble
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, time.Now())
	return &ipqs.Report{}, h.fault
}

func (h *house) mend(fault error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = fault
}

func (h *house) times() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked)
}

func (h *house) send(n int) {
	h.t.Helper()
	for i := range n {
		put(h.t, h.transport, "a", message.NewMessage("m", fmt.Appendf(nil, `{"internal":{"work_id":"work_%d"},"event":{"entity_id":"x"}}`, i)))
	}
}

// An outage costs no job and no attempt, whatever it comes from, and only a look now and then.
func TestAnOutageOfAnHourCostsNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		fault       *stages.Fault
		least, most int // probes in an hour
	}{
		{"breaker", &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonCircuitOpen, After: 30 * time.Second, Err: ipqs.ErrCircuitOpen}, 90, 125},
		{"key", &stages.Fault{Class: stages.AccountWide, Reason: stages.ReasonAuth, Err: ipqs.ErrKey}, 10, 25},
		{"credits", &stages.Fault{Class: stages.AccountWide, Reason: stages.ReasonCredits, Err: ipqs.ErrCredits}, 10, 25},
		{"quota", &stages.Fault{Class: stages.AccountWide, Reason: stages.ReasonQuotaExhausted, Err: ipqs.ErrQuota}, 11, 13},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				const jobs = 500
				h := open(t, tt.fault)
				began := time.Now()
				h.send(jobs)
				time.Sleep(time.Hour) // of outage, in a bubble
				synctest.Wait()
				state, paused := h.pipeline.Paused()["asking"]
				if !paused || state.Reason != tt.fault.Reason || state.Since.Sub(began) > time.Second || state.Error == "" {
					t.Errorf("Paused() = %+v, want asking paused for %s since the beginning", h.pipeline.Paused(), tt.fault.Reason)
				}
				// Those that were in hand at the beginning asked once each.
				if probes := h.times() - 32; probes < tt.least || probes > tt.most {
					t.Errorf("%d probes, want %d to %d", probes, tt.least, tt.most)
				}
				waiting := 0
				for range 10 { // at this very second one may be in hand, as the probe
					var err error
					if waiting, _, err = h.transport.Depth(t.Context(), "asking"); err != nil {
						t.Fatal(err)
					}
					if waiting == jobs {
						break
					}
					time.Sleep(time.Second)
				}
				if waiting != jobs {
					t.Errorf("%d jobs in the queue, want all %d", waiting, jobs)
				}
				h.mend(nil)
				for range jobs {
					for {
						o := <-h.outcomes
						if o.Hop == "asking" && o.Fault != nil && !o.Paused {
							t.Fatalf("outcome = %+v, want only returns because of the pause", o)
						}
						if o.Hop == "asking" && o.Fault == nil && o.Attempts != 1 {
							t.Errorf("%d attempts counted, want 1", o.Attempts)
						}
						if o.End != "" {
							if o.End != pipeline.Published {
								t.Errorf("end = %+v, want published", o)
							}
							break
						}
					}
				}
				if all := h.pipeline.Paused(); len(all) > 0 {
					t.Errorf("Paused() = %v afterwards, want none", all)
				}
				if err := h.stop(); err != nil {
					t.Error(err)
				}
				if text := h.log.String(); strings.Count(text, "hop pauses") != 1 || strings.Count(text, "hop goes on") != 1 ||
					strings.Count(text, "\n") != 2 {
					t.Errorf("log = %s, want a line for the pause and one for its end", text)
				}
			})
		})
	}
}

// The breaker and the pause together: the first ones find out that IPQS is away, and then a probe each half minute.
func TestIPQSAwayForThreeMinutes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		const jobs = 1500 // more than the hop's queue has places for
		h := open(t, &ipqs.APIError{Class: ipqs.ClassUnavailable})
		h.send(jobs)
		time.Sleep(3 * time.Minute) // in a bubble
		if asked := h.times(); asked > 32+10 {
			t.Errorf("IPQS was asked %d times, want by those in hand at first and a handful of probes", asked)
		}
		h.mend(nil)
		began := time.Now()
		for published := 0; published < jobs; {
			switch o := <-h.outcomes; {
			case o.End == pipeline.Published:
				published++
			case o.End != "", o.Delay > 0:
				t.Fatalf("outcome = %+v, want neither an end nor a wait of its own for any job", o)
			}
		}
		if took := time.Since(began); took > 45*time.Second {
			t.Errorf("all were published %v after IPQS was back, want soon after the next probe", took)
		}
	})
}

// A probe that fails otherwise than the pause began is no reason to let all of them in.
func TestAProbeThatFailsInAnotherWayKeepsThePause(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		probe error
		goes  bool
	}{
		{"unavailable", ipqs.ErrUnavailable, false},
		{"throttled", &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonRateLimited, Err: errors.New("slow down")}, false},
		{"refused value", ipqs.ErrItem, true},
		{"skipped", &stages.Fault{Class: stages.Skip, Reason: stages.ReasonTLP, Err: errors.New("too secret")}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				h := open(t, ipqs.ErrKey)
				h.send(100)
				time.Sleep(time.Second) // in a bubble
				h.mend(tt.probe)
				time.Sleep(10 * time.Second) // past the first probe, in a bubble
				synctest.Wait()
				state, paused := h.pipeline.Paused()["asking"]
				if paused == tt.goes || paused && state.Probes == 0 {
					t.Errorf("Paused() = %+v, want paused: %v", h.pipeline.Paused(), !tt.goes)
				}
				h.mend(nil)
				ended := 0
				for ended < 100 {
					if o := <-h.outcomes; o.End != "" {
						ended++
					} else if !tt.goes && o.Fault != nil && !o.Paused {
						t.Errorf("outcome = %+v, want no attempt spent on a probe", o)
					}
				}
			})
		})
	}
}

func TestAStopDuringAPauseLosesNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		h := open(t, ipqs.ErrKey)
		h.send(100)
		time.Sleep(time.Minute) // in a bubble
		synctest.Wait()
		began := time.Now()
		waiting, _, err := h.transport.Depth(t.Context(), "asking")
		if err != nil || waiting < 99 { // one may be in hand, as a probe
			t.Errorf("%d jobs in the queue (error %v), want 100", waiting, err)
		}
		if err := h.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v, want it not to wait for a probe", took)
		}
		close(h.outcomes)
		for o := range h.outcomes {
			if o.End != "" {
				t.Errorf("end = %+v, want none", o)
			}
		}
	})
}

// The day of IPQS turns in New York: a probe goes then, whenever the one before was.
func TestTheQuotaIsBackWhenTheDayTurns(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		turn := time.Date(2000, 1, 1, 5, 0, 0, 0, time.UTC) // bubbles begin at midnight UTC of that day
		time.Sleep(time.Until(turn.Add(-7 * time.Minute)))  // in a bubble
		h := open(t, ipqs.ErrQuota)
		h.send(1)
		time.Sleep(15 * time.Minute) // in a bubble
		h.mu.Lock()
		defer h.mu.Unlock()
		var after []time.Duration
		for _, at := range h.asked {
			after = append(after, at.Sub(turn).Round(time.Second))
		}
		if len(after) < 3 || after[1] != -2*time.Minute || after[2] < 0 || after[2] > 2*time.Minute {
			t.Errorf("asked %v from the turn of the day, want 2m before and up to 2m after it among them", after)
		}
	})
}

// While lookups pause, a playbook hears at once that nothing comes of it.
func TestAPlaybookDoesNotWaitForAPause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrQuota }
		transport := w.memory()
		outcomes, stop := w.run(transport, 30*time.Second)
		for i, hop := range []string{"lookup", "resolve"} { // the first one meets the end of the quota, the next one its pause
			began := time.Now()
			ask(t, transport)
			if o := ending(outcomes); o.End != pipeline.DeadLettered || o.Hop != hop || o.Fault.Reason != stages.ReasonTimeout {
				t.Errorf("end = %+v, want dead-lettered at %s for the playbook's patience", o, hop)
			}
			if len(w.answers) != i+1 || w.answers[i] != stepBundle || w.at[i].Sub(began) > time.Second {
				t.Errorf("answers = %v at %v, want the bundle as it came, at once", w.answers, w.at)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
