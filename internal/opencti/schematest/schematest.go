// Package schematest gives tests OpenCTI's real GraphQL schemas, where the reference material beside the repository is.
package schematest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"opencti-ipqs-worker/stix/stixtest"
)

// releases is how many schemas there are, of releases from 5.4.1 to 7.260817.
const releases = 11

var file = regexp.MustCompile(`^opencti-(.+)\.schema\.graphql$`)

// Each runs check as a parallel subtest for the schema of each release. Without the schemas it skips the test.
func Each(t *testing.T, check func(t *testing.T, version string, schema *ast.Schema)) {
	t.Helper()
	dir, ok := stixtest.Reference("opencti-schema")
	if !ok {
		t.Skip("the reference material beside the repository (../shared) is not here")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, entry := range entries {
		m := file.FindStringSubmatch(entry.Name())
		if m == nil {
			continue
		}
		found++
		t.Run(m[1], func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			schema, err := gqlparser.LoadSchema(&ast.Source{Name: entry.Name(), Input: string(text)})
			if err != nil {
				t.Fatalf("loading the schema: %v", err)
			}
			check(t, m[1], schema)
		})
	}
	if found < releases {
		t.Errorf("%d schemas found, want %d", found, releases)
	}
}
