package pipeline

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/stages"
)

func TestDefinitionIsAPipeline(t *testing.T) {
	t.Parallel()
	hops := Definition(World{})
	if err := Validate(hops); err != nil {
		t.Fatalf("Validate(Definition()) = %v", err)
	}
	var names []string
	for _, hop := range hops {
		names = append(names, hop.Name())
	}
	if diff := cmp.Diff([]string{"resolve", "lookup", "score", "bundle", "publish"}, names); diff != "" {
		t.Errorf("hops (-want +got):\n%s", diff)
	}
	if names[0] != FirstHop {
		t.Errorf("the first hop is %s, want %s", names[0], FirstHop)
	}
	want := []Topic{
		{Name: "resolve", Prefetch: 8, Poison: "resolve.poison"},
		{Name: "resolve.poison"},
		{Name: "resolve.delay.5s", Delay: 5 * time.Second, Back: "resolve"},
		{Name: "resolve.delay.30s", Delay: 30 * time.Second, Back: "resolve"},
		{Name: "resolve.delay.5m", Delay: 5 * time.Minute, Back: "resolve"},
		{Name: ListenTopic, Prefetch: 32, Foreign: true, Poison: "resolve.poison"},
		{Name: "lookup", Prefetch: 32, Poison: "lookup.poison"},
		{Name: "lookup.poison"},
		{Name: "lookup.retry.5s", Delay: 5 * time.Second, Back: "lookup"},
		{Name: "lookup.retry.30s", Delay: 30 * time.Second, Back: "lookup"},
		{Name: "lookup.retry.5m", Delay: 5 * time.Minute, Back: "lookup"},
		{Name: "lookup.urgent", Prefetch: 8, Poison: "lookup.poison"},
		{Name: "lookup.urgent.retry.5s", Delay: 5 * time.Second, Back: "lookup.urgent"},
		{Name: "lookup.urgent.retry.30s", Delay: 30 * time.Second, Back: "lookup.urgent"},
		{Name: "lookup.urgent.retry.5m", Delay: 5 * time.Minute, Back: "lookup.urgent"},
		{Name: "score", Prefetch: 100, Poison: "score.poison"},
		{Name: "score.poison"},
		{Name: "bundle", Prefetch: 100, Poison: "bundle.poison"},
		{Name: "bundle.poison"},
		{Name: "publish", Prefetch: 32, Poison: "publish.poison"},
		{Name: "publish.poison"},
		{Name: "publish.retry.5s", Delay: 5 * time.Second, Back: "publish"},
		{Name: "publish.retry.30s", Delay: 30 * time.Second, Back: "publish"},
		{Name: "publish.retry.5m", Delay: 5 * time.Minute, Back: "publish"},
	}
	if diff := cmp.Diff(want, Topics(hops)); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
	want[0].Prefetch = 32
	want = slices.DeleteFunc(want, func(t Topic) bool { return t.Foreign })
	if diff := cmp.Diff(want, Topics(Definition(World{Posted: true}))); diff != "" {
		t.Errorf("topics where jobs are posted, want the same queues but OpenCTI's (-want +got):\n%s", diff)
	}
}

func TestDefinitionCarriesOnlyWhatIsNeeded(t *testing.T) {
	t.Parallel()
	want := [][]stages.Section{
		nil,
		nil,
		nil,
		nil, // publish makes the bundle again where OpenCTI has changed meanwhile
		{
			stages.SectionEntity, stages.SectionState, stages.SectionRisk, stages.SectionVerdict, stages.SectionChanges,
			stages.SectionBundle,
		},
	}
	if diff := cmp.Diff(want, spent(Definition(World{}))); diff != "" {
		t.Errorf("spent sections by hop (-want +got):\n%s", diff)
	}
}

func TestSchedulesStayWellBelowTheBrokersPatience(t *testing.T) {
	t.Parallel()
	const consumerTimeout = 30 * time.Minute // RabbitMQ's default
	for _, hop := range Definition(World{}) {
		longest := time.Duration(hop.Retry.Attempts)*(hop.Stage.Timeout+hop.Retry.Most) + patience + longestWait
		if longest > consumerTimeout*2/3 {
			t.Errorf("hop %s may hold a job for %v, want less than two thirds of %v", hop.Name(), longest, consumerTimeout)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	run := Definition(World{})[2].Stage.Run
	good := func(name string, needs, fills stages.Section) Hop {
		hop := Hop{Prefetch: 1, Retry: never, Stage: stages.Stage{Name: name, Timeout: time.Second, Run: run}}
		if needs != "" {
			hop.Stage.Needs = []stages.Section{needs}
		}
		if fills != "" {
			hop.Stage.Fills = []stages.Section{fills}
		}
		return hop
	}
	later := func(waits ...time.Duration) Hop {
		hop := good("a", "", "")
		hop.Retry.Later = waits
		return hop
	}
	tests := []struct {
		name string
		hops []Hop
		want string // "" for none
	}{
		{"fine", []Hop{good("a", stages.SectionRequest, stages.SectionEntity), good("b", stages.SectionEntity, "")}, ""},
		{"empty", nil, "no hops"},
		{"same name", []Hop{good("a", "", ""), good("a", "", "")}, "hop 2 (a): its name must be set and differ"},
		{"unfilled", []Hop{good("a", stages.SectionRisk, "")}, "it needs risk, which no earlier stage fills"},
		{"filled twice", []Hop{good("a", "", stages.SectionRisk), good("b", "", stages.SectionRisk)}, "hop 2 (b): it fills risk"},
		{"no function", []Hop{{Prefetch: 1, Retry: never, Stage: stages.Stage{Name: "a", Timeout: 1}}}, "needs a function"},
		{"no prefetch", []Hop{{Retry: never, Stage: good("a", "", "").Stage}}, "prefetch is 0"},
		{"long waits out of order", []Hop{later(time.Minute, time.Second)}, "the long waits of its retry"},
		{"no long wait", []Hop{later(0, time.Second)}, "the long waits of its retry"},
		{"no attempt", []Hop{{Prefetch: 1, Stage: good("a", "", "").Stage}}, "at least one attempt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Validate(tt.hops)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Validate() = %v, want nil", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Validate() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}
