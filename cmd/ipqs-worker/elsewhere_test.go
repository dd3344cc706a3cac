package main

import (
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
)

// A process that asks somebody else than IPQualityScore says so once; one that asks nobody does not.
func TestTellElsewhere(t *testing.T) {
	t.Parallel()
	const elsewhere = "http://127.0.0.1:8080/api/json"
	tests := []struct {
		name, address string
		hops          []string
		want          int
	}{
		{"IPQualityScore", "https://www.ipqualityscore.com/api/json", nil, 0},
		{"somebody else", elsewhere, nil, 1},
		{"somebody else, by the hop alone", elsewhere, []string{"lookup"}, 1},
		{"a hop that does not ask", elsewhere, []string{"score"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Log
			tellElsewhere(t.Context(), log.Logger(), config.IPQS{BaseURL: tt.address}, tt.hops)
			if got := strings.Count(log.String(), "\n"); got != tt.want || got > 0 && (log.Count("level=WARN") != 1 || log.Count("address="+elsewhere) != 1) {
				t.Errorf("logged %q, want %d warnings that name %s", log.String(), tt.want, elsewhere)
			}
		})
	}
}
