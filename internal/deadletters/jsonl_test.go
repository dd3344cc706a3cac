package deadletters_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/pipeline"
)

func empty() (deadletters.Store, *box) {
	b := &box{queues: map[string][]*message.Message{}}
	return deadletters.Store{Transport: b, Hops: hops()}, b
}

// content is all that the queues hold.
func (b *box) content() []string {
	var all []string
	for topic, messages := range b.queues {
		for i, msg := range messages {
			all = append(all, fmt.Sprintf("%s %d %s %x %v", topic, i, msg.UUID, msg.Payload, msg.Metadata))
		}
	}
	slices.Sort(all)
	return all
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	s, b := newStore()
	b.queues["resolve.poison"] = []*message.Message{
		message.NewMessage("R1", []byte("\xff\x00<&> no JSON")),
		message.NewMessage("R2", nil),
	}
	before := b.content()
	b.queues["lookup.poison"][0].Metadata.Set(pipeline.MetadataRedelivered, "true")
	var file bytes.Buffer
	if tally, err := s.Export(t.Context(), deadletters.Filter{}, &file); err != nil || tally.Done.Total != 7 {
		t.Fatalf("Export() = %v, %v, want 7", tally.Done, err)
	}
	if n := strings.Count(file.String(), "\n"); n != 7 {
		t.Errorf("the export has %d lines, want one a letter", n)
	}

	s, b = empty()
	first, err := s.Import(t.Context(), deadletters.Filter{Hops: []string{"publish", "resolve"}}, strings.NewReader(file.String()))
	if err != nil || first.Done.Total != 4 || first.FilteredOut != 3 || first.Duplicates != 0 {
		t.Errorf("Import() of two hops = %+v, %v, want 4 done and 3 filtered out", first, err)
	}
	second, err := s.Import(t.Context(), deadletters.Filter{}, strings.NewReader(file.String()+"\n"+file.String()))
	if err != nil || second.Done.Total != 3 || second.Duplicates != 11 {
		t.Errorf("Import() of it all, twice = %+v, %v, want 3 done and 11 duplicates", second, err)
	}
	if diff := cmp.Diff(before, b.content()); diff != "" {
		t.Errorf("what was imported (-want +got):\n%s", diff)
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	const good = `{"format":1,"id":"A","hop":"lookup","metadata":{},"body":"e30="}`
	tests := []struct{ name, line, want string }{
		{"no JSON", `{"format":1,`, "line 2: found no JSON object as export writes them"},
		{"another format", strings.Replace(good, `1`, `2`, 1), "line 2: field format: found 2, want 1"},
		{"no id", strings.Replace(good, `"A"`, `""`, 1), "line 2: field id: found 0 bytes, want 1 to 255"},
		{"long id", strings.Replace(good, `"A"`, `"`+strings.Repeat("x", 256)+`"`, 1), "line 2: field id: found 256 bytes"},
		{"unknown hop", strings.Replace(good, "lookup", "lookdown", 1), `line 2: field hop: found "lookdown", want one of resolve, lookup, score`},
		{"a number where a text belongs", strings.Replace(good, `"lookup"`, `7`, 1), "line 2: field hop: found a JSON number, want string"},
		{"no body", strings.Replace(good, `"body"`, `"bodi"`, 1), "line 2: field body: found nothing"},
		{"no base64", strings.Replace(good, "e30=", "?", 1), "line 2: found no JSON object as export writes them: illegal base64"},
		{"a list", `[]`, "line 2: found no JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, b := empty()
			_, err := s.Import(t.Context(), deadletters.Filter{}, strings.NewReader(good+"\n"+tt.line+"\n"+strings.Replace(good, "A", "B", 1)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Import() = %v, want %s", err, tt.want)
			}
			if got := b.ids("lookup.poison"); !slices.Equal(got, []string{"A"}) {
				t.Errorf("imported %v, want what is before the line: A", got)
			}
		})
	}
}

func TestImportOverABrokenConnection(t *testing.T) {
	t.Parallel()
	s, _ := newStore()
	var file bytes.Buffer
	if _, err := s.Export(t.Context(), deadletters.Filter{}, &file); err != nil {
		t.Fatal(err)
	}
	s, b := empty()
	n := 0
	b.refuse = func(string) error {
		if n++; n == 3 {
			return errBroken
		}
		return nil
	}
	result, err := s.Import(t.Context(), deadletters.Filter{}, strings.NewReader(file.String()))
	if !errors.Is(err, errBroken) || result.Done.Total != 2 {
		t.Errorf("Import() = %+v, %v, want 2 done and %v", result, err, errBroken)
	}
	result, err = s.Import(t.Context(), deadletters.Filter{}, strings.NewReader(file.String()))
	if err != nil || result.Done.Total != 3 || result.Duplicates != 2 {
		t.Errorf("Import() again = %+v, %v, want 3 done and 2 duplicates", result, err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add(`{"format":1,"id":"A","hop":"lookup","metadata":{"dead_letter_at":"yesterday"},"body":"e30="}`)
	f.Add(`{"format":1,"id":"A","hop":"lookup","body":null}` + "\n\n[1]")
	f.Add("\ufeff{}")
	f.Fuzz(func(t *testing.T, file string) {
		s, b := empty()
		result, err := s.Import(t.Context(), deadletters.Filter{}, strings.NewReader(file))
		if stored := len(b.sum()); stored != result.Done.Total {
			t.Errorf("Import(%q) says %d, and %d are there", file, result.Done.Total, stored)
		}
		if err == nil {
			return
		}
		if line := (*deadletters.LineError)(nil); !errors.As(err, &line) || line.Line < 1 || line.Line > strings.Count(file, "\n")+1 {
			t.Errorf("Import(%q) = %v, want an error that names a line of it", file, err)
		}
	})
}
