package ipqs

import (
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
)

const (
	maxScanned = 8 << 10 // bytes of a text that is searched for secrets; a longer one is not quoted at all
	maxQuoted  = 300     // characters of a text that an error quotes
	minValue   = 6       // bytes of a value that is taken out of texts; a shorter one would tear ordinary words
)

// scrub makes a text from outside fit for an error: one line, without the key and without the value looked up, in
// any of the encodings that a server or net/http may echo. It comes before the classification of an answer, so that a
// value cannot speak in IPQS' name.
func scrub(text, key, value string) string {
	if len(text) > maxScanned {
		return fmt.Sprintf("(a text of %d bytes)", len(text))
	}
	for _, form := range encodings(key) {
		text = replaceFold(text, form, "[key]")
	}
	if len(value) >= minValue {
		for _, form := range encodings(value) {
			text = replaceFold(text, form, "[value]")
		}
	}
	return printable(text)
}

// quote cuts a scrubbed text to a length that fits a log line.
func quote(text string) string {
	runes := []rune(text)
	if len(runes) <= maxQuoted {
		return text
	}
	return string(runes[:maxQuoted]) + "…"
}

// encodings lists the ways in which s may stand in a text, the longest first as the others may be part of it.
func encodings(s string) []string {
	forms := []string{
		s, printable(s), strings.ToValidUTF8(s, "\uFFFD"), url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s),
		strings.ReplaceAll(s, "/", `\/`),
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(forms)
}

// replaceFold is strings.ReplaceAll without regard to case.
func replaceFold(s, old, replacement string) string {
	if old == "" {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if len(s)-i >= len(old) && strings.EqualFold(s[i:i+len(old)], old) {
			b.WriteString(replacement)
			i += len(old)
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}
