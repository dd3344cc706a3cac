package stix

import (
	"os"
	"path/filepath"
	"testing"
)

// referencePath returns where a file or folder of the reference material lies, and skips the test where there is none.
func referencePath(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the reference material beside the repository (../shared/%s) is not here", name)
	}
	return path
}
