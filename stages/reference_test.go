package stages

import (
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

func TestReference(t *testing.T) {
	t.Parallel()
	const host = "https://www.ipqualityscore.com/"
	tests := []struct {
		name   string
		entity opencti.Entity
		sent   string
		want   string // "" is none
	}{
		{"IPv4", ip("198.51.100.7"), "", host + "ip-reputation-check/lookup/198.51.100.7"},
		{"IPv6", entity("IPv6-Addr", "2001:DB8:0::7"), "", host + "ip-reputation-check/lookup/2001%3Adb8%3A%3A7"},
		{"IPv4-mapped IPv6", entity("IPv6-Addr", "::ffff:198.51.100.7"), "", host + "ip-reputation-check/lookup/%3A%3Affff%3A198.51.100.7"},
		{"a zone", entity("IPv6-Addr", "fe80::1%eth0"), "", ""},
		{"a network", ip("198.51.100.0/24"), "", ""},
		{"domain", domain("Example.COM."), "", host + "domain-reputation/example.com"},
		{"international domain", domain("bücher.example"), "", host + "domain-reputation/xn--bcher-kva.example"},
		{"domain with an underscore", domain("_dmarc.example.com"), "", host + "domain-reputation/_dmarc.example.com"},
		{"no valid domain", domain("a b/../c?d#e"), "", host + "domain-reputation/a%20b%2F..%2Fc%3Fd%23e"},
		{
			"URL", url("https://example.com/a?b=c&d='e'+\"<f>%20#ü"), "",
			host + "threat-feeds/malicious-url-scanner/https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc%26d%3D%27e%27%2B%22%3Cf%3E%2520%23%C3%BC",
		},
		{"URL with an invalid escape", url("https://example.com/%zz"), "", host + "threat-feeds/malicious-url-scanner/https%3A%2F%2Fexample.com%2F%25zz"},
		{"URL without a scheme", url("example.com/a"), "", host + "threat-feeds/malicious-url-scanner/example.com%2Fa"},
		{"@ in the path", url("https://example.com/@user"), "", host + "threat-feeds/malicious-url-scanner/https%3A%2F%2Fexample.com%2F%40user"},
		{"user and password", url("https://user:secret@example.com/a"), "", host + "threat-feeds/malicious-url-scanner/https%3A%2F%2Fexample.com%2Fa"},
		{"user and password in a URL that cannot be parsed", url("https://user:se/cret@example.com/a"), "", ""},
		{"user and password without a scheme", url("user:secret@example.com/a"), "", ""},
		{"user and password after backslashes", url(`https:\\user:secret@example.com`), "", ""},
		{"user and password after one slash", url("https:/user:secret@example.com/"), "", ""},
		{"only what was sent", url("https://example.com/reset?token=secret"), "https://example.com", host + "threat-feeds/malicious-url-scanner/https%3A%2F%2Fexample.com"},
		{"e-mail", email("user@example.com"), "", ""},
		{"phone", phone("+18005550100"), "", ""},
		{"account", account("secret"), "", ""},
		{"artifact", artifact(), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := report(ipqs.KindURL, `{"risk_score":90,"phishing":true}`)
			r.RequestID = "Req4711"
			page, description, ok := reference(&tt.entity, flagged.verdict(r), &Risk{At: at, Report: r, Sent: tt.sent})
			if page != tt.want || ok != (tt.want != "") {
				t.Errorf("reference() = %q, %v, want %q", page, ok, tt.want)
			}
			if strings.Contains(page, "secret") || strings.Contains(description, "secret") {
				t.Errorf("reference() = %q, %q holds a secret", page, description)
			}
			if want := "CRITICAL, score 90 of 100, 2026-03-04T05:06:07Z, request Req4711"; ok && description != want {
				t.Errorf("description = %q, want %q", description, want)
			}
		})
	}
}
