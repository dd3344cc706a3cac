package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var seen []string
	for _, o := range Table() {
		if slices.Contains(seen, o.Env) {
			t.Errorf("%s is in the table twice", o.Env)
		}
		seen = append(seen, o.Env)
		if !slices.ContainsFunc(prefixes(), func(p string) bool { return strings.HasPrefix(o.Env, p) }) {
			t.Errorf("%s begins with none of %v, so a misspelling would not be noticed", o.Env, prefixes())
		}
		if slices.Contains(helpers(), o.Env) {
			t.Errorf("%s is an option and said to have no effect", o.Env)
		}
		if o.Required && o.Default != "" {
			t.Errorf("%s is required and has a default", o.Env)
		}
		if o.Default != "" {
			if err := o.set(new(Config), o.Default); err != nil {
				t.Errorf("%s does not accept its default %q: %v", o.Env, o.Default, err)
			}
		}
		if o.Kind == "" || o.Accepts == "" || !strings.HasSuffix(o.Description, ".") || strings.Contains(o.Description, "\n") {
			t.Errorf("%s is not described: %+v", o.Env, o)
		}
	}
}

// TestBounds checks that the words and bounds of the table are those that an option really has.
func TestBounds(t *testing.T) {
	t.Parallel()
	closed := regexp.MustCompile(`^one of |^\S+ or \S+$`)
	takes := func(o Option, value string) bool { return o.set(new(Config), value) == nil }
	for _, o := range Table() {
		if o.Kind == Text && closed.MatchString(o.Accepts) && len(o.Words) == 0 {
			t.Errorf("%s accepts %q and has no words", o.Env, o.Accepts)
		}
		for _, word := range o.Words {
			if !takes(o, word) || !strings.Contains(o.Accepts, word) {
				t.Errorf("%s has the word %q, which it does not accept, or not say so: %q", o.Env, word, o.Accepts)
			}
		}
		if len(o.Words) > 0 && o.Kind == Text && takes(o, "none of them") {
			t.Errorf("%s accepts what is none of its words", o.Env)
		}
		if o.Kind != Number {
			continue
		}
		if want := fmt.Sprintf("from %d to %d", o.Least, o.Most); !strings.Contains(o.Accepts, want) {
			t.Errorf("%s accepts %q, want it to say %q", o.Env, o.Accepts, want)
		}
		for n, want := range map[int]bool{o.Least: true, o.Most: true, o.Least - 1: false, o.Most + 1: false} {
			if got := takes(o, strconv.Itoa(n)); got != want {
				t.Errorf("%s accepts %d = %t, want %t", o.Env, n, got, want)
			}
		}
	}
}

// TestSample checks that config.yml.sample is what the table says; -update rewrites it.
func TestSample(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root(t), "config.yml.sample")
	if *update {
		if err := os.WriteFile(path, Sample(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(Sample()), string(got)); diff != "" {
		t.Errorf("config.yml.sample is not up to date (-want +got), run go generate ./internal/config:\n%s", diff)
	}
}

// TestSampleLoads copies the sample as an operator would: only the placeholders are in the way, and what it shows as
// default is the default.
func TestSampleLoads(t *testing.T) {
	t.Parallel()
	_, _, err := Load(Options{Path: writeFile(t, string(Sample())), PathSet: true})
	if err == nil {
		t.Fatal("Load() of the sample has no error, want the placeholders refused")
	}
	for line := range strings.Lines(strings.TrimPrefix(err.Error(), "the configuration cannot be used:\n")) {
		if !strings.Contains(line, "the placeholder ChangeMe") {
			t.Errorf("Load() of the sample says %q, want placeholders only", line)
		}
	}
	filled := string(Sample())
	for _, v := range minimal() {
		env, value, _ := strings.Cut(v, "=")
		_, key, _ := strings.Cut(yamlKey(env), ".")
		filled = strings.Replace(filled, "  "+key+": ChangeMe\n", "  "+key+": "+value+"\n", 1)
	}
	filled = regexp.MustCompile(`(?m)^  #(\w+:)`).ReplaceAllString(filled, "  $1")
	got, warnings, err := Load(Options{Path: writeFile(t, filled), PathSet: true})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load() of the sample with everything filled in: %v, %v", warnings, err)
	}
	if diff := cmp.Diff(defaults(), got); diff != "" {
		t.Errorf("Load() of the sample with everything filled in differs from the defaults (-want +got):\n%s", diff)
	}
}

// TestRequirement checks that every variable of the connector in Python is an option: whoever comes from it need not rename
// one.
func TestRequirement(t *testing.T) {
	t.Parallel()
	required := []string{
		"CONNECTOR_AUTO", "CONNECTOR_CONFIDENCE_LEVEL", "CONNECTOR_ID", "CONNECTOR_LOG_LEVEL", "CONNECTOR_NAME", "CONNECTOR_SCOPE",
		"IPQS_BASE_URL", "IPQS_DOMAIN_ADD_RELATIONSHIPS", "IPQS_IP_ADD_RELATIONSHIPS", "IPQS_PRIVATE_KEY", "OPENCTI_TOKEN", "OPENCTI_URL",
	}
	// Where its documentation is at hand, that has the last word.
	documents, err := filepath.Glob(filepath.Join(root(t), "..", "shared", "requirements", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`\b(?:OPENCTI|CONNECTOR|IPQS)_[A-Z_]+\b`)
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, env := range variable.FindAllString(string(text), -1) {
			if !slices.Contains(required, env) {
				t.Errorf("%s names %s, which the list of this test does not", filepath.Base(path), env)
			}
		}
	}
	var known []string
	for _, o := range Table() {
		known = append(known, o.Env)
	}
	for _, env := range required {
		if !slices.Contains(known, env) {
			t.Errorf("%s is a variable of the connector in Python, and no option", env)
		}
	}
}
