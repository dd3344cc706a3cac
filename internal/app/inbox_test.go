package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

func jobOf(work string) []byte {
	return fmt.Appendf(nil, `{"internal":{"work_id":%q},"event":{"entity_id":"ipv4-addr--1"}}`, work)
}

// shelf is where an inbox publishes to.
type shelf struct {
	mu        sync.Mutex
	published []string
	err       error
}

func (s *shelf) publish(topic string, messages ...*message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, msg := range messages {
		s.published = append(s.published, topic+" "+string(msg.Payload))
	}
	return nil
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.published)
}

// TestInboxOfAQueue: a job is safe when it is published, and only once, also when it is posted again.
func TestInboxOfAQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := &shelf{}
		inbox := newInbox("resolve", queue.publish, false)
		if err := inbox.take(t.Context(), jobOf("a")); !errors.Is(err, errNotOpen) {
			t.Errorf("take() before the queue is there = %v, want %v", err, errNotOpen)
		}
		inbox.begin()
		for _, job := range []string{"a", "b", "a", "a"} {
			if err := inbox.take(t.Context(), jobOf(job)); err != nil {
				t.Errorf("take() = %v, want nil", err)
			}
		}
		if n := queue.count(); n != 2 || queue.published[0] != "resolve "+string(jobOf("a")) {
			t.Errorf("published %q, want a and b", queue.published)
		}
		time.Sleep(remembered + time.Second) // of the bubble
		if err := inbox.take(t.Context(), jobOf("a")); err != nil || queue.count() != 3 {
			t.Errorf("take() long after = %v, published %q, want it published again", err, queue.published)
		}
		if len(inbox.jobs) != 1 || len(inbox.safe)-inbox.oldest != 1 {
			t.Errorf("%d jobs remembered, want the last alone", len(inbox.jobs))
		}
		queue.err = errors.New("the broker is away")
		if err := inbox.take(t.Context(), jobOf("c")); !errors.Is(err, queue.err) {
			t.Errorf("take() = %v, want %v", err, queue.err)
		}
		queue.err = nil
		if err := inbox.take(t.Context(), jobOf("c")); err != nil || queue.count() != 4 {
			t.Errorf("take() again = %v, published %q, want it published now", err, queue.published)
		}
	})
}

// TestInboxOfJobsThatShareAWork: two jobs with the same work id are two jobs, and each of them is taken once.
func TestInboxOfJobsThatShareAWork(t *testing.T) {
	t.Parallel()
	queue := &shelf{}
	inbox := newInbox("resolve", queue.publish, false)
	inbox.begin()
	for range 2 {
		for _, entity := range []string{"ipv4-addr--1", "ipv4-addr--2"} {
			body := fmt.Appendf(nil, `{"internal":{"work_id":"a"},"event":{"entity_id":%q}}`, entity)
			if err := inbox.take(t.Context(), body); err != nil {
				t.Errorf("take() = %v, want nil", err)
			}
		}
	}
	if queue.count() != 2 {
		t.Errorf("published %q, want one message for each of the two entities", queue.published)
	}
}

// TestInboxUntilTheEnd: a job is safe when it has ended; who posts it again meanwhile waits for the same one.
func TestInboxUntilTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := &shelf{}
		inbox := newInbox("resolve", queue.publish, true)
		inbox.begin()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := inbox.take(short, jobOf("a")); !errors.Is(err, errNotEnded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("take() of a job that does not end = %v, want %v", err, errNotEnded)
		}
		var taken atomic.Int32
		for range 3 {
			go func() {
				if err := inbox.take(t.Context(), jobOf("a")); err != nil {
					t.Errorf("take() = %v, want nil", err)
				}
				taken.Add(1)
			}()
		}
		synctest.Wait()
		inbox.Observe(pipeline.Outcome{Job: stages.Job{ID: "a/ipv4-addr--1"}})                          // one hop further
		inbox.Observe(pipeline.Outcome{Job: stages.Job{ID: "b/ipv4-addr--1"}, End: pipeline.Published}) // another job
		synctest.Wait()
		if n := taken.Load(); n != 0 {
			t.Errorf("%d are told that the job is safe before it has ended", n)
		}
		inbox.Observe(pipeline.Outcome{Job: stages.Job{ID: "a/ipv4-addr--1"}, End: pipeline.DeadLettered})
		inbox.Observe(pipeline.Outcome{Job: stages.Job{ID: "a/ipv4-addr--1"}, End: pipeline.Published}) // it came twice
		synctest.Wait()
		if n := taken.Load(); n != 3 || queue.count() != 1 {
			t.Errorf("%d are told, published %q, want three, and the job once", n, queue.published)
		}
		if err := inbox.take(t.Context(), jobOf("a")); err != nil {
			t.Errorf("take() of what has ended = %v, want nil", err)
		}
	})
}

// TestInboxKnowsWhatCannotBeRead: the pipeline calls a job by the name that the inbox waits for, whatever is in it.
func TestInboxKnowsWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{}`, `[]`, `1`, `null`, `"x"`, `{"internal":{"work_id":7},"event":{"entity_id":"x"}}`, `{"internal":{"work_id":"w"}}`,
		`{"internal":{"playbook":{"execution_id":"e","step_id":"s"}},"event":{}}`,
	} {
		job, _ := stages.Open([]byte(body))
		inbox := newInbox("resolve", func(string, ...*message.Message) error { return nil }, true)
		inbox.begin()
		done := make(chan error)
		go func() { done <- inbox.take(t.Context(), []byte(body)) }()
		ticker := time.NewTicker(time.Millisecond)
		for settled := false; !settled; {
			select {
			case err := <-done:
				if settled = true; err != nil {
					t.Errorf("take(%s) = %v, want nil", body, err)
				}
			case <-ticker.C:
				inbox.Observe(pipeline.Outcome{Job: job, End: pipeline.DeadLettered})
			case <-t.Context().Done():
				t.Fatalf("take(%s) does not end with job %q", body, job.ID)
			}
		}
		ticker.Stop()
	}
}
