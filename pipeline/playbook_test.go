package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
)

const (
	stepObject = `{"id":"ipv4-addr--1","spec_version":"2.1","type":"ipv4-addr","value":"198.51.100.7","x":1.50}`
	stepBundle = `{"id":"bundle--1","type":"bundle","objects":[` + stepObject + `]}`
)

// playbookMessage is what a playbook's step puts into the listen queue.
func playbookMessage(bundle string) string {
	return `{"internal":{"work_id":null,"playbook":{"event_id":"1-0","execution_id":"execution","playbook_id":"playbook",` +
		`"data_instance_id":"ipv4-addr--1","step_id":"step","previous_step_id":"before"},"applicant_id":"someone"},` +
		`"event":{"entity_id":"ipv4-addr--1","bundle":` + bundle + `}}`
}

// world stands in for OpenCTI and IPQS. It counts how often a playbook heard of its step, and complains of what must not
// happen in a playbook.
type world struct {
	t      *testing.T
	entity func(ctx context.Context) (opencti.Entity, error)
	lookup func(ctx context.Context) (*ipqs.Report, error)
	// hears says, for the n-th answer, whether OpenCTI takes it.
	hears func(n int) error
	// takesWorks says that not only playbooks ask.
	takesWorks bool

	mu      sync.Mutex
	tries   int
	answers []string // those taken
	at      []time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		t: t,
		entity: func(context.Context) (opencti.Entity, error) {
			return opencti.Entity{ID: "1", StandardID: "ipv4-addr--1", Type: "IPv4-Addr", Value: "198.51.100.7", CreatedAt: "2026-01-02T03:04:05.678Z"}, nil
		},
		lookup: func(context.Context) (*ipqs.Report, error) {
			return &ipqs.Report{Kind: ipqs.KindIP, IP: &ipqs.IP{FraudScore: number(87)}}, nil
		},
		hears: func(int) error { return nil },
	}
}

func number(n int) ipqs.Number {
	var v ipqs.Number
	if err := json.Unmarshal(fmt.Appendf(nil, "%d", n), &v); err != nil {
		panic(err)
	}
	return v
}

func (w *world) State(ctx context.Context, q opencti.StateQuery) (opencti.State, error) {
	entity, err := w.entity(ctx)
	return opencti.State{Entity: entity, Author: &opencti.Reference{ID: "1", StandardID: q.AuthorID}}, err
}

func (w *world) Lookup(ctx context.Context, _ ipqs.Query) (*ipqs.Report, error) { return w.lookup(ctx) }

func (w *world) Received(context.Context, opencti.WorkJob, string) error { return w.work("received") }

func (w *world) Processed(context.Context, opencti.WorkJob, string, opencti.WorkState) error {
	return w.work("processed")
}

func (w *world) Nothing(context.Context, opencti.WorkJob, string) error { return w.work("processed") }

func (w *world) Failed(context.Context, opencti.WorkJob, string) error { return w.work("failed") }

func (w *world) Announce(context.Context, opencti.WorkJob, int) (opencti.WorkState, error) {
	return opencti.WorkState{}, w.work("announced")
}

func (w *world) Push(context.Context, [][]byte) error { return w.work("pushed") }

func (w *world) work(what string) error {
	if w.takesWorks {
		return nil
	}
	w.t.Errorf("a playbook's job was %s, want nothing told of works and nothing pushed", what)
	return nil
}

func (w *world) EnsureLabel(context.Context, string, string) error { return nil }

func (w *world) RemoveLabel(context.Context, string, string, string) error { return nil }

func (w *world) PatchIndicator(context.Context, string, opencti.IndicatorPatch, string) error {
	w.t.Error("a playbook's job changed an indicator of the platform")
	return nil
}

func (w *world) AnswerPlaybook(_ context.Context, p opencti.Playbook, startedAt time.Time, bundle []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.StepID != "step" || string(p.Bundle) != stepBundle || startedAt.IsZero() {
		w.t.Errorf("answered step %s of %s, started at %v, want the step with what it was given", p.StepID, p.Bundle, startedAt)
	}
	w.tries++
	if err := w.hears(w.tries); err != nil {
		return err
	}
	w.answers, w.at = append(w.answers, string(bundle)), append(w.at, time.Now())
	return nil
}

// heard returns the one answer, and how long after since it came.
func (w *world) heard(since time.Time) (string, time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.answers) != 1 {
		w.t.Fatalf("the playbook went on %d times, want once: %q", len(w.answers), w.answers)
	}
	return w.answers[0], w.at[0].Sub(since)
}

// run starts the real pipeline in this world.
func (w *world) run(transport pipeline.Transport, maxWait time.Duration) (outcomes <-chan pipeline.Outcome, stop func() error) {
	w.t.Helper()
	outcomes, end := carry(w.t, pipeline.Options{
		Hops: w.hops(), Transport: transport, Ends: stages.Ending{Works: w, Playbooks: w}, Version: "test",
		PlaybookMaxWait: maxWait, Drain: 2 * time.Minute,
	})
	stop = sync.OnceValue(func() error { return errors.Join(end(), transport.Close()) })
	w.t.Cleanup(func() { _ = stop() })
	return outcomes, stop
}

func (w *world) hops() []pipeline.Hop {
	return pipeline.Definition(pipeline.World{
		Entities: w, Works: w, Playbooks: w, Risks: w, Labels: w, Indicators: w, Intake: w, Now: time.Now,
		Envelope: func(_ opencti.PushOptions, bundle []byte) ([]byte, error) { return bundle, nil },
		Policy:   stages.Policy{Scope: []string{"IPv4-Addr"}, MaxTLP: opencti.TLPAmber},
	})
}

func (w *world) memory() *memory.Transport {
	return memory.New(memory.Options{Topics: pipeline.Topics(w.hops()), DrainTimeout: 2 * time.Minute})
}

func ending(outcomes <-chan pipeline.Outcome) pipeline.Outcome {
	for o := range outcomes {
		if o.End != "" {
			return o
		}
	}
	return pipeline.Outcome{}
}

func put(t *testing.T, transport message.Publisher, topic string, msg *message.Message) {
	t.Helper()
	if err := transport.Publish(topic, msg); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, transport message.Publisher) {
	t.Helper()
	put(t, transport, "resolve", message.NewMessage(watermill.NewULID(), []byte(playbookMessage(stepBundle))))
}

func TestAPlaybooksJobIsEnrichedAndAnsweredOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		transport := w.memory()
		outcomes, stop := w.run(transport, 0)
		ask(t, transport)
		passed := make(map[string]int) // a hop may be observed after the one that it handed the job to
		for len(passed) < 5 {
			o := <-outcomes
			if passed[o.Hop]++; o.Hop == "publish" && (o.End != pipeline.Published || !o.Job.Answered) || o.Hop != "publish" && o.End != "" {
				t.Errorf("outcome = %+v, want published by the last hop", o)
			}
		}
		if diff := cmp.Diff(map[string]int{"resolve": 1, "lookup": 1, "score": 1, "bundle": 1, "publish": 1}, passed); diff != "" {
			t.Errorf("outcomes by hop (-want +got):\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		answer, _ := w.heard(time.Now())
		var bundle struct {
			ID      string
			Objects []json.RawMessage
		}
		if err := json.Unmarshal([]byte(answer), &bundle); err != nil {
			t.Fatal(err)
		}
		if bundle.ID != "bundle--1" || len(bundle.Objects) != 4 || !strings.Contains(string(bundle.Objects[0]), `"x":1.50`) ||
			!strings.Contains(string(bundle.Objects[0]), `"score":87`) {
			t.Errorf("answer = %s, want its bundle with the observable first, scored, then indicator, relationship and note", answer)
		}
	})
}

// Whatever goes wrong, the playbook goes on, once, with what it had, and not later than it waits.
func TestAPlaybookGoesOnWithWhatItHad(t *testing.T) {
	t.Parallel()
	const maxWait = 5 * time.Second // shorter than the hop of lookups would go on trying
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	tests := []struct {
		name   string
		world  func(w *world)
		end    pipeline.End
		reason stages.Reason
		hop    string
		// The answer comes this long after the question, at least and at most.
		least, most time.Duration
	}{
		{
			name: "above the ceiling", end: pipeline.Skipped, reason: stages.ReasonTLP, hop: "resolve",
			world: func(w *world) {
				w.entity = func(context.Context) (opencti.Entity, error) {
					return opencti.Entity{Type: "IPv4-Addr", Value: "198.51.100.7", Markings: []opencti.Marking{{Type: "TLP", Definition: "TLP:RED"}}}, nil
				}
			},
		},
		{
			name: "a private address", end: pipeline.Skipped, reason: stages.ReasonPrivate, hop: "resolve",
			world: func(w *world) {
				w.entity = func(context.Context) (opencti.Entity, error) {
					return opencti.Entity{Type: "IPv4-Addr", Value: "10.0.0.1"}, nil
				}
			},
		},
		{
			name: "out of scope", end: pipeline.Skipped, reason: stages.ReasonScope, hop: "resolve",
			world: func(w *world) {
				w.entity = func(context.Context) (opencti.Entity, error) { return opencti.Entity{Type: "Url"}, nil }
			},
		},
		{
			name: "not shown", end: pipeline.Skipped, reason: stages.ReasonNotFound, hop: "resolve",
			world: func(w *world) {
				w.entity = func(context.Context) (opencti.Entity, error) { return opencti.Entity{}, opencti.ErrNotFound }
			},
		},
		{
			name: "refused by IPQS", end: pipeline.DeadLettered, reason: stages.ReasonInvalidValue, hop: "lookup",
			world: func(w *world) {
				w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrItem }
			},
		},
		{
			name: "a defect", end: pipeline.DeadLettered, reason: stages.ReasonPanic, hop: "lookup",
			world: func(w *world) {
				w.lookup = func(context.Context) (*ipqs.Report, error) { panic("boom") }
			},
		},
		{
			name: "IPQS down for long", end: pipeline.DeadLettered, reason: stages.ReasonTimeout, hop: "lookup", most: maxWait,
			world: func(w *world) {
				w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrUnavailable }
			},
		},
		{
			name: "IPQS asks for patience", end: pipeline.DeadLettered, reason: stages.ReasonTimeout, hop: "lookup",
			world: func(w *world) {
				w.lookup = func(context.Context) (*ipqs.Report, error) {
					return nil, &ipqs.APIError{Class: ipqs.ClassThrottled, RetryAfter: time.Minute}
				}
			},
		},
		{
			name: "IPQS hangs", end: pipeline.DeadLettered, reason: stages.ReasonTimeout, hop: "lookup",
			least: maxWait, most: maxWait,
			world: func(w *world) {
				w.lookup = func(ctx context.Context) (*ipqs.Report, error) { return nil, hang(ctx) }
			},
		},
		{
			name: "OpenCTI slow, then IPQS hangs", end: pipeline.DeadLettered, reason: stages.ReasonTimeout, hop: "lookup",
			least: maxWait, most: maxWait,
			world: func(w *world) {
				entity := w.entity
				w.entity = func(ctx context.Context) (opencti.Entity, error) {
					time.Sleep(3 * time.Second) // the time that OpenCTI takes, in a bubble
					return entity(ctx)
				}
				w.lookup = func(ctx context.Context) (*ipqs.Report, error) { return nil, hang(ctx) }
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				tt.world(w)
				transport := w.memory()
				outcomes, stop := w.run(transport, maxWait)
				began := time.Now()
				ask(t, transport)
				o := ending(outcomes)
				if o.End != tt.end || o.Fault == nil || o.Fault.Reason != tt.reason || o.Hop != tt.hop {
					t.Errorf("end = %+v, want %s for %s at %s", o, tt.end, tt.reason, tt.hop)
				}
				letters := transport.DeadLetters(tt.hop + ".poison")
				if err := stop(); err != nil {
					t.Error(err)
				}
				answer, after := w.heard(began)
				if answer != stepBundle {
					t.Errorf("answer = %s, want the bundle as it came", answer)
				}
				if after < tt.least || after > tt.most {
					t.Errorf("answered after %v, want from %v to %v", after, tt.least, tt.most)
				}
				if tt.end == pipeline.Skipped {
					return
				}
				if len(letters) != 1 || letters[0].Metadata.Get(pipeline.MetadataAnswered) != "true" ||
					letters[0].Metadata.Get(pipeline.DeadLetterReason) != string(tt.reason) {
					t.Errorf("dead letters = %v, want one that says %s and that the step was answered", letters, tt.reason)
				}
			})
		})
	}
}

func TestAReplayAnswersNoPlaybookAgain(t *testing.T) {
	t.Parallel()
	for _, hop := range []string{"resolve", "lookup"} {
		t.Run(hop, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				entity, lookup := w.entity, w.lookup
				if hop == "resolve" {
					w.entity = func(context.Context) (opencti.Entity, error) { return opencti.Entity{}, opencti.ErrForbidden }
				} else {
					w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrItem }
				}
				transport := w.memory()
				outcomes, stop := w.run(transport, 0)
				ask(t, transport)
				if o := ending(outcomes); o.End != pipeline.DeadLettered {
					t.Fatalf("end = %+v, want dead-lettered", o)
				}
				w.entity, w.lookup = entity, lookup
				put(t, transport, hop, transport.DeadLetters(hop + ".poison")[0])
				o := ending(outcomes)
				if o.End != pipeline.Skipped || o.Fault.Reason != stages.ReasonAnswered || o.Hop != hop || o.Attempts != 0 {
					t.Errorf("end of the replay = %+v, want skipped at once, as answered", o)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if w.heard(time.Now()); w.tries != 1 {
					t.Errorf("OpenCTI was called %d times, want once", w.tries)
				}
			})
		})
	}
}

// While OpenCTI can't be told, nothing but the message in its queue knows that a playbook waits.
func TestAPlaybookIsAnsweredWhenOpenCTIIsBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrItem }
		w.hears = func(n int) error {
			if n < 15 {
				return opencti.ErrUnavailable
			}
			return nil
		}
		transport := w.memory()
		outcomes, stop := w.run(transport, time.Second)
		ask(t, transport)
		returned := 0
		for o := range outcomes {
			if o.Hop != "lookup" {
				continue
			}
			if o.End == "" {
				returned++
				continue
			}
			if o.End != pipeline.DeadLettered {
				t.Errorf("end = %+v, want dead-lettered", o)
			}
			break
		}
		if n := len(transport.DeadLetters("lookup.poison")); n != 1 || returned != 2 {
			t.Errorf("%d dead letters after %d returns to the queue, want one after 2", n, returned)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if answer, _ := w.heard(time.Now()); answer != stepBundle {
			t.Errorf("answer = %s, want the bundle as it came", answer)
		}
	})
}

func TestALetterWhosePlaybookWasNotAnsweredSaysSo(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		lookup := w.lookup
		w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrItem }
		w.hears = func(int) error { return opencti.ErrForbidden }
		transport := w.memory()
		outcomes, stop := w.run(transport, 10*time.Second)
		ask(t, transport)
		if o := ending(outcomes); o.End != pipeline.DeadLettered {
			t.Errorf("end = %+v, want dead-lettered", o)
		}
		letters := transport.DeadLetters("lookup.poison")
		if len(letters) != 1 || letters[0].Metadata.Get(pipeline.MetadataAnswered) != "" {
			t.Fatalf("dead letters = %v, want one that does not say that it was answered", letters)
		}

		time.Sleep(time.Hour) // until an administrator has given the right, in a bubble
		w.lookup, w.hears = lookup, func(int) error { return nil }
		put(t, transport, "lookup", letters[0])
		if o := ending(outcomes); o.End != pipeline.Published {
			t.Errorf("end of the replay = %+v, want published: it has all its time again", o)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if answer, _ := w.heard(time.Now()); !strings.Contains(answer, `"score":87`) {
			t.Errorf("answer = %s, want it enriched", answer)
		}
	})
}

func TestAPoisonQueueThatRefusesForAMomentAnswersNoPlaybookTwice(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrItem }
		carrier := &refusing{Transport: w.memory(), topic: "lookup.poison", times: 3}
		outcomes, stop := w.run(carrier, 0)
		ask(t, carrier)
		if o := ending(outcomes); o.End != pipeline.DeadLettered || o.Attempts != 1 {
			t.Errorf("end = %+v, want dead-lettered on the first trip", o)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		w.heard(time.Now())
	})
}

// A step that nobody waits for any more is no failure, and is not asked about again.
func TestAPlaybookThatIsGone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.hears = func(int) error { return opencti.ErrNotFound }
		transport := w.memory()
		outcomes, stop := w.run(transport, 0)
		ask(t, transport)
		if o := ending(outcomes); o.End != pipeline.Skipped || o.Fault.Reason != stages.ReasonAnswered {
			t.Errorf("end = %+v, want skipped, as answered", o)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if w.tries != 1 {
			t.Errorf("OpenCTI was called %d times, want once", w.tries)
		}
	})
}

func TestWhatAPlaybookSendsAndNobodyCanRead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		transport := w.memory()
		outcomes, stop := w.run(transport, 0)
		for _, bundle := range []string{`null`, `"text"`} { // nothing that could go back
			put(t, transport, "resolve", message.NewMessage("m", []byte(playbookMessage(bundle))))
			if o := ending(outcomes); o.End != pipeline.DeadLettered || o.Fault.Reason != stages.ReasonMalformed {
				t.Errorf("end of %s = %+v, want dead-lettered, malformed", bundle, o)
			}
		}
		for _, letter := range transport.DeadLetters("resolve.poison") {
			if letter.Metadata.Get(pipeline.MetadataAnswered) != "" {
				t.Error("a letter says that its step was answered, which had nothing to answer with")
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if w.tries != 0 {
			t.Errorf("OpenCTI was called %d times, want never", w.tries)
		}
	})
}

// The time that a playbook waits travels with the job. Only a message that was never opened has all of it again.
func TestAPlaybooksTimeSurvivesARedelivery(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var left []time.Duration
		flaky := func() func(ctx context.Context, job stages.Job) (stages.Job, error) {
			calls := 0
			return func(ctx context.Context, job stages.Job) (stages.Job, error) {
				deadline, _ := ctx.Deadline()
				left = append(left, time.Until(deadline).Round(time.Second))
				if calls++; calls == 1 {
					time.Sleep(5 * time.Second)  // the time that the stage takes, in a bubble
					return job, context.Canceled // as when a worker stops: the message goes back
				}
				return job, nil
			}
		}
		l := start(t, &told{}, step("a", 1, flaky()), step("b", 1, flaky()), step("c", 1, pass))
		l.raw(playbookMessage(stepBundle))
		if o := l.end(); o.End != pipeline.Published {
			t.Errorf("end = %+v, want published", o)
		}
		if diff := cmp.Diff([]time.Duration{30 * time.Second, 30 * time.Second, 30 * time.Second, 25 * time.Second}, left); diff != "" {
			t.Errorf("time left at a, a again, b, b again (-want +got):\n%s", diff)
		}
	})
}

// Other jobs are not in such a hurry.
func TestOnlyPlaybooksHaveADeadline(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		calls := 0
		l := start(t, &told{}, step("a", 12, func(_ context.Context, job stages.Job) (stages.Job, error) {
			if calls++; calls < 12 {
				return job, opencti.ErrUnavailable
			}
			return job, nil
		}))
		began := time.Now()
		l.send("work_1")
		if o := l.end(); o.End != pipeline.Published || time.Since(began) < 30*time.Second || !o.Job.OpenedAt.IsZero() {
			t.Errorf("end after %v = %+v, want published, after more time than a playbook has", time.Since(began), o)
		}
	})
}

func TestASkippedJobThatOpenCTIWantsNothingOfEnds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		l := start(t, &told{fail: []error{opencti.ErrRefused}}, step("a", 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
			return job, &stages.Fault{Class: stages.Skip, Reason: stages.ReasonTLP, Err: errors.New("too secret")}
		}))
		l.send("work_1")
		if o := l.end(); o.End != pipeline.Skipped {
			t.Errorf("end = %+v, want skipped: the same words would be refused again", o)
		}
	})
}
