// Package egress decides which values of observables may be sent to IPQS, and in which form.
//
// A value that names something inside a network must not leave it: a private address, a host name without a dot, a name
// under a suffix such as .local, and what the operator lists in IPQS_EXCLUDE. Values come from third parties, so the
// notation is not trusted: a [Guard] refuses a value if any reading of it that a lenient parser may have is internal. It
// reads IPv4 numbers in octal, hexadecimal and with fewer than four parts, addresses embedded in IPv6, percent encoding,
// characters that IDNA maps to others, punycode, several ways to end a URL's authority, text around a URL or a host, and
// comments in e-mail addresses.
//
// The opposite case is a host that cannot be read at all. It is sent, because IPQS refuses it, unless it has no dot: such a
// value would be a host name of the local network to whoever resolves it.
//
// Phone numbers, logins and files name no host, so they are never refused here.
//
// The package imports nothing of this project. All values of its types are immutable and safe for concurrent use.
package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// Cause says why a value is refused. The texts are the reasons of skipped jobs.
type Cause string

// The causes.
const (
	// Private: the value is or contains a private or reserved address.
	Private Cause = "private_address"
	// InternalName: the value is or contains a host name of an internal network.
	InternalName Cause = "internal_name"
	// Excluded: IPQS_EXCLUDE matches the value.
	Excluded Cause = "excluded"
	// Network: the value is a network of more than one address, for which IPQS has no endpoint.
	Network Cause = "network"
)

// RefusedError is the error of a value that must not be sent. Its text does not repeat the value.
type RefusedError struct {
	Cause Cause
	text  string
}

// Error says in a sentence why the value is not sent.
func (e *RefusedError) Error() string { return e.text }

func refused(cause Cause, format string, args ...any) *RefusedError {
	return &RefusedError{Cause: cause, text: fmt.Sprintf(format, args...)}
}

// URLForm says how much of a URL is sent. User name and password are sent in none of the forms.
type URLForm string

// The forms.
const (
	// FullURL is the URL with its path, query and fragment.
	FullURL URLForm = "full"
	// WithoutQuery is the URL without its query and fragment.
	WithoutQuery URLForm = "without-query"
	// HostOnly is the host name or address of the URL, without scheme, port and path.
	HostOnly URLForm = "host"
)

// Guard decides about values. The zero value refuses what is internal everywhere, excludes nothing else, and sends full
// URLs.
type Guard struct {
	exclusions Exclusions
	form       URLForm
}

// New returns a Guard that refuses what exclusions match, too, and sends URLs in the given form; "" is [FullURL].
func New(exclusions Exclusions, form URLForm) Guard {
	return Guard{exclusions: exclusions, form: form}
}

// Check returns what to send for a value of one of OpenCTI's observable types ("IPv4-Addr"), or the reason to send nothing.
// What is sent differs from the value in three cases: a URL's credentials are removed, a URL is shortened to the Guard's
// form, and a network of one address is sent as the address. Types without host names are sent as they are.
func (g Guard) Check(entityType, value string) (sent string, refusal *RefusedError) {
	switch strings.ToLower(entityType) {
	case "ipv4-addr", "ipv6-addr":
		return g.address(value)
	case "url", "domain-name", "hostname":
		return g.url(value)
	case "email-addr":
		if refusal := g.email(value); refusal != nil {
			return "", refusal
		}
		return value, nil
	default:
		return value, nil
	}
}

// address decides about an address or a network.
func (g Guard) address(value string) (string, *RefusedError) {
	if refusal := g.inspect(value); refusal != nil {
		return "", refusal
	}
	plain := normalized(value)
	first, size, isNetwork := strings.Cut(plain, "/")
	isNetwork = isNetwork && len(parseHost(first).addresses) > 0
	if isNetwork && size == fullSize(first) {
		return first, nil
	}
	if !isNetwork {
		first, isNetwork = rangeStart(plain)
	}
	if !isNetwork {
		return value, nil
	}
	if refusal := g.inspect(first); refusal != nil {
		return "", refusal
	}
	return "", refused(Network, "the value is a network of more than one address, and IPQS looks up single addresses only")
}

// fullSize is the prefix length of a network of one address.
func fullSize(address string) string {
	if strings.Contains(address, ":") {
		return "128"
	}
	return "32"
}

// rangeStart returns the first address of a network in one of the notations that are not CIDR: 198.51.100.0-198.51.100.9,
// 198.51.100.0-9 or 198.51.100.*.
func rangeStart(plain string) (first string, ok bool) {
	first, _, isRange := strings.Cut(plain, "-")
	if !isRange {
		first = strings.ReplaceAll(plain, "*", "0")
	}
	return first, first != plain && len(parseHost(first).addresses) > 0
}

// url decides about a URL or a domain name, which IPQS takes at the same endpoint.
func (g Guard) url(value string) (string, *RefusedError) {
	sent := WithoutCredentials(value)
	if refusal := g.inspect(sent); refusal != nil {
		return "", refusal
	}
	if g.form != HostOnly && g.form != WithoutQuery {
		return sent, nil
	}
	host := hostOf(sent)
	if sent, _ = cutAny(sent, "?#"); g.form == HostOnly && host != "" {
		sent = host
	}
	if refusal := g.inspect(sent); refusal != nil { // what is left may be read in another way
		return "", refusal
	}
	return sent, nil
}

// email decides about an e-mail address. An address is refused for every domain that it may be read to have, with and without
// its comments.
func (g Guard) email(value string) *RefusedError {
	value = atSigns.ReplaceAllString(value, "@")
	if refusal := g.domains(value); refusal != nil {
		return refusal
	}
	if bare := withoutComments(value); bare != value {
		return g.domains(bare)
	}
	return nil
}

func (g Guard) domains(value string) *RefusedError {
	parts := strings.Split(withoutQuotedLocal(value), "@")
	if len(parts) == 1 {
		// It is no address. Without a domain there is no local name either, so a word alone is left for IPQS to refuse.
		if strings.ContainsAny(value, ".:[") {
			return g.inspect(value)
		}
		return nil
	}
	if len(parts) > maxReadings {
		return tooLong()
	}
	for _, domain := range parts[1:] {
		// A domain ends where a list has its delimiter, but white space within it is allowed (RFC 5322, section 4.4).
		for _, reading := range []string{cutList(domain), domain} {
			if refusal := g.inspect(withoutTag(strings.TrimSpace(reading))); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

// withoutComments removes comments, which may be nested and stand anywhere but in quotes (RFC 5322, section 3.2.2). What is
// no address because of a missing parenthesis is returned with white space for the parentheses.
func withoutComments(value string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value):
			if i++; depth == 0 {
				b.WriteString(value[i-1 : i+1])
			}
		case c == '"' && depth == 0:
			quoted = !quoted
			b.WriteByte(c)
		case c == '(' && !quoted:
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	if depth > 0 {
		return strings.NewReplacer("(", " ", ")", " ").Replace(value)
	}
	return b.String()
}

// withoutQuotedLocal removes a quoted local part, which may contain an @ (RFC 5321, section 4.1.2).
func withoutQuotedLocal(value string) string {
	if !strings.HasPrefix(value, `"`) {
		return value
	}
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case '"':
			return value[i+1:]
		}
	}
	return value
}

// cutList returns what is before a delimiter of lists and of names.
func cutList(text string) string {
	text, _ = cutAny(strings.TrimSpace(text), "<>,;\" ")
	return text
}

// withoutTag removes the tag of an IPv6 literal: [IPv6:2001:db8::1] (RFC 5321, section 4.1.3).
func withoutTag(text string) string {
	if tag := "[ipv6:"; len(text) > len(tag) && strings.EqualFold(text[:len(tag)], tag) {
		return "[" + text[len(tag):]
	}
	return text
}

func tooLong() *RefusedError {
	return refused(Private, "the host is too long or encoded too often to be read, so it may be an internal address")
}

// inspect refuses a value if one reading of it is a host that must not be named outside.
func (g Guard) inspect(value string) *RefusedError {
	all, ok := readings(value)
	if !ok {
		return tooLong()
	}
	for _, reading := range all {
		if refusal := g.host(reading); refusal != nil {
			return refusal
		}
	}
	return nil
}

// meaningless reports whether a host is a number that stands for an address in 0.0.0.0/8. Any small number does, so the
// beginning of a text that is no host should not be taken for it.
func meaningless(host string, address netip.Addr) bool {
	return !strings.Contains(strings.Trim(host, "."), ".") && address.Is4() && address.As4()[0] == 0
}

func (g Guard) host(r reading) *RefusedError {
	h := parseHost(r.host)
	for _, address := range h.addresses {
		if internal(address) && (r.whole || !meaningless(r.host, address)) {
			return refused(Private, "the value is or contains a private or reserved address")
		}
		if entry, ok := g.exclusions.address(address); ok {
			return refused(Excluded, "the address is in the network %s of IPQS_EXCLUDE", entry)
		}
	}
	switch {
	case h.unreadable:
		return refused(Private, "the host is an address literal that cannot be read, so it may be an internal address")
	case h.name == "":
		return nil
	}
	if entry, ok := g.exclusions.name(h.name); ok {
		return refused(Excluded, "the host name matches %s of IPQS_EXCLUDE", entry)
	}
	if suffix, ok := internalSuffix(h.name); ok && (r.whole || strings.Contains(h.name, ".")) {
		return refused(InternalName, "the host name is under .%s, which is used in internal networks only", suffix)
	}
	if r.final && !strings.Contains(h.name, ".") {
		return refused(InternalName, "the host name has a single label, so it is a name of a local network")
	}
	return nil
}
