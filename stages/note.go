package stages

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// theme is a table of a note: what an analyst looks at together.
type theme struct {
	title string
	rows  []row
}

type row struct{ name, value string }

// noteText writes what IPQS said as Markdown: a headline, the factors, then a table a theme. It says nothing that changes
// from one lookup to the next for the same verdict (request ids, relative times), so the same verdict is the same note.
//
// It names the observable, because a note's id follows from its text and its time: two observables that were made in the
// same instant and of which IPQS says the same would share one note.
func noteText(e *opencti.Entity, v *Verdict, report *ipqs.Report) string {
	var b strings.Builder
	if v.Score == nil {
		b.WriteString("**IPQS knows no score**\n")
	} else {
		fmt.Fprintf(&b, "**IPQS: %s risk, score %d of 100** (%s)\n", v.Level, *v.Score, BandOf(*v.Score).Means)
	}
	fmt.Fprintf(&b, "\n%s: %s\n", e.Type, named(e))
	if len(v.Factors) > 0 {
		fmt.Fprintf(&b, "\nSignals: %s\n", strings.Join(v.Factors, ", "))
	}
	for _, t := range themes(report) {
		var rows []row
		for _, r := range t.rows {
			if r.value != "" {
				rows = append(rows, r)
			}
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n| %s | |\n| --- | --- |\n", t.title)
		for _, r := range rows {
			fmt.Fprintf(&b, "| %s | %s |\n", r.name, escape(r.value))
		}
	}
	return b.String()
}

// named is the observable's value, or as much of it as is good to read and the id that tells it from others.
func named(e *opencti.Entity) string {
	const most = 200
	value := []rune(e.Value)
	if len(value) <= most {
		return escape(e.Value)
	}
	return escape(string(value[:most])) + "… (" + e.StandardID + ")"
}

// themes picks what a note shows. What is unknown has no text and so no row, except the facts that the verdict on this
// type rests on: for those, unknown is worth reading.
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
			{"ASN", known(number(r.ASN))},
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
		{"Place", []row{
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
			{"Valid", validity(r)},
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
		{"Place", []row{
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

const unknown = "unknown"

func known(text string) string {
	if text == "" {
		return unknown
	}
	return text
}

func answer(b ipqs.Bool) string { return known(fact(b)) }

func fact(b ipqs.Bool) string {
	switch b {
	case ipqs.True:
		return "yes"
	case ipqs.False:
		return "no"
	default:
		return ""
	}
}

// validity says what IPQS could find out: an address whose server did not answer in time is not invalid.
func validity(r *ipqs.Email) string {
	if r.Valid != ipqs.True && (r.TimedOut == ipqs.True || r.Suspect == ipqs.True) {
		return unknown
	}
	return answer(r.Valid)
}

func score(n ipqs.Number) string {
	if i, ok := n.Int(); ok {
		return strconv.Itoa(i) + " of 100"
	}
	return unknown
}

func number(n ipqs.Number) string {
	if v, ok := n.Float64(); ok {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// positive is a number where 0 stands for "none".
func positive(n ipqs.Number) string {
	if v, ok := n.Float64(); !ok || v <= 0 {
		return ""
	}
	return number(n)
}

// date is a day: IPQS' ages are given to the second, of which only the day means anything.
func date(a ipqs.Age) string {
	t, ok := a.Time()
	if !ok {
		return ""
	}
	return t.UTC().Format("2006-01-02")
}

// listed is how many entries of a list a note shows.
const listed = 20

func list(l ipqs.List) string {
	if len(l) <= listed {
		return strings.Join(l, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(l[:listed], ", "), len(l)-listed)
}

// escape makes a stranger's text stand in a table's cell as text: no markup, no HTML, no link, no line break.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			b.WriteByte(' ')
			continue
		case unicode.Is(unicode.Bidi_Control, r):
			continue // would show the rest of the line in another order than it has
		case strings.ContainsRune(markup, r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return unlinked.Replace(b.String())
}

// unlinked keeps renderers that make links of bare addresses from making any: nobody should visit these by a slip.
var unlinked = strings.NewReplacer("://", "\\://", "www.", "www\\.")

// markup is what can begin markup in the middle of a line. Dots, dashes and slashes can't, and stay readable.
const markup = "\\`*_[]<>|~&!"
