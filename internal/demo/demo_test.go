package demo

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunAccountsForEveryJob(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out strings.Builder
	err := Run(ctx, Options{Out: &out, Progress: &out, Jobs: 120, Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("Run() = %v\n%s", err, out.String())
	}
	for _, want := range []string{
		"120/120 jobs", "works complete in OpenCTI  120", "private_address", "scope", "tlp", "invalid_value",
		"└─ hop lookup", "└─ hop publish  published",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out.String())
		}
	}
}

func TestRunGivesUpWhenAJobIsLost(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	err := Run(ctx, Options{
		Out: io.Discard, Progress: io.Discard, Jobs: 20, Version: "test", Logger: slog.New(slog.DiscardHandler),
		tamper: func(world *standin.World) { world.Platform.SetImporting(false) }, impatient: true,
	})
	if err == nil || !strings.Contains(err.Error(), "work") {
		t.Errorf("Run() = %v, want an error that names a work that did not end", err)
	}
}

func TestAccountMissesAJob(t *testing.T) {
	t.Parallel()
	world, err := standin.New(context.Background(), standin.Options{IPQS: ipqstest.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(world.Close)
	ended := func(id string) pipeline.Outcome {
		return pipeline.Outcome{
			Hop: "publish", Job: stages.Job{ID: id, Request: &opencti.Request{}}, End: pipeline.Published,
		}
	}
	tests := []struct {
		name string
		ends []string
		want string // "" for none
	}{
		{"all", []string{"a", "b"}, ""},
		{"one missing", []string{"a"}, "1 of 2 jobs ended"},
		{"one twice", []string{"a", "b", "b"}, "1 of them more than once"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tally := newTally(2)
			for _, id := range tt.ends {
				tally.add(ended(id))
			}
			err := tally.account(world.Platform)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("account() = %v, want %q", err, tt.want)
			}
			if err := tally.summary(io.Discard, world.Platform, 0, nil); err != nil {
				t.Errorf("summary() = %v", err)
			}
		})
	}
}
