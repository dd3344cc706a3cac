package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTTLs(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		in   string
		want map[string]time.Duration // nil for an error
	}{
		{"24h", map[string]time.Duration{"ip": day, "email": day, "phone": day, "url": day, "leak": day}},
		{"url=6h, 24h ,PHONE=72h", map[string]time.Duration{"ip": day, "email": day, "phone": 3 * day, "url": day / 4, "leak": day}},
		{"ip=1h", map[string]time.Duration{"ip": time.Hour, "email": 0, "phone": 0, "url": 0, "leak": 0}},
		{"0", map[string]time.Duration{"ip": 0, "email": 0, "phone": 0, "url": 0, "leak": 0}},
		{"24h,url=0", map[string]time.Duration{"ip": day, "email": day, "phone": day, "url": 0, "leak": day}},
		{"a day", nil},
		{"24h,file=1h", nil},
		{"-1h", nil},
		{"24h,", nil},
		{"9000h", nil},
		{"ip=", nil},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			got, err := parseTTLs(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != (tt.want == nil) {
				t.Errorf("parseTTLs(%q) = %v (-want +got):\n%s", tt.in, err, diff)
			}
		})
	}
}

// A budget that is less than its parts would have a part of nothing, which is without bound.
func TestABudgetIsEnoughForItsParts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		budget, share string
		good          bool
	}{{"0", "3", true}, {"3", "3", true}, {"1000", "1", true}, {"2", "3", false}, {"1", "1000", false}} {
		for _, purpose := range []Purpose{ForRun, ForEnrich} {
			_, _, err := Load(Options{
				Path: noFile(t), Require: purpose, Environ: minimal("IPQS_DAILY_BUDGET="+tt.budget, "IPQS_RATE_SHARE="+tt.share),
			})
			if (err == nil) != tt.good {
				t.Errorf("Load() of a budget of %s for %s = %v, want it good: %t", tt.budget, tt.share, err, tt.good)
			}
			if want := "IPQS_DAILY_BUDGET (ipqs.daily_budget): found " + tt.budget + ", want 0, or a credit at least for each of the " + tt.share +
				" processes of IPQS_RATE_SHARE"; err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("Load() = %v, want %q in it", err, want)
			}
		}
	}
}

func TestCacheURL(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"redis://localhost", "redis://user:pass@redis:6379/3", "rediss://:pass@redis.example.com", "valkey://localhost:6379/", "valkeys://[::1]:6379",
	} {
		if got, err := parseCacheURL(good); err != nil || got.Reveal() != good {
			t.Errorf("parseCacheURL(%q) = %v", good, err)
		}
	}
	const secret = "pl4nted"
	for _, bad := range []string{
		"localhost:6379", "http://" + secret + "@localhost", "redis://", "redis:///1", "redis://:" + secret + "@h/x", "redis://:" + secret + "@h/0?db=1",
		"redis://:" + secret + "@h:port",
	} {
		_, _, err := Load(Options{Path: noFile(t), Environ: minimal("CACHE_URL=" + bad)})
		if err == nil || !strings.Contains(err.Error(), "CACHE_URL") {
			t.Errorf("Load() with CACHE_URL=%s = %v, want it refused", bad, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("Load() = %v, which shows the password", err)
		}
	}
}
