package deadletters

import (
	"slices"
	"strings"
	"time"

	"opencti-ipqs-worker/pipeline"
)

// Filter says which dead letters are meant. The zero value means all of them; what is set has to hold all at once.
type Filter struct {
	// IDs, Hops, Reasons and Types each list what the letter's own may be; empty lets any through. Case matters in none of
	// them.
	IDs, Hops, Reasons, Types []string
	// Older lets through what was given up at least so long ago, Newer what was given up less long ago. Zero lets through
	// any age, and so letters that do not say when they were given up; else those are not let through.
	Older, Newer time.Duration
}

// IsZero reports whether the filter lets everything through.
func (f Filter) IsZero() bool {
	return len(f.IDs) == 0 && len(f.Hops) == 0 && len(f.Reasons) == 0 && len(f.Types) == 0 && f.Older == 0 && f.Newer == 0
}

// Match reports whether the filter lets a letter through at a time.
func (f Filter) Match(letter pipeline.DeadLetter, now time.Time) bool {
	age := now.Sub(letter.LastAt)
	aged := f.Older == 0 && f.Newer == 0 || !letter.LastAt.IsZero() &&
		(f.Older == 0 || age >= f.Older) && (f.Newer == 0 || age < f.Newer)
	return aged && among(f.IDs, letter.ID) && among(f.Hops, letter.Hop) &&
		among(f.Reasons, string(letter.Reason)) && among(f.Types, letter.EntityType)
}

func among(list []string, value string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(one string) bool { return strings.EqualFold(one, value) })
}
