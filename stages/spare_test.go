package stages

import (
	"context"
	"errors"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// recents knows one job.
type recents struct {
	entity, job string
}

func (r *recents) Enriched(_ context.Context, entity, job string) { r.entity, r.job = entity, job }

func (r *recents) Recent(_ context.Context, entity, job string) (time.Duration, bool) {
	return 90 * time.Second, entity == r.entity && job != r.job
}

func done(_ context.Context, job Job) (Job, error) { return job, nil }

func TestAnAutomaticJobAboutWhatWasEnrichedRecentlyIsSkipped(t *testing.T) {
	t.Parallel()
	about := func(job string, r opencti.Request) Job { return Job{ID: job, Request: &r} }
	first := about("first", opencti.Request{EntityID: "e", Mode: "auto"})
	tests := []struct {
		name string
		job  Job
		want bool
	}{
		{"another automatic one", about("second", opencti.Request{EntityID: "e", Mode: "auto", Trigger: "update"}), true},
		{"the same one, delivered twice", first, false},
		{"one that somebody asked for", about("second", opencti.Request{EntityID: "e", Mode: "manual"}), false},
		{"a playbook's", about("second", opencti.Request{EntityID: "e", Mode: "auto", Playbook: &opencti.Playbook{}}), false},
		{"of a release that does not say", about("second", opencti.Request{EntityID: "e"}), false},
		{"about something else", about("second", opencti.Request{EntityID: "f", Mode: "auto"}), false},
		{"in a draft", about("second", opencti.Request{EntityID: "e", DraftID: "d", Mode: "auto"}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seen := &recents{}
			if _, err := RememberingRecent(Stage{Run: done}, seen).Run(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			_, err := SkippingRecent(Stage{Run: done}, seen).Run(t.Context(), tt.job)
			f := AsFault(err)
			if skipped := f != nil && f.Class == Skip && f.Reason == ReasonRecent; skipped != tt.want {
				t.Errorf("Run() = %v, want it skipped: %v", err, tt.want)
			}
			if f == nil {
				return
			}
			if got, want := f.sentence(tt.job), "Already enriched 1m ago"; got != want {
				t.Errorf("sentence() = %q, want %q", got, want)
			}
			if f.Reason.InError() {
				t.Error("the work ends in error, and nobody did anything wrong")
			}
		})
	}
}

// Only what is published counts as enriched, and what the stage refuses stays refused.
func TestRecentsOfAStageThatFails(t *testing.T) {
	t.Parallel()
	job := Job{ID: "1", Request: &opencti.Request{EntityID: "e", Mode: "auto"}}
	refused := errors.New("refused")
	fails := Stage{Run: func(_ context.Context, job Job) (Job, error) { return job, refused }}
	seen := &recents{}
	if _, err := RememberingRecent(fails, seen).Run(t.Context(), job); !errors.Is(err, refused) || seen.entity != "" {
		t.Errorf("Run() = %v, %q noted, want %v and nothing", err, seen.entity, refused)
	}
	if _, err := SkippingRecent(fails, &recents{entity: "e ", job: "0"}).Run(t.Context(), job); !errors.Is(err, refused) {
		t.Errorf("Run() = %v, want %v", err, refused)
	}
	if _, err := SkippingRecent(Stage{Run: done}, nil).Run(t.Context(), job); err != nil {
		t.Errorf("Run() = %v where nobody remembers, want nil", err)
	}
}

func TestAJobOverBudgetIsSkippedWhereItIsNotToWait(t *testing.T) {
	t.Parallel()
	job := Job{Request: &opencti.Request{EntityType: "Url"}, Entity: &opencti.Entity{Type: "Url", Value: "https://example.com"}}
	tests := []struct {
		class  ipqs.Class
		want   Class
		reason Reason
	}{
		{ipqs.ClassBudget, Skip, ReasonBudget},
		{ipqs.ClassReserve, Skip, ReasonCredits},
		{ipqs.ClassCredits, AccountWide, ReasonCredits},
		{ipqs.ClassQuota, AccountWide, ReasonQuotaExhausted},
	}
	for _, tt := range tests {
		t.Run(string(tt.class), func(t *testing.T) {
			t.Parallel()
			risks := fakeRisks(func(ipqs.Query) (*ipqs.Report, error) {
				return nil, &ipqs.APIError{Class: tt.class, Message: "the 5 credits for a day are spent"}
			})
			_, err := SkippingOverBudget(Lookup(risks, func() time.Time { return at }, Sources{})).Run(t.Context(), job)
			if f := AsFault(err); f == nil || f.Class != tt.want || f.Reason != tt.reason {
				t.Errorf("Run() = %+v, want %s, %s", f, tt.want, tt.reason)
			}
		})
	}
}

// An answer that was kept is as old as it is.
func TestTheClockOfAKeptAnswerIsWhenItWasGiven(t *testing.T) {
	t.Parallel()
	var asked ipqs.Query
	given := at.Add(-time.Hour)
	risks := fakeRisks(func(q ipqs.Query) (*ipqs.Report, error) {
		asked = q
		r := report(ipqs.KindIP, `{"fraud_score":7}`)
		r.AskedAt, r.Cached = given, true
		return r, nil
	})
	entity := ipv4()
	job := Job{Request: &opencti.Request{Mode: "manual"}, Entity: &entity}
	job, err := Lookup(risks, func() time.Time { return at }, Sources{}).Run(t.Context(), job)
	if err != nil || !job.Risk.At.Equal(given) || !job.Risk.Cached || !job.Risk.UsedAt.Equal(at) {
		t.Errorf("Run() = %+v, %v, want a cached answer of %v, used at %v", job.Risk, err, given, at)
	}
	if !asked.Urgent {
		t.Error("the question of who waits for it is not urgent")
	}
}
