package graphtest

import (
	"flag"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
)

var (
	histories = flag.Int("histories", 0, "how many histories TestProperty_OthersKeepWhatTheyWrote tries; zero means 10,000, 1,000 in short mode, "+
		"and 300 with the race detector")
	seed = flag.Uint64("seed", 1, "the seed of its first history")
)

// TestProperty_OthersKeepWhatTheyWrote tries random histories: whatever happens in which order, the worker changes of what
// others wrote only what the score policy lets it, and what is its own is as IPQS answered last. A history that fails is tried
// again without each of its events, and printed with what is left; -seed and -histories=1 repeat it.
func TestProperty_OthersKeepWhatTheyWrote(t *testing.T) {
	t.Parallel()
	n := *histories
	switch {
	case n > 0:
	case raceDetector:
		n = 300
	case testing.Short():
		n = 1000
	default:
		n = 10_000
	}
	debug.SetGCPercent(400) // garbage collection takes a quarter of the time otherwise
	const shards = 8
	for shard := range shards {
		t.Run(strconv.Itoa(shard), func(t *testing.T) {
			t.Parallel()
			for i := shard; i < n; i += shards {
				h := newHistory(*seed + uint64(i))
				if err := try(t, h); err != nil {
					t.Fatal(shrink(t, h, err))
				}
			}
		})
	}
}

// try runs a history in a bubble of its own.
func try(t *testing.T, h history) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { err = h.run(t) })
	return err
}

// shrink leaves out events as long as the history still fails, and returns its error then.
func shrink(t *testing.T, h history, err error) error {
	t.Helper()
	for i := 0; i < len(h.events); {
		shorter := h
		shorter.events = slices.Delete(slices.Clone(h.events), i, i+1)
		if shorterErr := try(t, shorter); shorterErr != nil {
			h, err = shorter, shorterErr
		} else {
			i++
		}
	}
	return err
}
