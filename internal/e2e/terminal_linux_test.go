package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/ptytest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// Every command that goes through dead letters one by one shows on a terminal how far it is, and leaves nothing of it there.
func TestDeadLettersOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	var list []openctitest.Observable
	for i := range 4 {
		address := observable("IPv4-Addr", "198.18.9.%d", i)
		w.ipqs.Script(ipqs.KindIP, address.Value, ipqstest.Refusal(ipqstest.MessageInvalidIP))
		list = append(list, address)
	}
	worker := w.start()
	jobs := w.enrich(list)
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	if status := worker.stop(); status != 0 {
		t.Fatalf("the worker ended with status %d", status)
	}
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	for _, tt := range []struct {
		args []string
		bar  string // what is seen of it for certain
	}{
		{[]string{"list"}, ""},
		{[]string{"export", file}, "█ 4/4"},
		{[]string{"replay", "--all", "--dry-run"}, ""},
		{[]string{"drop", "--all", "--yes"}, "█ 4/4"},
		{[]string{"import", file}, "\r1"}, // how many will come is not known
		{[]string{"replay", "--limit", "3", "--all"}, "█ 3/3"},
	} {
		var out strings.Builder
		terminal, read := ptytest.Open(t)
		cmd := w.deadLetters(tt.args...)
		cmd.Stdout, cmd.Stderr = &out, terminal
		err := cmd.Run()
		said := read()
		if err != nil {
			t.Fatalf("dead-letters %s: %v: %s", strings.Join(tt.args, " "), err, said)
		}
		bar, rest, gone := strings.Cut(said, "\r\x1b[K")
		if tt.bar == "" {
			if gone {
				t.Errorf("dead-letters %s shows %q, want no bar", strings.Join(tt.args, " "), said)
			}
			continue
		}
		if !gone || !strings.Contains(bar, tt.bar) || strings.ContainsAny(rest, "█░\x1b") {
			t.Errorf("dead-letters %s shows %q, want a bar with %q that goes away", strings.Join(tt.args, " "), said, tt.bar)
		}
		if strings.Contains(out.String(), "\r") {
			t.Errorf("dead-letters %s writes %q, want no bar in its results", strings.Join(tt.args, " "), out.String())
		}
	}
}
