package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// diverting is the platform's broker, whose next jobs can be put into a queue of the worker instead of OpenCTI's.
type diverting struct {
	*openctitest.AMQP
	mu      sync.Mutex
	channel *amqp.Channel
	queue   string // "" is OpenCTI's
	delay   string // until the queue returns the job, in milliseconds; "" is the queue's own
}

func (d *diverting) to(queue, delay string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue, d.delay = queue, delay
}

// PublishJob puts the job into the chosen queue.
func (d *diverting) PublishJob(ctx context.Context, connectorID string, body []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue == "" {
		return d.AMQP.PublishJob(ctx, connectorID, body)
	}
	return d.channel.PublishWithContext(ctx, "", d.queue, true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Expiration: d.delay, Body: body,
	})
}

// formerRoom declares a waiting room of resolve as an earlier version did: its jobs return to the queue named back.
func formerRoom(t *testing.T, channel *amqp.Channel, connector, queueType, name string, delay time.Duration, back string) string {
	t.Helper()
	prefix := "ipqs-worker." + connector
	options := rabbitmq.Options{Prefix: prefix, QueueType: queueType, Foreign: map[string]string{"back": back}}
	queue, arguments := options.Declaration(pipeline.Topic{Name: name, Delay: delay, Back: "back"})
	if _, err := channel.QueueDeclare(queue, true, false, false, false, arguments); err != nil {
		t.Fatalf("declaring %s: %v", queue, err)
	}
	t.Cleanup(func() { _, _ = channel.QueueDelete(queue, false, false, false) }) // the next test has others
	return queue
}

// TestSwitchingTheListenProtocol stops a worker with one protocol while jobs wait in every queue that may hold jobs of the first
// hop, those of earlier versions among them, and in the middle of the pipeline; starts one with the other protocol; and goes
// back. No queue is deleted and every job is done.
func TestSwitchingTheListenProtocol(t *testing.T) {
	t.Parallel()
	for _, queueType := range []string{rabbitmq.Classic, rabbitmq.Quorum} {
		t.Run(queueType, func(t *testing.T) {
			t.Parallel()
			url, connector := pipelinetest.AMQPURL(t), uuid.NewString()
			broker := &diverting{AMQP: openctitest.AMQPBroker(url), channel: dial(t, url)}
			broker.Prefix = "e2e-" + connector[:8] + "_"
			coordinates := broker.Coordinates(connector)
			t.Cleanup(func() {
				_ = broker.Close()
				forget(t, url, connector, coordinates)
			})
			w := newWorldOn(t, broker, connector, "", ipqstest.Options{Latency: 100 * time.Millisecond})
			own := "ipqs-worker." + connector + ".resolve"
			overAMQP := []string{"WORKER_QUEUE_TYPE=" + queueType}
			posted := append(w.callback("http"), overAMQP...)
			rooms := []string{
				own + ".delay.5s", own + ".delay.5m",
				formerRoom(t, broker.channel, connector, queueType, "resolve.retry.5s", 5*time.Second, coordinates.Listen),
				formerRoom(t, broker.channel, connector, queueType, "resolve.retry.30s", 30*time.Second, own),
			}
			var jobs []job
			list := observables(200)
			enrich := func(n int) {
				t.Helper()
				jobs = append(jobs, w.enrich(list[len(jobs):len(jobs)+n])...)
			}
			complete := func(when string) {
				t.Helper()
				if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
					for _, work := range w.platform.Works() {
						if work.Status != "complete" || work.ProcessedTimes == 0 {
							t.Errorf("%s, this work is not complete: %+v", when, work)
						}
					}
					t.Fatalf("%s, %d of %d works are complete: %v", when, w.complete(), len(jobs), err)
				}
			}
			running := func(p *worker) {
				t.Helper()
				select {
				case <-p.exit:
					t.Fatal("a worker ended by itself")
				default:
				}
			}

			worker := w.start(overAMQP...)
			for i, next := range [][]string{posted, overAMQP, posted} {
				enrich(20)
				if err := w.platform.Wait(w.ctx, func() bool { return w.complete() >= len(jobs)-15 }); err != nil {
					t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
				}
				running(worker)
				worker.kill() // with jobs in the middle of the pipeline
				enrich(3)     // in OpenCTI's queue
				broker.to(own, "")
				enrich(3)
				for _, room := range rooms {
					broker.to(room, "1000")
					enrich(3)
				}
				broker.to("", "")
				registered := w.registrations()
				worker = w.launch(next...)
				if err := w.platform.Wait(w.ctx, func() bool { return w.registrations() > registered }); err != nil {
					t.Fatalf("waiting for registration %d: %v", i+2, err)
				}
				complete(fmt.Sprint("after switch ", i+1))
			}

			// Both kinds side by side: each keeps running, whatever the other registers, and all jobs are done.
			other := w.launch(overAMQP...)
			enrich(20)
			complete("with both protocols")
			running(worker)
			running(other)
			if status := worker.stop(); status != 0 {
				t.Errorf("exit status = %d after SIGTERM, want 0", status)
			}
			enrich(10)
			complete("after the old worker stopped")
			if status := other.stop(); status != 0 {
				t.Errorf("exit status = %d after SIGTERM, want 0", status)
			}
			checkWorks(t, w, jobs, true)
			if log := w.logs.String(); strings.Contains(log, rabbitmq.ErrMismatch.Error()) {
				t.Error("a worker met a queue with other properties than its own")
			}
			for _, queue := range append(rooms, own, coordinates.Listen) {
				if left, err := broker.channel.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil || left.Messages != 0 {
					t.Errorf("%s holds %d jobs, error %v, want none", queue, left.Messages, err)
				}
			}
		})
	}
}
