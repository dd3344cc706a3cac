package stages

import (
	"fmt"
	"net/netip"
	neturl "net/url"
	"strings"

	"golang.org/x/net/idna"

	"opencti-ipqs-worker/internal/opencti"
)

// referenceSource is the source_name of the external reference.
const referenceSource = "IPQualityScore"

// The public lookup pages of IPQS, each followed by one value.
const (
	pageIP     = "https://www.ipqualityscore.com/ip-reputation-check/lookup/"
	pageDomain = "https://www.ipqualityscore.com/domain-reputation/"
	pageURL    = "https://www.ipqualityscore.com/threat-feeds/malicious-url-scanner/"
)

// reference returns the external reference of an observable and its indicator: the public page of IPQS about the value, and a
// description of the verdict. There is none (ok is false) for types without a public page and for values that cannot be part of
// a link without a user name or password. The page depends on the value alone, so each answer updates the same reference.
func reference(e *opencti.Entity, v *Verdict, risk *Risk) (page, description string, ok bool) {
	value := e.Value
	if risk.Sent != "" {
		value = risk.Sent
	}
	switch e.Type {
	case "IPv4-Addr", "IPv6-Addr":
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Zone() != "" {
			return "", "", false
		}
		page = pageIP + percentEncode(addr.String())
	case "Domain-Name":
		page = pageDomain + percentEncode(asciiDomain(value))
	case "Url":
		plain, public := withoutUserinfo(value)
		if !public {
			return "", "", false
		}
		page = pageURL + percentEncode(plain)
	default:
		return "", "", false
	}
	description = fmt.Sprintf("%s, %s", headline(v), instant(risk.At))
	if id := risk.Report.RequestID; id != "" {
		description += ", request " + string(id)
	}
	return page, description, true
}

// names converts host names to ASCII. Underscores are allowed: names such as _dmarc.example.com exist in OpenCTI.
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.Transitional(false))

// asciiDomain is a domain in lower-case ASCII without the trailing dot, or the domain as it is where it has no ASCII form.
func asciiDomain(domain string) string {
	ascii, err := names.ToASCII(strings.TrimSuffix(domain, "."))
	if err != nil || ascii == "" {
		return domain
	}
	return ascii
}

// withoutUserinfo removes user name and password from a URL. ok is false where it cannot be told whether there are any.
func withoutUserinfo(value string) (plain string, ok bool) {
	parsed, err := neturl.Parse(value)
	switch {
	case err == nil && parsed.Host != "" && parsed.User == nil && !strings.Contains(parsed.Host, "@"):
		return value, true
	case err == nil && parsed.Host != "" && parsed.User != nil:
		parsed.User = nil
		return parsed.String(), true
	default:
		return value, !strings.Contains(value, "@")
	}
}

// percentEncode encodes everything but letters, digits and -._~ (unreserved in RFC 3986).
func percentEncode(value string) string {
	return strings.ReplaceAll(neturl.QueryEscape(value), "+", "%20")
}
