package ipqstest

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// What stands in place of data that the plan does not include, and of lookups that are switched off.
const (
	premium     = "Premium required."
	upgraded    = "Upgraded plan required."
	mini        = "Enterprise Mini or higher required."
	levelFour   = "Enterprise L4+ required."
	plus        = "Enterprise Plus or higher required."
	events      = "Enterprise plan required to view abuse events and active proxy networks"
	switchedOff = "Disabled for performance. Contact support for further assistance."
)

// endpoints is who answers for which kind. The fields are the caller's to change.
var endpoints = map[ipqs.Kind]func(value string, free bool) map[string]any{
	ipqs.KindIP:    ipAnswer,
	ipqs.KindEmail: emailAnswer,
	ipqs.KindPhone: phoneAnswer,
	ipqs.KindURL:   urlAnswer,

	ipqs.KindLeakEmail:    leakAnswer(ipqs.KindLeakEmail),
	ipqs.KindLeakUsername: leakAnswer(ipqs.KindLeakUsername),
	ipqs.KindLeakPassword: leakAnswer(ipqs.KindLeakPassword),
}

type network struct {
	isp, kind, country, region, city, timezone string
	asn                                        int
	latitude, longitude                        any
}

// The numbers of the autonomous systems are those that RFC 5398 sets aside for documentation.
var networks = []network{
	{"Sample Fibre", "Residential", "DE", "Hesse", "Frankfurt am Main", "Europe/Berlin", 64496, 50.11, 8.68},
	{"Example Mobile", "Mobile", "FR", "Ile-de-France", "Paris", "Europe/Paris", 64497, 48.86, 2.35},
	{"Placeholder Hosting", "Data Center", "NL", "North Holland", "Amsterdam", "Europe/Amsterdam", 64498, 52.37, 4.9},
	{"Documentation Cable", "Residential", "US", "Colorado", "Denver", "America/Denver", 64499, 40, -105},
	{"Specimen Works", "Corporate", "GB", "England", "London", "Europe/London", 65536, 51.51, -0.13},
	{"Universitas Exempli", "Education", "IT", "Lazio", "Rome", "Europe/Rome", 65537, 41.9, 12.5},
	{"Dummy Cloud", "Data Center", "SG", "Singapore", "Singapore", "Asia/Singapore", 65538, 1.29, 103.85},
}

var hostname = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)+$`)

// block returns which of the special ranges holds the address, or "".
func block(addr netip.Addr) string {
	for name, prefixes := range map[string][]string{
		"vpn":        {"198.51.100.0/26", "2001:db8:f0::/48"},
		"tor":        {"198.51.100.64/26", "2001:db8:f1::/48"},
		"home proxy": {"198.51.100.128/26", "2001:db8:f2::/48"},
		"unknown":    {"198.51.100.192/26", "2001:db8:f3::/48"},
	} {
		for _, prefix := range prefixes {
			if netip.MustParsePrefix(prefix).Contains(addr.Unmap()) {
				return name
			}
		}
	}
	return ""
}

func ipAnswer(value string, free bool) map[string]any {
	addr, err := netip.ParseAddr(value)
	switch {
	case value == "":
		return refusal("")
	case err != nil && (!hostname.MatchString(value) || onlyDigits.MatchString(value)), addr.Zone() != "":
		return refusal(MessageInvalidIP)
	}
	d := diceOf(ipqs.KindIP, value)
	score, net, special := d.score(), pick(d, networks...), block(addr)
	host := value
	if d.oneIn(2) {
		host = fmt.Sprintf("host-%d.sample.example", d.IntN(10_000))
	}
	var vpn, tor, proxy bool
	switch special {
	case "vpn":
		vpn, proxy, host, net = true, true, fmt.Sprintf("vpn-%d.placeholder.example", d.IntN(100)), networks[2]
		score = max(score, d.between(60, 90))
	case "tor":
		vpn, tor, proxy, host, net = true, true, true, fmt.Sprintf("tor-exit-%d.example.net", d.IntN(100)), networks[6]
		score = d.between(76, 100)
	case "home proxy":
		proxy, host, net = true, value, networks[0]
		score = max(score, d.between(51, 90))
	default:
		proxy = score > 75
	}
	fields := map[string]any{
		"success": true, "message": "Success", "fraud_score": score,
		"country_code": net.country, "region": net.region, "city": net.city, "timezone": net.timezone, "zip_code": "N/A",
		"ISP": net.isp, "organization": net.isp, "ASN": net.asn, "host": host,
		"latitude": net.latitude, "longitude": net.longitude,
		"is_crawler": d.oneIn(20), "mobile": net.kind == "Mobile",
		"proxy": proxy, "vpn": vpn, "tor": tor, "active_vpn": vpn && !tor, "active_tor": tor,
		"recent_abuse": score >= 85, "bot_status": d.oneIn(4),
		"connection_type": net.kind, "abuse_velocity": level(score),
		"shared_connection": d.oneIn(3), "dynamic_connection": net.kind == "Residential", "frequent_abuser": score >= 90,
		"high_risk_attacks": score >= 95, "security_scanner": d.oneIn(30), "trusted_network": score == 0,
		"abuse_events": []string{},
	}
	if score > 75 {
		fields["abuse_events"] = []string{pick(d, "Open Proxies", "Abusive Users"), pick(d, "IPQS Honeypots", "Bot Attacks")}
	}
	if special == "unknown" || d.oneIn(8) {
		fields["ASN"] = nil
	}
	if special == "unknown" {
		for _, name := range []string{
			"country_code", "region", "city", "timezone", "ISP", "organization", "latitude", "longitude",
		} {
			fields[name] = "N/A"
		}
	}
	if free {
		fields["connection_type"], fields["abuse_velocity"] = premium, premium
		fields["abuse_events"] = []string{events}
		if d.oneIn(2) {
			delete(fields, "abuse_events")
		}
		for _, name := range []string{
			"shared_connection", "dynamic_connection", "frequent_abuser", "high_risk_attacks", "security_scanner",
			"trusted_network",
		} {
			delete(fields, name)
		}
	}
	return fields
}

// onlyDigits tells a mistyped IPv4 address from a host name.
var onlyDigits = regexp.MustCompile(`^[0-9.]+$`)

func emailAnswer(value string, free bool) map[string]any {
	if value == "" {
		return refusal("")
	}
	d := diceOf(ipqs.KindEmail, value)
	has := func(word string) bool { return strings.Contains(strings.ToLower(value), word) }
	score := d.score()
	local, domain, ok := strings.Cut(value, "@")
	valid := ok && hostname.MatchString(domain) && !has("invalid")
	if has("disposable") || has("spamtrap") {
		score = d.between(88, 100)
	}
	fields := map[string]any{
		"success": true, "message": "Success.", "fraud_score": score,
		"valid": valid && !has("timeout"), "timed_out": has("timeout"), "suspect": has("catchall"),
		"disposable": has("disposable"), "generic": local == "info" || local == "admin", "common": d.oneIn(3),
		"catch_all": has("catchall"), "dns_valid": valid, "honeypot": has("spamtrap"),
		"frequent_complainer": d.oneIn(10), "recent_abuse": score >= 85, "leaked": has("leaked") || d.oneIn(5),
		"risky_tld": strings.HasSuffix(domain, ".invalid"), "spf_record": valid, "dmarc_record": valid && d.oneIn(2),
		"smtp_score": pick(d, -1, 0, 1, 2, 3), "overall_score": d.between(0, 4),
		"deliverability": pick(d, "high", "medium", "low"), "spam_trap_score": level(score),
		"first_name": pick(d, "Unknown", "CORPORATE", "Jane"), "suggested_domain": "N/A", "sanitized_email": value,
		"domain_age": domainAge(d), "first_seen": age(1_483_250_461, "2017-01-01T01:01:01-05:00", "9 years ago"),
		"domain_trust": trust(score), "domain_velocity": level(d.score()), "user_activity": switchedOff,
		"associated_names": map[string]any{"status": "Associated names found.", "names": []string{"JANE SPECIMEN"}},
		"associated_phone_numbers": map[string]any{
			"status": "Associated phone numbers found.", "phone_numbers": []string{"12025550142"},
		},
		"identity_data": []any{map[string]any{
			"names": []any{map[string]any{"first_name": "JANE", "last_name": "SPECIMEN"}}, "age": []any{},
		}},
		"mx_records": []string{"mx1." + domain, "mx2." + domain}, "a_records": []string{ipv4(d), ipv4(d)},
		"result_type": "live",
	}
	if !valid {
		fields["deliverability"], fields["mx_records"], fields["a_records"] = "low", []string{""}, []string{}
		fields["domain_age"] = age(nil, nil, nil)
	}
	if has("noscore") {
		fields["fraud_score"] = nil
	}
	if free {
		fields["domain_trust"], fields["domain_velocity"], fields["user_activity"] = upgraded, mini, levelFour
		fields["associated_names"] = map[string]any{"status": plus, "names": []string{}}
		fields["associated_phone_numbers"] = map[string]any{"status": plus, "phone_numbers": []string{}}
		delete(fields, "identity_data")
	}
	return fields
}

func phoneAnswer(value string, free bool) map[string]any {
	if value == "" {
		return refusal("")
	}
	d := diceOf(ipqs.KindPhone, value)
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, value)
	status := plus
	if !free {
		status = "No associated emails found."
	}
	fields := map[string]any{
		"success": true, "message": "Phone is valid.", "valid": true, "fraud_score": d.score(),
		"formatted": "+" + digits, "local_format": "(" + tail(digits, 10) + ")",
		"recent_abuse": d.oneIn(6), "VOIP": false, "prepaid": pick[any](d, nil, true, false), "risky": d.oneIn(4),
		"active": true, "active_status": "N/A", "leaked": d.oneIn(5), "spammer": d.oneIn(10),
		"do_not_call": strings.HasPrefix(digits, "1") && d.oneIn(2), "tcpa_blacklist": false, "accurate_country_code": false,
		"carrier":   pick(d, "Sample Wireless", "Example Telecom", "Placeholder Mobile"),
		"line_type": pick(d, "Wireless", "Landline", "VOIP"), "dialing_code": nil,
		"country": "N/A", "region": "N/A", "city": "N/A", "zip_code": "N/A", "timezone": "N/A", "mcc": "310", "mnc": "004",
		"sms_domain": "sms.example.net", "sms_email": digits + "@sms.example.net", "name": "JANE SPECIMEN, JOHN SPECIMEN",
		"user_activity":              switchedOff,
		"associated_email_addresses": map[string]any{"status": status, "emails": []string{}},
		"number_recycling": map[string]any{
			"message":           "Number recycling feature disabled. Please contact support to activate.",
			"recently_recycled": nil, "last_ported_date": nil, "ported": nil,
		},
		"identity_data": []any{},
	}
	fields["VOIP"] = fields["line_type"] == "VOIP"
	for _, c := range []struct {
		prefix, country, region, timezone string
		dialing                           int
	}{
		{"1", "US", "DC", "America/New_York", 1},
		{"44", "GB", "United Kingdom", "Europe/London", 44},
		{"33", "FR", "France", "Europe/Paris", 33},
		{"49", "DE", "Germany", "Europe/Berlin", 49},
		{"91", "IN", "India", "Asia/Kolkata", 91},
	} {
		if strings.HasPrefix(digits, c.prefix) {
			fields["country"], fields["region"] = c.country, c.region
			fields["timezone"], fields["dialing_code"] = c.timezone, c.dialing
		}
	}
	if strings.HasPrefix(digits, "1800") {
		fields["line_type"], fields["VOIP"] = "Toll Free", false
	}
	switch tail(digits, 2) {
	case "98":
		fields["active"], fields["active_status"] = false, "Disconnected Line"
	case "99":
		fields["active"], fields["active_status"] = nil, "Inconclusive Status"
	}
	if len(digits) < 8 || len(digits) > 15 || tail(digits, 2) == "00" {
		delete(fields, "message") // which words IPQS has for such a number is not published
		fields["valid"], fields["fraud_score"], fields["line_type"] = false, 0, "Unknown"
		for _, name := range []string{"active", "VOIP", "prepaid", "risky", "recent_abuse", "dialing_code"} {
			fields[name] = nil
		}
		for _, name := range []string{
			"formatted", "local_format", "carrier", "country", "region", "timezone", "active_status", "mcc", "mnc",
			"sms_domain", "sms_email", "name",
		} {
			fields[name] = "N/A"
		}
	}
	if free {
		fields["user_activity"] = levelFour
		delete(fields, "identity_data")
		delete(fields, "number_recycling")
	}
	return fields
}

func tail(s string, n int) string { return s[max(len(s)-n, 0):] }

// urlAnswer answers for a URL or a domain.
func urlAnswer(value string, free bool) map[string]any {
	if value == "" {
		return refusal("")
	}
	scanned := value
	if !strings.Contains(value, "://") {
		scanned = "https://" + value
	}
	u, err := url.Parse(scanned)
	if err != nil || u.Hostname() == "" || strings.ContainsAny(u.Host, " ") {
		return refusal(MessageInvalidURL)
	}
	d := diceOf(ipqs.KindURL, value)
	has := func(word string) bool { return strings.Contains(strings.ToLower(value), word) }
	host, final := strings.ToLower(u.Hostname()), scanned
	redirected := has("redirect") || has("shortlink")
	if redirected {
		host, final = "landing.example.net", "https://landing.example.net/"
	}
	score := d.score()
	bad := has("phishing") || has("malware")
	if bad {
		score = 100
	} else if has("spam") {
		score = d.between(76, 90)
	}
	address := pick(d, ipv4(d), ipv4(d), ipv4(d), ipv6(d), "N/A")
	if has("ipv6") {
		address = ipv6(d)
	}
	labels := strings.Split(host, ".")
	fields := map[string]any{
		"success": true, "message": "Success.", "risk_score": score,
		"unsafe": bad, "suspicious": bad || score > 75, "phishing": has("phishing"), "malware": has("malware"),
		"spamming": has("spam"), "parking": has("parked"), "adult": has("adult"), "dns_valid": true,
		"redirected": redirected, "short_link_redirect": has("shortlink"), "hosted_content": d.oneIn(10),
		"risky_tld": strings.HasSuffix(host, ".test"), "spf_record": d.oneIn(2), "dmarc_record": d.oneIn(2),
		"domain": host, "root_domain": strings.Join(labels[max(len(labels)-2, 0):], "."), "ip_address": address,
		"server": pick(d, "N/A", "nginx", " sample-httpd\r\n"), "content_type": "text/html; charset=UTF-8",
		"page_title":   pick(d, "Sample Page", "Welcome | <b>Specimen</b> & Co", ""),
		"country_code": pick(d, "US", "DE", "N/A"), "language_code": pick(d, "EN", "N/A"),
		"category": pick(d, "Computers & Internet", "Business", "N/A"), "status_code": 200,
		"page_size": d.between(500, 90_000), "domain_rank": pick(d, 0, d.between(1, 900_000)),
		"domain_age": domainAge(d), "domain_trust": trust(score), "technologies": pick(d, []string{}, []string{"PHP", "jQuery"}),
		"a_records": []string{}, "mx_records": []string{""}, "ns_records": []string{"ns1.example.net", "ns2.example.net"},
		"final_url": final, "scanned_url": scanned,
	}
	if !strings.Contains(address, ":") && address != "N/A" {
		fields["a_records"] = []string{address, ipv4(d)}
	}
	if has("unreachable") {
		for _, name := range []string{"ip_address", "server", "content_type", "country_code", "language_code", "category"} {
			fields[name] = "N/A"
		}
		for _, name := range []string{"status_code", "page_size", "domain_rank"} {
			fields[name] = 0
		}
		fields["dns_valid"], fields["page_title"], fields["domain_age"] = false, "", age(nil, nil, nil)
		fields["a_records"], fields["ns_records"] = []string{}, []string{}
	}
	if has("noscore") {
		fields["risk_score"] = nil
	}
	if free {
		fields["domain_trust"] = upgraded
	}
	return fields
}

func trust(score int) string {
	switch {
	case score > 90:
		return "malicious"
	case score > 75:
		return "suspicious"
	case score > 25:
		return "neutral"
	default:
		return "trusted"
	}
}

func domainAge(d dice) map[string]any {
	return pick(d,
		age(808_372_800, "1995-08-14T00:00:00-04:00", "30 years ago"),
		age(1_302_837_997, "2011-04-14T23:26:37-04:00", "14 years ago"),
		age(1_704_067_200, "2024-01-01T00:00:00+00:00", "2 years ago"),
	)
}

func age(timestamp, iso, human any) map[string]any {
	return map[string]any{"human": human, "timestamp": timestamp, "iso": iso}
}

// ipv4 and ipv6 throw an address for documentation (RFC 5737, RFC 3849).
func ipv4(d dice) string {
	return fmt.Sprintf("%s.%d", pick(d, "192.0.2", "203.0.113"), d.between(1, 254))
}

func ipv6(d dice) string { return fmt.Sprintf("2001:db8::%x", d.between(1, 0xffff)) }
