package stages

import (
	"cmp"
	"fmt"

	"opencti-ipqs-worker/ipqs"
)

// themes selects what a Note shows. Unknown values have no row, except those that the verdict on this type depends on: these
// are shown as unknown.
func themes(report *ipqs.Report) []theme {
	switch {
	case report.IP != nil:
		return ipThemes(report.IP)
	case report.Email != nil:
		return emailThemes(report.Email)
	case report.Phone != nil:
		return phoneThemes(report.Phone)
	case report.URL != nil:
		return urlThemes(report.URL)
	case report.Leak != nil:
		return leakThemes(report.Leak)
	case report.File != nil:
		return fileThemes(report.File)
	default:
		return nil
	}
}

func ipThemes(r *ipqs.IP) []theme {
	return []theme{
		{"Risk", []row{
			{"Fraud score", score(r.FraudScore)},
			{"Proxy", answer(r.Proxy)},
			{"VPN", answer(r.VPN)},
			{"TOR", answer(r.TOR)},
			{"Active VPN", fact(r.ActiveVPN)},
			{"Active TOR", fact(r.ActiveTOR)},
			{"Recent abuse", fact(r.RecentAbuse)},
			{"Bot activity", fact(r.BotStatus)},
			{"Frequent abuser", fact(r.FrequentAbuser)},
			{"High-risk attacks", fact(r.HighRiskAttacks)},
			{"Abuse velocity", string(r.AbuseVelocity)},
			{"Abuse events", list(r.AbuseEvents)},
		}},
		{"Network", []row{
			{"ASN", known(asnText(r))},
			{"ISP", string(r.ISP)},
			{"Organization", string(r.Organization)},
			{"Host", string(r.Host)},
			{"Connection type", string(r.ConnectionType)},
			{"Mobile", fact(r.Mobile)},
			{"Crawler", fact(r.IsCrawler)},
			{"Security scanner", fact(r.SecurityScanner)},
			{"Shared connection", fact(r.SharedConnection)},
			{"Dynamic connection", fact(r.DynamicConnection)},
			{"Trusted network", fact(r.TrustedNetwork)},
		}},
		{"Location", []row{
			{"Country", string(r.CountryCode)},
			{"Region", string(r.Region)},
			{"City", string(r.City)},
			{"Time zone", string(r.Timezone)},
		}},
	}
}

func emailThemes(r *ipqs.Email) []theme {
	return []theme{
		{"Risk", []row{
			{"Fraud score", score(r.FraudScore)},
			{"Valid", answer(validity(r))},
			{"Disposable", answer(r.Disposable)},
			{"Deliverability", known(string(r.Deliverability))},
			{"Recent abuse", fact(r.RecentAbuse)},
			{"Honeypot", fact(r.Honeypot)},
			{"Spam trap score", string(r.SpamTrapScore)},
			{"Frequent complainer", fact(r.FrequentComplainer)},
			{"Seen in a leak", fact(r.Leaked)},
		}},
		{"Mailbox", []row{
			{"SMTP score", number(r.SMTPScore)},
			{"Overall score", number(r.OverallScore)},
			{"Catch-all", fact(r.CatchAll)},
			{"Role address", fact(r.Generic)},
			{"Common provider", fact(r.Common)},
			{"User activity", string(r.UserActivity)},
			{"First seen", date(r.FirstSeen)},
			{"Suggested domain", string(r.SuggestedDomain)},
		}},
		{"Domain", []row{
			{"DNS valid", fact(r.DNSValid)},
			{"Trust", string(r.DomainTrust)},
			{"Velocity", string(r.DomainVelocity)},
			{"Registered", date(r.DomainAge)},
			{"Risky top-level domain", fact(r.RiskyTLD)},
			{"SPF record", fact(r.SPFRecord)},
			{"DMARC record", fact(r.DMARCRecord)},
			{"MX records", list(r.MXRecords)},
			{"A records", list(r.ARecords)},
		}},
	}
}

func phoneThemes(r *ipqs.Phone) []theme {
	return []theme{
		{"Risk", []row{
			{"Fraud score", score(r.FraudScore)},
			{"Valid", answer(r.Valid)},
			{"Active", answer(r.Active)},
			{"Risky", fact(r.Risky)},
			{"Recent abuse", fact(r.RecentAbuse)},
			{"Spammer", fact(r.Spammer)},
			{"Seen in a leak", fact(r.Leaked)},
			{"Do not call", fact(r.DoNotCall)},
		}},
		{"Line", []row{
			{"Carrier", known(string(r.Carrier))},
			{"Line type", string(r.LineType)},
			{"Active status", string(r.ActiveStatus)},
			{"VoIP", fact(r.VOIP)},
			{"Prepaid", fact(r.Prepaid)},
			{"MCC", string(r.MCC)},
			{"MNC", string(r.MNC)},
			{"User activity", string(r.UserActivity)},
		}},
		{"Location", []row{
			{"Country", string(r.Country)},
			{"Dialing code", number(r.DialingCode)},
			{"Region", string(r.Region)},
			{"City", string(r.City)},
			{"Time zone", string(r.Timezone)},
		}},
	}
}

func urlThemes(r *ipqs.URL) []theme {
	return []theme{
		{"Risk", []row{
			{"Risk score", score(r.RiskScore)},
			{"Malware", answer(r.Malware)},
			{"Phishing", answer(r.Phishing)},
			{"Suspicious", answer(r.Suspicious)},
			{"Unsafe", fact(r.Unsafe)},
			{"Spamming", fact(r.Spamming)},
			{"Adult", fact(r.Adult)},
			{"Parked", fact(r.Parking)},
			{"Category", string(r.Category)},
		}},
		{"Page", []row{
			{"Final URL", string(r.FinalURL)},
			{"Redirected", fact(r.Redirected)},
			{"Short-link redirect", fact(r.ShortLinkRedirect)},
			{"Status", positive(r.StatusCode)},
			{"Title", string(r.PageTitle)},
			{"Server", string(r.Server)},
			{"Content type", string(r.ContentType)},
			{"Technologies", list(r.Technologies)},
		}},
		{"Domain", []row{
			{"Domain", string(r.Domain)},
			{"Root domain", string(r.RootDomain)},
			{"IP address", string(r.IPAddress)},
			{"DNS valid", fact(r.DNSValid)},
			{"Trust", string(r.DomainTrust)},
			{"Rank", positive(r.DomainRank)},
			{"Registered", date(r.DomainAge)},
			{"Risky top-level domain", fact(r.RiskyTLD)},
			{"Country", string(r.CountryCode)},
			{"NS records", list(r.NSRecords)},
			{"MX records", list(r.MXRecords)},
			{"A records", list(r.ARecords)},
		}},
	}
}

func leakThemes(r *ipqs.Leak) []theme {
	return []theme{
		{"Leak", []row{
			{"Exposed", answer(r.Exposed)},
			{"Password in clear", fact(r.PlainTextPassword)},
			{"First seen", date(r.FirstSeen)},
			{"Sources", list(r.Sources)},
		}},
	}
}

func fileThemes(r *ipqs.File) []theme {
	engines := theme{title: "Engine"}
	for i, e := range r.Engines {
		if i == listed {
			engines.rows = append(engines.rows, row{"…", fmt.Sprintf("%d more", len(r.Engines)-listed)})
			break
		}
		said := answer(e.Detected)
		switch {
		case e.Error == ipqs.True:
			said = "error"
		case e.Detected == ipqs.True:
			said = "detected"
		case e.Detected == ipqs.False:
			said = "not detected"
		}
		engines.rows = append(engines.rows, row{escape(string(e.Name)), said})
	}
	return []theme{
		{"Scan", []row{
			{"Malware", answer(detected(r))},
			{"Engines with a detection", number(r.DetectedScans)},
			{"Engines queried", number(r.TotalScans)},
			{"Scanned", scanned(r)},
		}},
		{"File", []row{
			{"Name", string(r.Name)},
			{"Type", string(r.FileType)},
			{"Size", size(r.Size)},
			{"SHA-256", string(cmp.Or(r.OwnSHA256, r.SHA256))},
			{"SHA-1", string(r.SHA1)},
			{"MD5", string(r.MD5)},
		}},
		engines,
	}
}

// personalThemes shows what IPQS knows about people: a table of what it connects with the value, and one per person.
func personalThemes(p *ipqs.Personal) []theme {
	if p == nil {
		return nil
	}
	themes := []theme{{"People (personal data)", []row{
		{"Names", list(p.Names)},
		{"E-mail addresses", list(p.EmailAddresses)},
		{"Phone numbers", list(p.PhoneNumbers)},
	}}}
	for i, who := range p.Identities {
		if i == listed {
			break
		}
		themes = append(themes, theme{fmt.Sprintf("Person %d (personal data)", i+1), []row{
			{"Names", list(who.Names)},
			{"Birthday", string(who.Birthday)},
			{"Addresses", list(who.Addresses)},
			{"E-mail addresses", list(who.EmailAddresses)},
			{"Phone numbers", list(who.PhoneNumbers)},
			{"Source", string(who.Source)},
		}})
	}
	return themes
}
