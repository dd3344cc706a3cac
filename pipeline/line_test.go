package pipeline_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/metric"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
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
		ctx, cancel := context.WithCancel(context.Background())
		if _, err := transport.Subscribe(ctx, "b"); err != nil { // another process
			t.Fatal(err)
		}
		_, stop := carry(t, pipeline.Options{
			Hops: hops, Only: []string{"a"}, Transport: transport, Meter: metric.NewMeterProvider(metric.WithReader(reader)),
		})
		synctest.Wait()
		got := (&line{t: t, metrics: reader}).scraped()
		cancel()
		if err := errors.Join(stop(), transport.Close()); err != nil {
			t.Error(err)
		}
		for _, name := range []string{
			"faults{class=account_wide,hop=a,reason=auth}", "faults{class=permanent,hop=a,reason=capability}",
			"faults{class=permanent,hop=a,reason=contract}", "faults{class=transient,hop=a,reason=broker}",
		} {
			if v, ok := got[name]; !ok || v != 0 {
				t.Errorf("%s = %v, %v, want 0 before anything happens", name, v, ok)
			}
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

// A broker that does not take what a stage has made is a fault of its own, with one line that names the job.
func TestAJobThatTheNextQueueDoesNotTake(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		hops := []pipeline.Hop{step("a", 1, pass), step("b", 1, pass)}
		hops[0].Retry.Later = []time.Duration{5 * time.Second}
		carrier := &refusing{Transport: memory.New(memory.Options{Topics: pipeline.Topics(hops)}), topic: "b", times: 6}
		reader := metric.NewManualReader()
		var lines strings.Builder
		outcomes, stop := carry(t, pipeline.Options{
			Hops: hops, Transport: carrier, Meter: metric.NewMeterProvider(metric.WithReader(reader)),
			Logger: slog.New(slog.NewTextHandler(&lines, nil)),
		})
		put(t, carrier, "a", asked("m", "work_1"))
		if o := <-outcomes; o.Fault == nil || o.Fault.Reason != stages.ReasonBroker || o.Delay != 5*time.Second {
			t.Errorf("outcome = %+v, want a fault of the broker, and again in 5 s", o)
		}
		if o := ending(outcomes); o.End != pipeline.Published {
			t.Errorf("end = %+v, want published", o)
		}
		synctest.Wait()
		got := (&line{t: t, metrics: reader}).scraped()
		if err := errors.Join(stop(), carrier.Close()); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]float64{
			"faults{class=transient,hop=a,reason=broker}": 1, "hop.duration{hop=a,outcome=parked}": 1,
			"hop.duration{hop=a,outcome=passed_on}": 1, "retries{hop=a,how=parked,reason=broker}": 1,
		} {
			if got[name] != want {
				t.Errorf("%s = %v, want %v", name, got[name], want)
			}
		}
		if text := lines.String(); strings.Count(text, "reason=broker") != 1 || strings.Count(text, "\n") != 1 || !strings.Contains(text, "hop=a") {
			t.Errorf("logged %q, want one line of hop a with the reason broker", text)
		}
	})
}
