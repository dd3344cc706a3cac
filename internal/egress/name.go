package egress

import "strings"

// internalSuffixes are the domains that are used inside networks only: reserved ones (RFC 6761, RFC 6762, RFC 7686,
// RFC 8375, ICANN resolution 2024.07.29.06 for .internal), and those that RFC 6762, appendix G, found in use.
func internalSuffixes() []string {
	return []string{
		"local", "localdomain", "localhost", "lan", "home.arpa", "internal", "intranet", "corp", "home", "private", "onion",
	}
}

// internalSuffix returns the suffix of the list that a name in lower case is under or equal to.
func internalSuffix(name string) (string, bool) {
	for _, suffix := range internalSuffixes() {
		if under(name, suffix) {
			return suffix, true
		}
	}
	return "", false
}

// under reports whether name is the domain or below it.
func under(name, domain string) bool {
	rest, ok := strings.CutSuffix(name, domain)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}
