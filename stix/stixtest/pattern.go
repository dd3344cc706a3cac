package stixtest

import (
	"fmt"
	"regexp"
)

// The grammar of STIX 2.1 patterns (section 9.8 and its ANTLR grammar), as far as a worker writes them: one observation with
// one comparison for equality. A hyphen may stand in an object's type, in a property only between quotes; in a string a
// quote and a backslash stand behind a backslash, and a backslash before nothing else.
const (
	text     = `'(?:[^'\\]|\\['\\])*'`
	property = `(?:[A-Za-z_][A-Za-z0-9_]*|` + text + `)`
	step     = `(?:\.` + property + `|\[(?:0|[1-9][0-9]*|\*)\])`
	path     = `[A-Za-z_][A-Za-z0-9_-]*:` + property + step + `*`
	number   = `-?(?:0|[1-9][0-9]*)`
	blank    = `[ \t\r\n]*`
)

// observation matches a whole pattern. A string may hold line breaks and every other character.
const observation = `(?s)\A\[` + blank + path + blank + `=` + blank + `(?:` + text + `|` + number + `)` + blank + `\]\z`

// Pattern returns an error for a pattern that is none by the grammar, or more than a worker writes.
func Pattern(pattern string) error {
	grammar, err := regexp.Compile(observation)
	if err != nil {
		return fmt.Errorf("compiling the grammar: %w", err)
	}
	if !grammar.MatchString(pattern) {
		return fmt.Errorf("no pattern by the grammar: %.200q", pattern)
	}
	return nil
}
