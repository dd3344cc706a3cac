package pipeline

import (
	"slices"
	"testing"
)

func TestDefinitionHasItsNamesAndNumbers(t *testing.T) {
	t.Parallel()
	var names []string
	usual := map[string]int{"resolve": 32, "lookup": 32, "score": 100, "bundle": 100, "publish": 32}
	for _, hop := range Definition(World{}) {
		names = append(names, hop.Name())
		if want := usual[hop.Name()]; hop.Prefetch != want {
			t.Errorf("%s has %d jobs in hand, want %d", hop.Name(), hop.Prefetch, want)
		}
	}
	if !slices.Equal(names, HopNames()) {
		t.Errorf("HopNames() = %q, want %q", HopNames(), names)
	}
	w := World{Lookups: 7, InHand: map[string]int{"resolve": 1, "score": 2, "bundle": 3, "publish": 4}}
	want := map[string]int{"resolve": 1, "lookup": 7, "score": 2, "bundle": 3, "publish": 4}
	for _, hop := range Definition(w) {
		if hop.Prefetch != want[hop.Name()] {
			t.Errorf("%s has %d jobs in hand, want %d", hop.Name(), hop.Prefetch, want[hop.Name()])
		}
	}
}
