package egress

import (
	"encoding/binary"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// internal reports whether an address has no public meaning: unspecified and "this network" (RFC 1122), private (RFC 1918,
// RFC 4193), shared (RFC 6598), loopback, link-local, site-local (RFC 3879), multicast, reserved (RFC 1112), or in the
// prefix of local translators (RFC 8215). An IPv6 address that embeds such an IPv4 address is internal, too. Addresses for
// documentation and benchmarks are not.
func internal(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsUnspecified() {
		return true
	}
	for _, prefix := range internalPrefixes() {
		if prefix.Contains(address) {
			return true
		}
	}
	return slices.ContainsFunc(embeddedIPv4(address), internal)
}

func internalPrefixes() [5]netip.Prefix {
	return [...]netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{0}), 8),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{240}), 4),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0xc0}), 10),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}), 48),
	}
}

// embeddedIPv4 returns the IPv4 addresses that an IPv6 address is made from.
func embeddedIPv4(address netip.Addr) []netip.Addr {
	if address.Is4() {
		return nil
	}
	b := address.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint32(b[8:12])
	switch {
	case high == 0 && low == 0: // IPv4-compatible (RFC 4291, section 2.5.5.1)
		return []netip.Addr{last}
	case high == 0 && low == 0xffff0000: // IPv4-translated (RFC 2765, section 2.1)
		return []netip.Addr{last}
	case high == 0x0064ff9b_00000000 && low == 0: // NAT64 (RFC 6052, section 2.1)
		return []netip.Addr{last}
	case b[0] == 0x20 && b[1] == 0x02: // 6to4 (RFC 3056, section 2)
		return []netip.Addr{netip.AddrFrom4([4]byte(b[2:6]))}
	case high>>32 == 0x20010000: // Teredo: the server, and the client with all bits inverted (RFC 4380, section 4)
		client := [4]byte{^b[12], ^b[13], ^b[14], ^b[15]}
		return []netip.Addr{netip.AddrFrom4([4]byte(b[4:8])), netip.AddrFrom4(client)}
	case low == 0x00005efe || low == 0x02005efe: // ISATAP (RFC 5214, section 6.1)
		return []netip.Addr{last}
	default:
		return nil
	}
}

// parsedHost is what a host in text form may stand for.
type parsedHost struct {
	addresses []netip.Addr // every reading of the host as an address
	name      string       // in lower case, without dots at its ends; empty for an address that has one reading only
	// unreadable says that the host is no address although it is in brackets or has colons, as only addresses have.
	unreadable bool
}

// parseHost reads a host as URLs, e-mail addresses and people write it.
func parseHost(text string) parsedHost {
	text = strings.ToLower(strings.TrimSpace(text))
	if inside, ok := strings.CutPrefix(text, "["); ok {
		inside = strings.TrimSuffix(inside, "]")
		h := parseHost(inside)
		h.unreadable, h.name = len(h.addresses) == 0, ""
		return h
	}
	if address, err := netip.ParseAddr(text); err == nil {
		return parsedHost{addresses: []netip.Addr{address}}
	}
	name := strings.Trim(text, ".")
	if addresses := parseIPv4(name); len(addresses) > 0 {
		h := parsedHost{addresses: addresses}
		if strings.HasSuffix(text, "..") || tooLarge(name) {
			h.name = name // a name for those who do not take it for an address
		}
		return h
	}
	h := parsedHost{name: name}
	if address, ok := nameOfAddress(name); ok {
		h.addresses = []netip.Addr{address}
	} else {
		h.unreadable = likeIPv6.MatchString(name)
	}
	return h
}

// likeIPv6 matches what only an IPv6 address looks like, also with an unusual IPv4 notation at its end or with a zone.
var likeIPv6 = regexp.MustCompile(`^[0-9a-f]*:[0-9a-f:]*:[0-9a-fx.]*(%.*)?$`)

// parseIPv4 returns all readings of a host as an IPv4 address: up to four parts in decimal, octal and hexadecimal, of which
// the last one fills the remaining bytes, as inet_aton and the WHATWG URL standard have it
// (https://url.spec.whatwg.org/#concept-ipv4-parser); parts with leading zeros in decimal, as others read them; and a single
// number above 2^32 without its high bits. It returns nil for what is no address in any of these readings.
func parseIPv4(host string) []netip.Addr {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return nil
	}
	values := []uint32{0}
	for i, part := range parts {
		last := i == len(parts)-1
		most := uint64(0xff)
		if last {
			most = 1<<(32-8*i) - 1
		}
		var next []uint32
		for _, n := range parseNumber(part) {
			switch {
			case len(parts) == 1:
				n &= most
			case n > most:
				continue
			case !last:
				n <<= 24 - 8*i
			}
			for _, value := range values {
				next = append(next, value|uint32(n)) //nolint:gosec // at most 32 bits, see above
			}
		}
		values = next
	}
	var addresses []netip.Addr
	for _, value := range values {
		addresses = append(addresses, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, value))))
	}
	return addresses
}

// tooLarge reports whether a single number is no address without dropping bits.
func tooLarge(host string) bool {
	return slices.ContainsFunc(parseNumber(host), func(n uint64) bool { return n > 1<<32-1 })
}

// parseNumber returns the readings of one part of an IPv4 address, or nil when it is no number.
func parseNumber(part string) []uint64 {
	if hexadecimal, ok := strings.CutPrefix(part, "0x"); ok {
		return digits(hexadecimal, 16)
	}
	if part == "" {
		return nil
	}
	numbers := digits(part, 10)
	if part[0] == '0' {
		numbers = append(numbers, digits(part, 8)...)
	}
	return numbers
}

// digits reads a number. No digits at all are zero, as in "0x". Of a number beyond 64 bits it keeps the low 32 and one of
// the high ones.
func digits(text string, base uint64) []uint64 {
	var n uint64
	for _, r := range text {
		digit, err := strconv.ParseUint(string(r), int(base), 8) //nolint:gosec // 8, 10 or 16
		if err != nil {
			return nil
		}
		if n = n*base + digit; n > 1<<40 {
			n = n&(1<<32-1) | 1<<32
		}
	}
	return []uint64{n}
}

// nameOfAddress returns the address that a name spells: 1.2.0.192.in-addr.arpa (RFC 1035, section 3.5),
// ….8.b.d.0.1.0.0.2.ip6.arpa (RFC 3596, section 2.5), or fe80--1s4.ipv6-literal.net, as Windows writes it in paths. Of a
// network, and of a name below an address or a network (lb._dns-sd._udp.0.168.192.in-addr.arpa, RFC 6763), it is the first
// address.
func nameOfAddress(name string) (netip.Addr, bool) {
	if literal, ok := strings.CutSuffix(name, ".ipv6-literal.net"); ok {
		address, err := netip.ParseAddr(strings.NewReplacer("-", ":", "s", "%").Replace(literal))
		return address, err == nil
	}
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		var b [4]byte
		n := copy(b[:], numbersFromEnd(labels, 10, 8))
		return netip.AddrFrom4(b), n > 0
	}
	if labels, ok := strings.CutSuffix(name, ".ip6.arpa"); ok {
		var b [16]byte
		nibbles := numbersFromEnd(labels, 16, 4)
		for i, nibble := range nibbles[:min(len(nibbles), 32)] {
			b[i/2] |= nibble << (4 * (1 - i%2))
		}
		return netip.AddrFrom16(b), len(nibbles) > 0
	}
	return netip.Addr{}, false
}

// numbersFromEnd returns the labels that are numbers of so many bits, from the last label on up to one that is none.
func numbersFromEnd(labels string, base, bits int) []byte {
	var numbers []byte
	for _, label := range slices.Backward(strings.Split(labels, ".")) {
		n, err := strconv.ParseUint(label, base, bits)
		if err != nil {
			break
		}
		numbers = append(numbers, byte(n)) //nolint:gosec // at most 8 bits
	}
	return numbers
}
