// Package logtest is a log for tests: what runs writes it from many goroutines, and the test reads it meanwhile.
package logtest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a line may take that must come, on a machine that is busy with other tests too.
const patience = time.Minute

// Log keeps what is written to it. Its zero value is an empty log, and all its methods are safe for concurrent use.
type Log struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed, and forgotten, by the next write; nil while nobody waits for one
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return l.text.Write(p)
}

// String returns all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns how often a text was written so far.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Tail returns the last n bytes at the most.
func (l *Log) Tail(n int) string {
	text := l.String()
	return text[max(0, len(text)-n):]
}

// Logger returns a logger that writes all levels to the log, as text.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Await waits until a whole line with a text is written, and returns it without its end. The test fails when it never is.
func (l *Log) Await(tb testing.TB, text string) string {
	tb.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		line, grown := l.line(text)
		if grown == nil {
			return line
		}
		select {
		case <-grown:
		case <-timeout.C:
			tb.Fatalf("the log has no line with %q:\n%s", text, l)
		}
	}
}

// line returns the first whole line with a text, or, if there is none, what is closed when there is more to look at.
func (l *Log) line(text string) (line string, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if whole, ok := strings.CutSuffix(line, "\n"); ok && strings.Contains(line, text) {
			return whole, nil
		}
	}
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	return "", l.grown
}
