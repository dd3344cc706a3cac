package deadletters

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// redacted stands where a value is not shown, as elsewhere in the worker.
const redacted = "[REDACTED]"

// credentialWords end the names of what holds a credential, as a JSON key or as a parameter in a URL.
const credentialWords = `pass|passwd|password|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|` +
	`credentials?|authorization|cookie|session[_-]?id`

// masker hides what must not be read over an operator's shoulder or pasted into a ticket. The pipeline puts no token and no
// key into a message; what is masked here is what OpenCTI's users put into their entities.
type masker struct {
	credential *regexp.Regexp // of keys
	texts      []replacement
	// personal says that the letter is about somebody's account: what names it is hidden, in its own fields and wherever
	// else it is repeated.
	personal bool
	names    []string
}

type replacement struct {
	pattern *regexp.Regexp
	with    string
}

func newMasker(entityType string) *masker {
	return &masker{
		credential: regexp.MustCompile(`(?i)(` + credentialWords + `)$`),
		texts: []replacement{
			{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), redacted},
			{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}`), "${1} " + redacted},
			{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*`), redacted}, // a JSON Web Token
			{regexp.MustCompile(`(://[^/\s:@"]*):[^/\s@"]+@`), "${1}:" + redacted + "@"},
			{regexp.MustCompile(`(?i)((?:` + credentialWords + `|\bkey|\bauth|\bsig)=)[^&\s"'<>]+`), "${1}" + redacted},
		},
		personal: isAccount(entityType),
	}
}

func isAccount(entityType any) bool {
	name, ok := entityType.(string)
	return ok && strings.EqualFold(name, "User-Account")
}

// namesAccount says whether a key holds what names an account or its owner.
func namesAccount(key string) bool {
	switch key {
	case "value", "observable_value", "representative", "main", "name", "display_name", "account_login", "user_id", "aliases":
		return true
	}
	return false
}

// body writes a body to be read: JSON in lines, text as text, anything else by its length alone.
func (m *masker) body(body []byte) string {
	if value, ok := decode(body); ok {
		m.value(value, m.personal) // finds the names that are hidden in what comes before them, too
		if text, err := encode(m.value(value, m.personal), "  "); err == nil {
			return printable(text, "\n")
		}
	}
	if !utf8.Valid(body) {
		return fmt.Sprintf("(%d bytes that are no text; export has them)", len(body))
	}
	return printable(m.text(string(body)), "\n\t")
}

func decode(text []byte) (value any, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err := decoder.Decode(&value)
	return value, err == nil && !decoder.More()
}

func encode(value any, indent string) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// value returns a copy of a JSON value with what is to be hidden hidden.
func (m *masker) value(value any, personal bool) any {
	switch v := value.(type) {
	case map[string]any:
		personal = personal || isAccount(v["type"]) || isAccount(v["entity_type"])
		masked := make(map[string]any, len(v))
		for key, field := range v {
			switch {
			case m.credential.MatchString(key) && isScalar(field):
				masked[key] = redacted
			case personal && namesAccount(strings.ToLower(key)):
				m.remember(field)
				masked[key] = redacted
			default:
				masked[m.text(key)] = m.value(field, personal)
			}
		}
		return masked
	case []any:
		masked := make([]any, len(v))
		for i, element := range v {
			masked[i] = m.value(element, personal)
		}
		return masked
	case string:
		return m.nested(v, personal)
	default:
		return value
	}
}

// nested masks a text, and the JSON in it if it is some: OpenCTI puts objects into its messages that way.
func (m *masker) nested(text string, personal bool) string {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		if value, ok := decode([]byte(text)); ok {
			if masked, err := encode(m.value(value, personal), ""); err == nil {
				return masked
			}
		}
	}
	return m.text(text)
}

// isScalar is true of what can be a credential itself: not of an object, whose fields are looked at one by one.
func isScalar(value any) bool {
	switch value.(type) {
	case map[string]any, []any, nil, bool:
		return false
	}
	return true
}

func (m *masker) remember(value any) {
	switch v := value.(type) {
	case string:
		if len(v) >= 3 && !slices.Contains(m.names, v) { // shorter ones are in every other word
			m.names = append(m.names, v)
		}
	case []any:
		for _, element := range v {
			m.remember(element)
		}
	case map[string]any:
		for _, field := range v {
			m.remember(field)
		}
	}
}

func (m *masker) text(text string) string {
	if len(text) > mostShown { // the rest would not be shown, and is a lot of work
		text = strings.ToValidUTF8(text[:mostShown], "") + "…"
	}
	for _, name := range m.names {
		text = strings.ReplaceAll(text, name, redacted)
	}
	for _, r := range m.texts {
		text = r.pattern.ReplaceAllString(text, r.with)
	}
	return text
}

// Printable returns a text on one line that does nothing to a terminal: what is not printable is written as in Go.
func Printable(text string) string { return printable(text, "") }

// printable is Printable, but for the characters in keep.
func printable(text, keep string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) && r != utf8.RuneError || strings.ContainsRune(keep, r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
