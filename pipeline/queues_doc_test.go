package pipeline_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/pipeline"
)

// The table of queues in docs/architecture.md is that of the code.
func TestQueuesDocumentIsTheCode(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(raw), "<!-- queues -->\n")
	found, _, ended := strings.Cut(rest, "<!-- end -->")
	if !begun || !ended {
		t.Fatal("no table of queues in docs/architecture.md")
	}
	var want strings.Builder
	want.WriteString("| queue | holds |\n|---|---|\n")
	for _, topic := range pipeline.Topics(pipeline.Definition(pipeline.World{})) {
		name, holds := topic.Name, "jobs to be done"
		switch {
		case topic.Foreign:
			name, holds = "listen_<connector id>", "new jobs; OpenCTI's own queue, read with `CONNECTOR_LISTEN_PROTOCOL=AMQP`"
		case topic.Name == pipeline.FirstHop:
			holds = "jobs that are retried or replayed; with `CONNECTOR_LISTEN_PROTOCOL=API` also new jobs"
		case topic.Delay > 0:
			holds = fmt.Sprintf("jobs that go back to `%s` after %v", topic.Back, topic.Delay)
		case strings.HasSuffix(topic.Name, ".poison"):
			holds = "dead letters"
		case strings.HasSuffix(topic.Name, ".urgent"):
			holds = "jobs that somebody waits for: they go first"
		}
		fmt.Fprintf(&want, "| `%s` | %s |\n", name, holds)
	}
	if diff := cmp.Diff(want.String(), found); diff != "" {
		t.Errorf("docs/architecture.md (-code +document):\n%s\nwant:\n%s", diff, want.String())
	}
}
