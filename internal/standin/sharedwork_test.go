package standin_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watermessage "github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
)

// redelivering is a transport of two workers that hands out some of the messages twice, as after a crash or a lost connection:
// the second copy goes to either worker, while the first one is in hand.
type redelivering struct {
	app.Carrier
	mu   sync.Mutex
	dice *rand.Rand
	wg   sync.WaitGroup
}

// Subscribe implements [watermessage.Subscriber].
func (r *redelivering) Subscribe(ctx context.Context, topic string) (<-chan *watermessage.Message, error) {
	in, err := r.Carrier.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *watermessage.Message)
	r.wg.Go(func() {
		defer close(out)
		for msg := range in {
			if msg.Metadata.Get(pipeline.MetadataRepeated) == "" && r.twice() {
				again := watermessage.NewMessage(watermill.NewULID(), msg.Payload)
				for key, value := range msg.Metadata {
					again.Metadata.Set(key, value)
				}
				again.Metadata.Set(pipeline.MetadataRepeated, "true")
				_ = r.Publish(topic, again) // a transport that closes loses a copy only
			}
			select {
			case out <- msg:
			case <-ctx.Done():
				msg.Nack()
			}
		}
	})
	return out, nil
}

func (r *redelivering) twice() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dice.IntN(3) == 0
}

// Close does nothing: the other worker may go on.
func (r *redelivering) Close() error { return nil }

// SetWindow implements [pipeline.Narrower], for a hop that pauses.
func (r *redelivering) SetWindow(topic string, n int) {
	if narrower, ok := r.Carrier.(pipeline.Narrower); ok {
		narrower.SetWindow(topic, n)
	}
}

// TestSharedWorks_OnEveryRelease puts 60 jobs, two of each work, through two workers that get a third of the messages twice, with
// lookups of different duration: all observables are enriched, and all works are complete without the platform's clean-up.
func TestSharedWorks_OnEveryRelease(t *testing.T) {
	t.Parallel()
	versions := []string{
		"5.4.1", "5.5.0", "5.12.33", "6.0.0", "6.2.0", "6.4.0", "6.6.0", "6.7.5", "6.8.6", "6.8.7", "6.8.10", "6.9.5", "6.9.28",
		"7.260318.0", "7.260422.0", "7.260428.0", "7.260507.0", "7.260510.0", "7.260609.0", "7.260615.0", "7.260817.0",
	}
	for i, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			sharedWorks(t, version, uint64(i))
		})
	}
}

func sharedWorks(t *testing.T, version string, seed uint64) {
	t.Helper()
	ctx := limited(t)
	world, err := standin.New(ctx, standin.Options{Version: version, IPQS: ipqstest.Options{
		Latency: 10 * time.Millisecond, LatencyJitter: 10 * time.Millisecond, Seed: seed,
	}})
	if err != nil {
		t.Fatal(err)
	}
	log := &logtest.Log{}
	stop := twoWorkers(ctx, t, world, seed, log)
	if err := world.Registered(ctx); err != nil {
		t.Fatal(err)
	}
	world.Platform.ShareWorks(2)
	var ids []string
	for i := range 60 {
		id := world.Platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: fmt.Sprintf("198.51.100.%d", i+1)})
		if _, err := world.Platform.Enrich(ctx, id, openctitest.Auto); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	missing := func(id string) bool { o, _ := world.Platform.Observable(id); return o.Score == nil }
	open := func(w openctitest.Work) bool { return w.Status != "complete" || w.ProcessedTimes < 2 }
	err = world.Platform.Wait(ctx, func() bool {
		return !slices.ContainsFunc(ids, missing) && !slices.ContainsFunc(world.Platform.Works(), open)
	})
	if err != nil {
		t.Errorf("waiting for the jobs: %v", err)
	}
	stop()
	for _, id := range ids {
		if missing(id) {
			t.Errorf("%s was not enriched", id)
		}
	}
	works := world.Platform.Works()
	if len(works) != len(ids)/2 {
		t.Errorf("%d works, want one for two jobs", len(works))
	}
	for _, w := range works {
		if w.Status != "complete" || w.Forced || w.Dropped > 0 || len(w.Errors) > 0 {
			t.Errorf("work = %+v, want it complete by itself, with nothing dropped", w)
		}
	}
	if complaints := world.Platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI complains: %q", complaints)
	}
	if t.Failed() {
		t.Log(log.String())
	}
}

// twoWorkers runs two workers on one transport. stop ends them, after the jobs in hand.
func twoWorkers(ctx context.Context, t *testing.T, world *standin.World, seed uint64, log *logtest.Log) (stop func()) {
	t.Helper()
	c, _, err := config.Load(config.Options{Environ: append(world.Environ(), "CONNECTOR_METRICS_PORT=0", "WORKER_DEBUG_PORT=0")})
	if err != nil {
		t.Fatal(err)
	}
	var shared *redelivering
	connect := sync.OnceValue(func() error {
		carrier, err := world.Connect(ctx, opencti.Registration{}, pipeline.Topics(pipeline.Definition(pipeline.World{})))
		shared = &redelivering{Carrier: carrier, dice: rand.New(rand.NewPCG(seed, seed))}
		return err
	})
	running, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			err := app.Run(running, app.Options{
				Config: c, Logger: log.Logger(), Version: "test",
				Connect: func(context.Context, opencti.Registration, []pipeline.Topic) (app.Carrier, error) {
					err := connect()
					return shared, err
				},
			})
			if err != nil {
				t.Errorf("Run() = %v", err)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		workers.Wait()
		if shared != nil {
			if err := shared.Carrier.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
			shared.wg.Wait()
		}
		world.Close()
	})
	t.Cleanup(stop)
	return stop
}
