package configdoc

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"opencti-ipqs-worker/internal/config"
)

var update = flag.Bool("update", false, "rewrite generated files")

// root returns the repository's root.
func root(t *testing.T) string {
	t.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if abs, err := filepath.Abs(dir); err != nil || abs == filepath.Dir(abs) {
			t.Fatal("no go.mod above this package")
		}
	}
}

// TestFiles checks that every generated file is up to date; -update rewrites them.
func TestFiles(t *testing.T) {
	t.Parallel()
	files, err := Files(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		full := filepath.Join(root(t), path)
		if *update {
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(full)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not up to date, run make generate (-want +got):\n%s", path, diff)
		}
	}
}

// TestEveryOptionIsEverywhere looks for each option in each file, so that none is left out of one.
func TestEveryOptionIsEverywhere(t *testing.T) {
	t.Parallel()
	files, err := Files(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range files {
		if strings.HasSuffix(path, "manifest.json") {
			continue
		}
		for _, o := range config.Table() {
			name := o.Env
			if path == "docs/config.schema.json" {
				_, name, _ = strings.Cut(o.YAML(), ".")
			}
			if strings.HasPrefix(path, "deploy/__metadata__/") && o.Env == "CONNECTOR_ID" {
				continue
			}
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).Match(text) {
				t.Errorf("%s says nothing of %s", path, o.Env)
			}
		}
	}
}

// compile makes a schema of ours usable.
func compile(t *testing.T, s schema) *jsonschema.Schema {
	t.Helper()
	text, err := asJSON(s)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatalf("it is no JSON schema: %v", err)
	}
	return compiled
}

// parse reads YAML as what JSON would be.
func parse(t *testing.T, text string) any {
	t.Helper()
	var document any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	document, err = jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func TestFileSchema(t *testing.T) {
	t.Parallel()
	filled := regexp.MustCompile(`(?m)^  #(\w+:)`).ReplaceAllString(string(config.Sample()), "  $1")
	filled = strings.Replace(filled, "url: ChangeMe", "url: https://opencti.example.com", 1)
	tests := []struct {
		name, text string
		good       bool
	}{
		{"the sample with everything filled in", filled, true},
		{"an empty section", "mq:\n", true},
		{"other spellings", "connector: {auto: 'yes', log_level: WARNING, scope: [Url]}\nipqs: {max_tlp: amber}\nmq: {port: '5672'}", true},
		{"a misspelt key", "ipqs: {private_kee: x}", false},
		{"a misspelt section", "ipsq: {}", false},
		{"a number out of bounds", "mq: {port: 70000}", false},
		{"no duration", "playbook: {max_wait: soon}", false},
		{"no boolean", "connector: {auto: perhaps}", false},
	}
	s := compile(t, fileSchema())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := s.Validate(parse(t, tt.text)); (err == nil) != tt.good {
				t.Errorf("Validate() = %v, want it good: %t", err, tt.good)
			}
		})
	}
}

// TestConnectorSchema checks the rules that OpenCTI's catalogue has for a manifest and its schema.
func TestConnectorSchema(t *testing.T) {
	t.Parallel()
	s := connectorSchema()
	compiled := compile(t, s)
	minimal := map[string]any{"OPENCTI_URL": "http://opencti:8080", "OPENCTI_TOKEN": "t", "IPQS_PRIVATE_KEY": "k"}
	if err := compiled.Validate(minimal); err != nil {
		t.Errorf("Validate() of what is required = %v, want no error", err)
	}
	delete(minimal, "OPENCTI_TOKEN")
	if compiled.Validate(minimal) == nil {
		t.Error("Validate() without a token has no error")
	}
	for name, property := range s["properties"].(schema) {
		if property.(schema)["description"] == "" {
			t.Errorf("%s has no description", name)
		}
	}
	m := connectorManifest()
	if n := len(m.ShortDescription); n > 250 {
		t.Errorf("the short description has %d characters, want at most 250", n)
	}
	if !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(m.Slug) {
		t.Errorf("the slug is %q, want small letters, digits and hyphens", m.Slug)
	}
	if len(m.UseCases) < 1 || len(m.UseCases) > 3 || len(m.SolutionCategories) < 1 || len(m.SolutionCategories) > 3 {
		t.Errorf("%d use cases and %d categories, want 1 to 3 of each", len(m.UseCases), len(m.SolutionCategories))
	}
}

// TestConnectorSchemaDefaults checks that each default is what its own property accepts.
func TestConnectorSchemaDefaults(t *testing.T) {
	t.Parallel()
	for name, property := range connectorSchema()["properties"].(schema) {
		standard, ok := property.(schema)["default"]
		if !ok {
			continue
		}
		text, err := json.Marshal(standard)
		if err != nil {
			t.Fatal(err)
		}
		if err := compile(t, property.(schema)).Validate(parse(t, string(text))); err != nil {
			t.Errorf("the default of %s is not what it accepts: %v", name, err)
		}
	}
}

func TestValuesSchema(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root(t), valuesPath))
	if err != nil {
		t.Fatal(err)
	}
	s := compile(t, valuesSchema())
	if err := s.Validate(parse(t, string(text))); err != nil {
		t.Errorf("Validate() of values.yaml = %v, want no error", err)
	}
	// Filled in as its comments show. The comments that are no options have no name in capitals.
	filled := regexp.MustCompile(`(?m)^( +)# ([A-Z][A-Z0-9_]+: ")`).ReplaceAllString(string(text), "$1$2")
	if err := s.Validate(parse(t, filled)); err != nil {
		t.Errorf("Validate() of values.yaml with everything filled in = %v, want no error", err)
	}
	values := parse(t, filled).(map[string]any)
	for _, o := range config.Table() {
		where, _ := values["config"].(map[string]any)
		if o.Secret {
			where = values["secret"].(map[string]any)["values"].(map[string]any)
		}
		if _, ok := where[o.Env]; !ok {
			t.Errorf("values.yaml has no %s", o.Env)
		}
	}
	for _, wrong := range []string{"config: {IPQS_MAX_TPL: x}", "replcas: 2", "config: {MQ_PORT: 0}", "secret: {values: {IPQS_KEY: x}}"} {
		if s.Validate(parse(t, wrong)) == nil {
			t.Errorf("Validate() of %q has no error", wrong)
		}
	}
	if slices.Contains(strings.Split(string(text), "\n"), "  OPENCTI_TOKEN: \"\"") {
		t.Error("values.yaml has the token among what is not secret")
	}
}

func TestInsertValuesNeedsMarks(t *testing.T) {
	t.Parallel()
	if _, err := insertValues([]byte("config: {}\n")); err == nil {
		t.Error("insertValues() without marks has no error")
	}
}
