package stix

import (
	"testing"

	"opencti-ipqs-worker/stix/stixtest"
)

// referencePath returns where a file or folder of the reference material lies, and skips the test where there is none.
func referencePath(t *testing.T, name string) string {
	t.Helper()
	path, ok := stixtest.Reference(name)
	if !ok {
		t.Skipf("the reference material beside the repository (%s) is not here", name)
	}
	return path
}
