package pipeline

import "iter"

// members yields the members of a JSON object in order, the key without its quotes and both as they are written. It only
// looks where they begin and end: whoever decodes a value finds out whether it is valid. When the text is no object, or one
// whose members can't be told apart, it yields a nil key and ends.
func members(text []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i := space(text, 0)
		if i == len(text) || text[i] != '{' {
			yield(nil, nil)
			return
		}
		i = space(text, i+1)
		if i < len(text) && text[i] == '}' {
			if space(text, i+1) != len(text) {
				yield(nil, nil)
			}
			return
		}
		for {
			keyEnd := valueEnd(text, i)
			if keyEnd < 0 || text[i] != '"' {
				break
			}
			key := text[i+1 : keyEnd-1]
			if i = space(text, keyEnd); i == len(text) || text[i] != ':' {
				break
			}
			i = space(text, i+1)
			end := valueEnd(text, i)
			if end < 0 {
				break
			}
			value := text[i:end]
			if i = space(text, end); i == len(text) || text[i] != ',' && text[i] != '}' {
				break
			}
			last := text[i] == '}'
			i = space(text, i+1)
			if last && i != len(text) {
				break
			}
			if !yield(key, value) || last {
				return
			}
		}
		yield(nil, nil)
	}
}

func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns where the value ends that begins at i, or -1 if it does not.
func valueEnd(text []byte, i int) int {
	if i >= len(text) {
		return -1
	}
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		depth := 0
		for i < len(text) {
			switch text[i] {
			case '"':
				if i = stringEnd(text, i); i < 0 {
					return -1
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return -1
	default: // a number, true, false or null
		begin := i
		for i < len(text) && text[i] != ',' && text[i] != '}' && text[i] != ']' && text[i] > ' ' {
			i++
		}
		if i == begin {
			return -1
		}
		return i
	}
}

func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}
