// Noteimage writes the note of a bundle as an HTML page: noteimage bundle.json > note.html.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

const page = `<!doctype html><meta charset="utf-8"><style>
body { font: 14px/1.45 "DejaVu Sans", sans-serif; color: #222; margin: 20px 24px; }
h2 { margin: 0 0 8px; font-size: 20px; } p, ul { margin: 6px 0; }
table { border-collapse: collapse; margin: 12px 0 0; width: 100%%; }
th, td { border: 1px solid #d0d7de; padding: 3px 10px; text-align: left; }
th { background: #f0f3f6; } td:first-child, th:first-child { width: 38%%; }
</style>%s`

func main() {
	log.SetFlags(0)
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var bundle struct {
		Objects []struct{ Type, Content string }
	}
	if err := json.Unmarshal(raw, &bundle); err != nil {
		log.Fatal(err)
	}
	for _, o := range bundle.Objects {
		if o.Type != "note" {
			continue
		}
		var html writer
		if err := goldmark.New(goldmark.WithExtensions(extension.GFM)).Convert([]byte(o.Content), &html); err != nil {
			log.Fatal(err)
		}
		fmt.Printf(page, html)
	}
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}
