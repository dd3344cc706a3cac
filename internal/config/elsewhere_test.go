package config

import "testing"

func TestIPQSElsewhere(t *testing.T) {
	t.Parallel()
	tests := []struct{ address, want string }{
		{"", ""},
		{"https://www.ipqualityscore.com/api/json", ""},
		{"https://WWW.IPQualityScore.com/api/json", ""},
		{"http://127.0.0.1:8080/api/json", "http://127.0.0.1:8080/api/json"},
		{"https://ipqs.example.com/key-4711/json", "https://ipqs.example.com/[REDACTED]/json"},
	}
	for _, tt := range tests {
		if got := (IPQS{BaseURL: tt.address, PrivateKey: NewSecret("key-4711")}).Elsewhere(); got != tt.want {
			t.Errorf("Elsewhere() of %q = %q, want %q", tt.address, got, tt.want)
		}
	}
}
