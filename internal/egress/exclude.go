package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Exclusions are the entries of IPQS_EXCLUDE. The zero value matches nothing.
type Exclusions struct {
	names    map[string]bool // domains, as parseHost returns names
	networks []netip.Prefix
}

// ParseExclusions reads domains ("example.com", which covers the names below it, too; "*.example.com" and ".example.com" are
// the same), addresses and networks in CIDR notation. The error names the first entry that is none of them.
func ParseExclusions(entries []string) (Exclusions, error) {
	e := Exclusions{names: make(map[string]bool)}
	for _, entry := range entries {
		if network, ok := parseNetwork(entry); ok {
			e.networks = append(e.networks, network)
			continue
		}
		name, ok := parseDomain(entry)
		if !ok {
			return Exclusions{}, fmt.Errorf("%q is no domain, address or network", entry)
		}
		e.names[name] = true
	}
	return e, nil
}

func parseNetwork(entry string) (netip.Prefix, bool) {
	if address, err := netip.ParseAddr(entry); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	network, err := netip.ParsePrefix(entry)
	if err != nil {
		return netip.Prefix{}, false
	}
	if address := network.Addr(); address.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(address.Unmap(), network.Bits()-96)
	}
	return network.Masked(), true
}

func parseDomain(entry string) (string, bool) {
	entry = strings.TrimPrefix(strings.TrimPrefix(entry, "*."), ".")
	if strings.ContainsAny(entry, " \t@:/\\?#%*<>[](){}\"'") {
		return "", false
	}
	name := strings.TrimSuffix(normalized(entry), ".")
	labels := strings.Split(name, ".")
	if slices.Contains(labels, "") || parseNumber(labels[len(labels)-1]) != nil {
		return "", false
	}
	return name, true
}

// address returns the network that an address, or an IPv4 address embedded in it, is in.
func (e Exclusions) address(address netip.Addr) (string, bool) {
	if len(e.networks) == 0 {
		return "", false
	}
	address = address.Unmap().WithZone("")
	for _, candidate := range append(embeddedIPv4(address), address) {
		for _, network := range e.networks {
			if network.Contains(candidate) {
				return network.String(), true
			}
		}
	}
	return "", false
}

// name returns the entry that a name in lower case is under or equal to.
func (e Exclusions) name(name string) (string, bool) {
	for len(e.names) > 0 {
		if e.names[name] {
			return name, true
		}
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = parent
	}
	return "", false
}
