package stages

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func entity(kind, value string) opencti.Entity {
	t, _ := stix.TypeByName(kind)
	return opencti.Entity{
		ID: "6f0c2a1e-5a0b-4c5d-9e8f-001122334455", StandardID: stix.ObservableID(t.STIX, value),
		Type: kind, Value: value, CreatedAt: "2026-01-02T03:04:05.678Z",
	}
}

func bundleOf(t *testing.T, e opencti.Entity, r *ipqs.Report, scoring Scoring, options Enrichment) []byte {
	t.Helper()
	job := Job{ID: "work_1", Entity: &e, Risk: &Risk{At: at, Report: r}}
	for _, stage := range []Stage{Score(scoring), Bundle(options)} {
		var err error
		if job, err = stage.Run(context.Background(), job); err != nil {
			t.Fatalf("%s error = %v", stage.Name, err)
		}
	}
	return job.Bundle
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "bundle_"+name+".golden.json")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", path, diff)
	}
}

func TestBundleSurvivesHardValues(t *testing.T) {
	t.Parallel()
	values := []string{
		`o'brien`, `back\slash`, `"quoted"`, "ünï 😀 \u2028", strings.Repeat("x", 50_000), `a'\' OR '`,
	}
	for _, value := range values {
		b := bundleOf(t, entity("Url", value), report(ipqs.KindURL, `{"risk_score":1}`), Scoring{}, Enrichment{})
		var decoded struct {
			Objects []struct{ Type, Value, Pattern string }
		}
		if err := json.Unmarshal(b, &decoded); err != nil {
			t.Fatal(err)
		}
		want, _ := stix.Pattern("Url", value)
		seen := map[string]string{}
		for _, o := range decoded.Objects {
			seen[o.Type] = o.Value + o.Pattern
		}
		if seen["url"] != value || seen["indicator"] != want {
			t.Errorf("value of %d bytes came out as %.40q, pattern %.40q", len(value), seen["url"], seen["indicator"])
		}
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"plain text, 1.5 - ok", "plain text, 1.5 - ok"},
		{"a|b", `a\|b`},
		{"<script>", `\<script\>`},
		{"[x](http://e.example)", "`[x](http://e.example)`"},
		{"www.e.example", "`www.e.example`"},
		{"WwW.e.example|x", "`WwW.`e.example\\|x"},
		{"a|user@e.example, http://e.example", "a\\|user`@`e.example, http`://`e.example"},
		{"gpj\u202e.exe", "gpj.exe"},
		{"line\r\nbreak\u2028", "line  break "},
		{"`code` *b* _i_ \\", "\\`code\\` \\*b\\* \\_i\\_ \\\\"},
	}
	for _, tt := range tests {
		if got := escape(tt.in); got != tt.want {
			t.Errorf("escape(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
