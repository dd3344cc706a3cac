package stix

import (
	"encoding/json"
	"iter"
	"strings"
)

// The functions here walk the text of JSON that [json.Valid] has passed: they check nothing, and hand out pieces of the
// text itself, so that what Split does not change keeps its bytes. encoding/json can keep a value raw, but not the order of
// an object's keys.

// members yields the keys (in their quotes) and values of the object that text holds, in their order.
func members(text string) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		i := skipSpace(text, 1)
		for text[i] != '}' {
			keyEnd := skipString(text, i)
			key := text[i:keyEnd]
			i = skipSpace(text, keyEnd) // to the colon
			i = skipSpace(text, i+1)    // to the value
			valueEnd := skipValue(text, i)
			if !yield(key, text[i:valueEnd]) {
				return
			}
			i = nextItem(text, valueEnd)
		}
	}
}

// elements yields the elements of the array that text holds.
func elements(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		i := skipSpace(text, 1)
		for text[i] != ']' {
			end := skipValue(text, i)
			if !yield(text[i:end]) {
				return
			}
			i = nextItem(text, end)
		}
	}
}

// nextItem returns where the next item starts, or the closing bracket stands.
func nextItem(text string, i int) int {
	i = skipSpace(text, i)
	if text[i] == ',' {
		i = skipSpace(text, i+1)
	}
	return i
}

func skipSpace(text string, i int) int {
	for text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r' {
		i++
	}
	return i
}

func skipString(text string, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipValue(text string, i int) int {
	switch text[i] {
	case '"':
		return skipString(text, i)
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '"':
				i = skipString(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	default:
		for i < len(text) && !strings.ContainsRune(",]} \t\r\n", rune(text[i])) {
			i++
		}
		return i
	}
}

// unquote returns the string that a JSON string stands for. ok is false for any other JSON value.
func unquote(text string) (s string, ok bool) {
	if text == "" || text[0] != '"' {
		return "", false
	}
	if strings.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1], true
	}
	return unescape(text), true
}

// unescape is apart from unquote because its result is on the heap, needed or not. The string is known to be valid.
func unescape(text string) (s string) {
	_ = json.Unmarshal([]byte(text), &s)
	return s
}

// kindOf names the kind of a JSON value, for errors.
func kindOf(text string) string {
	switch text[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
