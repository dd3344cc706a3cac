package stages

import (
	"slices"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// Fact is something that IPQS can state about a value: a factor of the verdict.
type Fact struct {
	// Name is what an analyst reads, and what a [Rule] calls it.
	Name string
	// Flag is the text of its label (IPQS:FLAG="tor"), "" where it is not worth filtering by.
	Flag string
	// Silent says that it is for rules only: what is merely not confirmed is nothing to report.
	Silent bool

	holds func(*ipqs.Report) bool
}

// The names of facts that rules refer to.
const (
	highRiskAttacks = "high-risk attacks"
	frequentAbuser  = "frequent abuser"
	recentAbuse     = "recent abuse"
	botActivity     = "bot activity"
	abuseVelocity   = "high abuse velocity"

	honeypot       = "honeypot"
	spamTrap       = "spam trap"
	disposable     = "disposable address"
	invalidAddress = "invalid address"

	malware    = "malware"
	phishing   = "phishing"
	suspicious = "suspicious"

	invalidNumber  = "invalid number"
	inactiveNumber = "inactive number"

	seenInLeak    = "seen in a leak"
	plainPassword = "password known in clear"

	notConfirmedValid  = "not confirmed as valid"
	notConfirmedActive = "not confirmed as active"
)

// Facts lists what IPQS can state about a product, the weightiest first. Null and absent are unknown, and state nothing.
func Facts(p Product) []Fact {
	switch p {
	case ProductIP:
		return ipFacts()
	case ProductEmail:
		return emailFacts()
	case ProductURL:
		return urlFacts()
	case ProductPhone:
		return phoneFacts()
	case ProductLeak:
		return leakFacts()
	case ProductFile:
		return fileFacts()
	default:
		return nil
	}
}

// stated returns the facts that a report states, the weightiest first.
func stated(report *ipqs.Report) []Fact {
	return slices.DeleteFunc(Facts(productOf(report)), func(f Fact) bool { return f.Silent || !f.holds(report) })
}

func ipFacts() []Fact {
	is := func(name, flag string, field func(*ipqs.IP) ipqs.Bool) Fact {
		return Fact{Name: name, Flag: flag, holds: func(r *ipqs.Report) bool { return field(r.IP) == ipqs.True }}
	}
	return []Fact{
		is(highRiskAttacks, "high_risk_attacks", func(r *ipqs.IP) ipqs.Bool { return r.HighRiskAttacks }),
		is(frequentAbuser, "frequent_abuser", func(r *ipqs.IP) ipqs.Bool { return r.FrequentAbuser }),
		is(recentAbuse, "recent_abuse", func(r *ipqs.IP) ipqs.Bool { return r.RecentAbuse }),
		{Name: abuseVelocity, holds: func(r *ipqs.Report) bool { return isOneOf(r.IP.AbuseVelocity, "high") }},
		{Name: "abuse events", holds: func(r *ipqs.Report) bool { return len(r.IP.AbuseEvents) > 0 }},
		is(botActivity, "bot", func(r *ipqs.IP) ipqs.Bool { return r.BotStatus }),
		is("active TOR node", "", func(r *ipqs.IP) ipqs.Bool { return r.ActiveTOR }),
		is("TOR", "tor", func(r *ipqs.IP) ipqs.Bool { return r.TOR }),
		is("active VPN", "", func(r *ipqs.IP) ipqs.Bool { return r.ActiveVPN }),
		is("VPN", "vpn", func(r *ipqs.IP) ipqs.Bool { return r.VPN }),
		is("proxy", "proxy", func(r *ipqs.IP) ipqs.Bool { return r.Proxy }),
		is("security scanner", "security_scanner", func(r *ipqs.IP) ipqs.Bool { return r.SecurityScanner }),
		is("crawler", "crawler", func(r *ipqs.IP) ipqs.Bool { return r.IsCrawler }),
	}
}

func emailFacts() []Fact {
	is := func(name, flag string, field func(*ipqs.Email) ipqs.Bool) Fact {
		return Fact{Name: name, Flag: flag, holds: func(r *ipqs.Report) bool { return field(r.Email) == ipqs.True }}
	}
	return []Fact{
		is(honeypot, "honeypot", func(r *ipqs.Email) ipqs.Bool { return r.Honeypot }),
		{Name: spamTrap, Flag: "spam_trap", holds: func(r *ipqs.Report) bool { return isOneOf(r.Email.SpamTrapScore, "high") }},
		is(disposable, "disposable", func(r *ipqs.Email) ipqs.Bool { return r.Disposable }),
		is(recentAbuse, "recent_abuse", func(r *ipqs.Email) ipqs.Bool { return r.RecentAbuse }),
		is("frequent complainer", "frequent_complainer", func(r *ipqs.Email) ipqs.Bool { return r.FrequentComplainer }),
		{Name: invalidAddress, Flag: "invalid", holds: func(r *ipqs.Report) bool { return validity(r.Email) == ipqs.False }},
		{Name: "suspicious domain", holds: func(r *ipqs.Report) bool {
			return isOneOf(r.Email.DomainTrust, "suspicious", "malicious")
		}},
		is(seenInLeak, "leaked", func(r *ipqs.Email) ipqs.Bool { return r.Leaked }),
		is("catch-all domain", "catch_all", func(r *ipqs.Email) ipqs.Bool { return r.CatchAll }),
		is("risky top-level domain", "", func(r *ipqs.Email) ipqs.Bool { return r.RiskyTLD }),
		{Name: notConfirmedValid, Silent: true, holds: func(r *ipqs.Report) bool { return r.Email.Valid != ipqs.True }},
	}
}

func urlFacts() []Fact {
	is := func(name, flag string, field func(*ipqs.URL) ipqs.Bool) Fact {
		return Fact{Name: name, Flag: flag, holds: func(r *ipqs.Report) bool { return field(r.URL) == ipqs.True }}
	}
	return []Fact{
		is(malware, "malware", func(r *ipqs.URL) ipqs.Bool { return r.Malware }),
		is(phishing, "phishing", func(r *ipqs.URL) ipqs.Bool { return r.Phishing }),
		is(suspicious, "suspicious", func(r *ipqs.URL) ipqs.Bool { return r.Suspicious }),
		is("spamming", "spam", func(r *ipqs.URL) ipqs.Bool { return r.Spamming }),
		is("unsafe", "unsafe", func(r *ipqs.URL) ipqs.Bool { return r.Unsafe }),
		{Name: "suspicious domain", holds: func(r *ipqs.Report) bool {
			return isOneOf(r.URL.DomainTrust, "suspicious", "malicious")
		}},
		is("adult content", "adult", func(r *ipqs.URL) ipqs.Bool { return r.Adult }),
		is("parked domain", "parked", func(r *ipqs.URL) ipqs.Bool { return r.Parking }),
		is("short-link redirect", "short_link", func(r *ipqs.URL) ipqs.Bool { return r.ShortLinkRedirect }),
		is("risky top-level domain", "", func(r *ipqs.URL) ipqs.Bool { return r.RiskyTLD }),
	}
}

func phoneFacts() []Fact {
	is := func(name, flag string, field func(*ipqs.Phone) ipqs.Bool) Fact {
		return Fact{Name: name, Flag: flag, holds: func(r *ipqs.Report) bool { return field(r.Phone) == ipqs.True }}
	}
	return []Fact{
		is("spammer", "spammer", func(r *ipqs.Phone) ipqs.Bool { return r.Spammer }),
		is("risky number", "risky", func(r *ipqs.Phone) ipqs.Bool { return r.Risky }),
		is(recentAbuse, "recent_abuse", func(r *ipqs.Phone) ipqs.Bool { return r.RecentAbuse }),
		{Name: invalidNumber, Flag: "invalid", holds: func(r *ipqs.Report) bool { return r.Phone.Valid == ipqs.False }},
		{Name: inactiveNumber, Flag: "inactive", holds: func(r *ipqs.Report) bool { return r.Phone.Active == ipqs.False }},
		is("VoIP line", "voip", func(r *ipqs.Phone) ipqs.Bool { return r.VOIP }),
		is("prepaid line", "prepaid", func(r *ipqs.Phone) ipqs.Bool { return r.Prepaid }),
		is(seenInLeak, "leaked", func(r *ipqs.Phone) ipqs.Bool { return r.Leaked }),
		{Name: notConfirmedValid, Silent: true, holds: func(r *ipqs.Report) bool { return r.Phone.Valid != ipqs.True }},
		{Name: notConfirmedActive, Silent: true, holds: func(r *ipqs.Report) bool { return r.Phone.Active != ipqs.True }},
	}
}

func leakFacts() []Fact {
	return []Fact{
		{Name: plainPassword, Flag: "plain_text_password", holds: func(r *ipqs.Report) bool { return r.Leak.PlainTextPassword == ipqs.True }},
		{Name: seenInLeak, Flag: "leaked", holds: func(r *ipqs.Report) bool { return leaked(r.Leak) == ipqs.True }},
	}
}

func fileFacts() []Fact {
	return []Fact{
		{Name: malware, Flag: "malware", holds: func(r *ipqs.Report) bool { return detected(r.File) == ipqs.True }},
		{Name: "IPQS scanned another file", holds: func(r *ipqs.Report) bool { return r.File.SameFile() == ipqs.False }},
		{Name: "no engine could tell", holds: func(r *ipqs.Report) bool {
			return detected(r.File) == ipqs.Unknown && r.File.SameFile() != ipqs.False
		}},
	}
}

// validity is what IPQS could find out: an address whose server did not answer in time is not invalid.
func validity(r *ipqs.Email) ipqs.Bool {
	if r.Valid != ipqs.True && (r.TimedOut == ipqs.True || r.Suspect == ipqs.True) {
		return ipqs.Unknown
	}
	return r.Valid
}

func isOneOf(text ipqs.Text, words ...string) bool {
	return slices.Contains(words, strings.ToLower(string(text)))
}
