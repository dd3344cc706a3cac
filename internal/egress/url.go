package egress

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// atSigns finds what a parser may decode or map to @.
var atSigns = regexp.MustCompile(`(?i)[@\x{ff20}\x{fe6b}]|%(25)*(40|EF%(25)*BC%(25)*A0|EF%(25)*B9%(25)*AB)`)

// ignored removes what parsers of URLs ignore anywhere (https://url.spec.whatwg.org/#concept-basic-url-parser).
var ignored = strings.NewReplacer("\t", "", "\r", "", "\n", "")

// structure are the parts of a URL: before is the scheme with its slashes, after begins with the path, query or fragment.
// White space around the URL, and the tabs and line breaks that parsers ignore within it, are in none of them.
type structure struct {
	before, userinfo, host, after string
	// scheme and rest are set instead of before for a URL without an authority (mailto:user@example.com, view-source:http://…).
	// It may as well be an authority without a scheme (user:password@example.com), so the other parts are set, too.
	scheme, rest string
}

var (
	schemeSlashes = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*:)?[/\\]{2,}[/\\\s]*|^[/\\]`)
	// Text in front of a URL, a scheme that a parser may map to another one, and defanged slashes: "URL: https://",
	// "\u200bhttps://", "https[://]".
	unusualScheme = regexp.MustCompile(`^[^/?#\\]*[:\x{ff1a}\x{fe55}\x{fe13}][\s()\[\]{}]*[/\\]{2,}[/\\\s)\]}]*`)
	// The schemes whose slashes may be missing (https://url.spec.whatwg.org/#special-scheme), also as people defang them.
	specialScheme = regexp.MustCompile(`(?i)^(https?|wss?|ftp|hxxps?):[/\\\s]*`)
	anyScheme     = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:`)
	port          = regexp.MustCompile(`^[0-9]*([/?#\\]|$)`)
	// The schemes in which local@domain is an address and no user at a host.
	addressScheme = regexp.MustCompile(`(?i)^(mailto|sips?|xmpp|acct|im):$`)
)

// What ends the authority of a URL: for browsers a backslash does, too.
const (
	browserDelimiters = `/?#\`
	rfc3986Delimiters = `/?#`
)

// split takes a URL apart. The user information ends at the last @ of the authority.
func split(value, delimiters string) structure {
	value = strings.TrimFunc(value, isInvisible)
	value = ignored.Replace(value)
	var s structure
	switch slashes := schemeSlashes.FindString(value); {
	case slashes != "":
		s.before = slashes
	case behindText(value) != "":
		s.before = behindText(value)
	case specialScheme.MatchString(value):
		s.before = specialScheme.FindString(value)
	default:
		if scheme := anyScheme.FindString(value); scheme != "" && !port.MatchString(value[len(scheme):]) {
			s.scheme, s.rest = scheme, value[len(scheme):]
		}
	}
	s.host, s.after = cutAny(value[len(s.before):], delimiters)
	if strings.ContainsFunc(s.host, separatesItems) { // two URLs: the first one is the text in front of the second one
		s.before += behindText(value[len(s.before):])
		s.host, s.after = cutAny(value[len(s.before):], delimiters)
	}
	if end := endOfUser(s.host); end > 0 {
		s.userinfo, s.host = s.host[:end], s.host[end:]
	} else if !validPort(s.host) {
		if end := endOfUser(s.after); end > 0 {
			// What looks like a port is none: it is a password that contains a delimiter.
			s.userinfo = s.host + s.after[:end]
			s.host, s.after = cutAny(s.after[end:], delimiters)
		}
	}
	return s
}

// behindText returns what is in front of a URL's authority if that is more than a scheme.
func behindText(value string) string {
	if before := unusualScheme.FindString(value); before != "" && endOfUser(before) == 0 {
		return before
	}
	return ""
}

// cutAny returns what is before the first of the characters, and the rest with it.
func cutAny(text, chars string) (before, rest string) {
	if i := strings.IndexAny(text, chars); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

// endOfUser returns where the last @ ends, in any notation that a parser may decode or map to it; 0 if there is none.
func endOfUser(text string) int {
	if !strings.ContainsAny(text, "@%\uff20\ufe6b") {
		return 0
	}
	signs := atSigns.FindAllStringIndex(text, -1)
	if len(signs) == 0 {
		return 0
	}
	return signs[len(signs)-1][1]
}

func validPort(host string) bool {
	i := strings.LastIndexByte(host, ':')
	return i < 0 || strings.HasPrefix(host, "[") || port.MatchString(host[i+1:])
}

// WithoutCredentials returns the URL without user name and password; one without them stays exactly as it is.
func WithoutCredentials(value string) string { return stripped(value, maxReadings) }

// stripped is WithoutCredentials for a value that is at most so many URLs within each other; readings refuses others
// and those whose host is longer than maxHost.
func stripped(value string, nested int) string {
	s := split(value, browserDelimiters)
	switch {
	case nested == 0, addressScheme.MatchString(s.scheme) && !strings.Contains(strings.TrimPrefix(s.userinfo, s.scheme), ":"):
		return value
	case s.scheme != "" && len(s.host) <= maxHost && (anyScheme.MatchString(s.rest) || schemeSlashes.MatchString(s.rest)):
		if inner := stripped(s.rest, nested-1); inner != s.rest {
			return s.scheme + inner
		}
		return value
	case s.userinfo == "":
		return value
	case len(s.host) > maxHost:
		return s.before + s.host + s.after
	default:
		return stripped(s.before+s.host+s.after, nested-1) // what is left may be read to have others
	}
}

// hostOf returns the host of a URL as it is written, without its port, or "" when there is none.
func hostOf(value string) string {
	s := split(value, browserDelimiters)
	for range maxReadings {
		if s.scheme == "" || s.userinfo != "" {
			break
		}
		s = split(s.rest, browserDelimiters)
	}
	return strings.TrimFunc(withoutPort(strings.TrimFunc(s.host, isBlank)), isBlank)
}

// reading is one way to read the host of a value.
type reading struct {
	host string
	// whole says that a parser reads all of the host, and not only what is before a character that it does not expect.
	whole bool
	// final says that there is nothing left to decode: a host without a dot has none.
	final bool
}

// maxReadings bounds how many ways to read a value are followed, and maxHost how long a host may be with all its encoding, in
// bytes: names in the DNS have 255 at most (RFC 1035, section 2.3.4), and punycode takes quadratic time.
const (
	maxReadings = 64
	maxHost     = 4096
)

// readings returns the hosts that a URL, a host or an address may be read to have: as it is written, as parsers that do not
// agree on its end see it, and after each step of decoding. It returns false when there are too many, or one is too long.
func readings(value string) (found []reading, ok bool) {
	type text struct {
		value string
		whole bool // see reading
	}
	queue := []text{{value, true}}
	follow := func(next text) {
		if next.value != "" && !slices.Contains(queue, next) {
			queue = append(queue, next)
		}
	}
	for i := 0; i < len(queue); i++ {
		if i == maxReadings {
			return nil, false
		}
		for _, delimiters := range []string{browserDelimiters, rfc3986Delimiters} {
			s := split(queue[i].value, delimiters)
			if len(s.host) > maxHost {
				return nil, false
			}
			found = append(found, reading{host: withoutPort(s.host), whole: queue[i].whole})
			last := &found[len(found)-1]
			next := normalized(s.before + s.host)
			for _, part := range parts(s, next == s.before+s.host) {
				follow(text{part, false})
			}
			if s.scheme != "" {
				follow(text{s.rest, queue[i].whole})
				continue
			}
			last.final = queue[i].whole && next == s.before+s.host
			follow(text{next, queue[i].whole})
		}
	}
	return found, true
}

// parts returns the texts within a host that lenient parsers may take for the host: what is before a character that no host
// has, the items of a list, an address in brackets, and what is in front of a URL. decoded says that nothing is left to decode.
func parts(s structure, decoded bool) []string {
	var found []string
	if schemeSlashes.FindString(s.before) != s.before && specialScheme.FindString(s.before) != s.before {
		found = append(found, strings.TrimRight(s.before, `/\`))
	}
	host := strings.TrimFunc(unescaped(s.host), isInvisible)
	if items := strings.FieldsFunc(host, separatesItems); len(items) > 0 && items[0] != host {
		found = append(found, items[0])
		for _, item := range items[1:] {
			if strings.ContainsAny(item, ".:") {
				found = append(found, item)
			}
		}
	}
	if !decoded || isIP(host) {
		return found
	}
	if i := strings.IndexByte(host, '['); i > 0 && len(parseHost(withoutPort(host[i:])).addresses) > 0 {
		found = append(found, host[i:])
	}
	begin := strings.TrimLeftFunc(host, func(r rune) bool { return r == ':' || !inHost(r) })
	if end := strings.IndexFunc(begin, func(r rune) bool { return !inHost(r) }); end >= 0 {
		begin = begin[:end]
	}
	if name, _, _ := strings.Cut(begin, ":"); strings.Contains(name, ".") {
		begin = name
	}
	if begin != host {
		found = append(found, begin)
	}
	return found
}

func separatesItems(r rune) bool { return isBlank(r) || strings.ContainsRune(",;|", r) }

// inHost reports whether a host may contain a character. Characters that are not ASCII have been mapped before.
func inHost(r rune) bool {
	return r >= 0x80 || unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:", r)
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// isInvisible reports whether a character is blank or ignored by the mapping of IDNA.
func isInvisible(r rune) bool {
	return isBlank(r) || unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// withoutPort returns the host without its port. Several colons without brackets are an IPv6 address, with a port only if
// they are none otherwise.
func withoutPort(host string) string {
	if strings.HasPrefix(host, "[") {
		if i := strings.IndexByte(host, ']'); i >= 0 {
			host = host[:i+1]
		}
		return host
	}
	i := strings.LastIndexByte(host, ':')
	if i < 0 || isIP(host) || strings.Count(host, ":") > 1 && !isIP(host[:i]) {
		return host
	}
	return host[:i]
}

func isIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// lookupProfile maps names as the lookup of a name does (UTS #46), and is strict about nothing: what a resolver would refuse
// is not to slip through unmapped.
var lookupProfile = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.ValidateLabels(false),
	idna.CheckHyphens(false), idna.CheckJoiners(false),
)

// refang undoes how people defang names so that nobody follows them.
var refang = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "[:]", ":")

// normalized returns a text after one step of decoding: percent encoding, compatibility characters such as full-width
// digits, ignored and white space, punycode, upper case, dots of other scripts, and defanging.
func normalized(text string) string {
	text = strings.Map(func(r rune) rune {
		if isInvisible(r) {
			return -1
		}
		return r
	}, norm.NFKC.String(unescaped(text)))
	if mapped, _ := lookupProfile.ToUnicode(text); mapped != "" { // with an error, what could be mapped
		text = mapped
	}
	return refang.Replace(strings.ToLower(text))
}

var encodedByte = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

// unescaped decodes percent encoding once. What is no valid escape stays as it is.
func unescaped(text string) string {
	return encodedByte.ReplaceAllStringFunc(text, func(escape string) string {
		if decoded, err := url.PathUnescape(escape); err == nil {
			return decoded
		}
		return escape
	})
}
