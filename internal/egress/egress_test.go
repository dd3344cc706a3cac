package egress_test

import (
	"errors"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/egress/egresstest"
)

func guard(t *testing.T, form egress.URLForm, exclude ...string) egress.Guard {
	t.Helper()
	exclusions, err := egress.ParseExclusions(exclude)
	if err != nil {
		t.Fatal(err)
	}
	return egress.New(exclusions, form)
}

func TestCheck_RefusesInternalValues(t *testing.T) {
	t.Parallel()
	g := guard(t, egress.FullURL, egresstest.Exclude()...)
	for _, v := range egresstest.Refused() {
		sent, refusal := g.Check(v.Type, v.Value)
		if refusal == nil || refusal.Cause != v.Cause {
			t.Errorf("Check(%s, %q) = %q, %v, want it refused as %s", v.Type, v.Value, sent, refusal, v.Cause)
		}
		if sent != "" {
			t.Errorf("Check(%s, %q) = %q, want nothing to send", v.Type, v.Value, sent)
		}
	}
}

func TestCheck_SendsPublicValues(t *testing.T) {
	t.Parallel()
	g := guard(t, "", egresstest.Exclude()...)
	for _, v := range egresstest.Allowed() {
		if sent, refusal := g.Check(v.Type, v.Value); refusal != nil || sent != v.Sent {
			t.Errorf("Check(%s, %q) = %q, %v, want %q", v.Type, v.Value, sent, refusal, v.Sent)
		}
	}
}

func TestCheck_ShortensURLs(t *testing.T) {
	t.Parallel()
	tests := []struct{ value, withoutQuery, host string }{
		{"https://user:pw@example.com:8443/p?q=1#f", "https://example.com:8443/p", "example.com"},
		{"https://example.com/reset?token=a/b?c", "https://example.com/reset", "example.com"},
		{"https://example.com#f?q", "https://example.com", "example.com"},
		{"https://EXAMPLE.com", "https://EXAMPLE.com", "EXAMPLE.com"},
		{"http://[2001:db8::1]:80/x?y", "http://[2001:db8::1]:80/x", "[2001:db8::1]"},
		{"example.com:80/x?y", "example.com:80/x", "example.com"},
		{`http:\\example.com\x?y`, `http:\\example.com\x`, "example.com"},
		{"example.com", "example.com", "example.com"},
		{"mailto:joe@example.com?subject=x", "mailto:joe@example.com", "example.com"},
		{"view-source:https://u:p@example.com/x?y", "view-source:https://example.com/x", "example.com"},
		{"?q=secret", "", ""},
	}
	for _, tt := range tests {
		for form, want := range map[egress.URLForm]string{egress.WithoutQuery: tt.withoutQuery, egress.HostOnly: tt.host} {
			if sent, refusal := guard(t, form).Check("Url", tt.value); refusal != nil || sent != want {
				t.Errorf("Check(%q) = %q, %v in the form %s, want %q", tt.value, sent, refusal, form, want)
			}
		}
	}
}

// A host that takes too long to read is not sent.
func TestCheck_RefusesHostsThatAreTooLong(t *testing.T) {
	t.Parallel()
	encoded := "10.0.0.1"
	for range 70 {
		encoded = strings.ReplaceAll(encoded, ".", "%2e")
		encoded = strings.ReplaceAll(encoded, "%", "%25")
		if len(encoded) > 3000 {
			break
		}
	}
	for _, value := range []string{
		"http://" + encoded + "/", "http://xn--" + strings.Repeat("a", 1<<20) + "/", strings.Repeat("a:", 1<<16) + "b.example",
		"http://" + strings.Repeat("%25", 2000) + ".example/",
	} {
		for _, kind := range []string{"Url", "Domain-Name", "IPv4-Addr", "Email-Addr"} {
			given := value
			if kind == "Email-Addr" {
				given = "joe@" + value
			}
			if _, refusal := (egress.Guard{}).Check(kind, given); refusal == nil || refusal.Cause != egress.Private {
				t.Errorf("Check(%s) of %d bytes = %v, want it refused as %s", kind, len(given), refusal, egress.Private)
			}
		}
	}
}

// An e-mail address with more domains than anybody reads is not sent.
func TestCheck_RefusesEmailAddressesWithTooManyDomains(t *testing.T) {
	t.Parallel()
	_, refusal := egress.Guard{}.Check("Email-Addr", "joe"+strings.Repeat("@example.com", 1<<16))
	if refusal == nil || refusal.Cause != egress.Private {
		t.Errorf("Check() = %v, want it refused as %s", refusal, egress.Private)
	}
}

// Nothing of a value may reach a log by way of the reason.
func TestRefusal_DoesNotRepeatTheValue(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"http://planted:planted@planted.corp/planted", "https://planted.excluded.example/"} {
		_, refusal := guard(t, "", egresstest.Exclude()...).Check("Url", value)
		if refusal == nil || strings.Contains(refusal.Error(), "planted") {
			t.Errorf("Check(%q) = %v, want a refusal without the value", value, refusal)
		}
	}
}

func TestParseExclusions_NamesTheInvalidEntry(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"", "*", ".", "*example.com", "*.*.example.com", "..example.com", "a..b", "exa mple.com", "https://example.com", "example.com/path", "joe@example.com", "203.0.113.0/33",
		"203.0.113.256", "203.0.113", "0x0a000001", "fe80::1%eth0", "2001:db8::/129", "a.*.example", "example.com:80",
	} {
		_, err := egress.ParseExclusions([]string{"example.com", entry})
		if err == nil || !strings.Contains(err.Error(), `"`+entry+`"`) {
			t.Errorf("ParseExclusions(%q) = %v, want an error that names it", entry, err)
		}
	}
}

func TestRefusedError_IsFoundByErrorsAs(t *testing.T) {
	t.Parallel()
	_, refusal := egress.Guard{}.Check("IPv4-Addr", "10.0.0.1")
	if found, ok := errors.AsType[*egress.RefusedError](error(refusal)); !ok || found.Cause != egress.Private {
		t.Errorf("errors.AsType() = %v, want the refusal", found)
	}
}
