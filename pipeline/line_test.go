package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/metric"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
)

// uncounted is a transport that may not count one of its topics.
type uncounted struct {
	*memory.Transport
	topic string
}

func (u uncounted) Depth(ctx context.Context, topic string) (messages, consumers int, err error) {
	if topic == u.topic {
		return 0, 0, errors.New("access refused")
	}
	return u.Transport.Depth(ctx, topic)
}

// A process knows how old the jobs are of the hops that it runs, and of those that nobody does. What can't be counted is
// missing, not zero.
func TestLinesOfHopsThatRunElsewhere(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		hops := []pipeline.Hop{step("a", 1, pass), step("b", 1, pass), step("c", 1, pass), step("d", 1, pass)}
		transport := uncounted{memory.New(memory.Options{Topics: pipeline.Topics(hops)}), "d"}
		reader := metric.NewManualReader()
		p, err := pipeline.New(pipeline.Options{
			Hops: hops, Only: []string{"a"}, Transport: transport, Ends: &told{}, Meter: metric.NewMeterProvider(metric.WithReader(reader)),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		if _, err := transport.Subscribe(ctx, "b"); err != nil { // another process
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		<-p.Running()
		synctest.Wait()
		got := (&line{t: t, metrics: reader}).scraped()
		cancel()
		if err := errors.Join(<-done, transport.Close()); err != nil {
			t.Error(err)
		}
		shown := map[string]float64{}
		for _, hop := range []string{"a", "b", "c", "d"} {
			for _, name := range []string{"queue.oldest_age{hop=" + hop + "}", "queue.consumers{hop=" + hop + "}", "queue.depth{hop=" + hop + ",queue=work}"} {
				if v, ok := got[name]; ok {
					shown[name] = v
				}
			}
		}
		want := map[string]float64{
			"queue.oldest_age{hop=a}": 0, "queue.consumers{hop=a}": 1, "queue.depth{hop=a,queue=work}": 0,
			"queue.consumers{hop=b}": 1, "queue.depth{hop=b,queue=work}": 0,
			"queue.oldest_age{hop=c}": 0, "queue.consumers{hop=c}": 0, "queue.depth{hop=c,queue=work}": 0,
		}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
	})
}
