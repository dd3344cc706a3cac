// Package observable reads what people type: a value, and which of OpenCTI's observable types it is.
//
// [Detect] guesses the type and [Parse] is told it; both refuse a value that is none of its kind, because a lookup of
// nonsense costs a credit and answers nothing. Values are kept exactly as given.
package observable

import (
	"fmt"
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Observable is a value and its type in OpenCTI's words ("IPv4-Addr").
type Observable struct {
	Type, Value string
}

// kind is one type: how a value of it is recognised, and how one is described to whoever typed something else.
type kind struct {
	name  string
	looks func(value string) bool // unmistakably meant as one, valid or not
	valid func(value string) bool
	want  string
}

// kinds in the order they are tried.
var kinds = []kind{
	{"IPv4-Addr", isIPv4, isIPv4, "an IPv4 address such as 198.51.100.7"},
	{"IPv6-Addr", looksIPv6, isIPv6, "an IPv6 address such as 2001:db8::7, without zone or brackets"},
	{"Url", looksURL, isURL, "a URL with scheme and host such as https://example.com/path (not defanged)"},
	{"Email-Addr", looksEmail, isEmail, "one e-mail address such as user@example.com"},
	{"Phone-Number", looksPhone, isPhone, "a phone number of 7 to 15 digits, best with its country code: +18005550100"},
	{"Domain-Name", isDomain, isDomain, "a domain name such as example.com"},
	{"User-Account", never, isLogin, "the login of an account: a user name or an e-mail address"},
	{"Artifact", never, isPath, "the path of a file to have scanned"},
}

// Error says why a value can't be looked up.
type Error struct {
	Value string
	Type  string // the type it was given or looks like; empty when it looks like none
	Want  string
}

func (e *Error) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("%q looks like no observable: want %s", shortened(e.Value), e.Want)
	}
	return fmt.Sprintf("%q is no %s: want %s", shortened(e.Value), e.Type, e.Want)
}

// never is how a value looks whose type has to be told.
func never(string) bool { return false }

func isLogin(v string) bool { return v != "" && utf8.RuneCountInString(v) <= 512 }

func isPath(v string) bool { return v != "" }

// Types lists the names of the types, for help texts.
func Types() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Detect returns the value with the type that it looks like, or an [*Error].
func Detect(value string) (Observable, error) {
	for _, k := range kinds {
		if k.looks(value) {
			return k.check(value)
		}
	}
	return Observable{}, &Error{Value: value, Want: "an IP address, e-mail address, URL, domain name or phone number"}
}

// Parse returns the value as the given type, in any case; an [*Error] when it is no such value, and another error when
// there is no such type.
func Parse(typeName, value string) (Observable, error) {
	for _, k := range kinds {
		if strings.EqualFold(k.name, typeName) {
			return k.check(value)
		}
	}
	return Observable{}, fmt.Errorf("type %q is unknown: want one of %s", typeName, strings.Join(Types(), ", "))
}

func (k kind) check(value string) (Observable, error) {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) || !k.valid(value) {
		return Observable{}, &Error{Value: value, Type: k.name, Want: k.want}
	}
	return Observable{Type: k.name, Value: value}, nil
}

// isIPv4 takes an address or a network in CIDR notation, both of which OpenCTI keeps as this type. Networks are recognized so
// that the guard can say why they are not looked up.
func isIPv4(v string) bool {
	addr, err := parseAddress(v)
	return err == nil && addr.Is4()
}

func looksIPv6(v string) bool {
	return strings.Count(v, ":") >= 2 && !strings.ContainsAny(v, "/@") || isIPv6(v)
}

// isIPv6 takes an address without zone, or a network in CIDR notation.
func isIPv6(v string) bool {
	addr, err := parseAddress(v)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// parseAddress returns the address, or that of the network.
func parseAddress(v string) (netip.Addr, error) {
	if network, err := netip.ParsePrefix(v); err == nil {
		return network.Addr(), nil
	}
	return netip.ParseAddr(v)
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

func looksURL(v string) bool { return scheme.MatchString(v) }

// isURL is lenient after the scheme: what IPQS and a STIX pattern can carry may well be what a browser would refuse.
func isURL(v string) bool {
	rest := scheme.ReplaceAllString(v, "")
	host, _, _ := strings.Cut(rest, "/")
	defanged := strings.HasPrefix(strings.ToLower(v), "hxxp") || strings.Contains(host, "[.]")
	return host != "" && !strings.ContainsAny(host, " \t") && !defanged
}

func looksEmail(v string) bool { return strings.Contains(v, "@") }

func isEmail(v string) bool {
	at := strings.LastIndex(v, "@")
	if strings.ContainsAny(v, "<>") || at < 1 {
		return false
	}
	if domain := v[at+1:]; isAddressLiteral(domain) {
		v = v[:at+1] + "example.com" // net/mail does not take literals
	} else if !isDomain(domain) {
		return false
	}
	address, err := mail.ParseAddress(v)
	return err == nil && address.Name == ""
}

// isAddressLiteral accepts the domains of RFC 5321, section 4.1.3: [198.51.100.7] and [IPv6:2001:db8::7].
func isAddressLiteral(domain string) bool {
	inside, ok := strings.CutPrefix(domain, "[")
	inside, closed := strings.CutSuffix(inside, "]")
	if tag := "ipv6:"; len(inside) > len(tag) && strings.EqualFold(inside[:len(tag)], tag) {
		inside = inside[len(tag):]
	}
	_, err := netip.ParseAddr(inside)
	return ok && closed && err == nil
}

var (
	phoneLike  = regexp.MustCompile(`^\+?[0-9 ().-]+$`)
	phoneNoise = strings.NewReplacer(" ", "", "(", "", ")", "", ".", "", "-", "", "+", "")
)

// looksPhone takes a plus, or nothing but seven digits and more; what contains an IPv4 address was meant as one.
func looksPhone(v string) bool {
	if !phoneLike.MatchString(v) || strings.HasPrefix(v, "+") {
		return phoneLike.MatchString(v)
	}
	groups := strings.FieldsFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	return strings.Count(v, ".") != 3 && len(phoneNoise.Replace(v)) >= 7 && !slices.ContainsFunc(groups, likeIPv4)
}

// likeIPv4 reports whether numbers with dots are an IPv4 address of two, three or four parts, of which the last one fills the
// remaining bytes (inet_aton).
func likeIPv4(group string) bool {
	parts := strings.Split(group, ".")
	if len(parts) < 2 || len(parts) > 4 {
		return false
	}
	for i, part := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = 32 - 8*i
		}
		if _, err := strconv.ParseUint(part, 10, bits); err != nil {
			return false
		}
	}
	return true
}

func isPhone(v string) bool {
	digits := len(phoneNoise.Replace(v))
	return phoneLike.MatchString(v) && digits >= 7 && digits <= 15
}

var label = regexp.MustCompile(`^[\pL\pN_]([\pL\pN\pM_-]*[\pL\pN\pM_])?$`)

// isDomain accepts what resolvers do: two labels or more, letters of any script, a last one that is no number, with or
// without the root's dot.
func isDomain(v string) bool {
	v = strings.TrimSuffix(v, ".")
	labels := strings.Split(v, ".")
	if len(v) > 1000 || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if utf8.RuneCountInString(l) > 63 || !label.MatchString(l) {
			return false
		}
	}
	return strings.ContainsFunc(labels[len(labels)-1], unicode.IsLetter)
}

func shortened(v string) string {
	const most = 80
	if utf8.RuneCountInString(v) <= most {
		return v
	}
	return string([]rune(v)[:most]) + "…"
}
