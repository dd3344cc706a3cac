package doccheck

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// Document is one file of Markdown.
type Document struct {
	Path   string // relative to the root that it was found under, with slashes
	Links  []Link
	Blocks []Block
	// Anchors are the fragments that lead to its headlines, as GitHub makes them.
	Anchors map[string]bool
}

// Link is what a document points at.
type Link struct {
	Target string
	Line   int
}

// Block is a fenced block of commands.
type Block struct {
	Line   int    // of its first command
	Script string // the commands, without prompts and output
	NotRun string // why it is not run; "" if it is
	Until  string // what it writes when it is ready, for one that runs in the background; "" for one that ends
}

// Walk reads every Markdown file under root, in the order of their names. Hidden folders and testdata are left out.
func Walk(root string) ([]Document, error) {
	var documents []Document
	files := os.DirFS(root)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if base := entry.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata") {
				return fs.SkipDir
			}
			return nil
		case path.Ext(name) != ".md":
			return nil
		}
		source, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		document, err := Parse(name, source)
		documents = append(documents, document)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the documents: %w", err)
	}
	return documents, nil
}

var (
	notRun     = regexp.MustCompile(`(?s)^<!--\s*not run:\s*(.*?)\s*-->\s*$`)
	background = regexp.MustCompile(`^<!--\s*run: in the background until "([^"]+)"\s*-->\s*$`)
	inComment  = regexp.MustCompile(`^<!--\s*(not )?run`)
)

// Parse reads one document. The error names the lines of comments that want to be about a block and are not understood, and of
// blocks of which it cannot be told whether they hold commands.
func Parse(name string, source []byte) (Document, error) {
	d := Document{Path: name, Anchors: make(map[string]bool)}
	lineOf := func(offset int) int { return 1 + bytes.Count(source[:offset], []byte("\n")) }
	var problems []error
	root := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	err := ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			d.anchor(string(n.Lines().Value(source)))
		case *ast.Link:
			d.Links = append(d.Links, Link{string(n.Destination), lineOf(start(n))})
		case *ast.Image:
			d.Links = append(d.Links, Link{string(n.Destination), lineOf(start(n))})
		case *ast.FencedCodeBlock:
			if n.Lines().Len() == 0 {
				break
			}
			block := Block{Line: lineOf(n.Lines().At(0).Start)}
			var err error
			if block.Script, err = commands(string(n.Language(source)), string(n.Lines().Value(source))); err != nil {
				problems = append(problems, fmt.Errorf("%s:%d: %w", name, block.Line, err))
			}
			if block.Script == "" {
				return ast.WalkContinue, nil
			}
			if before, ok := n.PreviousSibling().(*ast.HTMLBlock); ok {
				comment := string(before.Lines().Value(source))
				if before.HasClosure() {
					comment += string(before.ClosureLine.Value(source))
				}
				if err := block.mark(comment); err != nil {
					problems = append(problems, fmt.Errorf("%s:%d: %w", name, block.Line, err))
				}
			}
			d.Blocks = append(d.Blocks, block)
		case *ast.CodeBlock:
			problems = append(problems, fmt.Errorf("%s:%d: found an indented block, want a fence with a language", name, lineOf(start(n))))
		}
		return ast.WalkContinue, nil
	})
	return d, errors.Join(append(problems, err)...)
}

// mark takes what a comment says about the block.
func (b *Block) mark(comment string) error {
	comment = strings.TrimSpace(comment)
	if found := notRun.FindStringSubmatch(comment); found != nil && found[1] != "" {
		b.NotRun = strings.Join(strings.Fields(found[1]), " ")
		return nil
	}
	if found := background.FindStringSubmatch(comment); found != nil {
		b.Until = found[1]
		return nil
	}
	if inComment.MatchString(comment) {
		return fmt.Errorf("found %q, want <!-- not run: why --> or <!-- run: in the background until \"what it writes\" -->", comment)
	}
	return nil
}

// others are languages of blocks that hold no commands.
var others = []string{"go", "ini", "json", "promql", "text", "yaml"}

// commands returns what is to be run of a block, "" where it holds no command. Whoever writes a document says which it is: a
// session that passes for text would never be run.
func commands(language, block string) (string, error) {
	switch {
	case language == "sh":
		return block, nil
	case language == "console":
		script := prompted(block)
		if script == "" {
			return "", errors.New(`found a console without a command, want "$ " before each, or text`)
		}
		return script, nil
	case !slices.Contains(others, language):
		return "", fmt.Errorf("found a fence of the language %q, want sh, console or, without commands, %s", language, strings.Join(others, ", "))
	case prompted(block) != "":
		return "", fmt.Errorf(`found a command ("$ ") in a block of the language %s, want console`, language)
	}
	return "", nil
}

// prompted keeps the commands of a terminal session: the lines behind a prompt, and those that continue them.
func prompted(session string) string {
	var out strings.Builder
	more := false
	for line := range strings.Lines(session) {
		command, prompt := strings.CutPrefix(line, "$ ")
		if prompt || more {
			out.WriteString(command)
			more = strings.HasSuffix(strings.TrimRight(command, "\n"), `\`)
		}
	}
	return out.String()
}

// anchor adds the fragment of a headline.
func (d *Document) anchor(headline string) {
	var slug strings.Builder
	for _, r := range strings.ToLower(headline) {
		switch {
		case r == ' ':
			slug.WriteByte('-')
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			slug.WriteRune(r)
		}
	}
	name := slug.String()
	for i := 1; d.Anchors[name]; i++ {
		name = fmt.Sprintf("%s-%d", slug.String(), i)
	}
	d.Anchors[name] = true
}

// start is where the text of an inline node begins, or of what it is in.
func start(n ast.Node) int {
	for ; n != nil; n = n.Parent() {
		if n.Type() == ast.TypeBlock && n.Lines() != nil && n.Lines().Len() > 0 {
			return n.Lines().At(0).Start
		}
	}
	return 0
}
