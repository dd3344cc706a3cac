package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoad_ReadsExclusions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.txt", "\ufeff# ours\r\nexample.com # and below\r\n\r\n  2001:db8::/32\n.example.net")
	bad := write("bad.txt", "example.com\nexample.com/path\n")
	tests := []struct {
		name, value string
		want        []string
		problem     string // a part of the error
	}{
		{name: "list", value: " example.com ,203.0.113.0/24,, 198.51.100.7", want: []string{"example.com", "203.0.113.0/24", "198.51.100.7"}},
		{name: "file", value: good, want: []string{"example.com", "2001:db8::/32", ".example.net"}},
		{name: "list with a file", value: "example.org," + good, want: []string{"example.org", "example.com", "2001:db8::/32", ".example.net"}},
		{name: "suffix with a dot", value: ".example.com", want: []string{".example.com"}},
		{name: "invalid entry", value: "example.com,203.0.113.0/33", problem: `"203.0.113.0/33" is no domain, address or network`},
		{name: "invalid entry in a file", value: bad, problem: `line 2: "example.com/path" is no domain, address or network`},
		{name: "no such file", value: filepath.Join(dir, "nowhere.txt"), problem: "no such file or directory"},
		{name: "no path", value: "exclude/me.txt", problem: `"exclude/me.txt" is no domain, address or network`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _, err := Load(Options{Path: noFile(t), Environ: minimal("IPQS_EXCLUDE=" + tt.value)})
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), "IPQS_EXCLUDE (ipqs.exclude): found ") || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("Load() error = %v, want one about IPQS_EXCLUDE with %q", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.IPQS.Exclude); diff != "" {
				t.Errorf("exclusions (-want +got):\n%s", diff)
			}
		})
	}
}

// A file without ./ would be taken for a domain, and what it lists would be sent.
func TestLoad_RefusesExclusionThatIsAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("exclude.txt", []byte("example.com"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := Load(Options{Path: noFile(t), Environ: minimal("IPQS_EXCLUDE=exclude.txt")})
	if want := `write "./exclude.txt" for the file or ".exclude.txt" for the domain`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Load() error = %v, want %q", err, want)
	}
	for value, want := range map[string]string{"./exclude.txt": "example.com", ".exclude.txt": ".exclude.txt"} {
		c, _, err := Load(Options{Path: noFile(t), Environ: minimal("IPQS_EXCLUDE=" + value)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, c.IPQS.Exclude); diff != "" {
			t.Errorf("exclusions of %s (-want +got):\n%s", value, diff)
		}
	}
}

// The option of earlier releases is accepted and said to have no effect.
func TestLoad_WarnsOfSkipPrivate(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int{"false": 1, "true": 0} {
		_, warnings, err := Load(Options{Path: noFile(t), Environ: minimal("IPQS_SKIP_PRIVATE=" + value)})
		if err != nil || len(warnings) != want || want == 1 && !strings.Contains(warnings[0].String(), "IPQS_SKIP_PRIVATE: has no effect") {
			t.Errorf("Load() with %s = %v, %v, want %d warning about it", value, warnings, err, want)
		}
	}
}
