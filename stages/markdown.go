package stages

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"opencti-ipqs-worker/ipqs"
)

// Values of a Note's tables as text. "" has no row.

const unknown = "unknown"

func known(text string) string {
	if text == "" {
		return unknown
	}
	return text
}

func answer(b ipqs.Bool) string { return known(fact(b)) }

func fact(b ipqs.Bool) string {
	switch b {
	case ipqs.True:
		return "yes"
	case ipqs.False:
		return "no"
	default:
		return ""
	}
}

func score(n ipqs.Number) string {
	if i, ok := n.Int(); ok {
		return strconv.Itoa(i) + " of 100"
	}
	return unknown
}

func number(n ipqs.Number) string {
	if v, ok := n.Float64(); ok {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// positive is a number, "" for 0, which stands for "none".
func positive(n ipqs.Number) string {
	if v, ok := n.Float64(); !ok || v <= 0 {
		return ""
	}
	return number(n)
}

// date is the day of an age. IPQS gives ages to the second, but only the day is meaningful.
func date(a ipqs.Age) string {
	t, ok := a.Time()
	if !ok {
		return ""
	}
	return t.UTC().Format("2006-01-02")
}

func asnText(ip *ipqs.IP) string {
	if number, ok := asn(ip); ok {
		return strconv.Itoa(number)
	}
	return ""
}

// scanned is the day of the scan.
func scanned(f *ipqs.File) string {
	t, ok := f.ScanDate.Time()
	if !ok {
		return ""
	}
	return t.Format("2006-01-02")
}

func size(n ipqs.Number) string {
	if text := number(n); text != "" {
		return text + " bytes"
	}
	return ""
}

// listed is how many entries of a list a Note shows.
const listed = 20

func list(l ipqs.List) string {
	if len(l) <= listed {
		return strings.Join(l, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(l[:listed], ", "), len(l)-listed)
}

// escape makes untrusted text safe in a table cell: no markup, no HTML, no link, no line break.
//
// Backslashes do not prevent links: OpenCTI's renderer (remark-gfm) looks for bare addresses after it has removed them, but not
// in code spans. So text that contains an address becomes a code span. A code span in a cell cannot contain a bar; there, only
// the part that makes it an address does.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r):
			return -1 // would reorder the rest of the line
		}
		return r
	}, text)
	if !linked.MatchString(text) {
		return plain(text)
	}
	if !strings.ContainsAny(text, "`|\\") {
		return "`" + text + "`"
	}
	return linked.ReplaceAllString(plain(text), "`$0`")
}

func plain(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(markup, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// linked matches what makes a renderer link a text.
var linked = regexp.MustCompile(`(?i)(www\.|://|@)+`)

// markup lists the characters that can begin markup in the middle of a line. Dots, dashes and slashes cannot.
const markup = "\\`*_[]<>|~&!"
