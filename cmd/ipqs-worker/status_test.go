package main

import (
	"bytes"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/status"
)

// A page is written over the one before: the screen is emptied once, and then only what the new page does not cover.
func TestRedraw(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	begun := false
	for _, page := range []string{"one\ntwo\nthree\n", "1\n"} {
		if err := redraw(&out, []byte(page), &begun); err != nil {
			t.Fatal(err)
		}
	}
	const want = "\x1b[H\x1b[J" + "\x1b[H" + "one\x1b[K\ntwo\x1b[K\nthree\x1b[K\n\x1b[J" + "\x1b[H" + "1\x1b[K\n\x1b[J"
	if got := out.String(); got != want {
		t.Errorf("redraw() wrote %q, want %q", got, want)
	}
}

// Elsewhere than on a terminal pages follow each other, without anything that moves a cursor.
func TestWatchInAPipe(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"table", "json"} {
		var out bytes.Buffer
		p := &program{stdio: stdio{out: &out}}
		show := p.shower(statusFlags{watch: true, output: output})
		for range 2 {
			if err := show(status.Report{Hops: []status.Hop{{Name: "lookup"}}}); err != nil {
				t.Fatal(err)
			}
		}
		got := out.String()
		if strings.Contains(got, "\x1b") || strings.Count(got, "lookup") != 2 {
			t.Errorf("two looks as %s are %q, want two pages without escapes", output, got)
		}
		if lines := strings.Count(got, "\n"); output == "json" && lines != 2 {
			t.Errorf("two looks as JSON are %d lines, want one each", lines)
		}
	}
}
