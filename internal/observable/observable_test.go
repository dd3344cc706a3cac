package observable

import (
	"errors"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	long := "https://example.com/" + strings.Repeat("a", 20000)
	tests := []struct {
		value, want string // want is a type, or "" for an error
	}{
		{"198.51.100.7", "IPv4-Addr"},
		{"2001:db8::7", "IPv6-Addr"},
		{"::ffff:198.51.100.7", "IPv6-Addr"},
		{"198.51.100.0/24", "IPv4-Addr"},
		{"2001:db8::/32", "IPv6-Addr"},
		{"198.51.100.0/33", ""},
		{"user@example.com", "Email-Addr"},
		{"user@[198.51.100.7]", "Email-Addr"},
		{"user@[IPv6:2001:db8::7]", "Email-Addr"},
		{"user@[host]", ""},
		{`"o'brien \" x"@example.com`, "Email-Addr"},
		{"jürgen@müller.example", "Email-Addr"},
		{"https://example.com/a?b=c&d=e", "Url"},
		{`https://example.com/a'b\c"d`, "Url"},
		{"http://user@example.com/", "Url"},
		{"https://[2001:db8::7]/x", "Url"},
		{long, "Url"},
		{"example.com", "Domain-Name"},
		{"_dmarc.bücher.example.", "Domain-Name"},
		{"xn--bcher-kva.example", "Domain-Name"},
		{"+18007132618", "Phone-Number"},
		{"+44 (20) 7946-0018", "Phone-Number"},
		{"8005550100", "Phone-Number"},
		{"01.23.45.67.89", "Phone-Number"},
		{"800.555.0100", "Phone-Number"},
		{"192.168.11", ""},
		{"10.0000001", ""},
		{"10.0.0.1-10.0.0.9", ""},
		{"10.0.0.1 - 10.0.0.9", ""},
		{"", ""},
		{"localhost", ""},
		{"hello world", ""},
		{"198.51.100.256", ""},
		{"fe80::1%eth0", ""},
		{"2001:db8:::7", ""},
		{"user@", ""},
		{"@example.com", ""},
		{"user@@example.com", ""},
		{"a@b.example, c@d.example", ""},
		{"Jo <jo@example.com>", ""},
		{"https://", ""},
		{"hxxps://example.com/", ""},
		{"https://example[.]com/", ""},
		{"+123", ""},
		{"+1234567890123456", ""},
		{"exa mple.com", ""},
		{"-example.com", ""},
		{"example.com\n", ""},
		{"exam\xffple.com", ""},
	}
	for _, tt := range tests {
		t.Run(shortened(tt.value), func(t *testing.T) {
			t.Parallel()
			got, err := Detect(tt.value)
			if tt.want == "" {
				var refused *Error
				if !errors.As(err, &refused) || refused.Want == "" {
					t.Fatalf("Detect() = %v, %v, want an *Error that says what is expected", got, err)
				}
				return
			}
			if want := (Observable{Type: tt.want, Value: tt.value}); err != nil || got != want {
				t.Errorf("Detect() = %v, %v, want %v", got, err, want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, typeName, value string
		wantErr               string
	}{
		{"any case", "ipv4-addr", "198.51.100.7", ""},
		{"a phone number that looks like nothing", "Phone-Number", "0800 5550", ""},
		{"unknown type", "Mac-Addr", "00:00:5e:00:53:01", "want one of IPv4-Addr"},
		{"other type's value", "IPv6-Addr", "198.51.100.7", "is no IPv6-Addr: want an IPv6 address"},
		{"broken e-mail", "Email-Addr", "user@", `"user@" is no Email-Addr`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(tt.typeName, tt.value)
			if tt.wantErr == "" {
				if err != nil || got.Value != tt.value || !strings.EqualFold(got.Type, tt.typeName) {
					t.Errorf("Parse() = %v, %v, want the value as it is", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("Parse() error = %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}

func FuzzDetect(f *testing.F) {
	for _, seed := range []string{"198.51.100.7", "user@example.com", "https://example.com/", "+18005550100", "a.b", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := Detect(value)
		if err != nil {
			return
		}
		if got.Value != value {
			t.Errorf("Detect(%q) changed the value to %q", value, got.Value)
		}
		if again, err := Parse(got.Type, value); err != nil || again != got {
			t.Errorf("Parse(%q, %q) = %v, %v, want what Detect said: %v", got.Type, value, again, err, got)
		}
	})
}
