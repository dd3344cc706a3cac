package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// barEvery bounds how often a bar is drawn: more is seen by nobody, and slow over a network.
const barEvery = 50 * time.Millisecond

// progress shows on a terminal how far something is, in one line of standard error that is written over, and gone when it is
// done: results and summaries say what came of it. A nil one shows nothing.
type progress struct {
	out   io.Writer
	total int // 0 is unknown

	mu    sync.Mutex
	gone  int
	drawn time.Time
}

// barred is the annotation of a command that shows how far it is.
const barred = "bar"

// addBar lets a command show how far it is.
func addBar(cmd *cobra.Command) {
	cmd.Annotations = map[string]string{barred: "standard error"}
}

// attended reports whether a command is to show how far it is: where standard error is a terminal.
func (p *program) attended(cmd *cobra.Command) bool {
	file, ok := p.err.(*os.File)
	return ok && cmd.Annotations[barred] != "" && term.IsTerminal(int(file.Fd()))
}

// progress begins to show how far a command is that has so many steps; 0 is not known. It shows nothing where nobody looks.
func (p *program) progress(cmd *cobra.Command, total int) *progress {
	if !p.attended(cmd) {
		return nil
	}
	return &progress{out: p.err, total: total}
}

// step says that one more is done. It may be called from several goroutines.
func (g *progress) step() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone++
	if now := time.Now(); g.gone == g.total || now.Sub(g.drawn) >= barEvery {
		g.drawn = now
		_, _ = io.WriteString(g.out, bar(g.gone, g.total))
	}
}

// done takes the line away.
func (g *progress) done() {
	if g != nil {
		_, _ = io.WriteString(g.out, "\r\x1b[K")
	}
}

// addFile adds the flag that names where a command reads from.
func addFile(cmd *cobra.Command, file *string, what string) {
	cmd.Flags().StringVarP(file, "file", "f", "", what+"; - is standard input")
}

// bar writes how far something is; more than the total may have come since it was counted.
func bar(gone, total int) string {
	if total <= 0 {
		return fmt.Sprintf("\r%d", gone)
	}
	const width = 40
	total = max(total, gone)
	filled := width * gone / total
	return fmt.Sprintf("\r%s%s %d/%d", strings.Repeat("█", filled), strings.Repeat("░", width-filled), gone, total)
}
