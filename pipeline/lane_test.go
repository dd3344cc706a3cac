package pipeline_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// Jobs that somebody waits for overtake all that nobody waits for, also when they have to wait themselves and come again.
func TestUrgentJobsDoNotWaitBehindTheOthers(t *testing.T) {
	t.Parallel()
	messages := map[string]string{ // by what makes it urgent
		"mode":      `{"internal":{"work_id":"urgent","mode":"manual"},"event":{"entity_id":"x"}}`,
		"applicant": `{"internal":{"work_id":"urgent","applicant_id":"somebody"},"event":{"entity_id":"x"}}`,
	}
	for name, body := range messages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				tried := false
				slow := patient("b", func(_ context.Context, job stages.Job) (stages.Job, error) {
					if job.WorkID() != "urgent" {
						time.Sleep(time.Minute) // of the bubble
						return job, nil
					}
					if !tried {
						tried = true
						return job, &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonRateLimited, After: 20 * time.Second, Err: context.Canceled}
					}
					return job, nil
				}, 30*time.Second)
				slow.Prefetch, slow.Urgent, slow.Stage.Timeout = 1, 1, time.Hour
				l := start(t, &told{}, step("a", 1, pass), slow)
				for i := range 100 {
					put(t, l.transport, "a", message.NewMessage(strconv.Itoa(i), fmt.Appendf(nil,
						`{"internal":{"work_id":"work_%d","mode":"auto","applicant_id":"somebody"},"event":{"entity_id":"x"}}`, i)))
				}
				synctest.Wait()
				began := time.Now()
				put(t, l.transport, "a", message.NewMessage("m", []byte(body)))
				ended := 0
				for {
					o := <-l.outcomes
					if o.End == "" {
						continue
					}
					if o.Job.WorkID() == "urgent" {
						break
					}
					ended++
				}
				if took := time.Since(began); took > time.Minute || ended > 1 {
					t.Errorf("the urgent job ended after %v and %d others, want it after its wait of 30 s", took, ended)
				}
				if err := l.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestUrgent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		request *opencti.Request
		want    bool
	}{
		"unreadable":                        {nil, false},
		"manual":                            {&opencti.Request{Mode: "manual"}, true},
		"auto":                              {&opencti.Request{Mode: "auto"}, false},
		"playbook":                          {&opencti.Request{Mode: "auto", ApplicantID: "a", Playbook: &opencti.Playbook{}}, true},
		"before 6.0, asked for":             {&opencti.Request{ApplicantID: "a"}, true},
		"before 6.8.9, nobody says":         {&opencti.Request{}, false},
		"later, automatic for an applicant": {&opencti.Request{Mode: "auto", ApplicantID: "a"}, false},
	}
	got, want := make(map[string]bool), make(map[string]bool)
	for name, tt := range tests {
		got[name], want[name] = stages.Job{Request: tt.request}.Urgent(), tt.want
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Urgent() (-want +got):\n%s", diff)
	}
}

// A hop that pauses does so in both lanes.
func TestBothLanesPause(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var shut atomic.Bool
		shut.Store(true)
		hop := patient("b", func(_ context.Context, job stages.Job) (stages.Job, error) {
			if shut.Load() {
				return job, &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonCircuitOpen, After: time.Minute, Err: context.Canceled}
			}
			return job, nil
		}, 30*time.Second)
		hop.Urgent = 1
		l := start(t, &told{}, step("a", 1, pass), hop)
		for i, mode := range []string{"auto", "manual", "auto", "manual"} {
			put(t, l.transport, "a", message.NewMessage(strconv.Itoa(i), fmt.Appendf(nil,
				`{"internal":{"work_id":"work_%d","mode":%q},"event":{"entity_id":"x"}}`, i, mode)))
		}
		time.Sleep(10 * time.Second) // of the bubble
		for _, topic := range []string{"b", "b.urgent"} {
			if n, _, err := l.transport.Depth(t.Context(), topic); err != nil || n != 2 {
				t.Errorf("depth of %s = %d, %v, want its two jobs back in it while the hop pauses", topic, n, err)
			}
		}
		shut.Store(false)
		for range 4 {
			if o := ending(l.outcomes); o.End != pipeline.Published {
				t.Errorf("end = %+v, want published after the pause", o)
			}
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A job from OpenCTI's queue waits and comes again in the hop's own queues: OpenCTI's is only read.
func TestListen_RetriesThroughOwnQueues(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		tried := 0
		hop := patient("a", func(_ context.Context, job stages.Job) (stages.Job, error) {
			if tried++; tried == 1 {
				return job, &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonRateLimited, After: 20 * time.Second, Err: context.Canceled}
			}
			return job, nil
		}, 30*time.Second)
		hop.Listen, hop.Delays = true, "delay"
		l := start(t, &told{}, hop, step("b", 1, pass))
		put(t, l.transport, "a.listen", message.NewMessage("m", []byte(`{"internal":{"work_id":"work_1"},"event":{"entity_id":"x"}}`)))
		synctest.Wait()
		for topic, want := range map[string]int{"a.listen": 0, "a": 0, "a.delay.30s": 1} {
			if n, _, err := l.transport.Depth(t.Context(), topic); err != nil || n != want {
				t.Errorf("depth of %s = %d, %v, want %d while the job waits", topic, n, err, want)
			}
		}
		began := time.Now()
		for o := range l.outcomes {
			if o.End != "" {
				break
			}
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the job ended after %v, want the 30 s of its waiting room", took)
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A hop that pauses takes nothing from either queue, and returns what it has in hand to its own.
func TestListen_PausesBothQueues(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		hop := patient("a", func(_ context.Context, job stages.Job) (stages.Job, error) {
			return job, &stages.Fault{Class: stages.Throttled, Reason: stages.ReasonCircuitOpen, After: time.Hour, Err: context.Canceled}
		}, 30*time.Second)
		hop.Listen, hop.Prefetch = true, 4
		l := start(t, &told{}, hop, step("b", 1, pass))
		for i, topic := range []string{"a.listen", "a", "a.listen"} {
			put(t, l.transport, topic, message.NewMessage(strconv.Itoa(i), fmt.Appendf(nil,
				`{"internal":{"work_id":"work_%d"},"event":{"entity_id":"x"}}`, i)))
			time.Sleep(10 * time.Second) // of the bubble
		}
		for topic, want := range map[string]int{"a": 2, "a.listen": 1} {
			if n, _, err := l.transport.Depth(t.Context(), topic); err != nil || n != want {
				t.Errorf("depth of %s = %d, %v, want %d while the hop pauses", topic, n, err, want)
			}
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	})
}
