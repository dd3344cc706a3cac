package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"opencti-ipqs-worker/stages"
)

// scraped lists the metrics as "name{label=value}" to value; of a histogram it is the count, and under the name with "sum"
// the sum.
func (l *line) scraped() map[string]float64 {
	l.t.Helper()
	var all metricdata.ResourceMetrics
	if err := l.metrics.Collect(context.Background(), &all); err != nil {
		l.t.Fatal(err)
	}
	out := map[string]float64{}
	add := func(name string, labels attribute.Set, v float64) {
		var texts []string
		for _, kv := range labels.ToSlice() {
			texts = append(texts, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
		}
		slices.Sort(texts)
		out[name+"{"+strings.Join(texts, ",")+"}"] = v
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			name := strings.TrimPrefix(m.Name, "ipqs_worker.")
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(name, p.Attributes, float64(p.Count))
					add(name+" sum", p.Attributes, p.Sum)
				}
			default:
				l.t.Fatalf("metric %s is a %T", m.Name, data)
			}
		}
	}
	return out
}

func TestTheMetricsOfJobs(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		asked := time.Now().Add(-3 * time.Second).UTC().Format("2006-01-02T15:04:05.000Z")
		runs := 0
		release := make(chan struct{})
		flaky := func(_ context.Context, job stages.Job) (stages.Job, error) {
			switch runs++; {
			case runs <= 2:
				return job, errors.New("hiccup")
			case runs == 3:
				return job, nil
			case runs == 4:
				return job, &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonMalformed}
			default:
				<-release
				return job, nil
			}
		}
		hop := patient("b", flaky, 5*time.Second)
		hop.Prefetch = 1
		l := start(t, &told{}, step("a", 1, pass), hop)
		l.send("work_1_" + asked)
		l.end()
		l.send("work_2")
		l.end()
		// One in hand, two in the queue.
		for i := range 3 {
			l.send(fmt.Sprintf("work_%d", 3+i))
			synctest.Wait()
		}
		<-time.After(40 * time.Second)
		synctest.Wait()
		got := l.scraped()
		close(release)
		want := map[string]float64{
			"retries{hop=b,how=in_hand,reason=other}": 1, "retries{hop=b,how=parked,reason=other}": 1,
			"faults{class=transient,hop=b,reason=other}": 2, "faults{class=permanent,hop=b,reason=malformed}": 1,
			"dead_letters{hop=b,reason=malformed}": 1,
			"jobs{end=published,reason=}":          1, "jobs{end=dead_lettered,reason=malformed}": 1,
			"hop.duration{hop=a,outcome=passed_on}": 5, "hop.duration{hop=b,outcome=parked}": 1,
			"hop.duration{hop=b,outcome=published}": 1, "hop.duration{hop=b,outcome=dead_lettered}": 1,
			"attempt.duration{hop=b,outcome=transient}": 2, "attempt.duration{hop=b,outcome=ok}": 1,
			"attempt.duration{hop=b,outcome=permanent}": 1,
			"queue.wait{delivery=retry,hop=b}":          1, "queue.wait sum{delivery=retry,hop=b}": 5,
			"queue.wait{delivery=first,hop=a}": 1, "queue.wait sum{delivery=first,hop=a}": 3,
			"hop.in_flight{hop=b}": 1, "hop.in_flight{hop=a}": 0, "hop.paused{hop=b}": 0,
			"queue.depth{hop=b,queue=work}": 2, "queue.depth{hop=b,queue=poison}": 1, "queue.depth{hop=b,queue=retry}": 0,
			"queue.depth{hop=a,queue=work}": 0, "queue.consumers{hop=b}": 1, "queue.oldest_age{hop=b}": 40,
			"queue.oldest_age{hop=a}": 0,
		}
		shown := map[string]float64{}
		for name := range want {
			if v, ok := got[name]; ok {
				shown[name] = math.Floor(v*100) / 100 // time stamps have milliseconds
			}
		}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("metrics (-want +got):\n%s\nall: %v", diff, got)
		}
	})
}
