package ipqs

import "time"

// Report is what IPQS answered about one value: exactly one of IP, Email, Phone, URL, Leak and File is set, the one of its
// Kind.
//
// It marshals to JSON under the names that IPQS uses, without what is unknown, and unmarshals to the same value. What IPQS
// knows about people is in Personal alone, and only if it was asked for.
type Report struct {
	Kind Kind `json:"kind"`
	// RequestID names this lookup to IPQS. Every lookup has its own, also of the same value.
	RequestID Text `json:"request_id,omitzero"`
	// Message is IPQS' word on the lookup, mostly "Success".
	Message Text `json:"message,omitzero"`
	// AskedAt is when IPQS said so, where that is not now: a report that was kept carries it. IPQS itself tells no time.
	AskedAt time.Time `json:"asked_at,omitzero"`
	// Cached reports whether the answer came from a cache of the caller's side instead of a request to IPQS. It describes one
	// lookup, not the answer, and is not encoded.
	Cached bool `json:"-"`

	IP    *IP    `json:"ip,omitzero"`
	Email *Email `json:"email,omitzero"`
	Phone *Phone `json:"phone,omitzero"`
	URL   *URL   `json:"url,omitzero"`
	Leak  *Leak  `json:"leak,omitzero"`
	File  *File  `json:"file,omitzero"`

	// Personal is set on reports on e-mail addresses and phone numbers by a [Client] with [Options].PersonalData, if IPQS
	// knows of anybody.
	Personal *Personal `json:"personal,omitzero"`
}

// Score returns the risk from 0 (none) to 100, a fraction rounded down, and whether IPQS gave one. Without one there is no
// verdict: unknown is not 0. Leaks and files have none.
func (r *Report) Score() (score int, known bool) {
	return r.score().Int()
}

// score is what IPQS calls risk_score for URLs and domains, and fraud_score for everything else.
func (r *Report) score() Number {
	switch {
	case r == nil:
		return Number{}
	case r.IP != nil:
		return r.IP.FraudScore
	case r.Email != nil:
		return r.Email.FraudScore
	case r.Phone != nil:
		return r.Phone.FraudScore
	case r.URL != nil:
		return r.URL.RiskScore
	default:
		return Number{}
	}
}

// IP is the report on an IP address.
type IP struct {
	FraudScore Number `json:"fraud_score,omitzero"` // 0 to 100

	Proxy       Bool `json:"proxy,omitzero"` // also raised by VPN and TOR, and on some home lines
	VPN         Bool `json:"vpn,omitzero"`
	TOR         Bool `json:"tor,omitzero"`
	ActiveVPN   Bool `json:"active_vpn,omitzero"`
	ActiveTOR   Bool `json:"active_tor,omitzero"`
	RecentAbuse Bool `json:"recent_abuse,omitzero"`
	BotStatus   Bool `json:"bot_status,omitzero"` // also raised on addresses whose score is 0
	IsCrawler   Bool `json:"is_crawler,omitzero"`
	Mobile      Bool `json:"mobile,omitzero"`

	// The next ones come on enterprise plans only.

	SharedConnection  Bool `json:"shared_connection,omitzero"`
	DynamicConnection Bool `json:"dynamic_connection,omitzero"`
	FrequentAbuser    Bool `json:"frequent_abuser,omitzero"`
	HighRiskAttacks   Bool `json:"high_risk_attacks,omitzero"`
	SecurityScanner   Bool `json:"security_scanner,omitzero"`
	TrustedNetwork    Bool `json:"trusted_network,omitzero"`

	ConnectionType Text `json:"connection_type,omitzero"` // Residential, Corporate, Education, Mobile, Data Center
	AbuseVelocity  Text `json:"abuse_velocity,omitzero"`  // high, medium, low, none
	AbuseEvents    List `json:"abuse_events,omitzero"`    // such as "Open Proxies"

	Host         Text   `json:"host,omitzero"` // its name, or the address again where it has none
	ISP          Text   `json:"ISP,omitzero"`
	Organization Text   `json:"organization,omitzero"`
	ASN          Number `json:"ASN,omitzero"` // number of the autonomous system
	CountryCode  Text   `json:"country_code,omitzero"`
	Region       Text   `json:"region,omitzero"`
	City         Text   `json:"city,omitzero"`
	ZipCode      Text   `json:"zip_code,omitzero"`
	Timezone     Text   `json:"timezone,omitzero"`  // IANA name
	Latitude     Number `json:"latitude,omitzero"`  // degrees; may contradict City
	Longitude    Number `json:"longitude,omitzero"` // degrees; may contradict City
}

// Email is the report on an e-mail address.
type Email struct {
	FraudScore Number `json:"fraud_score,omitzero"` // 0 to 100

	// Valid is no verdict while TimedOut or Suspect is True: IPQS could not find out.
	Valid    Bool `json:"valid,omitzero"`
	TimedOut Bool `json:"timed_out,omitzero"`
	Suspect  Bool `json:"suspect,omitzero"`

	Disposable         Bool `json:"disposable,omitzero"`
	Generic            Bool `json:"generic,omitzero"` // a role, such as info@
	Common             Bool `json:"common,omitzero"`  // a common provider
	CatchAll           Bool `json:"catch_all,omitzero"`
	DNSValid           Bool `json:"dns_valid,omitzero"`
	Honeypot           Bool `json:"honeypot,omitzero"`
	FrequentComplainer Bool `json:"frequent_complainer,omitzero"`
	RecentAbuse        Bool `json:"recent_abuse,omitzero"`
	Leaked             Bool `json:"leaked,omitzero"` // says that its owner is a victim
	RiskyTLD           Bool `json:"risky_tld,omitzero"`
	SPFRecord          Bool `json:"spf_record,omitzero"`
	DMARCRecord        Bool `json:"dmarc_record,omitzero"`

	SMTPScore       Number `json:"smtp_score,omitzero"`      // -1 to 3
	OverallScore    Number `json:"overall_score,omitzero"`   // 0 to 4
	Deliverability  Text   `json:"deliverability,omitzero"`  // high, medium, low
	SpamTrapScore   Text   `json:"spam_trap_score,omitzero"` // high, medium, low, none
	DomainTrust     Text   `json:"domain_trust,omitzero"`    // trusted, positive, neutral, suspicious, malicious, not rated
	DomainVelocity  Text   `json:"domain_velocity,omitzero"` // high, medium, low, none
	UserActivity    Text   `json:"user_activity,omitzero"`   // high, medium, low, none
	DomainAge       Age    `json:"domain_age,omitzero"`
	FirstSeen       Age    `json:"first_seen,omitzero"` // 2017-01-01T01:01:01 stands for "then or earlier"
	SuggestedDomain Text   `json:"suggested_domain,omitzero"`
	SanitizedEmail  Text   `json:"sanitized_email,omitzero"` // the address without its alias
	MXRecords       List   `json:"mx_records,omitzero"`
	ARecords        List   `json:"a_records,omitzero"`
	ResultType      Text   `json:"result_type,omitzero"` // live, cached
}

// Phone is the report on a phone number.
type Phone struct {
	FraudScore Number `json:"fraud_score,omitzero"` // 0 to 100

	Valid               Bool `json:"valid,omitzero"`
	Active              Bool `json:"active,omitzero"`
	VOIP                Bool `json:"VOIP,omitzero"`
	Prepaid             Bool `json:"prepaid,omitzero"`
	Risky               Bool `json:"risky,omitzero"`
	RecentAbuse         Bool `json:"recent_abuse,omitzero"`
	Leaked              Bool `json:"leaked,omitzero"` // says that its owner is a victim
	Spammer             Bool `json:"spammer,omitzero"`
	DoNotCall           Bool `json:"do_not_call,omitzero"`    // United States and Canada only
	TCPABlacklist       Bool `json:"tcpa_blacklist,omitzero"` // United States only
	AccurateCountryCode Bool `json:"accurate_country_code,omitzero"`

	Formatted       Text            `json:"formatted,omitzero"` // E.164
	LocalFormat     Text            `json:"local_format,omitzero"`
	LineType        Text            `json:"line_type,omitzero"`     // Toll Free, Wireless, Landline, VOIP, Unknown …
	ActiveStatus    Text            `json:"active_status,omitzero"` // Active Line, Disconnected Line …
	Carrier         Text            `json:"carrier,omitzero"`
	Country         Text            `json:"country,omitzero"` // two letters
	Region          Text            `json:"region,omitzero"`
	City            Text            `json:"city,omitzero"`
	ZipCode         Text            `json:"zip_code,omitzero"`
	Timezone        Text            `json:"timezone,omitzero"`
	DialingCode     Number          `json:"dialing_code,omitzero"`
	MCC             Text            `json:"mcc,omitzero"` // mobile country code; leading zeros count
	MNC             Text            `json:"mnc,omitzero"` // mobile network code; leading zeros count
	SMSDomain       Text            `json:"sms_domain,omitzero"`
	UserActivity    Text            `json:"user_activity,omitzero"` // high, medium, low, none
	NumberRecycling NumberRecycling `json:"number_recycling,omitzero"`
}

// URL is the report on a URL or a domain. Domain, texts and records are those of the page where redirects end; page
// title, server and category are a stranger's words.
type URL struct {
	RiskScore Number `json:"risk_score,omitzero"` // 0 to 100

	Unsafe            Bool `json:"unsafe,omitzero"`
	Suspicious        Bool `json:"suspicious,omitzero"`
	Phishing          Bool `json:"phishing,omitzero"`
	Malware           Bool `json:"malware,omitzero"`
	Spamming          Bool `json:"spamming,omitzero"`
	Parking           Bool `json:"parking,omitzero"`
	Adult             Bool `json:"adult,omitzero"`
	DNSValid          Bool `json:"dns_valid,omitzero"`
	Redirected        Bool `json:"redirected,omitzero"`
	ShortLinkRedirect Bool `json:"short_link_redirect,omitzero"`
	HostedContent     Bool `json:"hosted_content,omitzero"`
	RiskyTLD          Bool `json:"risky_tld,omitzero"`
	SPFRecord         Bool `json:"spf_record,omitzero"`
	DMARCRecord       Bool `json:"dmarc_record,omitzero"`

	Domain       Text   `json:"domain,omitzero"`
	RootDomain   Text   `json:"root_domain,omitzero"`
	IPAddress    Text   `json:"ip_address,omitzero"` // IPv4 or IPv6
	Server       Text   `json:"server,omitzero"`
	ContentType  Text   `json:"content_type,omitzero"`
	PageTitle    Text   `json:"page_title,omitzero"`
	CountryCode  Text   `json:"country_code,omitzero"`
	LanguageCode Text   `json:"language_code,omitzero"`
	Category     Text   `json:"category,omitzero"`
	StatusCode   Number `json:"status_code,omitzero"` // 0: unreachable
	PageSize     Number `json:"page_size,omitzero"`   // bytes; 0: unreachable
	DomainRank   Number `json:"domain_rank,omitzero"` // 0: unranked
	DomainAge    Age    `json:"domain_age,omitzero"`
	DomainTrust  Text   `json:"domain_trust,omitzero"` // trusted, positive, neutral, suspicious, malicious, not rated
	Technologies List   `json:"technologies,omitzero"`
	ARecords     List   `json:"a_records,omitzero"`
	MXRecords    List   `json:"mx_records,omitzero"`
	NSRecords    List   `json:"ns_records,omitzero"`
	FinalURL     Text   `json:"final_url,omitzero"`
	ScannedURL   Text   `json:"scanned_url,omitzero"`
}
