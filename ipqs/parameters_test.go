package ipqs

import (
	"strings"
	"testing"
	"time"
)

func TestParameters_Of(t *testing.T) {
	t.Parallel()
	all := Parameters{
		IP: IPParameters{Strictness: 1, Fast: true, AllowPublicAccessPoints: true, LighterPenalties: true, Mobile: true},
		Email: EmailParameters{
			Timeout: 20 * time.Second, Fast: true, SuggestDomain: true, Strictness: 2, AbuseStrictness: 1,
		},
		Phone: PhoneParameters{Countries: []string{"US", "CA"}, Strictness: 1, EnhancedLineCheck: true, SMSPumping: true},
		URL:   URLParameters{Strictness: 2, Fast: true, Timeout: 5 * time.Second},
	}
	defaults := Parameters{Email: EmailParameters{Timeout: DefaultEmailTimeout}, URL: URLParameters{Timeout: DefaultURLTimeout}}
	tests := []struct {
		kind Kind
		want string
	}{
		{KindIP, "allow_public_access_points=true&fast=true&lighter_penalties=true&mobile=true&strictness=1"},
		{KindEmail, "abuse_strictness=1&fast=true&strictness=2&suggest_domain=true&timeout=20"},
		{KindPhone, "country%5B%5D=US&country%5B%5D=CA&enhanced_line_check=true&sms_pumping=true&strictness=1"},
		{KindURL, "fast=true&strictness=2&timeout=5"},
		{KindLeakPassword, ""},
		{KindFileScan, ""},
		{KindFileResult, ""},
	}
	for _, tt := range tests {
		if got := all.Of(tt.kind).Encode(); got != tt.want {
			t.Errorf("Of(%s) = %s, want %s", tt.kind, got, tt.want)
		}
		for name, p := range map[string]Parameters{"zero": {}, "IPQS' own": defaults} {
			if got := p.Of(tt.kind).Encode(); got != "" {
				t.Errorf("Of(%s) of the %s defaults = %s, want nothing", tt.kind, name, got)
			}
		}
	}
	one := Parameters{Phone: PhoneParameters{Countries: []string{"US"}}}
	if got, want := one.Of(KindPhone).Encode(), "country=US"; got != want {
		t.Errorf("Of(%s) of one country = %s, want %s", KindPhone, got, want)
	}
}

// What is set is what goes out, beside the value.
func TestClient_Lookup_parameters(t *testing.T) {
	t.Parallel()
	server := record(t, fine)
	client := server.client(t, Options{Parameters: Parameters{IP: IPParameters{Strictness: 1, AllowPublicAccessPoints: true}}})
	if _, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	if got, want := server.requests[0].URL.RawQuery, "allow_public_access_points=true&ip=192.0.2.1&strictness=1"; got != want {
		t.Errorf("query = %s, want %s", got, want)
	}
}

func TestParameters_Timeout(t *testing.T) {
	t.Parallel()
	slow := Parameters{Email: EmailParameters{Timeout: time.Minute}, URL: URLParameters{Timeout: 10 * time.Second}}
	tests := []struct {
		kind       Kind
		want, slow time.Duration
	}{
		{KindIP, 10 * time.Second, 10 * time.Second},
		{KindEmail, 17 * time.Second, 70 * time.Second},
		{KindPhone, 15 * time.Second, 15 * time.Second},
		{KindURL, 12 * time.Second, 20 * time.Second},
		{KindLeakPassword, 15 * time.Second, 15 * time.Second},
		{KindFileScan, time.Minute, time.Minute},
		{KindFileResult, 10 * time.Second, 10 * time.Second},
	}
	for _, tt := range tests {
		if got := (Parameters{}).Timeout(tt.kind); got != tt.want {
			t.Errorf("Timeout(%s) = %v, want %v", tt.kind, got, tt.want)
		}
		if got := slow.Timeout(tt.kind); got != tt.slow {
			t.Errorf("Timeout(%s) with a patient IPQS = %v, want %v", tt.kind, got, tt.slow)
		}
	}
	if got, want := UploadTimeout(32<<20), 33*time.Second; got != want {
		t.Errorf("UploadTimeout(32 MiB) = %v, want %v", got, want)
	}
}

func TestParameters_Validate(t *testing.T) {
	t.Parallel()
	bad := Parameters{
		IP:    IPParameters{Strictness: 4},
		Email: EmailParameters{Timeout: 61 * time.Second, Strictness: 3, AbuseStrictness: -1},
		Phone: PhoneParameters{Countries: []string{"US", "USA"}, Strictness: 3},
		URL:   URLParameters{Timeout: 1500 * time.Millisecond, Strictness: 3},
	}
	_, err := NewClient(Options{Key: testKey, Parameters: bad})
	if err == nil {
		t.Fatal("NewClient() = no error, want all that is out of range")
	}
	for _, want := range []string{
		"strictness of ip: found 4, want 0 to 3", "timeout of email: found 1m1s", "strictness of email", "abuse strictness of email: found -1",
		`country of phone: found "USA"`, "strictness of phone", "timeout of url: found 1.5s", "strictness of url",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("NewClient() = %v, want it to say %q", err, want)
		}
	}
}
