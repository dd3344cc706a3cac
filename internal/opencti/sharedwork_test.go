package opencti_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

// shared is one of two jobs that share a work, and what it does in turn.
type shared struct {
	r       *rig
	job     opencti.WorkJob
	name    string // of its objects
	state   opencti.WorkState
	objects int
	tracked int // objects published with the work's id
}

func (s *shared) received() { s.r.must(s.r.works.Received(s.r.t.Context(), s.job, "received")) }

func (s *shared) announce() {
	var err error
	s.state, err = s.r.works.Announce(s.r.t.Context(), s.job, s.objects)
	s.r.must(err)
}

func (s *shared) push() {
	work := ""
	if s.state.Tracked {
		work = s.job.WorkID
		s.tracked += s.objects
	}
	s.r.push(work, s.name, s.objects)
}

func (s *shared) processed() {
	s.r.must(s.r.works.Processed(s.r.t.Context(), s.job, "done", s.state))
}

func (s *shared) nothing() { s.r.must(s.r.works.Nothing(s.r.t.Context(), s.job, "skipped")) }

func (s *shared) failed() {
	s.r.must(s.r.works.Failed(s.r.t.Context(), s.job, "the broker is away"))
}

// dies is the end of a process: the job comes again.
func (s *shared) dies() { s.job.Again = true }

// fewer leaves the job one object less to publish, as another job has created it.
func (s *shared) fewer() { s.objects-- }

// ways are what a job can do. pushes says how many of its objects are imported in the end: all or none.
var ways = map[string]struct {
	steps  []func(*shared)
	pushes bool
}{
	"published": {[]func(*shared){(*shared).received, (*shared).announce, (*shared).push, (*shared).processed}, true},
	"nothing":   {[]func(*shared){(*shared).received, (*shared).nothing}, false},
	"failed":    {[]func(*shared){(*shared).received, (*shared).announce, (*shared).failed}, false},
	"dies before it announces": {[]func(*shared){
		(*shared).received, (*shared).dies,
		(*shared).received, (*shared).announce, (*shared).push, (*shared).processed,
	}, true},
	"dies before it publishes": {[]func(*shared){
		(*shared).received, (*shared).announce, (*shared).dies,
		(*shared).received, (*shared).announce, (*shared).push, (*shared).processed,
	}, true},
	"dies before it publishes, and has fewer objects then": {[]func(*shared){
		(*shared).received, (*shared).announce, (*shared).dies, (*shared).fewer,
		(*shared).received, (*shared).announce, (*shared).push, (*shared).processed,
	}, true},
	"dies before it ends": {[]func(*shared){
		(*shared).received, (*shared).announce, (*shared).push, (*shared).dies,
		(*shared).received, (*shared).announce, (*shared).push, (*shared).processed,
	}, true},
	"dies before it is acknowledged": {[]func(*shared){
		(*shared).received, (*shared).announce, (*shared).push, (*shared).processed, (*shared).dies,
		(*shared).received, (*shared).announce, (*shared).push, (*shared).processed,
	}, true},
	"announces twice": {[]func(*shared){ // two copies that do not know of each other
		(*shared).announce, (*shared).announce, (*shared).push, (*shared).processed, (*shared).dies,
		(*shared).announce, (*shared).push, (*shared).processed,
	}, true},
}

// interleavings returns every order of the steps of two jobs: each is a list of which job goes next, 0 or 1.
func interleavings(a, b int) [][]int {
	if a == 0 || b == 0 {
		return [][]int{append(slices.Repeat([]int{0}, a), slices.Repeat([]int{1}, b)...)}
	}
	var all [][]int
	for _, rest := range interleavings(a-1, b) {
		all = append(all, append([]int{0}, rest...))
	}
	for _, rest := range interleavings(a, b-1) {
		all = append(all, append([]int{1}, rest...))
	}
	return all
}

// TestWorksThatTwoJobsShare runs two jobs on one work, in every order of their steps, with an importer that is quick and with
// one that waits until both have ended. The work is always complete in the end, with all objects of both jobs, and never before
// the objects that name it are imported.
func TestWorksThatTwoJobsShare(t *testing.T) {
	t.Parallel()
	pairs := [][2]string{{"published", "published"}, {"published", "nothing"}, {"published", "failed"}, {"nothing", "failed"}}
	for name := range ways {
		if name != "published" && name != "nothing" && name != "failed" {
			pairs = append(pairs, [2]string{name, "published"})
		}
	}
	for _, pair := range pairs {
		orders := interleavings(len(ways[pair[0]].steps), len(ways[pair[1]].steps))
		t.Run(strings.Join(pair[:], ", "), func(t *testing.T) {
			t.Parallel()
			onEach(t, releases, func(t *testing.T, r *rig) {
				imported, quick := 0, false
				for i := 0; i < len(orders) && !t.Failed(); i += 1 + len(orders)/80 { // of the long ones, 40 to 80
					imported += runShared(t, r, pair, orders[i], 2*i, imported, quick)
					quick = !quick
				}
			})
		})
	}
}

// runShared runs two jobs in one order and returns how many objects have to be imported.
func runShared(t *testing.T, r *rig, pair [2]string, order []int, value, before int, quick bool) int {
	t.Helper()
	address := func(n int) string { return fmt.Sprintf("198.18.%d.%d", n/256, n%256) }
	one, other := r.sharing(address(value), address(value+1))
	jobs := []*shared{
		{r: r, job: one, name: fmt.Sprintf("%d-a", value), objects: 3},
		{r: r, job: other, name: fmt.Sprintf("%d-b", value), objects: 2},
	}
	r.platform.SetImporting(quick)
	want, once := 0, true // each object is published once
	for i := range jobs {
		once = once && len(ways[pair[i]].steps) <= 4
	}
	next := []int{0, 0}
	for _, turn := range order {
		ways[pair[turn]].steps[next[turn]](jobs[turn])
		next[turn]++
		if w, _ := r.platform.Work(one.WorkID); !quick && once && w.Status == "complete" && jobs[0].tracked+jobs[1].tracked > 0 {
			t.Errorf("%q, order %v after %v steps: work = %+v, want it open until its objects are imported", pair, order, next, w)
		}
	}
	for i, job := range jobs {
		if ways[pair[i]].pushes {
			want += job.objects
		}
	}
	r.platform.SetImporting(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := r.platform.Wait(ctx, func() bool {
		w, _ := r.platform.Work(one.WorkID)
		return w.Status == "complete" && len(r.platform.Imported()) == before+want
	})
	w, _ := r.platform.Work(one.WorkID)
	if err != nil || w.Forced || w.Dropped > 0 {
		t.Errorf("%q, order %v, quick importer %t: %d of %d objects are imported, work = %+v, want it complete with all",
			pair, order, quick, len(r.platform.Imported())-before, want, w)
	}
	// Before 5.12.0 the import of the last object deletes the counters, which can happen between a look and an announcement.
	if once && w.Expected != w.Processed && (!r.has.CloseByReport || w.Expected > 0) && (!quick || r.since("5.12.0")) {
		t.Errorf("%q, order %v, quick importer %t: %d of %d expected objects are imported, want all", pair, order, quick, w.Processed, w.Expected)
	}
	return want
}

// TestWorksThatTwoJobsEqualize: objects that came twice were counted between a job's look at the work and its announcement, so
// that more are imported than expected. Both jobs find that at the same time, and the work is complete all the same.
func TestWorksThatTwoJobsEqualize(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		if !r.has.Tracked {
			return // nothing is counted there
		}
		one, other := r.sharing("198.51.100.1", "198.51.100.2")
		a, b := &shared{r: r, job: again(one), name: "a", objects: 4}, &shared{r: r, job: again(other), name: "b", objects: 1}
		imported := func(n int) {
			t.Helper()
			r.wait("the import", func() bool { w, _ := r.platform.Work(one.WorkID); return w.Imported == n })
		}
		a.received()
		a.announce()
		r.platform.Before("WorkAnnounce", func() { // of b
			a.push()
			a.push()
			imported(2 * a.objects)
		})
		b.announce()
		b.push()
		imported(2*a.objects + b.objects)
		if w, _ := r.platform.Work(one.WorkID); !r.has.AtLeast && r.since("5.12.0") && w.Status == "complete" {
			t.Fatalf("work = %+v, want it open: else this shows nothing", w)
		}
		r.platform.Before("WorkExpect", a.processed) // in the middle of what b does
		b.processed()
		r.ended(one, a.objects+b.objects)
	})
}
