package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// A lost connection leaves two copies of a job in this process. Whichever comes first, and however the job ends, it does so
// once.
func TestACopyOfAJobDoesNotEndItAgain(t *testing.T) {
	t.Parallel()
	const work, step1 = `{"id":"w1","request":{"work":"w1","id":"x"}}`, `{"id":"e/s/i","request":{"id":"x","playbook":{"execution":"e"}}}`
	again := func(msg *message.Message) *message.Message { return with(msg, pipeline.MetadataRepeated, "true") }
	replay := func(msg *message.Message) *message.Message {
		return with(msg, pipeline.DeadLetterAt, "2026-01-02T03:04:05.678Z")
	}
	carried := func(body string) *message.Message {
		return with(message.NewMessage("m", []byte(body)), pipeline.MetadataVersion, "1")
	}
	fail := func(class stages.Class) error {
		return &stages.Fault{Class: class, Reason: stages.ReasonInvalidValue, Err: errors.New("no")}
	}
	tests := []struct {
		name          string
		first, second *message.Message
		to            string // the second's topic
		took          time.Duration
		fault         error
		apart         time.Duration
		ends          int
	}{
		{name: "while the first is in hand", first: carried(work), second: again(carried(work)), to: "b", took: time.Second, ends: 1},
		{name: "when the first has ended", first: carried(work), second: again(carried(work)), to: "b", apart: time.Minute, ends: 1},
		{name: "a hop earlier", first: carried(work), second: again(carried(work)), to: "a2", took: time.Second, ends: 1},
		{name: "the second overtakes", first: again(carried(work)), second: carried(work), to: "b", took: time.Second, ends: 1},
		{name: "of a playbook's", first: carried(step1), second: again(carried(step1)), to: "b", took: time.Second, ends: 1},
		{name: "dead-lettered", first: carried(work), second: again(carried(work)), to: "b", fault: fail(stages.Permanent), ends: 1},
		{name: "dead-lettered a hop earlier", first: carried(step1), second: again(carried(step1)), to: "a2", took: time.Second, fault: fail(stages.Permanent), ends: 1},
		{name: "skipped", first: carried(step1), second: again(carried(step1)), to: "b", fault: fail(stages.Skip), ends: 1},
		{name: "long after", first: carried(work), second: again(carried(work)), to: "b", apart: time.Hour, ends: 2},
		{name: "two messages of which neither was in hand", first: carried(work), second: carried(work), to: "b", took: time.Second, ends: 2},
		{name: "a replay", first: carried(work), second: replay(carried(work)), to: "b", fault: fail(stages.Permanent), apart: time.Minute, ends: 2},
		{name: "two copies of a replay", first: replay(carried(work)), second: again(replay(carried(work))), to: "b", took: time.Second, ends: 1},
		{name: "another job", first: carried(work), second: again(carried(step1)), to: "b", took: time.Second, ends: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				var mu sync.Mutex
				runs := 0
				run := func(_ context.Context, job stages.Job) (stages.Job, error) {
					mu.Lock()
					runs++
					mu.Unlock()
					time.Sleep(tt.took) // the time that the stage takes, in a bubble
					return job, tt.fault
				}
				early := func(_ context.Context, job stages.Job) (stages.Job, error) {
					time.Sleep(tt.took / 2)
					return job, tt.fault
				}
				ends := &told{}
				l := start(t, ends, step("a", 1, pass), step("a2", 1, early), step("b", 1, run))
				enqueued := time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
				put(t, l.transport, "b", with(tt.first.Copy(), pipeline.MetadataEnqueuedAt, enqueued))
				time.Sleep(max(tt.apart, time.Millisecond))
				put(t, l.transport, tt.to, with(tt.second.Copy(), pipeline.MetadataEnqueuedAt, enqueued))
				time.Sleep(time.Minute) // whatever follows
				metrics := l.scraped()
				if err := l.stop(); err != nil {
					t.Fatal(err)
				}
				close(l.outcomes)
				ended := 0
				for o := range l.outcomes {
					if o.End != "" {
						ended++
					}
				}
				ends.mu.Lock()
				defer ends.mu.Unlock()
				if want := tt.ends * b2i(tt.fault != nil); ended != tt.ends || tt.to == "b" && runs != tt.ends || len(ends.lines) != want {
					t.Errorf("%d ends after %d runs of the last stage, OpenCTI was told %q, want %d", ended, runs, slices.Clone(ends.lines), tt.ends)
				}
				dropped, logged := 0, strings.Count(l.log.String(), `level=WARN msg="message dropped, another copy of its job has ended here"`)
				for series, n := range metrics {
					if strings.HasPrefix(series, "jobs_dropped{") {
						dropped += int(n)
					}
				}
				if dropped != 2-tt.ends || logged != 2-tt.ends {
					t.Errorf("%d messages were counted as dropped and %d logged, want %d: %s", dropped, logged, 2-tt.ends, l.log.String())
				}
			})
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A copy takes over when the first one could not end the job.
func TestACopyTakesOver(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		runs := 0
		l := start(t, &told{}, step("a", 1, pass), step("b", 1, func(_ context.Context, job stages.Job) (stages.Job, error) {
			time.Sleep(time.Second)
			if runs++; runs == 1 {
				return job, context.Canceled // as when it is given back
			}
			return job, nil
		}))
		put(t, l.transport, "b", passed("m", "work_1"))
		put(t, l.transport, "b", with(passed("m", "work_1"), pipeline.MetadataRepeated, "true"))
		if o := l.end(); o.End != pipeline.Published || runs != 2 {
			t.Errorf("end = %+v after %d runs, want published after two", o, runs)
		}
		l.endsNoMore()
	})
}

// What OpenCTI refuses for the token's sake is not asked again within the trip. Without a waiting room its job still comes back
// in its own time, and not as fast as the broker can.
func TestAJobThatCannotBeEndedDoesNotRunInCircles(t *testing.T) {
	t.Parallel()
	refused := &stages.Fault{Class: stages.AccountWide, Reason: stages.ReasonAuth, Err: errors.New("no such token")}
	fail := func(_ context.Context, job stages.Job) (stages.Job, error) {
		return job, &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonInvalidValue, Err: errors.New("no")}
	}
	bubble(t, func(t *testing.T) {
		const times = 1000
		ends := &told{fail: slices.Repeat([]error{refused}, times)}
		l := start(t, ends, step("a", 1, pass), step("b", 1, fail))
		put(t, l.transport, "b", passed("m", "work_1"))
		time.Sleep(time.Minute)
		ends.mu.Lock()
		defer ends.mu.Unlock()
		if asked := times - len(ends.fail); asked < 5 || asked > 13 {
			t.Errorf("OpenCTI was asked %d times in a minute, want once every 5 to 7 seconds", asked)
		}
	})
}
