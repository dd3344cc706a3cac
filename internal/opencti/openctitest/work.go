package openctitest

import (
	"encoding/json"
	"slices"
	"time"
)

const (
	statusWait     = "wait"
	statusProgress = "progress"
	statusComplete = "complete"

	// maxErrors is how many errors a work keeps.
	maxErrors = 100
)

// Work is a work as it stands.
type Work struct {
	ID, ConnectorID string
	// EntityID is what the latest of its jobs is about: the platform keeps one event_source_id.
	EntityID string
	// Jobs counts the jobs that were sent with this work id.
	Jobs int
	// Status is "wait", "progress" or "complete".
	Status string
	// Expected and Processed are the counters, what is left of them when they were deleted.
	Expected, Processed int
	// Messages and Errors are what was said about it; an error that a connector left has no source.
	Messages, Errors []WorkMessage
	// ReceivedTimes and ProcessedTimes count toReceived and toProcessed.
	ReceivedTimes, ProcessedTimes int
	// Forced: the clean-up closed it because a younger work finished.
	Forced bool
	// Alive: its objects are imported (always, before 6.8.7).
	Alive bool
	// Imported and Dropped count its objects, as far as they named it.
	Imported, Dropped int
}

// WorkMessage is one line of a work.
type WorkMessage struct{ Message, Source string }

// work is a work as the platform keeps it: a record, and counters beside it that can be lost.
type work struct {
	Work
	timestamp                      time.Time
	received, processed, completed time.Time
	completedNumber                int
	recorded                       int // expectations on the record
	counters                       *counters
}

type counters struct {
	expected, processed int
	announced           bool // expected was ever added to
	initialized         bool // made with the work, 6.8.7 on
}

// ShareWorks makes each group of n jobs that are sent from now on share one work, as jobs do on the platform that are created
// in the same millisecond: a work's id consists of the connector's id and the time. With n below 2 every job has a work of its
// own again.
func (p *Platform) ShareWorks(n int) { p.set(func() { p.share, p.shared = n, nil }) }

// jobWork returns the work of another job: a new one, or the latest one if the two share it. The lock is held.
func (p *Platform) jobWork(connectorID, entityID string) *work {
	w := p.shared
	if w == nil || w.ConnectorID != connectorID || w.Jobs >= p.share || p.works[w.ID] == nil {
		w = p.newWork(connectorID)
		p.shared = w
	}
	w.Jobs, w.EntityID = w.Jobs+1, entityID
	return w
}

// newWork makes a work. The lock is held.
func (p *Platform) newWork(connectorID string) *work {
	now := time.Now().UTC().Truncate(time.Millisecond)
	if !now.After(p.lastWork) { // only ShareWorks makes jobs share a work
		now = p.lastWork.Add(time.Millisecond)
	}
	p.lastWork = now
	w := &work{timestamp: now}
	w.ID = "work_" + connectorID + "_" + now.Format("2006-01-02T15:04:05.000Z")
	w.ConnectorID, w.Status = connectorID, statusWait
	if p.rules.liveness {
		w.counters = &counters{initialized: true}
	}
	p.works[w.ID] = w
	p.order = append(p.order, w.ID)
	return w
}

func (p *Platform) alive(w *work) bool {
	return !p.rules.liveness || (w.counters != nil && w.counters.initialized)
}

func (p *Platform) snapshot(w *work) Work {
	s := w.Work
	s.Messages, s.Errors = slices.Clone(w.Messages), slices.Clone(w.Errors)
	s.Alive = p.alive(w)
	s.Expected, s.Processed = w.tracking()
	return s
}

// tracking is what the API shows: the record's numbers once complete, the counters' before.
func (w *work) tracking() (expected, processed int) {
	switch {
	case w.Status == statusComplete:
		return w.recorded, w.completedNumber
	case w.counters != nil:
		return w.counters.expected, w.counters.processed
	default:
		return 0, 0
	}
}

// Works returns all works, oldest first.
func (p *Platform) Works() []Work {
	p.mu.Lock()
	defer p.mu.Unlock()
	works := make([]Work, 0, len(p.order))
	for _, id := range p.order {
		works = append(works, p.snapshot(p.works[id]))
	}
	return works
}

// Work returns a work, false when there is none of this id.
func (p *Platform) Work(id string) (Work, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[id]
	if w == nil {
		return Work{}, false
	}
	return p.snapshot(w), true
}

// DeleteWork deletes a work, as a user can.
func (p *Platform) DeleteWork(id string) {
	p.set(func() {
		delete(p.works, id)
		p.order = slices.DeleteFunc(p.order, func(other string) bool { return other == id })
	})
}

func (p *Platform) resolveWork(a map[string]any) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[text(a["id"])]
	if w == nil {
		return nil, nil
	}
	tracking := object{"import_expected_number": nil, "import_processed_number": nil}
	if w.Status == statusComplete || w.counters != nil {
		tracking["import_expected_number"], tracking["import_processed_number"] = w.tracking()
	}
	lines := func(messages []WorkMessage) []object {
		list := make([]object, 0, len(messages))
		for _, m := range messages {
			line := object{"message": m.Message, "timestamp": nil, "source": nil}
			if m.Source != "" {
				line["source"] = m.Source
			}
			list = append(list, line)
		}
		return list
	}
	return object{
		"id": w.ID, "status": w.Status, "tracking": tracking, "completed_number": w.completedNumber,
		"received_time": stamp(w.received), "processed_time": stamp(w.processed), "completed_time": stamp(w.completed),
		"messages": lines(w.Messages), "errors": lines(w.Errors),
	}, nil
}

func (p *Platform) resolveAlive(a map[string]any) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.works[text(a["id"])]
	return w != nil && p.alive(w), nil
}

// resolveWorkEdit gives the mutations of one work. The platform does not look whether it exists and stumbles later.
func (p *Platform) resolveWorkEdit(a map[string]any) (any, error) {
	id := text(a["id"])
	edit := func(change func(w *work, a map[string]any)) resolver {
		return func(a map[string]any) (any, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			w := p.works[id]
			if w == nil {
				return nil, &refusal{"INTERNAL_SERVER_ERROR", "Cannot read properties of undefined (reading '_index')"}
			}
			change(w, a)
			p.notify()
			return id, nil
		}
	}
	return object{
		"ping":            edit(func(*work, map[string]any) {}),
		"toReceived":      edit(p.toReceived),
		"toProcessed":     edit(p.toProcessed),
		"addExpectations": edit(func(w *work, a map[string]any) { p.addExpectations(w, number(a["expectations"])) }),
		"reportExpectation": resolver(func(a map[string]any) (any, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			var problem *WorkMessage
			if e, ok := a["error"].(map[string]any); ok && e != nil {
				problem = &WorkMessage{text(e["error"]), text(e["source"])}
			}
			if w := p.works[id]; w != nil {
				p.report(w, problem)
			}
			p.notify()
			return id, nil
		}),
	}, nil
}

func number(value any) int {
	switch n := value.(type) {
	case int64:
		return int(n)
	case json.Number:
		i, _ := n.Int64()
		return int(i)
	case int:
		return n
	}
	return 0
}

func (p *Platform) toReceived(w *work, a map[string]any) {
	w.Status, w.received = statusProgress, time.Now()
	w.ReceivedTimes++
	if m := text(a["message"]); m != "" {
		w.Messages = append(w.Messages, WorkMessage{Message: m})
	}
}

// addExpectations adds to the record and to the counters. Counters made anew here are not those of a living work, and are
// deleted again where that matters; the caller is told nothing.
func (p *Platform) addExpectations(w *work, n int) {
	w.recorded += n
	if w.counters == nil {
		if p.rules.liveness {
			return
		}
		w.counters = &counters{}
	}
	w.counters.expected += n
	w.counters.announced = true
}

// full compares the counters as the release does. Counters that were never added to compare as no numbers do before 7.260422.
func (p *Platform) full(w *work) bool {
	c := w.counters
	if p.rules.atLeast {
		return c == nil || c.processed >= c.expected
	}
	return c != nil && c.announced && c.processed > 0 && c.processed == c.expected
}

// report counts one object done, as the importer and the API do. The lock is held.
func (p *Platform) report(w *work, problem *WorkMessage) {
	if !p.alive(w) {
		w.counters = nil
		return
	}
	if w.counters == nil {
		w.counters = &counters{}
	}
	w.counters.processed++
	if c := p.connectors[w.ConnectorID]; c != nil {
		c.lastReported = w.ID
	}
	if problem != nil && len(w.Errors) < maxErrors {
		w.Errors = append(w.Errors, *problem)
	}
	if p.full(w) {
		w.complete(w.counters.processed)
		if p.rules.reportDeletes {
			w.counters = nil
		}
	}
}

func (w *work) complete(n int) {
	w.Status, w.completed, w.completedNumber = statusComplete, time.Now(), n
}

func (p *Platform) toProcessed(w *work, a map[string]any) {
	w.processed = time.Now()
	w.ProcessedTimes++
	if m := text(a["message"]); m != "" {
		if a["inError"] == true {
			w.Errors = append(w.Errors, WorkMessage{Message: m})
		} else {
			w.Messages = append(w.Messages, WorkMessage{Message: m})
		}
	}
	if !p.rules.processedEnds {
		return
	}
	full := p.full(w)
	if full || (!p.rules.atLeast && w.recorded == 0) {
		n := 0
		if w.counters != nil {
			n = w.counters.processed
		}
		w.complete(n)
	}
	if full && p.rules.processedDeletes {
		w.counters = nil
	}
}

// Tick is the platform's clean-up, which it runs every minute: of each connector, every work older than the one that was
// last reported on is closed; before 7.260510 its counters go too. Objects that still wait for a reference are given up.
func (p *Platform) Tick() {
	p.set(func() {
		p.giveUp()
		for _, c := range p.connectors {
			last := p.works[c.lastReported]
			if last == nil {
				continue
			}
			for _, id := range p.order {
				w := p.works[id]
				if w.ConnectorID != c.id || w.Status == statusComplete || !w.timestamp.Before(last.timestamp) {
					continue
				}
				_, processed := w.tracking()
				w.complete(processed)
				w.Forced = true
				if p.rules.forcingDeletes {
					w.counters = nil
				}
			}
		}
	})
}
