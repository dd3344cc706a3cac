package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
)

// patient is a step that tries twice while the job is in hand, and again after each of the waits.
func patient(name string, run func(ctx context.Context, job stages.Job) (stages.Job, error), later ...time.Duration) pipeline.Hop {
	hop := step(name, 2, run)
	hop.Retry.Later = later
	return hop
}

func TestAJobThatFailsForLongerWaitsOutsideOfTheHop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault error
		// works is which run of the stage goes well; zero is none.
		works    int
		end      pipeline.End
		attempts int
		delays   []time.Duration
	}{
		{
			name: "it passes after the first wait", fault: errors.New("hiccup"), works: 3,
			end: pipeline.Published, attempts: 3, delays: []time.Duration{5 * time.Second},
		},
		{
			name: "it never passes", fault: errors.New("hiccup"),
			end: pipeline.DeadLettered, attempts: 8, delays: []time.Duration{5 * time.Second, 30 * time.Second, 30 * time.Second},
		},
		{
			name:  "it is told for how long",
			fault: &stages.Fault{Class: stages.Transient, Reason: stages.ReasonUnavailable, After: 20 * time.Second, Err: errors.New("busy")},
			works: 3, end: pipeline.Published, attempts: 3, delays: []time.Duration{30 * time.Second},
		},
		{
			name:  "it is told to come back later",
			fault: &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonRateLimited, After: 6 * time.Second, Err: errors.New("slow down")},
			works: 7, end: pipeline.Published, attempts: 7,
			delays: []time.Duration{30 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second},
		},
		{
			name:  "it is asked for more than any wait",
			fault: &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonRateLimited, After: time.Hour, Err: errors.New("slow down")},
			works: 2, end: pipeline.Published, attempts: 2, delays: slices.Repeat([]time.Duration{30 * time.Second}, 120),
		},
		{
			name:  "it is asked for a little more than the longest wait",
			fault: &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonRateLimited, After: 33 * time.Second, Err: errors.New("slow down")},
			works: 2, end: pipeline.Published, attempts: 2, delays: []time.Duration{30 * time.Second, 5 * time.Second},
		},
		{
			name:  "it is asked for more than anybody may",
			fault: &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonRateLimited, After: 1000 * time.Hour, Err: errors.New("slow down")},
			works: 2, end: pipeline.Published, attempts: 2, delays: slices.Repeat([]time.Duration{30 * time.Second}, 2*60*24),
		},
		{
			name:  "it is pending for longer than anything is tried, which counts as no attempt",
			fault: &stages.Fault{Class: stages.Pending, Reason: stages.ReasonPending, After: 12 * time.Second, Err: errors.New("not done yet")},
			works: 200, end: pipeline.Published, attempts: 1, delays: slices.Repeat([]time.Duration{30 * time.Second}, 199),
		},
		{
			name:  "what can't pass does not wait",
			fault: &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonInvalidValue, Err: errors.New("no such address")},
			end:   pipeline.DeadLettered, attempts: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				runs := 0
				var repeated []bool
				l := start(t, &told{}, step("a", 1, pass), patient("b", func(_ context.Context, job stages.Job) (stages.Job, error) {
					runs++
					repeated = append(repeated, job.Repeated)
					if runs == tt.works {
						return job, nil
					}
					return job, tt.fault
				}, 5*time.Second, 30*time.Second, 30*time.Second))
				began := time.Now()
				l.send("work_1")
				var delays []time.Duration
				var o pipeline.Outcome
				for o = range l.outcomes {
					if o.Delay > 0 {
						delays = append(delays, o.Delay)
					}
					if o.End != "" {
						break
					}
				}
				if o.End != tt.end || o.Attempts != tt.attempts {
					t.Errorf("end = %+v, want %s after %d attempts", o, tt.end, tt.attempts)
				}
				if diff := cmp.Diff(tt.delays, delays); diff != "" {
					t.Errorf("waits (-want +got):\n%s", diff)
				}
				for i, again := range repeated {
					if again != (i > 0) {
						t.Errorf("run %d was told that the job is repeated: %v", i+1, again)
					}
				}
				if tt.end != pipeline.DeadLettered {
					return
				}
				letter := pipeline.ReadDeadLetter("b.poison", l.transport.DeadLetters("b.poison")[0])
				if letter.Attempts != tt.attempts || letter.FirstAt.Sub(began) > time.Second || !letter.FirstAt.Before(letter.LastAt) && len(delays) > 0 {
					t.Errorf("letter = %+v, want %d attempts since %v", letter, tt.attempts, began)
				}
			})
		})
	}
}

// A server that asks for two hours is not asked again before, although no waiting room is that long.
func TestWhatTheServerAskedForIsHonoured(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		lookup := w.lookup
		var asked []time.Time
		w.lookup = func(ctx context.Context) (*ipqs.Report, error) {
			if asked = append(asked, time.Now()); len(asked) == 1 {
				return nil, &ipqs.APIError{Class: ipqs.ClassThrottled, Kind: ipqs.KindIP, RetryAfter: 2 * time.Hour}
			}
			return lookup(ctx)
		}
		w.takesWorks = true
		transport := w.memory()
		outcomes, stop := w.run(transport, 0)
		put(t, transport, "resolve", message.NewMessage("m", []byte(
			`{"internal":{"work_id":"work_1"},"event":{"entity_id":"ipv4-addr--1","entity_type":"IPv4-Addr"}}`)))
		o := ending(outcomes)
		if o.End != pipeline.Published || len(asked) != 2 {
			t.Fatalf("end = %+v after %d lookups, want published after the second", o, len(asked))
		}
		if after := asked[1].Sub(asked[0]); after < 2*time.Hour || after > 2*time.Hour+5*time.Minute {
			t.Errorf("IPQS was asked again after %v, want the two hours that it asked for", after)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What a stage has begun is in the job that waits, and comes again with it.
func TestAPendingJobComesAgainAsItsStageLeftIt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		attended bool
	}{{"in a waiting room", false}, {"in hand, where there is none", true}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				var began time.Time
				hops := []pipeline.Hop{step("a", 1, pass), patient("b", func(_ context.Context, job stages.Job) (stages.Job, error) {
					switch {
					case job.Risk == nil:
						began = time.Now()
						job.Risk = &stages.Risk{At: began}
						return job, &stages.Fault{Class: stages.Pending, Reason: stages.ReasonPending, After: 20 * time.Second}
					case time.Since(began) < time.Minute:
						return job, &stages.Fault{Class: stages.Pending, Reason: stages.ReasonPending, After: 20 * time.Second}
					}
					return job, nil
				}, 5*time.Second, 30*time.Second)}
				hops[1].Stage.Fills = []stages.Section{stages.SectionRisk}
				transport := memory.New(memory.Options{Topics: pipeline.Topics(hops)})
				outcomes, stop := carry(t, pipeline.Options{Hops: hops, Transport: transport, Attended: tt.attended})
				put(t, transport, "a", message.NewMessage("m", []byte(`{"internal":{"work_id":"w"},"event":{"entity_id":"x"}}`)))
				o := ending(outcomes)
				if o.End != pipeline.Published || o.Attempts != 1 || o.Job.Risk == nil || !o.Job.Risk.At.Equal(began) {
					t.Errorf("end = %+v with risk %+v, want published at the first attempt that counts, with what began at %v", o, o.Job.Risk, began)
				}
				if err := errors.Join(stop(), transport.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// While a job waits, nobody has it in hand: neither a stop nor a crash has anything to do with it.
func TestAWaitingJobIsLeftToTheTransport(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		runs := 0
		hops := []pipeline.Hop{patient("a", func(_ context.Context, job stages.Job) (stages.Job, error) {
			if runs++; runs < 3 {
				return job, errors.New("hiccup")
			}
			return job, nil
		}, time.Minute)}
		l := start(t, &told{}, hops...)
		l.send("work_1")
		for o := range l.outcomes {
			if o.Delay > 0 {
				break
			}
		}
		synctest.Wait()
		if waiting, _, err := l.transport.Depth(t.Context(), "a.retry.1m"); waiting != 1 || err != nil {
			t.Errorf("%d jobs in the waiting room (error %v), want 1", waiting, err)
		}
		began := time.Now()
		if o := l.end(); o.End != pipeline.Published || o.Attempts != 3 || time.Since(began) != time.Minute {
			t.Errorf("end after %v = %+v, want published a minute later, at the third attempt", time.Since(began), o)
		}
	})
}

// A job that a shutdown interrupts comes back with the attempts that it had.
func TestAttemptsSurviveARestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		tried := make(chan struct{}, 100)
		fail := func(_ context.Context, job stages.Job) (stages.Job, error) {
			tried <- struct{}{}
			return job, errors.New("hiccup")
		}
		hops := []pipeline.Hop{patient("a", fail, 5*time.Second)}
		transport := memory.New(memory.Options{Topics: pipeline.Topics(hops)})
		run := func() (outcomes chan pipeline.Outcome, stop func() error) {
			return carry(t, pipeline.Options{Hops: hops, Transport: transport, Drain: time.Minute})
		}
		outcomes, stop := run()
		put(t, transport, "a", message.NewMessage("m", []byte(`{"internal":{"work_id":"w"},"event":{"entity_id":"x"}}`)))
		<-tried
		<-tried
		if o := <-outcomes; o.Attempts != 2 || o.Delay != 5*time.Second {
			t.Errorf("outcome = %+v, want it to wait after two attempts", o)
		}
		<-tried // the third, after which a stop comes
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if o := <-outcomes; o.Fault == nil || o.Fault.Class != stages.Stopping {
			t.Errorf("outcome = %+v, want given back", o)
		}
		outcomes, stop = run()
		if o := ending(outcomes); o.End != pipeline.DeadLettered || o.Attempts != 4 {
			t.Errorf("end = %+v, want dead-lettered after four attempts, the one that was cut off not among them", o)
		}
		if err := errors.Join(stop(), transport.Close()); err != nil {
			t.Error(err)
		}
	})
}

// OpenCTI away for ten minutes is no reason to give anything up.
func TestAnOutageOfMinutesDeadLettersNothing(t *testing.T) {
	t.Parallel()
	for _, hop := range []string{"resolve", "lookup"} {
		t.Run(hop, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				began := time.Now()
				away := func() bool { return time.Since(began) < 10*time.Minute }
				entity, lookup := w.entity, w.lookup
				w.entity = func(ctx context.Context) (opencti.Entity, error) {
					if hop == "resolve" && away() {
						return opencti.Entity{}, opencti.ErrUnavailable
					}
					return entity(ctx)
				}
				w.lookup = func(ctx context.Context) (*ipqs.Report, error) {
					if hop == "lookup" && away() {
						return nil, ipqs.ErrUnavailable
					}
					return lookup(ctx)
				}
				w.takesWorks = true
				transport := w.memory()
				outcomes, stop := w.run(transport, 0)
				for i := range 10 {
					put(t, transport, "resolve", message.NewMessage("m", []byte(
						`{"internal":{"work_id":"work_`+strconv.Itoa(i)+`"},"event":{"entity_id":"ipv4-addr--1","entity_type":"IPv4-Addr"}}`)))
				}
				for range 10 {
					if o := ending(outcomes); o.End != pipeline.Published {
						t.Errorf("end = %+v, want published", o)
					}
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A playbook waits for its job, so nothing of it waits beyond that.
func TestAPlaybooksJobWaitsNoLongerThanThePlaybook(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrUnavailable }
		transport := w.memory()
		outcomes, stop := w.run(transport, 30*time.Second)
		began := time.Now()
		ask(t, transport)
		var delays []time.Duration
		for o := range outcomes {
			if o.Delay > 0 {
				delays = append(delays, o.Delay)
			}
			if o.End != "" {
				if o.End != pipeline.DeadLettered || o.Fault.Reason != stages.ReasonTimeout {
					t.Errorf("end = %+v, want dead-lettered for the playbook's patience", o)
				}
				break
			}
		}
		if diff := cmp.Diff([]time.Duration{5 * time.Second}, delays); diff != "" {
			t.Errorf("waits (-want +got):\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if answer, after := w.heard(began); answer != stepBundle || after > 30*time.Second {
			t.Errorf("answered after %v: %s, want its bundle within 30s", after, answer)
		}
	})
}

func TestAMessageThatKillsWorkersIsDeadLettered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		deliveries string
		end        pipeline.End
	}{{"", pipeline.Published}, {"4", pipeline.Published}, {"5", pipeline.DeadLettered}, {"17", pipeline.DeadLettered}, {"-5", pipeline.Published}, {"x", pipeline.Published}} {
		t.Run(tt.deliveries, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				runs := 0
				hops := []pipeline.Hop{step("a", 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
					runs++
					return job, nil
				})}
				transport := counting{memory.New(memory.Options{Topics: pipeline.Topics(hops)}), tt.deliveries}
				ended, stop := carry(t, pipeline.Options{Hops: hops, Transport: transport})
				put(t, transport, "a", message.NewMessage("m", []byte(`{"event":{"entity_id":"x"}}`)))
				o := <-ended
				if o.End != tt.end || (runs == 0) != (tt.end == pipeline.DeadLettered) {
					t.Errorf("end after %d runs = %+v, want %s", runs, o, tt.end)
				}
				if o.End == pipeline.DeadLettered && o.Fault.Reason != stages.ReasonCrashLoop {
					t.Errorf("reason = %s, want %s", o.Fault.Reason, stages.ReasonCrashLoop)
				}
				if err := errors.Join(stop(), transport.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// counting says how often a message was handed out before.
type counting struct {
	*memory.Transport
	deliveries string
}

func (c counting) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := c.Transport.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for msg := range in {
			msg.Metadata.Set(pipeline.MetadataDeliveries, c.deliveries)
			out <- msg
		}
	}()
	return out, nil
}
