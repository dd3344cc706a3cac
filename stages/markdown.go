package stages

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"opencti-ipqs-worker/ipqs"
)

// How a note writes what IPQS said. "" is what is not worth a row.

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

// positive is a number where 0 stands for "none".
func positive(n ipqs.Number) string {
	if v, ok := n.Float64(); !ok || v <= 0 {
		return ""
	}
	return number(n)
}

// date is a day: IPQS' ages are given to the second, of which only the day means anything.
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

// scanned is the day of a scan.
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

// listed is how many entries of a list a note shows.
const listed = 20

func list(l ipqs.List) string {
	if len(l) <= listed {
		return strings.Join(l, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(l[:listed], ", "), len(l)-listed)
}

// escape makes a stranger's text stand in a table's cell as text: no markup, no HTML, no link, no line break.
//
// A backslash keeps no renderer from making a link of a bare address: OpenCTI's looks for them in the text that is left when
// backslashes are gone (GitHub's autolinks, as remark-gfm has them). In code it looks for none. So what it would take for an
// address stands in code; where that cannot be, as a cell's code can have no bar, only the part that makes it one does.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r):
			return -1 // would show the rest of the line in another order than it has
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

// linked is what makes an address of a text: nobody should visit one by a slip.
var linked = regexp.MustCompile(`(?i)(www\.|://|@)+`)

// markup is what can begin markup in the middle of a line. Dots, dashes and slashes can't, and stay readable.
const markup = "\\`*_[]<>|~&!"
