package opencti

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is a release of the platform, such as "6.8.10", "7.260318.0" or "7.260309.0-lts.2". The zero Version is older
// than every release.
type Version struct {
	text   string
	parts  [3]int
	newest bool
}

// ParseVersion reads what about.version answered. A leading "v" and everything from the first "-" or "+" on are ignored,
// so that a long-term release compares like the release it was made from; missing components are 0.
//
// A text that is no version (a development build may have any) gives an error and, with it, a Version that counts as newer
// than every release: an unknown platform is treated like the newest one.
func ParseVersion(text string) (Version, error) {
	v := Version{text: strings.TrimSpace(text)}
	number, _, _ := strings.Cut(strings.TrimPrefix(v.text, "v"), "-")
	number, _, _ = strings.Cut(number, "+")
	for i, part := range strings.Split(number, ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return Version{text: v.text, newest: true}, &FieldError{
				Field: "about.version", Found: strconv.Quote(shorten(v.text, 40)), Want: `numbers separated by dots, such as "6.8.10"`,
			}
		}
		if i < len(v.parts) {
			v.parts[i] = int(n)
		}
	}
	return v, nil
}

// Compare returns -1, 0 or +1 as v is older than, the same as or newer than o, component by component.
func (v Version) Compare(o Version) int {
	if v.newest != o.newest {
		if v.newest {
			return 1
		}
		return -1
	}
	for i := range v.parts {
		if c := cmp.Compare(v.parts[i], o.parts[i]); c != 0 {
			return c
		}
	}
	return 0
}

// String returns the version as the platform wrote it.
func (v Version) String() string { return v.text }

// within reports whether v is in [since, before). An empty bound is open.
func (v Version) within(since, before string) bool {
	return (since == "" || v.Compare(mustVersion(since)) >= 0) && (before == "" || v.Compare(mustVersion(before)) < 0)
}

// mustVersion reads a version written in this package's own tables; the tests parse every one of them.
func mustVersion(text string) Version {
	v, err := ParseVersion(text)
	if err != nil {
		panic(fmt.Sprintf("opencti: version %q in a table", text))
	}
	return v
}
