package main

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// What a terminal understands, by ECMA-48.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	usual  = "\x1b[39m" // the terminal's own
	faint  = "\x1b[2m"
	plain  = "\x1b[0m"
	// home goes to the upper left corner, and clearBelow empties everything from there on.
	home       = "\x1b[H"
	clearBelow = "\x1b[J"
	clearRight = "\x1b[K"
)

// terminal reports whether results are written to one.
func (p *program) terminal() bool {
	file, ok := p.out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// coloured reports whether results may have colours: on a terminal, unless NO_COLOR is set (https://no-color.org).
func (p *program) coloured() bool {
	return p.terminal() && !slices.ContainsFunc(p.environ, func(v string) bool {
		value, ok := strings.CutPrefix(v, "NO_COLOR=")
		return ok && value != ""
	})
}
