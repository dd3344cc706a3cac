package tracetree

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRender(t *testing.T) {
	t.Parallel()
	zero := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	span := func(id, parent, name string, from, to int) Span {
		ms := time.Millisecond
		return Span{ID: id, Parent: parent, Name: name, Start: zero.Add(time.Duration(from) * ms), End: zero.Add(time.Duration(to) * ms)}
	}
	failed := span("3", "2", "call", 15, 20)
	failed.Failed, failed.Note = true, "500"
	tests := []struct {
		name  string
		spans []Span
		want  []string
	}{
		{"nothing", nil, []string{"no spans"}},
		{
			"a tree",
			[]Span{span("4", "2", "other", 20, 40), span("2", "1", "lookup", 10, 40), failed, span("1", "gone", "resolve", 0, 10)},
			[]string{
				"resolve            ██████████                                    10ms",
				"└─ lookup                   ███████████████████████████████      30ms",
				"   ├─ ✗ call  500                ██████                           5ms",
				"   └─ other                           █████████████████████      20ms",
			},
		},
		{
			"spans of no length",
			[]Span{span("1", "", "a", 0, 0)},
			[]string{"a  █                                               0s"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			if err := Render(&b, tt.spans); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")); diff != "" {
				t.Errorf("Render() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderEndsOnALoopOfParents(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	loop := []Span{{ID: "a", Parent: "b", Name: "a"}, {ID: "b", Parent: "a", Name: "b"}, {ID: "c", Parent: "c", Name: "c"}}
	if err := Render(&b, loop); err != nil || !strings.Contains(b.String(), "c") {
		t.Errorf("Render() = %q, %v, want at least the span that is its own parent", b.String(), err)
	}
}
