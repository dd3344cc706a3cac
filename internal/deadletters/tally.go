package deadletters

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"opencti-ipqs-worker/pipeline"
)

// Tally is what somebody who went through the queues came across.
type Tally struct {
	// Seen counts the letters that were there, Done those of them that were listed, replayed, dropped or exported.
	Seen, Done Census
	// Twins counts the second letters of those that are there twice, which happens when a worker dies in the wrong moment:
	// they are in none of the other counts, and share the fate of the first.
	Twins int
	// Whole says that they went through all of it, and did not stop at a limit.
	Whole bool
	// Missing lists the ids of the filter that no letter has.
	Missing []string
	// Refused holds an error for each letter that could not be replayed. It stays where it was.
	Refused []error
}

// Census counts letters by what they say. The zero value is ready for use.
type Census struct {
	Total                int
	Hops, Reasons, Types map[string]int
}

func (c *Census) add(letter pipeline.DeadLetter) {
	if c.Total == 0 {
		c.Hops, c.Reasons, c.Types = map[string]int{}, map[string]int{}, map[string]int{}
	}
	c.Total++
	c.Hops[letter.Hop]++
	c.Reasons[cmp.Or(string(letter.Reason), "unknown")]++
	c.Types[cmp.Or(letter.EntityType, "unknown")]++
}

// String writes how many letters there are at which hop and for which reason, the most first: "3 (lookup 2, publish 1;
// timeout 3)".
func (c Census) String() string {
	if c.Total == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s; %s)", c.Total, ranked(c.Hops), ranked(c.Reasons))
}

func ranked(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %d", Printable(name), counts[name])
	}
	return strings.Join(parts, ", ")
}
