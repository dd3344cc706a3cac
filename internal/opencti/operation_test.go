package opencti

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

func operations() []operation {
	return []operation{
		opAbout, opRegister, opPing, opPingLegacy, opObservable, opObservableLegacy, opWorkReceived, opWorkProcessed, opWorkExpect,
		opWorkReport, opWork, opLabelAdd, opPlaybookStep, opPlaybookStepLegacy,
		opRegisterForCallback, opBundlePush, opBundlePushLegacy,
	}
}

// reference returns a path in the reference material beside the repository, or skips the test.
func reference(t *testing.T, elements ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(append([]string{dir, "..", "shared"}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skip("the reference material beside the repository (../shared) is not here")
	}
	return path
}

var schemaFile = regexp.MustCompile(`^opencti-(.+)\.schema\.graphql$`)

// TestOperationsAgainstSchemas validates every document against every real schema: valid exactly on the releases that it
// claims. Only PingLegacy and the documents without a claim are valid everywhere.
func TestOperationsAgainstSchemas(t *testing.T) {
	t.Parallel()
	dir := reference(t, "opencti-schema")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	schemas := 0
	for _, file := range files {
		m := schemaFile.FindStringSubmatch(file.Name())
		if m == nil {
			continue
		}
		schemas++
		t.Run(m[1], func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(dir, file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			schema, err := gqlparser.LoadSchema(&ast.Source{Name: file.Name(), Input: string(text)})
			if err != nil {
				t.Fatalf("loading the schema: %v", err)
			}
			for _, op := range operations() {
				document, err := op.document()
				if err != nil {
					t.Fatal(err)
				}
				_, problems := gqlparser.LoadQueryWithRules(schema, document, nil)
				if got, want := len(problems) == 0, op.has(mustVersion(m[1]).Capabilities()); got != want {
					t.Errorf("%s is valid = %t, claims %t: %v", op.name, got, want, problems)
				}
			}
			checkInput(t, schema, mustVersion(m[1]))
		})
	}
	if schemas < 11 {
		t.Errorf("%d schemas found, want 11", schemas)
	}
}

// checkInput compares the fields that a registration sends with those that the schema has.
func checkInput(t *testing.T, schema *ast.Schema, v Version) {
	t.Helper()
	full := Connector{ID: "c", Name: "name", Scope: []string{"Url"}, ListenCallbackURI: "http://callback.example"}
	for field := range full.input(v.Capabilities(), nil) {
		if schema.Types["RegisterConnectorInput"].Fields.ForName(field) == nil {
			t.Errorf("registration sends %s, which %s does not have", field, v)
		}
	}
}

func TestOperationFiles(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	for _, op := range operations() {
		named[op.name+".graphql"] = true
		document, err := op.document()
		if err != nil {
			t.Errorf("document() of %s failed: %v", op.name, err)
		}
		if strings.Count(document, op.name) < 1 || strings.Contains(document, "__schema") {
			t.Errorf("%s: the file has to have the operation of its name, and no introspection", op.name)
		}
		// A registration can give away more than we need: the platform's S3 credentials.
		if strings.Contains(document, "s3") || strings.Contains(document, "jwks") != (op.name == opRegisterForCallback.name) {
			t.Errorf("%s asks for more than the minimum", op.name)
		}
		if strings.Count(document, "query ")+strings.Count(document, "mutation ") != 1 {
			t.Errorf("%s: one operation in a file is expected", op.name)
		}
	}
	files, err := fs.Glob(documents, "operations/*.graphql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !named[filepath.Base(file)] {
			t.Errorf("%s belongs to no operation", file)
		}
	}
}
