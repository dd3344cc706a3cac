package config

import (
	"strings"
	"testing"
)

func TestLoad_RefusesKinds(t *testing.T) {
	t.Parallel()
	tests := []struct{ option, value, problem string }{
		{"IPQS_INDICATOR_MIN_SCORE", "26,asn=75", "entry 2 names an unknown kind"},
		{"IPQS_INDICATOR_MIN_SCORE", "=26", "entry 1 names an unknown kind"},
		{"IPQS_INDICATOR_MIN_SCORE", "url=75,URL=80", "entry 2 repeats the kind url"},
		{"IPQS_INDICATOR_MIN_SCORE", "26,40", "entry 2 is the second without a kind"},
		{"IPQS_CACHE_TTL", "24h,asn=1h", "entry 2 names an unknown kind"},
		{"IPQS_CACHE_TTL", "url=1h,24h,url=6h", "entry 3 repeats the kind url"},
		{"IPQS_CACHE_TTL", "24h,12h", "entry 2 is the second without a kind"},
	}
	for _, tt := range tests {
		t.Run(tt.option+" "+tt.value, func(t *testing.T) {
			t.Parallel()
			_, _, err := Load(Options{Path: noFile(t), Environ: minimal(tt.option + "=" + tt.value)})
			if err == nil || !strings.Contains(err.Error(), tt.option) || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("Load() error = %v, want one about %s with %q", err, tt.option, tt.problem)
			}
		})
	}
}
