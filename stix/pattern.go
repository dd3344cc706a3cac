package stix

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Pattern returns the STIX pattern that matches an observable of OpenCTI's type ("IPv4-Addr") with that value:
//
//	[ipv4-addr:value = '198.51.100.7']
//
// It is written as OpenCTI itself would, one space on either side of the operator, because the indicator's id hashes this
// very text. Any value survives: quotes and backslashes are escaped, all else stands as it is. An Artifact's value is its
// SHA-256, an Autonomous-System's its number, a User-Account's its login.
//
// It returns an error for a type that has no pattern, and for a value that cannot stand in one. The error does not repeat
// the value.
func Pattern(openctiType, value string) (string, error) {
	t, ok := TypeByName(openctiType)
	if !ok {
		return "", fmt.Errorf("writing pattern: no pattern for type %q, expected one of %s", openctiType, typeNames())
	}
	if value == "" {
		return "", fmt.Errorf("writing pattern of %s: value is empty", t.Name)
	}
	if !utf8.ValidString(value) {
		return "", fmt.Errorf("writing pattern of %s: value of %d bytes is not UTF-8", t.Name, len(value))
	}
	var b strings.Builder
	b.Grow(len("[ = '']") + len(t.Path) + len(value) + 16)
	b.WriteByte('[')
	b.WriteString(t.Path)
	b.WriteString(" = ")
	switch t.STIX {
	case typeAutonomousSystem:
		number, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return "", fmt.Errorf("writing pattern of %s: value is not a number from 0 to 4294967295", t.Name)
		}
		b.WriteString(strconv.FormatUint(number, 10))
	case typeArtifact:
		if !isSHA256(value) {
			return "", fmt.Errorf("writing pattern of %s: found %d characters, expected the 64 hexadecimal digits of a SHA-256",
				t.Name, utf8.RuneCountInString(value))
		}
		writeQuoted(&b, value)
	default:
		writeQuoted(&b, value)
	}
	b.WriteByte(']')
	return b.String(), nil
}

// writeQuoted writes a string literal of the pattern grammar (STIX 2.1, section 9.2): in single quotes, with a backslash
// before each quote and backslash. Every other character, line breaks too, stands for itself.
func writeQuoted(b *strings.Builder, s string) {
	b.WriteByte('\'')
	for {
		i := strings.IndexAny(s, `'\`)
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		b.WriteByte('\\')
		b.WriteByte(s[i])
		s = s[i+1:]
	}
	b.WriteString(s)
	b.WriteByte('\'')
}

func isSHA256(s string) bool {
	var sum [32]byte
	if len(s) != hex.EncodedLen(len(sum)) {
		return false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return err == nil
}

func typeNames() string {
	all := observableTypes()
	names := make([]string, 0, len(all))
	for _, t := range all {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}
