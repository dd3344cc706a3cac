package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"opencti-ipqs-worker/ipqs/ipqstest"
)

// Ids and letters come from a file as values do.
func TestDeadLettersFromFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	w.jobsBefore()
	letters := w.list()
	if len(letters) != 1 {
		t.Fatalf("%d dead letters, want one: %+v", len(letters), letters)
	}
	dir := t.TempDir()
	kept, ids := filepath.Join(dir, "kept.jsonl"), filepath.Join(dir, "ids.txt")
	if err := os.WriteFile(ids, []byte("# of today\n\n"+letters[0].ID+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.operate(0, "export", kept)
	w.operate(0, "replay", "--file", ids, "--dry-run")
	w.operate(0, "drop", "--file", ids, "--yes")
	if left := w.list(); len(left) > 0 {
		t.Errorf("%d dead letters after dropping what the file names, want none", len(left))
	}
	w.operate(1, "drop", "--file", ids, "--yes") // it is not there any more
	w.operate(0, "import", "--file", kept)
	if back := w.list(); len(back) != 1 || back[0].ID != letters[0].ID {
		t.Errorf("%+v after the import, want the letter back", back)
	}
}
