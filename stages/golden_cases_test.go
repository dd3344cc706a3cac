package stages

import "opencti-ipqs-worker/ipqs"

// goldenCases are all types, the edges of the bands, the models and the switches.
func goldenCases() []goldenCase {
	const organization = "identity--22222222-2222-4222-8222-222222222222"
	return []goldenCase{
		// Addresses: what a full answer makes, and the edges of the bands.
		{
			"ipv4", ip("198.51.100.7"), ipqs.KindIP, `{"fraud_score":87,"proxy":true,"vpn":true,"tor":false,
			"recent_abuse":true,"ASN":64500,"ISP":"Example Telecom","organization":"Example Hosting","country_code":"CH",
			"city":"Bern","host":"host-7.example.net","connection_type":"Data Center","abuse_events":["Open Proxies"]}`, flagged, usual,
		},
		{"ipv4_score_0", ip("198.51.100.20"), ipqs.KindIP, `{"fraud_score":0,"proxy":false,"vpn":false,"tor":false}`, flagged, usual},
		{"ipv4_score_25", ip("198.51.100.21"), ipqs.KindIP, `{"fraud_score":25}`, flagged, usual},
		{"ipv4_score_25_9", ip("198.51.100.22"), ipqs.KindIP, `{"fraud_score":25.9}`, flagged, usual},
		{"ipv4_score_26", ip("198.51.100.23"), ipqs.KindIP, `{"fraud_score":26}`, flagged, usual},
		{"ipv4_score_50", ip("198.51.100.24"), ipqs.KindIP, `{"fraud_score":"50"}`, flagged, usual},
		{"ipv4_score_51", ip("198.51.100.25"), ipqs.KindIP, `{"fraud_score":51}`, flagged, usual},
		{"ipv4_score_75", ip("198.51.100.26"), ipqs.KindIP, `{"fraud_score":75}`, flagged, usual},
		{"ipv4_score_76", ip("198.51.100.27"), ipqs.KindIP, `{"fraud_score":76}`, flagged, usual},
		{
			"ipv4_score_100_tor", ip("198.51.100.28"), ipqs.KindIP, `{"fraud_score":100,"tor":true,"active_tor":true,"proxy":true,
			"vpn":false,"recent_abuse":true,"frequent_abuser":true,"high_risk_attacks":true,"abuse_velocity":"high","bot_status":true}`, flagged, usual,
		},
		{
			// The example in docs/graph.md.
			"note_example", ip("198.51.100.66"), ipqs.KindIP, `{"fraud_score":93,"proxy":true,"vpn":false,"tor":true,"active_tor":true,
			"recent_abuse":true,"bot_status":false,"frequent_abuser":true,"high_risk_attacks":false,"abuse_velocity":"high",
			"abuse_events":["Open Proxies","IPQS Honeypots"],"ASN":64500,"ISP":"Example Telecom","organization":"Example Hosting",
			"host":"exit-66.example.net","connection_type":"Data Center","mobile":false,"is_crawler":false,"country_code":"CH",
			"region":"Bern","city":"Bern","timezone":"Europe/Zurich"}`, flagged, usual,
		},
		{"score_unknown", ip("198.51.100.9"), ipqs.KindIP, `{"proxy":true}`, flagged, usual},
		{"ipv6_without_asn", entity("IPv6-Addr", "2001:db8::7"), ipqs.KindIP, `{"fraud_score":0,"proxy":false,"vpn":false,"tor":false,"ASN":null,"ISP":"N/A"}`, flagged, usual},
		{"ipv6", entity("IPv6-Addr", "2001:db8::8"), ipqs.KindIP, `{"fraud_score":60,"vpn":true,"ASN":64510,"ISP":"Example Six"}`, flagged, usual},
		{
			"ipv4_free_plan", ip("198.51.100.29"), ipqs.KindIP, `{"fraud_score":94,"proxy":true,"connection_type":"Premium required.",
			"abuse_velocity":"Premium required.","abuse_events":["Enterprise plan required to view abuse events and active proxy networks"],
			"zip_code":"N/A","host":"N/A"}`, flagged, usual,
		},
		{"ipv4_bot_status_alone", ip("198.51.100.30"), ipqs.KindIP, `{"fraud_score":0,"bot_status":true}`, flagged, usual},

		// Addresses: what is around them.
		{"ip_relationships_off", ip("198.51.100.8"), ipqs.KindIP, `{"fraud_score":26,"ASN":64500,"country_code":"CH"}`, Scoring{}, Enrichment{}},
		{"ip_asn_zero", ip("198.51.100.31"), ipqs.KindIP, `{"fraud_score":26,"ASN":0}`, flagged, usual},
		{"ip_asn_text", ip("198.51.100.32"), ipqs.KindIP, `{"fraud_score":26,"ASN":"AS64501","ISP":"N/A","organization":"Example Hosting"}`, flagged, usual},
		{"ip_asn_nonsense", ip("198.51.100.33"), ipqs.KindIP, `{"fraud_score":26,"ASN":"none"}`, flagged, usual},
		{"ip_asn_too_big", ip("198.51.100.34"), ipqs.KindIP, `{"fraud_score":26,"ASN":4294967296}`, flagged, usual},
		{"ip_asn_without_name", ip("198.51.100.35"), ipqs.KindIP, `{"fraud_score":26,"ASN":64502}`, flagged, usual},
		{"ip_country", ip("198.51.100.36"), ipqs.KindIP, `{"fraud_score":26,"country_code":"CH"}`, flagged, with(func(e *Enrichment) { e.Countries = true })},
		{"ip_country_unknown", ip("198.51.100.37"), ipqs.KindIP, `{"fraud_score":26,"country_code":"ZZ"}`, flagged, with(func(e *Enrichment) { e.Countries = true })},

		// The switches.
		{"flags_off", ip("198.51.100.38"), ipqs.KindIP, `{"fraud_score":80,"tor":true,"proxy":true}`, Scoring{Model: Bands}, usual},
		{"below_indicator_min_score", ip("198.51.100.39"), ipqs.KindIP, `{"fraud_score":74,"vpn":true}`, flagged, with(func(e *Enrichment) { e.IndicatorFrom = MinScores{"ip": 75} })},
		{"at_indicator_min_score", ip("198.51.100.40"), ipqs.KindIP, `{"fraud_score":75,"vpn":true}`, flagged, with(func(e *Enrichment) { e.IndicatorFrom = MinScores{"ip": 75} })},
		{"detection", ip("198.51.100.41"), ipqs.KindIP, `{"fraud_score":90}`, flagged, with(func(e *Enrichment) { e.DetectFrom = new(90) })},
		{"detection_not", ip("198.51.100.42"), ipqs.KindIP, `{"fraud_score":89}`, flagged, with(func(e *Enrichment) { e.DetectFrom = new(90) })},
		{"confidence", ip("198.51.100.43"), ipqs.KindIP, `{"fraud_score":89}`, flagged, with(func(e *Enrichment) { e.Confidence = new(60) })},
		{
			"marked_and_shared", sharedWith(marked(ip("198.51.100.10"), "TLP:GREEN", "PAP:AMBER"), organization), ipqs.KindIP,
			`{"fraud_score":25,"ASN":64501,"organization":"Example"}`, flagged, with(func(e *Enrichment) { e.Confidence = new(60); e.Countries = true }),
		},
		{"marked_amber_strict_domain", marked(domain("amber.example"), "TLP:AMBER+STRICT"), ipqs.KindURL, `{"risk_score":25,"ip_address":"203.0.113.8"}`, flagged, usual},
		{"country_of_a_marked_address", marked(ip("198.51.100.44"), "TLP:AMBER"), ipqs.KindIP, `{"fraud_score":25,"country_code":"us"}`, flagged, with(func(e *Enrichment) { e.Countries = true })},

		// The models.
		{"connector_ip_84_9", ip("198.51.100.50"), ipqs.KindIP, `{"fraud_score":84.9,"tor":true}`, connector, usual},
		{"connector_ip_100", ip("198.51.100.51"), ipqs.KindIP, `{"fraud_score":100}`, connector, usual},
		{"connector_email_missing_valid", email("connector@example.com"), ipqs.KindEmail, `{"fraud_score":10}`, connector, usual},
		{"connector_email_disposable", email("gone@example.com"), ipqs.KindEmail, `{"fraud_score":10,"disposable":true,"valid":true}`, connector, usual},
		{"connector_phone_inactive_100", phone("+18005550102"), ipqs.KindPhone, `{"fraud_score":100,"valid":true,"active":false}`, connector, usual},
		{"connector_url_70", url("https://example.com/70"), ipqs.KindURL, `{"risk_score":70,"unsafe":true}`, connector, usual},
		{"guidance_ip_suspicious", ip("198.51.100.52"), ipqs.KindIP, `{"fraud_score":78,"proxy":true}`, guidance, usual},
		{"guidance_ip_lifted", ip("198.51.100.53"), ipqs.KindIP, `{"fraud_score":78,"recent_abuse":true}`, guidance, usual},
		{"guidance_email_honeypot", email("trap@example.com"), ipqs.KindEmail, `{"fraud_score":20,"valid":true,"honeypot":true}`, guidance, usual},
		{"guidance_phone_invalid", phone("+18005550103"), ipqs.KindPhone, `{"fraud_score":0,"valid":false}`, guidance, usual},
		{"guidance_url_confirmed", url("https://example.com/confirmed"), ipqs.KindURL, `{"risk_score":100,"phishing":true}`, guidance, usual},
		{"guidance_domain_low", domain("fine.example"), ipqs.KindURL, `{"risk_score":0,"phishing":false,"malware":false}`, guidance, usual},

		// E-mail addresses.
		{
			"email", email("user@example.com"), ipqs.KindEmail, `{"fraud_score":60,"valid":true,"disposable":true,
			"deliverability":"low","smtp_score":-1,"overall_score":1,"leaked":true,"domain_age":{"iso":"1995-08-14T00:00:00-04:00",
			"timestamp":808372800,"human":"31 years ago"},"mx_records":["mx1.example.com","mx2.example.com"]}`, flagged, usual,
		},
		{"email_timed_out", email("slow@example.com"), ipqs.KindEmail, `{"fraud_score":40,"valid":false,"timed_out":true}`, flagged, usual},
		{"email_idn", email("用户@例え.example"), ipqs.KindEmail, `{"fraud_score":1,"valid":true,"domain_trust":"Upgraded plan required."}`, flagged, usual},
		{"email_quoted", email(`"o'brien\\"@example.com`), ipqs.KindEmail, `{"fraud_score":1,"valid":true}`, flagged, usual},

		{
			"email_personal_data", email("jane@example.com"), ipqs.KindEmail, `{"fraud_score":5,"valid":true,"personal":{
			"names":["Jane *Roe*"],"phone_numbers":["+18005550177"],"identities":[{"names":["Jane Roe","J. <Roe>"],
			"addresses":["1 Example Street | Springfield"],"email_addresses":["roe@example.org"],"phone_numbers":["+18005550178"],
			"birthday":"1980-01-01","source":"marketing_databases"},{"names":["John Doe"]}]}}`, flagged, with(func(e *Enrichment) { e.Personal = true }),
		},
		{
			"email_personal_data_left_out", email("jane@example.com"), ipqs.KindEmail, `{"fraud_score":5,"valid":true,"personal":{
			"names":["Jane Roe"],"identities":[{"names":["John Doe"]}]}}`, flagged, usual,
		},

		// URLs and domains.
		{
			"url", url(`https://example.com/a?b=c&d='e'\"<f>`), ipqs.KindURL, `{"risk_score":100,"malware":true,
			"phishing":true,"suspicious":true,"ip_address":"203.0.113.9","page_title":"<b>|Free [money](http://evil.example)|</b>",
			"server":"nginx\r\nX: y","final_url":"https://www.example.com/"}`, flagged, usual,
		},
		{"url_unreachable", url("https://example.com/gone"), ipqs.KindURL, `{"risk_score":10,"status_code":0,"page_size":0,"domain_rank":0,"server":"N/A","technologies":[""],"domain_age":null}`, flagged, usual},
		{
			"domain", domain("example.com"), ipqs.KindURL, `{"risk_score":78,"suspicious":true,
			"malware":false,"phishing":false,"ip_address":"203.0.113.9","domain_rank":0,"category":"Search Engines"}`, flagged, usual,
		},
		{"domain_resolves_to_ipv6", domain("bücher.example"), ipqs.KindURL, `{"risk_score":51,"ip_address":"2001:DB8::9"}`, flagged, usual},
		{"domain_resolves_to_nothing", domain("gone.example"), ipqs.KindURL, `{"risk_score":50,"ip_address":"N/A"}`, flagged, usual},
		{"domain_relationships_off", domain("alone.example"), ipqs.KindURL, `{"risk_score":50,"ip_address":"203.0.113.9"}`, flagged, Enrichment{}},
		{"domain_parked", domain("parked.example"), ipqs.KindURL, `{"risk_score":30,"parking":true,"domain_trust":"suspicious"}`, flagged, usual},
		{"domain_score_unknown", domain("unknown.example"), ipqs.KindURL, `{"risk_score":null,"ip_address":"203.0.113.9"}`, flagged, usual},

		// Phone numbers.
		{
			"phone", phone("+18005550100"), ipqs.KindPhone, `{"fraud_score":75,"valid":true,"active":null,
			"carrier":"Example Mobile","line_type":"Wireless","VOIP":false,"country":"US","mnc":"004"}`, flagged, usual,
		},
		{"phone_spammer", phone("+18005550101"), ipqs.KindPhone, `{"fraud_score":95,"valid":true,"active":true,"spammer":true,"VOIP":true,"prepaid":true}`, flagged, usual},
		{
			"phone_personal_data", phone("+18005550105"), ipqs.KindPhone, `{"fraud_score":5,"valid":true,"active":true,"personal":{
			"names":["Jane Roe","John Doe"],"email_addresses":["roe@example.org","jane@example.com"]}}`, flagged, with(func(e *Enrichment) { e.Personal = true }),
		},
		// Accounts: an indicator of a login in the model connector alone, of a password never.
		{"leak_exposed", account("jdoe@example.com"), ipqs.KindLeakEmail, `{"exposed":true,"plain_text_password":false,"source":["Collection <1>","Stealer | logs"],"first_seen":{"iso":"2021-11-22T00:00:00-05:00","timestamp":1637557200}}`, flagged, usual},
		{"leak_in_clear", account("jdoe@example.com"), ipqs.KindLeakEmail, `{"exposed":true,"plain_text_password":true}`, guidance, usual},
		{"leak_not_exposed", account("jdoe2"), ipqs.KindLeakUsername, `{"exposed":false,"source":[]}`, flagged, usual},
		{"leak_unknown", account("jdoe3"), ipqs.KindLeakUsername, `{"exposed":null}`, flagged, usual},
		{"leak_password", account("jdoe4"), ipqs.KindLeakPassword, `{"exposed":true,"source":["A"]}`, flagged, usual},
		{"leak_password_without_login", account(""), ipqs.KindLeakPassword, `{"exposed":false}`, flagged, usual},
		{"connector_leak_login", account("o'brien"), ipqs.KindLeakUsername, `{"exposed":true}`, connector, usual},
		{"connector_leak_password", account("jdoe5"), ipqs.KindLeakPassword, `{"exposed":true}`, connector, usual},

		// Files.
		{"file_malware", artifact(), ipqs.KindFileResult, `{"status":"done","detected":true,"detected_scans":"2","total_scans":"3","file_name":"a|b.exe","file_size":"68","file_type":"text/plain","result":[{"name":"Engine A","detected":true,"error":false},{"name":"Engine B","detected":false,"error":false},{"name":"Engine C","detected":false,"error":true}],"scan_date":{"date":"2026-03-01 19:40:02.000000","timezone_type":3,"timezone":"America/New_York"},"own_sha256":"` + sha256Hex + `","file_hash":"` + sha256Hex + `"}`, flagged, usual},
		{"file_clean", artifact(), ipqs.KindFileLookup, `{"status":"cached","detected":false,"total_scans":2,"result":[{"name":"Engine A","detected":false}]}`, flagged, usual},
		{"file_without_engines", artifact(), ipqs.KindFileLookup, `{"status":"completed","detected":false,"total_scans":0,"result":[""]}`, flagged, usual},
		{"file_of_somebody_else", artifact(), ipqs.KindFileLookup, `{"status":"cached","detected":false,"total_scans":2,"own_sha256":"` + sha256Hex + `","file_hash":"aa5a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"}`, flagged, usual},
		{"connector_file_clean", artifact(), ipqs.KindFileLookup, `{"status":"cached","detected":false,"total_scans":2,"result":[{"name":"Engine A","detected":false}]}`, connector, usual},
		{"connector_file_malware", artifact(), ipqs.KindFileLookup, `{"status":"cached","detected":"True","result":[""]}`, connector, usual},
		{"guidance_file_malware", artifact(), ipqs.KindFileLookup, `{"status":"cached","detected_scans":"1","total_scans":"7"}`, guidance, usual},

		{"phone_all_unknown", phone("+18005550104"), ipqs.KindPhone, `{"fraud_score":0,"valid":null,"active":null,"carrier":"N/A"}`, flagged, usual},
	}
}
