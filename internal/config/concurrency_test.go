package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithConcurrency(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		entries []string
		lookup  int
		others  map[string]int
		wrong   string
	}{
		{name: "one", entries: []string{"publish=64"}, lookup: 16, others: map[string]int{"resolve": 8, "publish": 64}},
		{name: "over the configuration's", entries: []string{"resolve=1"}, lookup: 16, others: map[string]int{"resolve": 1}},
		{name: "lookups have a number of their own", entries: []string{"lookup=3", " Score = 5 "}, lookup: 3, others: map[string]int{"resolve": 8, "score": 5}},
		{name: "no number", entries: []string{"lookup"}, wrong: `found "lookup" (entry 1 has no =)`},
		{name: "no hop", entries: []string{"score=1", "lookups=8"}, wrong: `found "score=1,lookups=8" (entry 2 names an unknown hop)`},
		{name: "none", entries: []string{"lookup=0"}, wrong: `found "lookup=0" (entry 1 has no whole number from 1 to 1024)`},
		{name: "too many", entries: []string{"lookup=1025"}, wrong: `found "lookup=1025" (entry 1 has no whole number from 1 to 1024)`},
		{name: "twice", entries: []string{"lookup=1", "lookup=2"}, wrong: `found "lookup=1,lookup=2" (entry 2 repeats the hop lookup)`},
		{name: "nothing", entries: []string{""}, wrong: `found "" (it has no entry)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := defaults()
			before.Worker.Concurrency = map[string]int{"resolve": 8}
			got, err := before.WithConcurrency(tt.entries)
			if tt.wrong != "" {
				if want := tt.wrong + ", want hop=n such as "; err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("WithConcurrency(%q) error = %v, want %s…", tt.entries, err, want)
				}
				return
			}
			want := defaults()
			want.Worker.LookupConcurrency, want.Worker.Concurrency = tt.lookup, tt.others
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("WithConcurrency(%q) = %v, and differs (-want +got):\n%s", tt.entries, err, diff)
			}
			if diff := cmp.Diff(map[string]int{"resolve": 8}, before.Worker.Concurrency); diff != "" {
				t.Errorf("WithConcurrency() changed what it was given (-want +got):\n%s", diff)
			}
		})
	}
}
