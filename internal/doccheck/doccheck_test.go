package doccheck_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/doccheck"
)

const root = "../.."

func TestLinks(t *testing.T) {
	t.Parallel()
	documents, err := doccheck.Walk(root)
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, d := range documents {
		links += len(d.Links)
	}
	if links == 0 {
		t.Fatal("no links found in any document")
	}
	for _, problem := range doccheck.BrokenLinks(root, documents) {
		t.Error(problem)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const source = "# What it *is*, and why\n\n" +
		"See [the other](other.md#part) and ![it](it.png).\n\n" +
		"```sh\nexport TOKEN=… ID=7\nrun it\n```\n\n" +
		"<!-- not run: needs an account\n     of your own -->\n```sh\nlogin\n```\n\n" +
		"```console\n$ list \\\n  --all\nID\n1\n$ show 1\n```\n\n" +
		"<!-- run: in the background until \"ready\" -->\n```sh\nserve\n```\n\n" +
		"```json\n{}\n```\n\n" +
		"## What it is, and why\n\n## Setup_2: v1.0\n\n## What it is, and why\n"
	got, err := doccheck.Parse("docs/a.md", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	want := doccheck.Document{
		Path:  "docs/a.md",
		Links: []doccheck.Link{{Target: "other.md#part", Line: 3}, {Target: "it.png", Line: 3}},
		Blocks: []doccheck.Block{
			{Line: 6, Script: "export TOKEN=… ID=7\nrun it\n"},
			{Line: 13, Script: "login\n", NotRun: "needs an account of your own"},
			{Line: 17, Script: "list \\\n  --all\nshow 1\n"},
			{Line: 26, Script: "serve\n", Until: "ready"},
		},
		Anchors: map[string]bool{
			"what-it-is-and-why": true, "what-it-is-and-why-1": true, "what-it-is-and-why-2": true, "setup_2-v10": true,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse() differs (-want +got):\n%s", diff)
	}
}

func TestParseNamesACommentItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	for _, comment := range []string{"<!-- not run: -->", "<!-- run: now -->", "<!-- not run -->"} {
		_, err := doccheck.Parse("a.md", []byte("text\n\n"+comment+"\n```sh\ntrue\n```\n"))
		if err == nil || !strings.Contains(err.Error(), "a.md:5") {
			t.Errorf("Parse() of %q = %v, want an error that names a.md:5", comment, err)
		}
	}
}

// What holds commands says so: else they would never be run.
func TestParseRefusesBlocksThatMayHideCommands(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, block, want string }{
		{"no language", "```\nID\n```", `a.md:4: found a fence of the language "", want sh, console or`},
		{"no language, with tildes", "~~~\nID\n~~~", `a.md:4: found a fence of the language ""`},
		{"a shell of another name", "```bash\nls\n```", `a.md:4: found a fence of the language "bash"`},
		{"a session as text", "```text\nID\n$ list\n```", `a.md:4: found a command ("$ ") in a block of the language text, want console`},
		{"a session without a command", "```console\nID\n```", "a.md:4: found a console without a command"},
		{"indented", "    $ list\n", "a.md:3: found an indented block"},
		{"in a list", "- one\n\n  ```\n  ID\n  ```", `a.md:6: found a fence of the language ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := doccheck.Parse("a.md", []byte("text\n\n"+tt.block+"\n"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestBrokenLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("README.md", "# Top\n\n[1](docs/b.md) [2](docs/b.md#part) [3](#top) [4](https://example.com/x)\n\n"+
		"[5](docs/none.md) [6](docs/b.md#none) [7](http://example.com) [8](#none)\n")
	write("docs/b.md", "## Part\n\n[1](../README.md)\n")
	documents, err := doccheck.Walk(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"README.md:5: docs/none.md: no such file",
		"README.md:5: docs/b.md#none: no such headline",
		"README.md:5: http://example.com: a link out of the project wants https:// and a host",
		"README.md:5: #none: no such headline",
	}
	if diff := cmp.Diff(want, doccheck.BrokenLinks(dir, documents)); diff != "" {
		t.Errorf("BrokenLinks() differs (-want +got):\n%s", diff)
	}
}

func TestScript(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		blocks []doccheck.Block
		output string // on standard output
		failed string // the block that failed, as standard error names it last; "" for none
	}{
		{"one shell for all", []doccheck.Block{{Script: "a=1\n"}, {Script: "echo $a\n"}}, "1\n", ""},
		{"what is left open", []doccheck.Block{{Script: "export TOKEN=…\necho $TOKEN\n"}}, "planted\n", ""},
		{"what is not run", []doccheck.Block{{Script: "false\n", NotRun: "why"}, {Script: "echo 2\n"}}, "2\n", ""},
		{"a failure", []doccheck.Block{{Script: "echo 1\n", Line: 3}, {Script: "false\necho 2\n", Line: 7}, {Script: "echo 3\n", Line: 9}}, "1\n", "::7"},
		{
			"in the background", []doccheck.Block{{
				Script: "mkfifo wait\nexport R=ready\nbash -c 'trap \"echo stopped >done; exit 0\" TERM; echo $R; while :; do read -t 1 <>wait || true; done'\n",
				Until:  "ready",
			}, {Script: "echo beside\n"}}, "beside\n", "",
		},
		{"ends before it is ready", []doccheck.Block{{Script: "true\n", Until: "ready", Line: 4}}, "", "::4"},
		{"ends badly", []doccheck.Block{{Script: "bash -c 'trap \"exit 3\" TERM; echo ready; while :; do read -t 1 <> <(:) || true; done'\n", Until: "ready", Line: 4}}, "", "::4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("bash", "-c", doccheck.Document{Blocks: tt.blocks}.Script())
			cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "TOKEN=planted")
			var out, errs strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			if (err != nil) != (tt.failed != "") {
				t.Fatalf("the script ended with %v, want a failure: %t\n%s", err, tt.failed != "", errs.String())
			}
			if out.String() != tt.output {
				t.Errorf("output = %q, want %q", out.String(), tt.output)
			}
			marks := strings.Fields(errs.String())
			if tt.failed != "" && (len(marks) == 0 || marks[len(marks)-1] != tt.failed) {
				t.Errorf("standard error = %q, want it to end with %s", errs.String(), tt.failed)
			}
		})
	}
}
