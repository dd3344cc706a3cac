// Noteimage writes the note in docs/graph.md as an HTML page: noteimage graph.md > note.html.
package main

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

const page = `<!doctype html><meta charset="utf-8"><style>
body { font: 14px/1.45 "DejaVu Sans", sans-serif; color: #222; margin: 20px 24px; }
h2 { margin: 0 0 8px; font-size: 20px; } h3 { margin: 14px 0 0; font-size: 16px; } p, ul { margin: 6px 0; }
table { border-collapse: collapse; margin: 12px 0 0; width: 100%%; }
th, td { border: 1px solid #d0d7de; padding: 3px 10px; text-align: left; }
th { background: #f0f3f6; } tr :nth-last-child(2):first-child { width: 38%%; }
</style>%s`

func main() {
	log.SetFlags(0)
	document, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	_, note, found := strings.Cut(string(document), "<!-- note -->\n\n```text\n")
	note, _, ended := strings.Cut(note, "```\n")
	if !found || !ended {
		log.Fatalf("%s: found no note between its marks", os.Args[1])
	}
	var html writer
	if err := goldmark.New(goldmark.WithExtensions(extension.GFM)).Convert([]byte(note), &html); err != nil {
		log.Fatal(err)
	}
	fmt.Printf(page, html)
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}
