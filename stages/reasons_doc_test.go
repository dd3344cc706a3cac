package stages

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The list of reasons in the code is whole, and docs/dead-letters.md has a row for each, in the same order.
func TestReasonsAreAllTold(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, reason := range Reasons() {
		listed = append(listed, string(reason))
	}
	for _, tt := range []struct{ path, pattern string }{
		{"fault.go", `(?m)^\tReason\w+ +Reason += "(\w+)"`},
		{"../docs/dead-letters.md", "(?m)^\\| `(\\w+)` \\| .* \\| (?:replay|drop|report|-)"},
	} {
		raw, err := os.ReadFile(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, match := range regexp.MustCompile(tt.pattern).FindAllSubmatch(raw, -1) {
			found = append(found, string(match[1]))
		}
		if diff := cmp.Diff(listed, found); diff != "" {
			t.Errorf("%s (-Reasons() +file):\n%s", tt.path, diff)
		}
	}
}
