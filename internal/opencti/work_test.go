package opencti_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti"
)

// TestWorks runs every way a job can go against every kind of release. Each ends with a complete work, nothing dropped.
func TestWorks(t *testing.T) {
	t.Parallel()
	const n = 3
	tests := []struct {
		name string
		run  func(r *rig, ctx context.Context, job opencti.WorkJob)
		// objects is how many were published in all, ends how often the job ended; failed says whether the work is in error.
		objects, ends int
		failed        bool
	}{
		{"published", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			state := r.announce(job, n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, job, "done", state))
		}, n, 1, false},
		{"imported before it is processed", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			state := r.announce(job, n)
			r.push(r.tracked(job), "a", n)
			r.wait("all is imported", func() bool { return len(r.platform.Imported()) == n })
			r.must(r.works.Processed(ctx, job, "done", state))
		}, n, 1, false},
		{"nothing to publish", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.must(r.works.Nothing(ctx, job, "no information found"))
		}, 0, 1, false},
		{"failed before anything was announced", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.must(r.works.Failed(ctx, job, "IPQS knows no such address"))
		}, 0, 1, true},
		{"failed after it was announced", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.announce(job, n)
			r.must(r.works.Failed(ctx, job, "the broker is away"))
		}, 0, 1, true},
		{"failed half-way through publishing", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.announce(job, n)
			r.push(r.tracked(job), "a", 1)
			r.must(r.works.Failed(ctx, job, "the broker is away"))
		}, 1, 1, true},
		{"failed, and a worker died before it could say so to the broker", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.must(r.works.Failed(ctx, job, "IPQS knows no such address"))
			r.ended(job, 0)
			r.must(r.works.Failed(ctx, again(job), "IPQS knows no such address"))
		}, 0, 1, true},
		{"failed, and came again after a worker died", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.must(r.works.Failed(ctx, job, "no such entity"))
			r.must(r.works.Received(ctx, again(job), "received"))
			r.must(r.works.Failed(ctx, again(job), "no such entity"))
		}, 0, 1, true},
		{"redelivered after it was announced", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.announce(job, n)
			state := r.announce(again(job), n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, again(job), "done", state))
		}, n, 1, false},
		{"redelivered half-way through publishing", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.announce(job, n)
			r.push(r.tracked(job), "a", 2)
			r.must(r.works.Received(ctx, again(job), "received"))
			state := r.announce(again(job), n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, again(job), "done", state))
		}, n, 1, false},
		{"redelivered with fewer objects", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.announce(job, n)
			state := r.announce(again(job), n-1)
			r.push(r.tracked(job), "a", n-1)
			r.must(r.works.Processed(ctx, again(job), "done", state))
		}, n - 1, 1, false},
		{"redelivered with more objects", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.announce(job, n)
			state := r.announce(again(job), n+2)
			r.push(r.tracked(job), "a", n+2)
			r.must(r.works.Processed(ctx, again(job), "done", state))
		}, n + 2, 1, false},
		{"two copies at once, of which the later one finds the work ended", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			first := r.announce(job, n)
			second := r.announce(again(job), n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, job, "done", first))
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, again(job), "done", second))
		}, n, 1, false},
		{"redelivered before anything was announced", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			state := r.announce(again(job), n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, again(job), "done", state))
		}, n, 1, false},
		{"expectations without their announcement", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			// The platform executes the two mutations of a document at the same time, and one of them can fail.
			r.platform.AddExpectations(job.WorkID, map[bool]int{true: n}[r.has.Tracked])
			state := r.announce(again(job), n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, again(job), "done", state))
		}, n, 1, false},
		{"redelivered after it ended", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			state := r.announce(job, n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, job, "done", state))
			r.ended(job, n)
			r.must(r.works.Received(ctx, again(job), "received"))
			r.untracked(again(job), "a", n)
		}, n, 1, false},
		{"redelivered after it ended, while its objects are imported", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.platform.SetImporting(false)
			state := r.announce(job, n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, job, "done", state))
			r.must(r.works.Received(ctx, again(job), "received"))
			r.untracked(again(job), "b", n)
			r.platform.SetImporting(true)
		}, 2 * n, 1, false},
		{"replayed after it failed", func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.must(r.works.Failed(ctx, job, "IPQS is away"))
			r.must(r.works.Received(ctx, again(job), "received"))
			r.untracked(again(job), "a", n)
		}, n, 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, releases, func(t *testing.T, r *rig) {
				job := r.workJob("198.51.100.7")
				r.must(r.works.Received(t.Context(), job, "received"))
				tt.run(r, t.Context(), job)
				w := r.ended(job, tt.objects)
				if got := len(w.Errors) > 0; got != tt.failed {
					t.Errorf("errors = %v, want some: %t", w.Errors, tt.failed)
				}
				if w.ProcessedTimes != tt.ends {
					t.Errorf("the job ended %d times, want %d: %+v", w.ProcessedTimes, tt.ends, w)
				}
				if !r.has.Tracked && w.Expected != 0 {
					t.Errorf("%d expectations on an untracked release, want none", w.Expected)
				}
			})
		})
	}
}

// TestALateToReceived: toReceived of a repeated job arrives after another delivery has ended it, and reopens the work.
func TestALateToReceived(t *testing.T) {
	t.Parallel()
	const n = 3
	tests := map[string]struct {
		end     func(r *rig, ctx context.Context, job opencti.WorkJob)
		objects int
	}{
		"published": {func(r *rig, ctx context.Context, job opencti.WorkJob) {
			state := r.announce(job, n)
			r.push(r.tracked(job), "a", n)
			r.must(r.works.Processed(ctx, job, "done", state))
			r.ended(job, n)
		}, n},
		"nothing to publish": {func(r *rig, ctx context.Context, job opencti.WorkJob) { r.must(r.works.Nothing(ctx, job, "skipped")) }, 0},
		"failed": {func(r *rig, ctx context.Context, job opencti.WorkJob) {
			r.must(r.works.Failed(ctx, job, "no such address"))
		}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, releases, func(t *testing.T, r *rig) {
				job := r.workJob("198.51.100.7")
				r.platform.Before("WorkReceived", func() { tt.end(r, t.Context(), job) }) // after the work was read
				r.must(r.works.Received(t.Context(), again(job), "received"))
				w := r.ended(job, tt.objects)
				if w.ReceivedTimes == 0 || w.Messages[len(w.Messages)-1].Message == "" {
					t.Errorf("work = %+v, want toReceived to have arrived: else this shows nothing", w)
				}
			})
		})
	}
}

// TestNothingToImport: a work that ends well without an object, whose last report fails once, ends at the next try.
func TestNothingToImport(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		job := r.workJob("10.0.0.1")
		r.must(r.works.Received(t.Context(), job, "received"))
		r.platform.FailNext("WorkReport", 1, "DATABASE_ERROR")
		if err := r.works.Nothing(t.Context(), job, "skipped"); err != nil {
			r.must(r.works.Nothing(t.Context(), again(job), "skipped"))
		}
		work, _ := r.platform.Work(job.WorkID)
		if work.Status != "complete" || work.ProcessedTimes != 1 || len(work.Errors) > 0 {
			t.Errorf("work = %+v, want it complete, ended once, without error", work)
		}
	})
}

// TestAnnounceAnswerLost: the platform counted and its answer never came; the next attempt must not count again.
func TestAnnounceAnswerLost(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"5.12.33", "6.8.6", "7.260817.0"}, func(t *testing.T, r *rig) {
		job := r.workJob("198.51.100.7")
		r.platform.LoseNext("WorkAnnounce", 1)
		if _, err := r.works.Announce(t.Context(), job, 3); !errors.Is(err, opencti.ErrUnavailable) {
			t.Fatalf("Announce() error = %v, want ErrUnavailable", err)
		}
		r.announce(again(job), 3)
		if w, _ := r.platform.Work(job.WorkID); w.Expected != 3 {
			t.Errorf("%d expectations, want 3", w.Expected)
		}
	})
}

// TestOutOfOrderWorks: on releases where a younger work's end kills an older one, the older one's objects still arrive:
// they do not name it. See openctitest's TestDeadWorkLosesObjects for what happens when they do.
func TestOutOfOrderWorks(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		older, younger := r.workJob("198.51.100.1"), r.workJob("198.51.100.2")
		for _, job := range []opencti.WorkJob{older, younger} {
			r.must(r.works.Received(t.Context(), job, "received"))
		}
		// The older job waits for a retry. The younger one goes all the way, and the clean-up closes the older work.
		state := r.announce(younger, 1)
		r.push(r.tracked(younger), "younger", 1)
		r.must(r.works.Processed(t.Context(), younger, "done", state))
		r.ended(younger, 1)
		r.platform.Tick()

		if w, _ := r.platform.Work(older.WorkID); w.Forced {
			r.untracked(older, "older", 2)
		} else { // nothing is reported on the younger work there
			state := r.announce(older, 2)
			r.push(r.tracked(older), "older", 2)
			r.must(r.works.Processed(t.Context(), older, "done", state))
		}
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
	job := opencti.WorkJob{EntityID: "ipv4-addr--1", Again: true}
	r.must(r.works.Received(t.Context(), job, "m"))
	r.must(r.works.Processed(t.Context(), job, "m", opencti.WorkState{}))
	r.must(r.works.Failed(t.Context(), job, "m"))
	r.must(r.works.Nothing(t.Context(), job, "m"))
	state, err := r.works.Announce(t.Context(), job, 3)
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
		job := r.workJob("198.51.100.7")
		r.platform.DeleteWork(job.WorkID)
		for _, job := range []opencti.WorkJob{job, again(job)} {
			r.must(r.works.Received(t.Context(), job, "received"))
			state, err := r.works.Announce(t.Context(), job, 2)
			if err != nil || state != (opencti.WorkState{}) {
				t.Errorf("Announce(%+v) of a deleted work = %+v, %v, want it untracked", job, state, err)
			}
			r.must(r.works.Processed(t.Context(), job, "done", state))
			r.must(r.works.Failed(t.Context(), job, "failed"))
			r.must(r.works.Nothing(t.Context(), job, "skipped"))
		}
	})
}

// TestWorksMayNotBeRead: the connector's user lacks the right to read works.
func TestWorksMayNotBeRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	job := r.workJob("198.51.100.7")
	r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
	r.must(r.works.Received(t.Context(), again(job), "received"))
	if w, _ := r.platform.Work(job.WorkID); w.ReceivedTimes != 0 {
		t.Errorf("a repeated job said received %d times, want never: its work may have ended", w.ReceivedTimes)
	}
	r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
	r.must(r.works.Received(t.Context(), job, "received"))
	r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
	r.announce(again(job), 2)
	if w, _ := r.platform.Work(job.WorkID); w.Expected != 0 || w.ReceivedTimes != 1 {
		t.Errorf("%d expectations, want none: too few closes early, too many never", w.Expected)
	}
	if !strings.Contains(r.log.String(), "may not read works") {
		t.Errorf("log = %q, want it to say so", r.log)
	}
	r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
	r.must(r.works.Failed(t.Context(), job, "failed"))
	r.ended(job, 0)

	fresh := r.workJob("198.51.100.8")
	r.platform.FailNext("Work", 1, "FORBIDDEN_ACCESS")
	state := r.announce(fresh, 2)
	r.push(fresh.WorkID, "a", 2)
	r.must(r.works.Processed(t.Context(), fresh, "done", state))
	if w := r.ended(fresh, 2); w.Expected != 2 {
		t.Errorf("%d expectations of a new job, want 2", w.Expected)
	}
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
	job := r.workJob("198.51.100.7")
	for _, tt := range tests {
		r.platform.FailNext("WorkProcessed", 1, tt.code)
		if err := r.works.Processed(t.Context(), job, "done", opencti.WorkState{}); !errors.Is(err, tt.want) {
			t.Errorf("Processed() error = %v, want %v", err, tt.want)
		}
	}
	r.platform.SetDown(true)
	for name, err := range map[string]error{
		"Received": r.works.Received(t.Context(), job, "m"), "Failed": r.works.Failed(t.Context(), job, "m"),
		"Processed": r.works.Processed(t.Context(), job, "m", opencti.WorkState{}),
	} {
		if !errors.Is(err, opencti.ErrUnavailable) {
			t.Errorf("%s() error = %v, want ErrUnavailable", name, err)
		}
	}
}
