package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/ptytest"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// On a terminal there are colours and a bar. There are none of both in a pipe, and no colours where NO_COLOR is set.
func TestOnATerminal(t *testing.T) {
	t.Parallel()
	fake := ipqstest.NewServer(ipqstest.Options{Key: key})
	t.Cleanup(fake.Close)
	tests := []struct {
		name               string
		onScreen, messages bool // standard output and standard error are terminals
		environ            string
		colours, bar       bool
	}{
		{name: "terminal", onScreen: true, messages: true, colours: true, bar: true},
		{name: "without colours", onScreen: true, messages: true, environ: "NO_COLOR=1", bar: true},
		{name: "an empty NO_COLOR", onScreen: true, environ: "NO_COLOR=", colours: true},
		{name: "into a pipe", messages: true, bar: true},
		{name: "messages into a file", onScreen: true, colours: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			std := stdio{in: strings.NewReader("")}
			end := func(on bool, to *io.Writer) func() string {
				if on {
					terminal, read := ptytest.Open(t)
					*to = terminal
					return read
				}
				text := new(bytes.Buffer)
				*to = text
				return text.String
			}
			out, messages := end(tt.onScreen, &std.out), end(tt.messages, &std.err)
			environ := []string{"IPQS_BASE_URL=" + fake.BaseURL, "IPQS_PRIVATE_KEY=" + key, tt.environ}
			status := execute(t.Context(), func() {}, []string{"enrich", "198.51.100.7", "198.51.100.8", "198.51.100.7"}, std, environ)
			results, said := out(), messages()
			if status != exitOK || !strings.Contains(results, "198.51.100.8") {
				t.Fatalf("enrich = %d, writes %q and %q", status, results, said)
			}
			if got := strings.Contains(results, "\x1b["); got != tt.colours {
				t.Errorf("the table has colours: %t, want %t: %q", got, tt.colours, results)
			}
			if got := strings.Contains(said, "█ 2/2\r\x1b[K"); got != tt.bar || !tt.bar && said != "" {
				t.Errorf("there is a bar: %t, want %t: %q", got, tt.bar, said)
			}
			// Colours do not move what comes after them.
			lines := strings.Split(strings.NewReplacer(red, "", yellow, "", green, "", usual, "", plain, "", "\r", "").Replace(results), "\n")
			if at := strings.Index(lines[0], "SIGNALS"); at < 0 || len(lines[1]) <= at || lines[1][at-1] != ' ' || lines[1][at] == ' ' {
				t.Errorf("the columns do not stand below each other:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

// The demo shows its bar in the same way.
func TestDemoOnATerminal(t *testing.T) {
	t.Parallel()
	terminal, read := ptytest.Open(t)
	var out bytes.Buffer
	status := execute(t.Context(), func() {}, []string{"demo", "--jobs", "4"}, stdio{strings.NewReader(""), &out, terminal}, nil)
	said := read()
	if status != exitOK || !strings.Contains(out.String(), "4 jobs in") {
		t.Fatalf("demo = %d, writes %q and %q", status, out.String(), said)
	}
	if !strings.HasSuffix(said, "█ 4/4 jobs\r\x1b[K") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("demo shows %q, want a bar that goes away, and %q without one", said, out.String())
	}
}
