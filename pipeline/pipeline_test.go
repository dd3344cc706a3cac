package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is a pipeline of named steps on the in-memory transport, run inside a synctest bubble.
type line struct {
	t         *testing.T
	transport *memory.Transport
	outcomes  chan pipeline.Outcome
	told      *told
	spans     *tracetest.InMemoryExporter
	metrics   *metric.ManualReader
	log       *logtest.Log
	stop      func() error
}

type told struct {
	mu    sync.Mutex
	lines []string
	fail  []error // used up one after the other
}

func (e *told) end(line string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.fail) > 0 {
		err := e.fail[0]
		e.fail = e.fail[1:]
		if err != nil {
			return err
		}
	}
	e.lines = append(e.lines, line)
	return nil
}

func (e *told) Skipped(_ context.Context, job stages.Job, f *stages.Fault) error {
	return e.end(fmt.Sprintf("skipped %s: %s", job.ID, f))
}

func (e *told) DeadLettered(_ context.Context, job stages.Job, f *stages.Fault, letter string) error {
	if len(letter) != 26 {
		return fmt.Errorf("letter %q is no ULID", letter)
	}
	return e.end(fmt.Sprintf("dead-lettered %s: %s", job.ID, f))
}

// step is a hop whose stage is run.
func step(name string, attempts int, run func(ctx context.Context, job stages.Job) (stages.Job, error)) pipeline.Hop {
	return pipeline.Hop{
		Prefetch: 4,
		Retry:    pipeline.Schedule{Attempts: attempts, First: time.Second, Most: time.Minute},
		Stage:    stages.Stage{Name: name, Timeout: time.Minute, Run: run},
	}
}

func pass(_ context.Context, job stages.Job) (stages.Job, error) { return job, nil }

func start(t *testing.T, ends *told, hops ...pipeline.Hop) *line {
	t.Helper()
	l := &line{t: t, told: ends, spans: tracetest.NewInMemoryExporter(), metrics: metric.NewManualReader(), log: &logtest.Log{}}
	l.transport = memory.New(memory.Options{Topics: pipeline.Topics(hops), DrainTimeout: time.Minute})
	outcomes, stop := carry(t, pipeline.Options{
		Hops: hops, Transport: l.transport, Ends: ends, Version: "test", Drain: time.Minute,
		Tracer: trace.NewTracerProvider(trace.WithSyncer(l.spans)),
		Meter:  metric.NewMeterProvider(metric.WithReader(l.metrics)),
		Logger: l.log.Logger(),
	})
	l.outcomes = outcomes
	l.stop = sync.OnceValue(func() error { return errors.Join(stop(), l.transport.Close()) })
	t.Cleanup(func() { _ = l.stop() })
	return l
}

// endsNoMore stops it, and fails where a job ended meanwhile.
func (l *line) endsNoMore() {
	l.t.Helper()
	if err := l.stop(); err != nil {
		l.t.Fatal(err)
	}
	close(l.outcomes)
	for o := range l.outcomes {
		if o.End != "" {
			l.t.Errorf("the job ended again: %+v", o)
		}
	}
}

// carry runs a pipeline until stop is called, at the latest when the test ends; stop returns what Run did. The transport stays
// open. Who is told of its ends, and who observes it, may be left to it.
func carry(t *testing.T, o pipeline.Options) (outcomes chan pipeline.Outcome, stop func() error) {
	t.Helper()
	outcomes = make(chan pipeline.Outcome, 1000)
	if o.Ends == nil {
		o.Ends = &told{}
	}
	if o.Observe == nil {
		o.Observe = func(o pipeline.Outcome) { outcomes <- o }
	}
	p, err := pipeline.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	<-p.Running()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return outcomes, stop
}

// send gives the first hop a job message of OpenCTI's.
func (l *line) send(workID string) {
	l.t.Helper()
	l.raw(fmt.Sprintf(`{"internal":{"work_id":%q},"event":{"entity_id":"ipv4-addr--1","entity_type":"IPv4-Addr"}}`, workID))
}

func (l *line) raw(body string) {
	l.t.Helper()
	if err := l.transport.Publish("a", message.NewMessage("m", []byte(body))); err != nil {
		l.t.Fatal(err)
	}
}

// end waits for the end of a job, and then for every hop to be done with what it had in hand: a hop has handed its message on
// before it closes its span and is observed, so the next hop may be through first.
func (l *line) end() pipeline.Outcome {
	for {
		if o := <-l.outcomes; o.End != "" {
			synctest.Wait()
			return o
		}
	}
}

func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func TestAJobPassesEveryHopInOrder(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var hops []string
		pass := func(name string) pipeline.Hop {
			return step(name, 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
				hops = append(hops, name)
				return job, nil
			})
		}
		l := start(t, &told{}, pass("a"), pass("b"), pass("c"))
		l.send("work_1")
		if o := l.end(); o.End != pipeline.Published || o.Hop != "c" || o.Job.ID != "work_1/ipv4-addr--1" || o.Fault != nil {
			t.Errorf("end = %+v, want work_1 published by c", o)
		}
		if diff := cmp.Diff([]string{"a", "b", "c"}, hops); diff != "" {
			t.Errorf("hops (-want +got):\n%s", diff)
		}
	})
}

func TestATransientFaultIsTriedAgainThenPassesOn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var calls int
		var repeated []bool
		flaky := func(_ context.Context, job stages.Job) (stages.Job, error) {
			calls++
			repeated = append(repeated, job.Repeated)
			if calls < 3 {
				return job, errors.New("hiccup")
			}
			return job, nil
		}
		seen := make(chan bool, 1)
		last := func(_ context.Context, job stages.Job) (stages.Job, error) {
			seen <- job.Repeated
			return job, nil
		}
		l := start(t, &told{}, step("a", 3, flaky), step("b", 1, last))
		l.send("work_1")
		if o := l.end(); o.End != pipeline.Published {
			t.Fatalf("end = %+v, want published", o)
		}
		if diff := cmp.Diff([]bool{false, true, true}, repeated); diff != "" {
			t.Errorf("repeated by attempt (-want +got):\n%s", diff)
		}
		if <-seen {
			t.Errorf("the next hop took the job for a repeated one, which no later hop has seen before")
		}
	})
}

func TestWhatCannotBeDoneIsDeadLettered(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		fault    error
		attempts int
		reason   stages.Reason
	}{
		{"permanent: at once", &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonInvalidValue, Err: errors.New("no such address")}, 1, stages.ReasonInvalidValue},
		{"transient: after its attempts", errors.New("hiccup"), 4, stages.ReasonOther},
		{"throttled: after five minutes more", &stages.Fault{
			Class: stages.Throttled, Reason: stages.ReasonRateLimited, Err: errors.New("slow down"), After: 5 * time.Minute,
		}, 0, stages.ReasonRateLimited},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				ends := &told{}
				l := start(t, ends, step("a", 1, pass), step("b", 4, func(_ context.Context, job stages.Job) (stages.Job, error) {
					return job, tt.fault
				}), step("c", 1, pass))
				l.send("work_1")
				o := l.end()
				if tt.attempts == 0 { // as many as fit, each a minute and up to a quarter after the one before
					if tt.attempts = o.Attempts; o.Attempts < 4+4 || o.Attempts > 4+5 {
						t.Errorf("%d attempts, want those of the schedule and four or five for being told to wait", o.Attempts)
					}
				}
				if o.End != pipeline.DeadLettered || o.Hop != "b" || o.Attempts != tt.attempts || o.Fault.Reason != tt.reason {
					t.Errorf("end = %+v, want dead-lettered at b after %d attempts for %s", o, tt.attempts, tt.reason)
				}
				letters := l.transport.DeadLetters("b.poison")
				if len(letters) != 1 {
					t.Fatalf("%d dead letters, want 1", len(letters))
				}
				m := letters[0].Metadata
				got := map[string]string{}
				for _, key := range []string{
					pipeline.DeadLetterHop, pipeline.DeadLetterReason, pipeline.DeadLetterAttempts, pipeline.DeadLetterJob,
					pipeline.DeadLetterWorkID, pipeline.DeadLetterEntityID, pipeline.DeadLetterEntityType, pipeline.DeadLetterVersion,
					pipeline.DeadLetterError, pipeline.MetadataVersion, pipeline.MetadataRedelivered,
				} {
					got[key] = m.Get(key)
				}
				want := map[string]string{
					pipeline.DeadLetterHop: "b", pipeline.DeadLetterReason: string(tt.reason),
					pipeline.DeadLetterAttempts: strconv.Itoa(tt.attempts), pipeline.DeadLetterJob: "work_1/ipv4-addr--1",
					pipeline.DeadLetterWorkID: "work_1", pipeline.DeadLetterEntityID: "ipv4-addr--1",
					pipeline.DeadLetterEntityType: "IPv4-Addr", pipeline.DeadLetterVersion: "test",
					pipeline.DeadLetterError: tt.fault.Error(), pipeline.MetadataVersion: "1", pipeline.MetadataRedelivered: "",
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("metadata of the dead letter (-want +got):\n%s", diff)
				}
				if letters[0].UUID != o.Letter || !strings.Contains(m.Get("traceparent"), "-") {
					t.Errorf("letter %s with traceparent %q, want %s with the trace", letters[0].UUID, m.Get("traceparent"), o.Letter)
				}
				if diff := cmp.Diff([]string{"dead-lettered work_1/ipv4-addr--1: " + tt.fault.Error()}, ends.lines); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAnAccountWideFaultEndsAJobThatSomebodyWaitsFor(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		hops := []pipeline.Hop{step("a", 3, func(_ context.Context, job stages.Job) (stages.Job, error) {
			return job, &stages.Fault{Class: stages.AccountWide, Reason: stages.ReasonAuth, Err: errors.New("key refused")}
		})}
		transport := memory.New(memory.Options{Topics: pipeline.Topics(hops)})
		ctx, cancel := context.WithCancel(context.Background())
		p, err := pipeline.New(pipeline.Options{
			Hops: hops, Transport: transport, Ends: &told{}, Attended: true,
			Observe: func(o pipeline.Outcome) {
				if o.End != pipeline.DeadLettered || o.Attempts != 1 {
					t.Errorf("end = %+v, want dead-lettered after one attempt", o)
				}
				cancel()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := transport.Publish("a", message.NewMessage("m", []byte(`{"event":{"entity_id":"x"}}`))); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Run(ctx), transport.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatCannotBeReadIsDeadLetteredAsItCame(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "hello", "{}", `{"internal":`, "\x00\xff", `[1,2]`} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				l := start(t, &told{}, step("a", 3, pass), step("b", 1, pass))
				l.raw(body)
				o := l.end()
				if o.End != pipeline.DeadLettered || o.Attempts != 1 || o.Fault.Reason != stages.ReasonMalformed {
					t.Errorf("end = %+v, want dead-lettered at once, malformed", o)
				}
				letters := l.transport.DeadLetters("a.poison")
				if len(letters) != 1 || string(letters[0].Payload) != body {
					t.Errorf("dead letters = %v, want the message byte for byte", letters)
				}
			})
		})
	}
}

func TestAMessageOfAnotherFormatIsDeadLettered(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		l := start(t, &told{}, step("a", 1, pass), step("b", 1, pass))
		msg := message.NewMessage("m", []byte(`{"id":"x"}`))
		msg.Metadata.Set(pipeline.MetadataVersion, "99")
		if err := l.transport.Publish("b", msg); err != nil {
			t.Fatal(err)
		}
		if o := l.end(); o.End != pipeline.DeadLettered || !strings.Contains(o.Fault.Error(), `"99", want "1"`) {
			t.Errorf("end = %+v, want a dead letter that names both formats", o)
		}
	})
}

func TestAPanicIsDeadLetteredAndTheHopGoesOn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		l := start(t, &told{}, step("a", 3, func(_ context.Context, job stages.Job) (stages.Job, error) {
			if job.WorkID() == "work_bad" {
				panic("boom")
			}
			return job, nil
		}))
		l.send("work_bad")
		if o := l.end(); o.End != pipeline.DeadLettered || o.Fault.Reason != stages.ReasonPanic || o.Attempts != 1 {
			t.Errorf("end = %+v, want dead-lettered for panic after one attempt", o)
		}
		l.send("work_good")
		if o := l.end(); o.End != pipeline.Published {
			t.Errorf("end of the next = %+v, want published", o)
		}
	})
}

func TestASkippedJobEndsWithoutALetter(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		ends := &told{fail: []error{opencti.ErrUnavailable, opencti.ErrUnavailable, nil}}
		l := start(t, ends, step("a", 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
			return job, &stages.Fault{Class: stages.Skip, Reason: stages.ReasonTLP, Err: errors.New("too secret")}
		}), step("b", 1, pass))
		l.send("work_1")
		if o := l.end(); o.End != pipeline.Skipped || o.Fault.Reason != stages.ReasonTLP {
			t.Errorf("end = %+v, want skipped for tlp", o)
		}
		if n := len(l.transport.DeadLetters("a.poison")); n != 0 {
			t.Errorf("%d dead letters of a skipped job, want none", n)
		}
		if diff := cmp.Diff([]string{"skipped work_1/ipv4-addr--1: too secret"}, ends.lines); diff != "" {
			t.Errorf("told once OpenCTI answered (-want +got):\n%s", diff)
		}
	})
}

func TestALetterWaitsUntilOpenCTIIsTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		ends := &told{fail: slices.Repeat([]error{opencti.ErrUnavailable}, 10)} // for longer than one trip tries
		l := start(t, ends, step("a", 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
			return job, &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonInvalidValue, Err: errors.New("no such address")}
		}))
		l.send("work_1")
		if o := l.end(); o.End != pipeline.DeadLettered || o.Letter == "" {
			t.Errorf("end = %+v, want dead-lettered", o)
		}
		if diff := cmp.Diff([]string{"dead-lettered work_1/ipv4-addr--1: no such address"}, ends.lines); diff != "" {
			t.Errorf("told once OpenCTI answered (-want +got):\n%s", diff)
		}
		if n := len(l.transport.DeadLetters("a.poison")); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
	})
}

func TestAPoisonQueueThatRefusesDoesNotLoseTheJob(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		hops := []pipeline.Hop{step("a", 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
			return job, &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonOther, Err: errors.New("no")}
		})}
		carrier := &refusing{Transport: memory.New(memory.Options{Topics: pipeline.Topics(hops)}), topic: "a.poison", times: 8}
		ended, stop := carry(t, pipeline.Options{Hops: hops, Transport: carrier})
		if err := carrier.Publish("a", message.NewMessage("m", []byte(`{"event":{"entity_id":"x"}}`))); err != nil {
			t.Fatal(err)
		}
		var trips []pipeline.End
		for o := range ended {
			trips = append(trips, o.End)
			if o.End != "" {
				break
			}
		}
		if diff := cmp.Diff([]pipeline.End{"", pipeline.DeadLettered}, trips); diff != "" {
			t.Errorf("trips (-want +got):\n%s", diff)
		}
		if err := errors.Join(stop(), carrier.Close()); err != nil {
			t.Error(err)
		}
	})
}

// refusing fails to publish to one topic, a few times.
type refusing struct {
	*memory.Transport
	topic string
	mu    sync.Mutex
	times int
}

func (r *refusing) Publish(topic string, messages ...*message.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if topic == r.topic && r.times > 0 {
		r.times--
		return errors.New("refused")
	}
	return r.Transport.Publish(topic, messages...)
}

func TestAStopGivesWaitingJobsBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		tried := make(chan struct{}, 10)
		ends := &told{}
		l := start(t, ends, step("a", 100, func(_ context.Context, job stages.Job) (stages.Job, error) {
			tried <- struct{}{}
			return job, errors.New("hiccup")
		}))
		l.send("work_1")
		<-tried
		synctest.Wait() // the job now waits for its second attempt
		began := time.Now()
		if err := l.stop(); err != nil {
			t.Errorf("Run() = %v, want nil after a stop", err)
		}
		o := <-l.outcomes
		if o.End != "" || o.Fault == nil || o.Fault.Class != stages.Stopping {
			t.Errorf("outcome = %+v, want given back for stopping", o)
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("the stop took %v, want it not to wait for the next attempt", waited)
		}
		if len(ends.lines) > 0 || len(l.transport.DeadLetters("a.poison")) > 0 {
			t.Errorf("a job given back was ended: %v", ends.lines)
		}
	})
}

func TestAStopLetsJobsInHandFinish(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		began, release := make(chan struct{}), make(chan struct{})
		l := start(t, &told{}, step("a", 1, func(ctx context.Context, job stages.Job) (stages.Job, error) {
			close(began)
			<-release
			return job, ctx.Err()
		}))
		l.send("work_1")
		<-began
		stopped := make(chan error, 1)
		go func() { stopped <- l.stop() }()
		synctest.Wait()
		close(release)
		if err := <-stopped; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		if o := l.end(); o.End != pipeline.Published {
			t.Errorf("end = %+v, want published although the stop came first", o)
		}
	})
}
