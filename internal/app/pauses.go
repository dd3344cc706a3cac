package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"opencti-ipqs-worker/pipeline"
)

// pauses is which hops of the session's pipeline take no jobs, for whoever asks how the worker is.
type pauses struct {
	mu     sync.Mutex
	paused func() map[string]pipeline.PauseState // nil without a pipeline
}

// follow has the pauses be those of a pipeline, or none's if it is nil.
func (p *pauses) follow(paused func() map[string]pipeline.PauseState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = paused
}

// state returns nil while every hop takes jobs, else an error that says which ones do not.
func (p *pauses) state() error {
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	if paused == nil {
		return nil
	}
	if found := paused(); len(found) > 0 {
		return pausedError(found)
	}
	return nil
}

// pausedError says which hops pause, why and until when.
type pausedError map[string]pipeline.PauseState

func (e pausedError) Error() string {
	lines := make([]string, 0, len(e))
	for _, hop := range slices.Sorted(maps.Keys(e)) {
		s := e[hop]
		lines = append(lines, fmt.Sprintf("%s takes no jobs (%s), they wait in their queue until a probe finds that it can, the next one from %s on: %s",
			hop, s.Reason, s.Until.UTC().Format(time.RFC3339), s.Error))
	}
	return strings.Join(lines, "; ")
}

// pausedHop is one pause as the body of /readyz has it.
type pausedHop struct {
	Hop    string    `json:"hop"`
	Reason string    `json:"reason"`
	Error  string    `json:"error"`
	Since  time.Time `json:"since"`
	// NextProbe is when the next one is let through; past while one is under way.
	NextProbe time.Time `json:"next_probe_at"`
	// Probes is how many were, since the pause began.
	Probes int `json:"probes"`
}

// Details are the same for programs.
func (e pausedError) Details() any {
	list := make([]pausedHop, 0, len(e))
	for _, hop := range slices.Sorted(maps.Keys(e)) {
		s := e[hop]
		list = append(list, pausedHop{hop, string(s.Reason), s.Error, s.Since.UTC(), s.Until.UTC(), s.Probes})
	}
	return list
}
