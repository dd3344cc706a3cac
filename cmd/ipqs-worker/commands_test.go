package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestTheTableOfCommands holds docs/commands.md against the commands that there are.
func TestTheTableOfCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ file, output, bar string }
	rows := map[string]row{}
	name := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		for _, found := range name.FindAllStringSubmatch(cells[1], -1) {
			rows[found[1]] = row{strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])}
		}
	}
	for _, cmd := range commands(t) {
		path := strings.TrimPrefix(cmd.CommandPath(), "ipqs-worker ")
		got, ok := rows[path]
		if !ok {
			t.Errorf("docs/commands.md has no row of %s", path)
			continue
		}
		delete(rows, path)
		if reads := cmd.Flags().Lookup("file") != nil; reads != (got.file != "") {
			t.Errorf("%s reads --file: %t, and the table says %q", path, reads, got.file)
		}
		output := ""
		if flag := cmd.Flags().Lookup("output"); flag != nil {
			output = strings.ReplaceAll(flag.Usage, " or ", ", ")
			if flag.Shorthand != "o" || flag.DefValue != "table" {
				t.Errorf("%s has -%s, --output with the default %q, want -o and table", path, flag.Shorthand, flag.DefValue)
			}
		}
		if output != got.output {
			t.Errorf("%s writes %q, and the table says %q", path, output, got.output)
		}
		if bar := cmd.Annotations[barred] != ""; bar != (got.bar != "") {
			t.Errorf("%s shows a bar: %t, and the table says %q", path, bar, got.bar)
		}
	}
	for path := range rows {
		t.Errorf("docs/commands.md has a row of %s, which is no command", path)
	}
}

// Every command refuses what it does not know with status 2, says so in one line, and writes no result.
func TestEveryCommandRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, cmd := range commands(t) {
		path := strings.Fields(strings.TrimPrefix(cmd.CommandPath(), "ipqs-worker "))
		t.Run(strings.Join(path, "_"), func(t *testing.T) {
			t.Parallel()
			wrong := [][]string{{"--no-such-flag"}}
			if cmd.Flags().Lookup("output") != nil {
				wrong = append(wrong, []string{"--output", "xml"}, []string{"-o", ""})
			}
			if cmd.Flags().Lookup("file") != nil {
				wrong = append(wrong, []string{"--file", "/nowhere/at/all"}, []string{"-f"})
			}
			for _, more := range wrong {
				var out, messages bytes.Buffer
				args := append(slices.Clone(path), more...)
				if path[0] == "trace" {
					args = append(args, "id")
				}
				if slices.Contains(path, "replay") {
					args = append(args, "--all")
				}
				// No variable is set: whoever looked at the configuration first would say so, also with status 2.
				status := execute(t.Context(), func() {}, args, stdio{strings.NewReader(""), &out, &messages}, nil)
				said := messages.String()
				if status != exitUsage || out.Len() > 0 || !strings.HasPrefix(said, "ipqs-worker: ") || strings.Contains(said, "OPENCTI_URL") {
					t.Errorf("%q = %d, writes %q and says %q, want %d and what is wrong with it", args, status, out.String(), said, exitUsage)
				}
			}
		})
	}
}

// commands are those that do something, and that people are told of.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	root := (&program{}).root()
	root.InitDefaultCompletionCmd("any")
	var all []*cobra.Command
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Name() == "help" || sub.Name() == "man" {
				continue
			}
			if sub.Runnable() && sub.Name() != "dead-letters" && sub.Name() != "completion" {
				all = append(all, sub)
			}
			walk(sub)
		}
	}
	walk(root)
	if len(all) < 10 {
		t.Fatalf("found %d commands, want all", len(all))
	}
	return all
}
