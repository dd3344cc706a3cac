package doccheck

import (
	"fmt"
	"regexp"
	"strings"
)

// placeholder is a value that the reader has to put in: NAME=… takes it from the environment.
var placeholder = regexp.MustCompile(`\b([A-Z][A-Z0-9_]*)=…`)

// Script makes a program for bash of the blocks of a document that are run. They share one shell, as a reader's do: what is
// exported stays. It ends at the first command that fails. Before each block it writes "::" and the line of the block to
// standard error, by which what fails can be found. Variables whose value the document leaves open ("TOKEN=…") have to be in
// the environment.
func (d Document) Script() string {
	var out strings.Builder
	out.WriteString("set -euo pipefail\n" + helpers)
	for _, b := range d.Blocks {
		if b.NotRun != "" {
			continue
		}
		script := placeholder.ReplaceAllString(b.Script, `$1="$$$1"`)
		fmt.Fprintf(&out, "echo '::%d' >&2\n", b.Line)
		if b.Until == "" {
			out.WriteString(script)
			continue
		}
		fmt.Fprintf(&out, "until_written %q <<'END_OF_BLOCK'\n%sEND_OF_BLOCK\n", b.Until, script)
	}
	out.WriteString("stop_all\n")
	return out.String()
}

// helpers start what runs in the background, and stop it. The last command of such a block is the one that is signalled.
const helpers = `
background=()
until_written() { # until_written TEXT: runs standard input in the background, and returns when it has written TEXT
	local log script
	log=$(mktemp); script=$(mktemp)
	sed '$s/^/exec /' >"$script"
	bash -euo pipefail "$script" >"$log" 2>&1 </dev/null &
	background+=($!)
	for _ in $(seq 600); do
		if grep -q -- "$1" "$log"; then return; fi
		if ! kill -0 $! 2>/dev/null; then cat "$log" >&2; return 1; fi
		sleep 0.1
	done
	cat "$log" >&2
	return 1
}
stop_all() {
	local pid
	for pid in "${background[@]}"; do
		kill -TERM "$pid"
		wait "$pid"
	done
	background=()
}
trap 'for pid in "${background[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done' EXIT
`
