package stix

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPattern(t *testing.T) {
	t.Parallel()
	long := "https://a.example/" + strings.Repeat(`'\é`, 100_000)
	tests := []struct {
		name       string
		typ, value string
		want       string
	}{
		{"IPv4", "IPv4-Addr", "198.51.100.7", "[ipv4-addr:value = '198.51.100.7']"},
		{"IPv6", "IPv6-Addr", "2001:db8::1", "[ipv6-addr:value = '2001:db8::1']"},
		{"e-mail", "Email-Addr", "o'neil@a.example", `[email-addr:value = 'o\'neil@a.example']`},
		{"URL", "Url", `https://a.example/?q=b&c=%20d#\`, `[url:value = 'https://a.example/?q=b&c=%20d#\\']`},
		{"domain", "Domain-Name", "bücher.example", "[domain-name:value = 'bücher.example']"},
		{"phone", "Phone-Number", "+1 (800) 555-0199", "[phone-number:value = '+1 (800) 555-0199']"},
		{"account", "User-Account", "ada", "[user-account:account_login = 'ada']"},
		{"artifact", "Artifact", strings.Repeat("aB", 32), "[file:hashes.'SHA-256' = '" + strings.Repeat("aB", 32) + "']"},
		{"autonomous system", "Autonomous-System", "64500", "[autonomous-system:number = 64500]"},
		{"type in other case", "ipv4-ADDR", "198.51.100.7", "[ipv4-addr:value = '198.51.100.7']"},
		{"breaks out of nothing", "Url", `x'] OR [url:value = 'y`, `[url:value = 'x\'] OR [url:value = \'y']`},
		{"line break, separator, emoji", "Url", "a\nb\u2028😀<>", "[url:value = 'a\nb\u2028😀<>']"},
		{
			"very long", "Url", long,
			"[url:value = 'https://a.example/" + strings.Repeat(`\'\\é`, 100_000) + "']",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Pattern(tt.typ, tt.value)
			if err != nil {
				t.Fatalf("Pattern() error = %v", err)
			}
			if got != tt.want {
				t.Errorf("Pattern() = %.200s, want %.200s", got, tt.want)
			}
		})
	}
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		typ, value string
		want       []string // what the text must say
	}{
		{"unknown type", "Mutex", "x", []string{`"Mutex"`, "IPv4-Addr", "Phone-Number"}},
		{"no value", "Url", "", []string{"Url", "empty"}},
		{"not UTF-8", "Url", "secret\xff", []string{"Url", "7 bytes", "UTF-8"}},
		{"hash of another length", "Artifact", "5ec4e7", []string{"Artifact", "6 characters", "64 hexadecimal"}},
		{"hash with other letters", "Artifact", strings.Repeat("xy", 32), []string{"64 hexadecimal"}},
		{"number with prefix", "Autonomous-System", "AS64500", []string{"Autonomous-System", "number"}},
		{"number too big", "Autonomous-System", "4294967296", []string{"4294967295"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Pattern(tt.typ, tt.value)
			if err == nil {
				t.Fatalf("Pattern() = %q, want an error", got)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Pattern() error = %q, want it to say %q", err, want)
				}
			}
			if len(tt.value) > 1 && strings.Contains(err.Error(), tt.value) {
				t.Errorf("Pattern() error = %q, want it not to repeat the value", err)
			}
		})
	}
}

func TestObservableTypes(t *testing.T) {
	t.Parallel()
	all := ObservableTypes()
	if len(all) != 9 {
		t.Fatalf("ObservableTypes() has %d types, want 9", len(all))
	}
	for _, want := range all {
		if got, ok := TypeByName(want.Name); !ok || got != want {
			t.Errorf("TypeByName(%q) = %v, %v, want %v", want.Name, got, ok, want)
		}
		if got, ok := TypeBySTIX(want.STIX); !ok || got != want {
			t.Errorf("TypeBySTIX(%q) = %v, %v, want %v", want.STIX, got, ok, want)
		}
		if want.STIX != strings.ToLower(want.Name) {
			t.Errorf("type of %s = %q, want the name in lower case", want.Name, want.STIX)
		}
	}
	all[0].Path = "changed"
	if ObservableTypes()[0].Path == "changed" {
		t.Error("ObservableTypes() shares its table with the caller")
	}
	if _, ok := TypeByName("Mutex"); ok {
		t.Error("TypeByName(Mutex) found a type, want none")
	}
	if _, ok := TypeBySTIX("IPv4-Addr"); ok {
		t.Error("TypeBySTIX(IPv4-Addr) found a type, want none: it is the other name")
	}
}

// FuzzPattern reads each pattern back, by the grammar's rule for a string literal, and wants the value again.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"198.51.100.7", `'`, `\`, `\'`, `'] OR [url:value = '`, "\x00\n\u2028😀", `\\''\\`, "a\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		pattern, err := Pattern("Url", value)
		if err != nil {
			if value != "" && utf8.ValidString(value) {
				t.Fatalf("Pattern(%q) error = %v", value, err)
			}
			return
		}
		literal, ok := strings.CutPrefix(pattern, "[url:value = '")
		if !ok {
			t.Fatalf("Pattern(%q) = %q, want it to begin with the path", value, pattern)
		}
		var got strings.Builder
		for i := 0; i < len(literal); i++ {
			switch c := literal[i]; c {
			case '\'':
				if rest := literal[i:]; rest != "']" {
					t.Fatalf("Pattern(%q): the literal ends before %q", value, rest)
				}
				if got.String() != value {
					t.Fatalf("Pattern(%q) reads back as %q", value, got.String())
				}
				return
			case '\\':
				if i++; literal[i] != '\'' && literal[i] != '\\' {
					t.Fatalf("Pattern(%q): escapes %q, which the grammar does not allow", value, literal[i])
				}
				got.WriteByte(literal[i])
			default:
				got.WriteByte(c)
			}
		}
		t.Fatalf("Pattern(%q): the literal does not end", value)
	})
}
