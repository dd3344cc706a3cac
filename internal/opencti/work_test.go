package opencti_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

// TestWorks runs every way a job can go against every kind of release. Each ends with a complete work, nothing dropped.
func TestWorks(t *testing.T) {
	t.Parallel()
	const n = 3
	tests := []struct {
		name string
		run  func(r *rig, ctx context.Context, id string)
		// objects is how many were published in all; failed says whether the work is in error.
		objects int
		failed  bool
	}{
		{"published", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n, false},
		{"imported before it is processed", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.push(r.tracked(id), "a", n)
			r.wait("all is imported", func() bool { return len(r.platform.Imported()) == n })
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n, false},
		{"nothing to publish", func(r *rig, ctx context.Context, id string) {
			r.must(r.works.Processed(ctx, id, "no information found", false))
		}, 0, false},
		{"failed before anything was announced", func(r *rig, ctx context.Context, id string) {
			r.must(r.works.Failed(ctx, id, "IPQS rejected the address"))
		}, 0, true},
		{"failed after it was announced", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.must(r.works.Failed(ctx, id, "the broker is away"))
		}, 0, true},
		{"failed half-way through publishing", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.push(r.tracked(id), "a", 1)
			r.must(r.works.Failed(ctx, id, "the broker is away"))
		}, 1, true},
		{"failed, and a worker died before it could say so to the broker", func(r *rig, ctx context.Context, id string) {
			r.must(r.works.Failed(ctx, id, "IPQS rejected the address"))
			r.ended(id, 0)
			r.must(r.works.Failed(ctx, id, "IPQS rejected the address"))
		}, 0, true},
		{"failed, and was received again after a worker died", func(r *rig, ctx context.Context, id string) {
			r.must(r.works.Failed(ctx, id, "no such entity"))
			r.must(r.works.Received(ctx, id, "received"))
			r.must(r.works.Failed(ctx, id, "no such entity"))
		}, 0, true},
		{"redelivered after it was announced", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.announce(id, n, true)
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n, false},
		{"redelivered half-way through publishing", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.push(r.tracked(id), "a", 2)
			r.must(r.works.Received(ctx, id, "received"))
			r.announce(id, n, true)
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n, false},
		{"two copies at once, of which the later one finds the work ended", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.announce(id, n, true)
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", false))
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", true))
		}, n, false},
		{"a copy publishes it all before the first one has ended it", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.push(r.tracked(id), "a", n)
			r.wait("the import", func() bool { return len(r.platform.Imported()) == n })
			r.must(r.works.Received(ctx, id, "received"))
			r.announce(id, n, true)
			r.push(r.tracked(id), "a", n)
			r.wait("the import", func() bool { w, _ := r.platform.Work(id); return !r.has.Tracked || w.Imported == 2*n })
			r.must(r.works.Processed(ctx, id, "done", false))
			r.must(r.works.Processed(ctx, id, "done", true))
		}, n, false},
		{"redelivered before anything was announced", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, true)
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n, false},
		{"replayed after it failed", func(r *rig, ctx context.Context, id string) {
			r.must(r.works.Failed(ctx, id, "IPQS is away"))
			if state := r.announce(id, n, true); state.Ended {
				r.t.Error("Announce() of a work that failed is Ended, want it done again")
			}
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, releases, func(t *testing.T, r *rig) {
				id := r.job("198.51.100.7").WorkID
				r.must(r.works.Received(t.Context(), id, "received"))
				tt.run(r, t.Context(), id)
				w := r.ended(id, tt.objects)
				if got := len(w.Errors) > 0; got != tt.failed {
					t.Errorf("errors = %v, want some: %t", w.Errors, tt.failed)
				}
				wantTimes := 1
				if strings.HasPrefix(tt.name, "replayed") || strings.HasPrefix(tt.name, "failed, and was received") {
					wantTimes = 2
				}
				if strings.HasPrefix(tt.name, "a copy publishes it all") && !r.has.AtLeast && r.has.Tracked && r.since("5.12.0") {
					wantTimes = 2 // nothing else closes a work there that the copy has opened again
				}
				if w.ProcessedTimes != wantTimes {
					t.Errorf("toProcessed was said %d times, want %d", w.ProcessedTimes, wantTimes)
				}
				if !r.has.Tracked && !r.has.CloseByReport && w.Expected != 0 {
					t.Errorf("%d expectations on an untracked release, want none", w.Expected)
				}
			})
		})
	}
}

// TestRedeliveredAfterItEnded: the job was published and its work ended, and then it comes again, received once more.
func TestRedeliveredAfterItEnded(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		const n = 3
		id := r.job("198.51.100.7").WorkID
		r.must(r.works.Received(t.Context(), id, "received"))
		r.announce(id, n, false)
		r.push(r.tracked(id), "a", n)
		r.must(r.works.Processed(t.Context(), id, "done", false))
		r.ended(id, n)

		r.must(r.works.Received(t.Context(), id, "received"))
		state := r.announce(id, n, true)
		if state.Ended != r.has.Tracked {
			t.Fatalf("Announce() of an ended work = %+v, want Ended %t", state, r.has.Tracked)
		}
		if !state.Ended { // where nothing is read, the job is simply done again
			r.push("", "a", n)
			r.must(r.works.Processed(t.Context(), id, "done", false))
		}
		r.ended(id, n)
	})
}

// TestACopyAfterTheEnd: a copy of a job says received once more, which opens the work again, and then finds that the job has
// ended. The work is closed again, and a copy that has said nothing changes nothing.
func TestACopyAfterTheEnd(t *testing.T) {
	t.Parallel()
	const n = 3
	tests := []struct {
		name    string
		end     func(r *rig, ctx context.Context, id string)
		objects int
	}{
		{"published", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.push(r.tracked(id), "a", n)
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n},
		{"nothing to publish", func(r *rig, ctx context.Context, id string) { r.must(r.works.Nothing(ctx, id, "skipped")) }, 0},
		{"failed", func(r *rig, ctx context.Context, id string) { r.must(r.works.Failed(ctx, id, "no such address")) }, 0},
		{"failed after it was announced", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.must(r.works.Failed(ctx, id, "the broker is away"))
		}, 0},
		{"published twice", func(r *rig, ctx context.Context, id string) {
			r.announce(id, n, false)
			r.push(r.tracked(id), "a", n)
			r.push(r.tracked(id), "a", n)
			r.wait("all is reported", func() bool { w, _ := r.platform.Work(id); return !r.has.Tracked || w.Imported == 2*n })
			r.must(r.works.Processed(ctx, id, "done", false))
		}, n},
	}
	closing := []string{"Work", "WorkExpect", "WorkReport", "WorkProcessed"}
	troubles := map[string]func(p *openctitest.Platform){"nothing": func(*openctitest.Platform) {}}
	for _, operation := range closing {
		troubles["a refusal of "+operation] = func(p *openctitest.Platform) { p.FailNext(operation, 1, "DATABASE_ERROR") }
		troubles["a lost answer to "+operation] = func(p *openctitest.Platform) { p.LoseNext(operation, 1) }
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, releases, func(t *testing.T, r *rig) {
				id := r.job("198.51.100.7").WorkID
				r.must(r.works.Received(t.Context(), id, "received"))
				tt.end(r, t.Context(), id)
				before := r.ended(id, tt.objects)

				r.must(r.works.CloseAgain(t.Context(), id))
				if after := r.ended(id, tt.objects); !cmp.Equal(before, after) {
					t.Errorf("a copy that said nothing changed the work (-before +after):\n%s", cmp.Diff(before, after))
				}
				for trouble, bring := range troubles {
					r.must(r.works.Received(t.Context(), id, "received"))
					if open, _ := r.platform.Work(id); open.Status == before.Status {
						t.Fatalf("work = %+v, want it opened again: else this shows nothing", open)
					}
					for _, operation := range closing {
						r.platform.FailNext(operation, 0, "") // nothing is left of the trouble before
					}
					bring(r.platform)
					if err := r.works.CloseAgain(t.Context(), id); err != nil {
						r.must(r.works.CloseAgain(t.Context(), id)) // as the pipeline does
					}
					if after := r.ended(id, tt.objects); len(after.Errors) != len(before.Errors) {
						t.Errorf("after %s, errors = %v, want those of its end: %v", trouble, after.Errors, before.Errors)
					}
				}
			})
		})
	}
}

// TestACopyWhileImporting: what is still imported closes the work by itself, and one more report would close it too early.
func TestACopyWhileImporting(t *testing.T) {
	t.Parallel()
	const n = 3
	r := newRig(t, "7.260817.0")
	id := r.job("198.51.100.7").WorkID
	r.must(r.works.Received(t.Context(), id, "received"))
	r.announce(id, n, false)
	r.must(r.works.Processed(t.Context(), id, "done", false))
	r.must(r.works.Received(t.Context(), id, "received"))
	r.must(r.works.CloseAgain(t.Context(), id))
	if work, _ := r.platform.Work(id); work.Status == "complete" || work.Expected != n || work.ProcessedTimes != 1 {
		t.Errorf("work = %+v, want it left alone while %d objects are to be imported", work, n)
	}
	r.push(id, "a", n)
	r.ended(id, n)
}

// TestACopyOfAWorkThatMayNotBeRead: where a work is complete with more than it expects, it can be closed without being read.
func TestACopyOfAWorkThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		if !r.has.AtLeast {
			return
		}
		id := r.job("198.51.100.7").WorkID
		r.must(r.works.Received(t.Context(), id, "received"))
		r.must(r.works.Nothing(t.Context(), id, "skipped"))
		r.must(r.works.Received(t.Context(), id, "received"))
		r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
		r.must(r.works.CloseAgain(t.Context(), id))
		r.ended(id, 0)
	})
}

// TestAReplayAnnouncesAll: what was announced before the job failed was settled when it did. The replay announces all that it
// publishes, once, however often it is handed out.
func TestAReplayAnnouncesAll(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		const n = 3
		if !r.has.Tracked {
			return // nothing is announced there
		}
		for i, before := range []struct{ announced, pushed, late int }{{0, 0, 0}, {n, 0, 0}, {n, 1, 0}, {n, 2 * n, 0}, {n, 0, n}} {
			id := r.job(fmt.Sprint("198.51.100.", i+1)).WorkID
			r.must(r.works.Received(t.Context(), id, "received"))
			if before.announced > 0 {
				r.announce(id, before.announced, false)
			}
			imported := func(n int) {
				t.Helper()
				r.wait("the import", func() bool { w, _ := r.platform.Work(id); return w.Imported == n })
			}
			r.push(id, fmt.Sprint("before", i), before.pushed)
			imported(before.pushed)
			r.must(r.works.Failed(t.Context(), id, "the broker is away"))
			r.push(id, fmt.Sprint("late", i), before.late)
			imported(before.pushed + before.late)
			r.must(r.works.Received(t.Context(), id, "received"))
			for range 2 {
				r.announce(id, n, true)
				if w, _ := r.platform.Work(id); w.Expected-w.Processed != n {
					t.Fatalf("after %+v, %d are expected and %d imported, want %d to come", before, w.Expected, w.Processed, n)
				}
			}
			r.push(id, fmt.Sprint("object", i), n)
			r.must(r.works.Processed(t.Context(), id, "done", true))
			imported(before.pushed + before.late + n)
			r.wait("the work is complete", func() bool { w, _ := r.platform.Work(id); return w.Status == "complete" })
		}
	})
}

// TestACopyOfAWorkThatIsGone: nobody is told of one that was deleted.
func TestACopyOfAWorkThatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	id := r.job("198.51.100.7").WorkID
	r.platform.SetDown(true)
	if err := r.works.CloseAgain(t.Context(), id); !errors.Is(err, opencti.ErrUnavailable) {
		t.Errorf("CloseAgain() error = %v while OpenCTI is away, want ErrUnavailable", err)
	}
	r.platform.SetDown(false)
	r.platform.DeleteWork(id)
	r.must(r.works.CloseAgain(t.Context(), id))
	r.must(r.works.CloseAgain(t.Context(), ""))
}

// TestNothingToImport: a work that ends well without an object, whose last report fails once, ends at the next try.
func TestNothingToImport(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		id := r.job("10.0.0.1").WorkID
		r.must(r.works.Received(t.Context(), id, "received"))
		r.platform.FailNext("WorkReport", 1, "DATABASE_ERROR")
		if err := r.works.Nothing(t.Context(), id, "skipped"); err != nil {
			r.must(r.works.Nothing(t.Context(), id, "skipped"))
		}
		work, _ := r.platform.Work(id)
		if work.Status != "complete" || work.ProcessedTimes != 1 || len(work.Errors) > 0 {
			t.Errorf("work = %+v, want it complete, ended once, without error", work)
		}
	})
}

// TestAnnouncedTwice: two copies of a job announced it, neither knowing of the other, as can be where a lost connection
// gives a job in hand to another worker. One of them ended it; the work must end all the same when the other one comes back.
func TestAnnouncedTwice(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		const n = 3
		if !r.has.Tracked {
			return // nothing is announced there
		}
		id := r.job("198.51.100.7").WorkID
		r.must(r.works.Received(t.Context(), id, "received"))
		r.announce(id, n, false)
		r.announce(id, n, false)
		r.push(id, "a", n)
		r.must(r.works.Processed(t.Context(), id, "done", false))
		if state := r.announce(id, n, true); state.Ended {
			t.Fatalf("Announce() = %+v, want the copy to bring what it announced", state)
		}
		r.push(id, "a", n)
		r.must(r.works.Processed(t.Context(), id, "done", false))
		r.wait("the work to be complete", func() bool {
			w, _ := r.platform.Work(id)
			return w.Status == "complete" && w.Processed == 2*n
		})
	})
}

// TestAnnounceAnswerLost: the platform counted and its answer never came; the next attempt must not count again.
func TestAnnounceAnswerLost(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.12.33", "6.8.6", "7.260817.0"}, func(t *testing.T, r *rig) {
		id := r.job("198.51.100.7").WorkID
		r.platform.LoseNext("WorkExpect", 1)
		if _, err := r.works.Announce(t.Context(), id, 3, false); !errors.Is(err, opencti.ErrUnavailable) {
			t.Fatalf("Announce() error = %v, want ErrUnavailable", err)
		}
		r.announce(id, 3, true)
		if w, _ := r.platform.Work(id); w.Expected != 3 {
			t.Errorf("%d expectations, want 3", w.Expected)
		}
	})
}

// TestOutOfOrderWorks: on releases where a younger work's end kills an older one, the older one's objects still arrive:
// they do not name it. See openctitest's TestDeadWorkLosesObjects for what happens when they do.
func TestOutOfOrderWorks(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		older, younger := r.job("198.51.100.1").WorkID, r.job("198.51.100.2").WorkID
		for _, id := range []string{older, younger} {
			r.must(r.works.Received(t.Context(), id, "received"))
		}
		// The older job waits for a retry. The younger one goes all the way, and the clean-up closes the older work.
		r.announce(younger, 1, false)
		r.push(r.tracked(younger), "younger", 1)
		r.must(r.works.Processed(t.Context(), younger, "done", false))
		r.ended(younger, 1)
		r.platform.Tick()

		r.announce(older, 2, false)
		r.push(r.tracked(older), "older", 2)
		r.must(r.works.Processed(t.Context(), older, "done", false))
		r.wait("all is imported", func() bool { return len(r.platform.Imported()) == 3 })
		for _, w := range r.platform.Works() {
			if w.Dropped > 0 || w.ProcessedTimes != 1 {
				t.Errorf("work %+v lost objects or its end, want neither", w)
			}
		}
	})
}

// TestNoWork: a playbook's job has none, and nobody is told anything.
func TestNoWork(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	before := fmt.Sprint(r.platform.Requests())
	r.must(r.works.Received(t.Context(), "", "m"))
	r.must(r.works.Processed(t.Context(), "", "m", false))
	r.must(r.works.Failed(t.Context(), "", "m"))
	state, err := r.works.Announce(t.Context(), "", 3, true)
	if err != nil || state != (opencti.WorkState{}) {
		t.Errorf("Announce() without a work = %+v, %v, want nothing", state, err)
	}
	if after := fmt.Sprint(r.platform.Requests()); after != before {
		t.Errorf("requests = %s, want %s", after, before)
	}
}

// TestDeletedWork: somebody deleted the work while its job was on its way.
func TestDeletedWork(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		id := r.job("198.51.100.7").WorkID
		r.platform.DeleteWork(id)
		r.must(r.works.Received(t.Context(), id, "received"))
		for _, again := range []bool{false, true} {
			state, err := r.works.Announce(t.Context(), id, 2, again)
			if err != nil || state != (opencti.WorkState{}) {
				t.Errorf("Announce(again %t) of a deleted work = %+v, %v, want it untracked", again, state, err)
			}
		}
		r.must(r.works.Processed(t.Context(), id, "done", false))
		r.must(r.works.Failed(t.Context(), id, "failed"))
	})
}

// TestWorksMayNotBeRead: the connector's user lacks the right to read works.
func TestWorksMayNotBeRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	id := r.job("198.51.100.7").WorkID
	r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
	r.announce(id, 2, true)
	if w, _ := r.platform.Work(id); w.Expected != 0 {
		t.Errorf("%d expectations, want none: too few closes early, too many never", w.Expected)
	}
	if !strings.Contains(r.log.String(), "may not read works") {
		t.Errorf("log = %q, want it to say so", r.log)
	}
	r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
	r.must(r.works.Failed(t.Context(), id, "failed"))
	r.ended(id, 0)
}

// TestWorkErrors: what goes wrong while telling comes back as what it is.
func TestWorkErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code string
		want error
	}{
		{"AUTH_REQUIRED", opencti.ErrAuth},
		{"FORBIDDEN_ACCESS", opencti.ErrForbidden},
		{"LOCK_ERROR", opencti.ErrLock},
		{"DATABASE_ERROR", opencti.ErrUnavailable},
	}
	r := newRig(t, "7.260817.0")
	id := r.job("198.51.100.7").WorkID
	for _, tt := range tests {
		r.platform.FailNext("WorkProcessed", 1, tt.code)
		if err := r.works.Processed(t.Context(), id, "done", false); !errors.Is(err, tt.want) {
			t.Errorf("Processed() error = %v, want %v", err, tt.want)
		}
	}
	r.platform.SetDown(true)
	for name, err := range map[string]error{
		"Received": r.works.Received(t.Context(), id, "m"), "Processed": r.works.Processed(t.Context(), id, "m", false), "Failed": r.works.Failed(t.Context(), id, "m"),
	} {
		if !errors.Is(err, opencti.ErrUnavailable) {
			t.Errorf("%s() error = %v, want ErrUnavailable", name, err)
		}
	}
}
