package ipqs

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The types below read what IPQS sends and never fail: what they cannot read is unknown, so that one odd field does not
// cost the whole answer. Written as JSON and read again they are the same value.

// Bool is a truth value that may be unknown. IPQS sends null, or leaves a flag out, where it does not know or where the
// plan does not include it; neither means false.
type Bool int8

// The three values of a Bool. The zero value is Unknown.
const (
	Unknown Bool = iota
	False
	True
)

// BoolOf returns True or False.
func BoolOf(b bool) Bool {
	if b {
		return True
	}
	return False
}

// String returns "true", "false" or "unknown".
func (b Bool) String() string {
	switch b {
	case True:
		return "true"
	case False:
		return "false"
	default:
		return "unknown"
	}
}

// MarshalJSON writes true, false or null.
func (b Bool) MarshalJSON() ([]byte, error) {
	if b != True && b != False {
		return []byte("null"), nil
	}
	return []byte(b.String()), nil
}

// UnmarshalJSON reads true and false, their names as text in any case, and 0 and 1 as number or text. Everything else
// is Unknown.
func (b *Bool) UnmarshalJSON(data []byte) error {
	text := string(data)
	if s, ok := readString(data); ok {
		text = strings.ToLower(strings.TrimSpace(s))
	}
	switch text {
	case "true", "1":
		*b = True
	case "false", "0":
		*b = False
	default:
		*b = Unknown
	}
	return nil
}

// Number is a number that may be unknown. The zero value is unknown, which is not the number 0.
type Number struct {
	value float64
	known bool
}

// NumberOf returns the known number v. A NaN or an infinity is unknown.
func NumberOf(v float64) Number {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Number{}
	}
	return Number{value: v, known: true}
}

// Float64 returns the number, and whether it is known.
func (n Number) Float64() (float64, bool) { return n.value, n.known }

// Int returns the number rounded down, and whether it is known and fits.
func (n Number) Int() (int, bool) {
	v := math.Floor(n.value)
	if !n.known || v < math.MinInt || v >= math.MaxInt {
		return 0, false
	}
	return int(v), true
}

// Equal reports whether both are the same number, or both unknown.
func (n Number) Equal(other Number) bool { return n == other }

// IsZero reports whether the number is unknown; it makes the omitzero option of encoding/json leave it out.
func (n Number) IsZero() bool { return !n.known }

// String returns the number in plain notation, or "" if it is unknown.
func (n Number) String() string {
	if !n.known {
		return ""
	}
	return strconv.FormatFloat(n.value, 'f', -1, 64)
}

// MarshalJSON writes the number, or null if it is unknown.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.known {
		return []byte("null"), nil
	}
	return json.Marshal(n.value)
}

// UnmarshalJSON reads a number, or a text that holds one: "85", "87.5", and for autonomous systems also "AS64500".
// Everything else is unknown.
func (n *Number) UnmarshalJSON(data []byte) error {
	*n, _ = readNumber(data)
	return nil
}

// readNumber also reports whether data is readable as a number or as one of the ways to say that there is none. A score
// is the one number where the difference counts.
func readNumber(data []byte) (n Number, readable bool) {
	if string(data) == "null" {
		return Number{}, true
	}
	if s, ok := readString(data); ok {
		text := clean(s)
		if text == "" {
			return Number{}, true
		}
		if len(text) > 2 && strings.EqualFold(text[:2], "AS") {
			text = text[2:]
		}
		data = []byte(text)
	}
	// Only what JSON calls a number: strconv alone would also take "NaN", "Inf" and "0x1p-2".
	if len(data) == 0 || data[0] != '-' && (data[0] < '0' || data[0] > '9') || !json.Valid(data) {
		return Number{}, false
	}
	f, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return Number{}, false
	}
	return NumberOf(f), true
}

// Text is a text, "" where IPQS says nothing: "N/A", an empty text, or a line that sells a bigger plan. Control
// characters are gone from it (a page's title or a server's name is whatever a stranger put there), markup is not.
type Text string

// UnmarshalJSON reads a text; a number becomes its digits. Everything else is "".
func (t *Text) UnmarshalJSON(data []byte) error {
	*t = Text(readText(data))
	return nil
}

// List is a list of texts without the empty ones. It is nil where IPQS says nothing or sells a bigger plan, and empty but
// not nil where it says that there are none.
type List []string

// UnmarshalJSON reads a list of texts, a single text, and elements that are objects with a name. Everything else is nil.
func (l *List) UnmarshalJSON(data []byte) error {
	*l = nil
	var elements []json.RawMessage
	if json.Unmarshal(data, &elements) != nil {
		elements = []json.RawMessage{data}
		if readElement(data) == "" {
			return nil
		}
	}
	if elements == nil { // null
		return nil
	}
	list := make(List, 0, len(elements))
	paywalled := false
	for _, e := range elements {
		text := readElement(e)
		if text != "" {
			list = append(list, text)
		} else if s, ok := readString(e); ok && isPaywall(s) {
			paywalled = true
		}
	}
	if len(list) > 0 || !paywalled {
		*l = list
	}
	return nil
}

// MarshalJSON writes the list, or null if it is nil.
func (l List) MarshalJSON() ([]byte, error) { return json.Marshal([]string(l)) }

func readElement(data []byte) string {
	var object struct {
		Name Text `json:"name"`
	}
	if isObject(data) && json.Unmarshal(data, &object) == nil {
		return string(object.Name)
	}
	return readText(data)
}

// Age is a point in time, as IPQS gives the age of a domain or the first sight of an address. What it also sends for
// humans ("3 years ago") is left out: it changes by itself.
type Age struct {
	Timestamp Number `json:"timestamp,omitzero"` // seconds since 1970
	ISO       Text   `json:"iso,omitzero"`       // RFC 3339
}

// Time returns the point in time in UTC, and whether it is known.
func (a Age) Time() (time.Time, bool) {
	if seconds, ok := a.Timestamp.Int(); ok {
		return time.Unix(int64(seconds), 0).UTC(), true
	}
	t, err := time.Parse(time.RFC3339, string(a.ISO))
	return t.UTC(), err == nil
}

// UnmarshalJSON reads the object; anything else is unknown.
func (a *Age) UnmarshalJSON(data []byte) error {
	type plain Age // without this method
	var p plain
	readObject(data, &p)
	*a = Age(p)
	return nil
}

// NumberRecycling is what IPQS knows about a phone number's former lives, on plans that include it.
type NumberRecycling struct {
	RecentlyRecycled Bool `json:"recently_recycled,omitzero"`
	Ported           Bool `json:"ported,omitzero"`
	LastPortedDate   Text `json:"last_ported_date,omitzero"`
}

// UnmarshalJSON reads the object; anything else is unknown.
func (r *NumberRecycling) UnmarshalJSON(data []byte) error {
	type plain NumberRecycling // without this method
	var p plain
	readObject(data, &p)
	*r = NumberRecycling(p)
	return nil
}

// readObject decodes an object into v and leaves v alone if data is anything else. PHP sends an empty object as [].
func readObject(data []byte, v any) {
	if isObject(data) {
		// The members read themselves and do not fail, so there is no half-filled v.
		_ = json.Unmarshal(data, v)
	}
}

// lenient is an object; anything else in its place is the zero value.
type lenient[T any] struct{ value T }

func (l *lenient[T]) UnmarshalJSON(data []byte) error {
	*l = lenient[T]{}
	readObject(data, &l.value)
	return nil
}

// lenientList is a list of objects; elements that are none are left out, and an object alone is a list of one.
type lenientList[T any] []T

func (l *lenientList[T]) UnmarshalJSON(data []byte) error {
	*l = nil
	elements := []json.RawMessage{data}
	if !isObject(data) {
		elements = readList(data)
	}
	for _, e := range elements {
		if isObject(e) {
			var one T
			readObject(e, &one)
			*l = append(*l, one)
		}
	}
	return nil
}

// readList returns the elements of a list, nil if data is anything else.
func readList(data []byte) []json.RawMessage {
	var elements []json.RawMessage
	if json.Unmarshal(data, &elements) != nil {
		return nil
	}
	return elements
}

func isObject(data []byte) bool { return bytes.HasPrefix(data, []byte("{")) }

func readString(data []byte) (string, bool) {
	if len(data) < 2 || data[0] != '"' {
		return "", false
	}
	if inner := data[1 : len(data)-1]; data[len(data)-1] == '"' && isPlain(inner) {
		return string(inner), true
	}
	var s string
	if json.Unmarshal(data, &s) != nil {
		return "", false
	}
	return s, true
}

// isPlain reports whether the inside of a JSON string says what it is, as most do: a decoder of its own for each of the many
// texts of an answer would cost more than all the rest of it.
func isPlain(inner []byte) bool {
	for _, c := range inner {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func readText(data []byte) string {
	if s, ok := readString(data); ok {
		return clean(s)
	}
	if string(data) == "null" {
		return ""
	}
	var number json.Number
	if json.Unmarshal(data, &number) == nil {
		return number.String()
	}
	return ""
}

// paywall matches the texts that stand in fields which the plan does not include, such as "Premium required.",
// "Enterprise Mini or higher required." or "Enterprise plan required to view …".
var paywall = regexp.MustCompile(`(?i)^(premium|enterprise|upgraded plan)\b.*required|^disabled for performance`)

func isPaywall(s string) bool { return sellsMore(printable(s)) }

// sellsMore matches, having looked at the first letter: few texts begin like that.
func sellsMore(s string) bool {
	return s != "" && strings.IndexByte("pPeEuUdD", s[0]) >= 0 && paywall.MatchString(s)
}

// clean makes a text printable and empties it if it says nothing. Cleaning twice is cleaning once.
func clean(s string) string {
	s = printable(s)
	if strings.EqualFold(s, "n/a") || sellsMore(s) {
		return ""
	}
	return s
}

// printable puts a space for every control character and line separator, and trims.
func printable(s string) string {
	if isPlain([]byte(s)) {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s))
}
