package opencti

import (
	"errors"
	"testing"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       [3]int
	}{
		{"three numbers", "6.8.10", [3]int{6, 8, 10}},
		{"a date in it", "7.260318.0", [3]int{7, 260318, 0}},
		{"two numbers", "7.260817", [3]int{7, 260817, 0}},
		{"suffix of a long-term release", "6.8.12-lts1", [3]int{6, 8, 12}},
		{"suffix with a dot", "7.260309.0-lts.2", [3]int{7, 260309, 0}},
		{"build suffix", "6.9.1+build.7", [3]int{6, 9, 1}},
		{"leading v and spaces", " v6.4.0\n", [3]int{6, 4, 0}},
		{"more numbers than we need", "6.4.0.1", [3]int{6, 4, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseVersion(tt.text)
			if err != nil {
				t.Fatalf("ParseVersion(%q) failed: %v", tt.text, err)
			}
			if got.parts != tt.want || got.newest {
				t.Errorf("ParseVersion(%q) = %v (newest %t), want %v", tt.text, got.parts, got.newest, tt.want)
			}
		})
	}
}

func TestParseVersionUnreadable(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "develop", "6.x", "-lts1", "6..1", "99999999999999.1", "6.-1.0"} {
		got, err := ParseVersion(text)
		var field *FieldError
		if !errors.As(err, &field) || field.Field != "about.version" {
			t.Errorf("ParseVersion(%q) error = %v, want a FieldError about about.version", text, err)
		}
		if got.Compare(mustVersion("7.999999.0")) <= 0 {
			t.Errorf("ParseVersion(%q) is not newer than every release", text)
		}
		if newest := mustVersion("7.260817.0").Capabilities(); got.Capabilities().Tracked != newest.Tracked || got.Capabilities().CloseByReport {
			t.Errorf("ParseVersion(%q) does not count as the newest release", text)
		}
	}
}

func TestVersionCompare(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		want int
	}{
		{"7.260318.0", "6.9.28", 1},
		{"6.9.28", "6.10.0", -1},
		{"6.8.10", "6.8.9", 1},
		{"6.8.12-lts1", "6.8.12", 0},
		{"7.260817", "7.260817.0", 0},
		{"5.12.33", "6.0.0", -1},
		{"unreadable", "also unreadable", 0},
		{"6.8.10", "unreadable", -1},
	}
	for _, tt := range tests {
		a, _ := ParseVersion(tt.a)
		b, _ := ParseVersion(tt.b)
		if got := a.Compare(b); got != tt.want {
			t.Errorf("Compare(%s, %s) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := b.Compare(a); got != -tt.want {
			t.Errorf("Compare(%s, %s) = %d, want %d", tt.b, tt.a, got, -tt.want)
		}
	}
}
