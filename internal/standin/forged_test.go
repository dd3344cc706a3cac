package standin_test

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"

	watermill "github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// forging is a carrier that replaces a value in the messages to the lookup, as somebody with access to the queue could.
type forging struct {
	app.Carrier
	value, other []byte
	forged       *atomic.Int32
}

func (f forging) Publish(topic string, messages ...*watermill.Message) error {
	for _, m := range messages {
		if strings.HasPrefix(topic, "lookup") && bytes.Contains(m.Payload, f.value) {
			m.Payload = bytes.ReplaceAll(m.Payload, f.value, f.other)
			f.forged.Add(1)
		}
	}
	return f.Carrier.Publish(topic, messages...)
}

// A value that reaches the queue of the lookup without passing the first hop is not sent either.
func TestForgedMessage_SendsNothing(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	world, err := standin.New(ctx, standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(config.Options{Environ: append(world.Environ(), "CONNECTOR_METRICS_PORT=0", "CONNECTOR_SCOPE=Url")})
	if err != nil {
		t.Fatal(err)
	}
	ends, observe := endings()
	var forged atomic.Int32
	log, done := &logtest.Log{}, make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() {
		done <- app.Run(running, app.Options{
			Config: c, Logger: log.Logger(), Version: "test", Observe: observe,
			Connect: func(ctx context.Context, r opencti.Registration, topics []pipeline.Topic) (app.Carrier, error) {
				carrier, err := world.Connect(ctx, r, topics)
				return forging{carrier, []byte("forged.example"), []byte("10.0.0.1"), &forged}, err
			},
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
		world.Close()
	})
	if err := world.Registered(ctx); err != nil {
		t.Fatal(err)
	}
	id := world.Platform.AddObservable(openctitest.Observable{Type: "Url", Value: "http://forged.example/"})
	if _, err := world.Platform.Enrich(ctx, id, openctitest.Manual); err != nil {
		t.Fatal(err)
	}
	checkEnd(ctx, t, ends, pipeline.Skipped, stages.ReasonPrivate)
	if requests := world.IPQS.Requests(); len(requests) > 0 || forged.Load() != 1 {
		t.Errorf("%d messages were forged and IPQS was asked %v, want 1 and nothing", forged.Load(), requests)
	}
}
