package openctitest

// Totals counts what has become of all works and objects so far. It is cheap enough to be asked after every change, which
// [Platform.Works] and [Platform.Imported] are not where there are thousands.
type Totals struct {
	Works    int // all there are
	Complete int // of them, those that the platform shows as complete
	Ended    int // of them, those that the connector has ended
	Imported int // objects, each as often as it came
	Dropped  int // objects that were not imported because their work was gone
}

// Totals returns the totals.
func (p *Platform) Totals() Totals {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := Totals{Works: len(p.works), Imported: p.importedTimes}
	for _, w := range p.works {
		if w.Status == statusComplete {
			t.Complete++
		}
		if w.ProcessedTimes > 0 {
			t.Ended++
		}
		t.Dropped += w.Dropped
	}
	return t
}
