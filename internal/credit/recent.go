package credit

import (
	"context"
	"encoding/json"
	"time"
)

// Recents remembers in a [Store] which entities were enriched within an interval, and by which job. It is made for
// stages.Recents.
type Recents struct {
	// Store is where; Key hides what it is about.
	Store Store
	Key   string
	// Interval is for how long.
	Interval time.Duration
}

type enriched struct {
	At  time.Time `json:"at"`
	Job string    `json:"job"`
}

// Enriched notes that a job has enriched an entity, now.
func (r Recents) Enriched(ctx context.Context, entity, job string) {
	bytes, err := json.Marshal(enriched{At: time.Now().UTC(), Job: job})
	if err != nil {
		return // not with a time and a text
	}
	r.Store.Put(ctx, r.key(entity), bytes, r.Interval)
}

// Recent returns how long ago another job than this one enriched the entity, if that is within the interval.
func (r Recents) Recent(ctx context.Context, entity, job string) (ago time.Duration, ok bool) {
	bytes, ok := r.Store.Get(ctx, r.key(entity))
	var e enriched
	if !ok || json.Unmarshal(bytes, &e) != nil || e.Job == job {
		return 0, false
	}
	ago = time.Since(e.At)
	return ago, ago < r.Interval
}

func (r Recents) key(entity string) string { return Hide(r.Key, "recent", entity) }
