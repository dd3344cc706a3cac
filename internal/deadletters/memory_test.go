package deadletters_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
)

// The same over a transport of the pipeline's.
func TestOverTheEmbeddedTransport(t *testing.T) {
	t.Parallel()
	transport := memory.New(memory.Options{Topics: pipeline.Topics(hops())})
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	_, b := newStore()
	for topic, letters := range b.queues {
		if err := transport.Publish(topic, letters...); err != nil {
			t.Fatal(err)
		}
	}
	s := deadletters.Store{Transport: transport, Hops: hops()}
	if diff := cmp.Diff([]string{"L1", "L2", "L3", "P1", "P2"}, list(t, s, deadletters.Filter{})); diff != "" {
		t.Errorf("List() (-want +got):\n%s", diff)
	}
	if _, err := s.Drop(t.Context(), deadletters.Filter{IDs: []string{"L2"}}); err != nil {
		t.Errorf("Drop() = %v", err)
	}
	if _, err := s.Replay(t.Context(), deadletters.Filter{}, deadletters.Replay{Limit: 3}); err != nil {
		t.Errorf("Replay() = %v", err)
	}
	if diff := cmp.Diff([]string{"P2"}, list(t, s, deadletters.Filter{})); diff != "" {
		t.Errorf("List() after a drop and a replay (-want +got):\n%s", diff)
	}
	for topic, want := range map[string]int{"lookup": 2, "publish": 1} {
		if n, _, err := transport.Depth(t.Context(), topic); n != want || err != nil {
			t.Errorf("%s has %d replays, %v, want %d", topic, n, err, want)
		}
	}
}
