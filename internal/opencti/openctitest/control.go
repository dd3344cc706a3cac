package openctitest

import (
	"context"
	"time"
)

// SetDown makes every request end in 503, as a proxy does that has nobody to ask, or no longer.
func (p *Platform) SetDown(down bool) { p.set(func() { p.down = down }) }

// SetLatency makes every request wait before it is read.
func (p *Platform) SetLatency(d time.Duration) { p.set(func() { p.latency = d }) }

// SetRestarting begins a restart of the platform, or ends it. Meanwhile every request gets 503, nothing is imported, no job is
// posted to a callback, and the posts under way are cut off, whose jobs are posted again afterwards. What the platform has
// stored remains.
func (p *Platform) SetRestarting(on bool) {
	p.set(func() {
		p.restarting = on
		for _, c := range p.connectors {
			p.callBack(context.Background(), c)
		}
	})
}

// SetImporting stops the importers before their next object, or lets them go on.
func (p *Platform) SetImporting(on bool) { p.set(func() { p.paused = !on }) }

// SetAutoJobs makes imports and writes of other sources cause automatic jobs: one for each new observable, and one for each
// change if the connector asked for that. It is off by default, because most tests send jobs themselves.
func (p *Platform) SetAutoJobs(on bool) { p.set(func() { p.autoJobs = on }) }

// FailNext refuses the next times requests of the operation with the code, without executing them. With zero times nothing is
// left of an earlier call, or of one to LoseNext.
func (p *Platform) FailNext(operation string, times int, code string) {
	if times <= 0 {
		p.set(func() { delete(p.faults, operation) })
		return
	}
	p.set(func() { p.faults[operation] = &fault{times: times, code: code} })
}

// LoseNext executes the next times requests of the operation and answers 502, as a gateway does that gave up too early.
func (p *Platform) LoseNext(operation string, times int) {
	p.set(func() { p.faults[operation] = &fault{times: times, lose: true} })
}

// Before calls do once, before the next request of the operation is executed: something that happens on the platform between
// two requests of a connector. do may use the platform, also with requests of its own.
func (p *Platform) Before(operation string, do func()) { p.set(func() { p.before[operation] = do }) }

// AddExpectations adds to the expectations of a work, as a mutation does of which nothing else was executed.
func (p *Platform) AddExpectations(workID string, n int) {
	p.set(func() {
		if w := p.works[workID]; w != nil {
			p.addExpectations(w, n)
		}
	})
}

// Forget removes a connector, as an administrator can. Its queues stay.
func (p *Platform) Forget(connectorID string) { p.set(func() { delete(p.connectors, connectorID) }) }

// ResetState empties a connector's state, as an administrator can; the next ping does not overwrite it.
func (p *Platform) ResetState(connectorID string) {
	p.set(func() {
		if c := p.connectors[connectorID]; c != nil {
			c.state, c.stateReset = new(string), true
		}
	})
}

// SetTriggerFilter says what a registered connector is sent when it is created, as an administrator can: from 6.2.0 on it
// replaces the connector's auto. It survives registrations.
func (p *Platform) SetTriggerFilter(connectorID string, wants func(Observable) bool) {
	p.set(func() {
		if c := p.connectors[connectorID]; c != nil {
			c.filter = wants
		}
	})
}

func (p *Platform) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.notify()
}
