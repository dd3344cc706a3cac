package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
	"opencti-ipqs-worker/stages"
)

// ends counts how often each job ends.
type ends struct {
	mu    sync.Mutex
	times map[string]int
}

func (e *ends) count(job stages.Job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.times[job.ID]++
}

func (e *ends) Skipped(_ context.Context, job stages.Job, _ *stages.Fault) error {
	e.count(job)
	return nil
}

func (e *ends) DeadLettered(_ context.Context, job stages.Job, _ *stages.Fault, _ string) error {
	e.count(job)
	return nil
}

// The jobs in hand when the connection is lost go on, and their messages come again: each playbook is answered once all the
// same, and each work ends once.
func TestJobsInHandEndOnceWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	const jobs = 20
	ended := &ends{times: map[string]int{}}
	inHand, cut := make(chan struct{}, 2*jobs), make(chan struct{})
	hops := []pipeline.Hop{
		hop("first", func(_ context.Context, job stages.Job) (stages.Job, error) { return job, nil }),
		hop("last", func(ctx context.Context, job stages.Job) (stages.Job, error) {
			inHand <- struct{}{}
			select {
			case <-cut:
			case <-ctx.Done():
				return job, ctx.Err()
			}
			switch int(job.ID[len(job.ID)-1]) % 3 {
			case 0:
				return job, &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonMalformed, Err: errors.New("no")}
			case 1:
				return job, &stages.Fault{Class: stages.Skip, Reason: stages.ReasonScope, Err: errors.New("no")}
			}
			ended.count(job)
			return job, nil
		}),
	}
	transport, proxy := throughProxy(t, func(o *rabbitmq.Options) {
		o.Topics = pipeline.Topics(hops)
		o.Foreign = map[string]string{"first": o.Prefix + ".listen"}
	})
	makeQueue(t, transport.Queue("first"), nil)
	for _, topic := range pipeline.Topics(hops) {
		if !topic.Foreign {
			declareTopic(t, transport, topic)
		}
	}
	trips := make(chan pipeline.Outcome, 10*jobs)
	p, err := pipeline.New(pipeline.Options{
		Hops: hops, Transport: transport, Ends: ended, Drain: patience,
		Observe: func(o pipeline.Outcome) {
			if o.Hop == "last" {
				trips <- o
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	<-p.Running()
	for i := range jobs {
		body := `{"internal":{"work_id":"work_%d"},"event":{"entity_id":"x"}}`
		if i%2 == 0 {
			body = `{"internal":{"playbook":{"execution_id":"%d","playbook_id":"p","data_instance_id":"d","step_id":"s"}},` +
				`"event":{"entity_id":"x","bundle":{"type":"bundle","objects":[]}}}`
		}
		publish(t, transport, "first", message.NewMessage("", fmt.Appendf(nil, body, i)))
	}
	for range jobs {
		<-inHand
	}
	proxy.Cut()
	eventually(t, "not connected again", func() bool { return transport.Ready() == nil })
	close(cut)
	timeout := time.After(patience)
	for n := range 2 * jobs {
		select {
		case <-trips:
		case <-timeout:
			t.Fatalf("%d trips to the last hop, want each job's and its copy's", n)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
	ended.mu.Lock()
	defer ended.mu.Unlock()
	if len(ended.times) != jobs {
		t.Errorf("%d jobs ended, want %d", len(ended.times), jobs)
	}
	for id, times := range ended.times {
		if times != 1 {
			t.Errorf("job %s ended %d times, want once", id, times)
		}
	}
}

func hop(name string, run func(context.Context, stages.Job) (stages.Job, error)) pipeline.Hop {
	return pipeline.Hop{
		Prefetch: 32, Retry: pipeline.Schedule{Attempts: 1},
		Stage: stages.Stage{Name: name, Timeout: patience, Run: run},
	}
}

func declareTopic(t *testing.T, transport *rabbitmq.Transport, topic pipeline.Topic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := transport.Declare(ctx, topic); err != nil {
		t.Fatal(err)
	}
	deleteQueue(t, transport.Queue(topic.Name))
}
