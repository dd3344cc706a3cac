package stages

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// statements are answers that state one fact each, by product and name of the fact.
var statements = map[Product]struct {
	kind   ipqs.Kind
	fields map[string]string
}{
	ProductIP: {ipqs.KindIP, map[string]string{
		highRiskAttacks: `"high_risk_attacks":true`, frequentAbuser: `"frequent_abuser":true`, recentAbuse: `"recent_abuse":true`,
		abuseVelocity: `"abuse_velocity":"high"`, "abuse events": `"abuse_events":["Open Proxies"]`, botActivity: `"bot_status":true`,
		"active TOR node": `"active_tor":true`, "TOR": `"tor":true`, "active VPN": `"active_vpn":true`, "VPN": `"vpn":true`,
		"proxy": `"proxy":true`, "security scanner": `"security_scanner":true`, "crawler": `"is_crawler":true`,
	}},
	ProductEmail: {ipqs.KindEmail, map[string]string{
		honeypot: `"honeypot":true`, spamTrap: `"spam_trap_score":"high"`, disposable: `"disposable":true`, recentAbuse: `"recent_abuse":true`,
		"frequent complainer": `"frequent_complainer":true`, invalidAddress: `"valid":false`, "suspicious domain": `"domain_trust":"malicious"`,
		seenInLeak: `"leaked":true`, "catch-all domain": `"catch_all":true`, "risky top-level domain": `"risky_tld":true`,
	}},
	ProductURL: {ipqs.KindURL, map[string]string{
		malware: `"malware":true`, phishing: `"phishing":true`, suspicious: `"suspicious":true`, "spamming": `"spamming":true`,
		"unsafe": `"unsafe":true`, "suspicious domain": `"domain_trust":"suspicious"`, "adult content": `"adult":true`,
		"parked domain": `"parking":true`, "short-link redirect": `"short_link_redirect":true`, "risky top-level domain": `"risky_tld":true`,
	}},
	ProductPhone: {ipqs.KindPhone, map[string]string{
		"spammer": `"spammer":true`, "risky number": `"risky":true`, recentAbuse: `"recent_abuse":true`, invalidNumber: `"valid":false`,
		inactiveNumber: `"active":false`, "VoIP line": `"VOIP":true`, "prepaid line": `"prepaid":true`, seenInLeak: `"leaked":true`,
	}},
	ProductLeak: {ipqs.KindLeakEmail, map[string]string{
		plainPassword: `"plain_text_password":true`, seenInLeak: `"exposed":true`,
	}},
	ProductFile: {ipqs.KindFileLookup, map[string]string{
		malware:                     `"status":"cached","detected":true,"total_scans":3`,
		"IPQS scanned another file": `"status":"cached","detected":true,"own_sha256":"` + sha256Hex + `","file_hash":"aa5a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"`,
		"no engine could tell":      `"status":"cached","detected":false,"total_scans":0`,
	}},
}

// Whatever finding IPQS reports, at any score and in any model, no text calls the value harmless, the indicator is not
// benign, and every text that gives reasons names the finding.
func TestTexts_NeverContradictAFinding(t *testing.T) {
	t.Parallel()
	for _, p := range Products() {
		answers := statements[p]
		all := make([]string, 0, len(answers.fields))
		for _, f := range Facts(p) {
			if f.Silent {
				continue
			}
			fields, ok := answers.fields[f.Name]
			if !ok {
				t.Errorf("%s: no answer states %q", p, f.Name)
				continue
			}
			all = append(all, fields)
			checkTexts(t, answers.kind, fields, f.Name)
		}
		if p != ProductFile { // whose answers exclude each other
			checkTexts(t, answers.kind, strings.Join(all, ","), "")
		}
	}
}

// checkTexts checks all texts about an answer with these fields at every score.
func checkTexts(t *testing.T, kind ipqs.Kind, fields, finding string) {
	t.Helper()
	e := url("https://example.com/")
	for score := range 101 {
		risk := &Risk{At: at, UsedAt: at, Report: report(kind, fmt.Sprintf(`{%s,"fraud_score":%d,"risk_score":%d}`, fields, score, score))}
		for _, m := range Models() {
			v := Scoring{Model: m, FlagLabels: true}.verdict(risk.Report)
			if finding != "" && !slices.Contains(v.Factors, finding) {
				t.Fatalf("%s: findings of {%s} = %q, want %q among them", m, fields, v.Factors, finding)
			}
			history := mergeHistory(nil, historyRow(v, risk))
			_, description, _ := reference(&e, v, risk)
			note := noteContent(noteFacts{Entity: &e, Verdict: v, Risk: risk, History: history})
			listing := map[string]string{
				"note": note, "work message": published(v, risk, 1), "indicator description": indicatorDescription(v, risk),
				"history": history[0].Findings,
			}
			for name, text := range listing {
				for _, f := range v.Factors {
					if !strings.Contains(text, f) {
						t.Errorf("%s, score %d: the %s lacks the finding %q: %s", m, score, name, f, text)
					}
				}
			}
			for _, text := range []string{
				note, published(v, risk, 1), indicatorDescription(v, risk), noteAbstract(v, risk), description,
			} {
				for _, word := range []string{"legitimate", "clean", "benign", "acts on", "act on"} {
					if strings.Contains(strings.ToLower(text), word) {
						t.Errorf("%s, score %d, findings %q: a text says %q: %s", m, score, v.Factors, word, text)
					}
				}
			}
			if types := indicatorTypes(v, risk.Report); v.Score != nil && slices.Contains(types, typeBenign) {
				t.Errorf("%s, score %d, findings %q: indicator types = %q", m, score, v.Factors, types)
			}
		}
	}
}

func TestMeaning(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		model  Model
		kind   ipqs.Kind
		fields string
		want   string // meaning; reasons
	}{
		{"low", Bands, ipqs.KindURL, `{"risk_score":10}`, "likely legitimate; no findings"},
		{"low but phishing", Bands, ipqs.KindURL, `{"risk_score":10,"phishing":true}`, "low risk by the score alone, but flagged; phishing"},
		{"low but an invalid number", Bands, ipqs.KindPhone, `{"fraud_score":0,"valid":false}`, "low risk by the score alone, but flagged; invalid number"},
		{"critical without findings", Bands, ipqs.KindIP, `{"fraud_score":90}`, "high fraud risk; no findings"},
		{"guidance low", Guidance, ipqs.KindIP, `{"fraud_score":74}`, "below the scores that IPQS acts on; no findings"},
		{"guidance low but a VPN", Guidance, ipqs.KindIP, `{"fraud_score":74,"vpn":true}`, "low risk by the score alone, but flagged; VPN"},
		{"connector clean", Connector, ipqs.KindIP, `{"fraud_score":0}`, "clean; no findings"},
		{"connector clean but TOR", Connector, ipqs.KindIP, `{"fraud_score":0,"tor":true}`, "low risk by the score alone, but flagged; TOR"},
		{"connector low risk but unsafe", Connector, ipqs.KindURL, `{"risk_score":70,"unsafe":true}`, "low risk by the score alone, but flagged; unsafe"},
		{
			"connector: what is not confirmed is a reason", Connector, ipqs.KindPhone, `{"fraud_score":0,"valid":true,"active":null,"VOIP":true}`,
			"moderate risk; VoIP line, not confirmed as active",
		},
		{"no score", Bands, ipqs.KindIP, `{"proxy":true}`, "IPQS gives no score; proxy"},
		{"leaked password", Bands, ipqs.KindLeakPassword, `{"exposed":true}`, "the password appears in a known leak; seen in a leak"},
		{"password in no leak", Bands, ipqs.KindLeakPassword, `{"exposed":false}`, "the password appears in no known leak; no findings"},
		{"leaked account", Bands, ipqs.KindLeakEmail, `{"exposed":true}`, "appears in a known leak; the owner of the account is a victim; seen in a leak"},
		{"unknown leak", Bands, ipqs.KindLeakEmail, `{"exposed":null}`, "IPQS does not state whether it appears in a leak; no findings"},
		{"malware", Bands, ipqs.KindFileLookup, `{"status":"cached","detected":true}`, "an engine detects malware; malware"},
		{"file without malware", Connector, ipqs.KindFileLookup, `{"status":"cached","detected":false,"total_scans":2}`, "no engine detects malware; no findings"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := report(tt.kind, tt.fields)
			v := Scoring{Model: tt.model}.verdict(r)
			if got := meaning(v, r) + "; " + reasonsText(v, r); got != tt.want {
				t.Errorf("meaning and reasons = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPublished(t *testing.T) {
	t.Parallel()
	r := report(ipqs.KindIP, `{"fraud_score":10,"tor":true}`)
	unknown := report(ipqs.KindIP, `{}`)
	tests := []struct {
		name    string
		model   Model
		risk    Risk
		objects int
		want    string
	}{
		{"new", Bands, Risk{At: at, UsedAt: at, Report: r}, 1, "IPQS: LOW, score 10 of 100 (TOR). New answer. 1 object sent."},
		{
			"cached", Bands,
			Risk{At: at, UsedAt: at.Add(26*time.Hour + time.Minute), Cached: true, Report: r},
			6,
			"IPQS: LOW, score 10 of 100 (TOR). Answer from the cache, 1d 2h old. 6 objects sent.",
		},
		{"cached, of unknown age", Bands, Risk{At: at, Cached: true, Report: r}, 0, "IPQS: LOW, score 10 of 100 (TOR). Answer from the cache. 0 objects sent."},
		{"the model's CLEAN", Connector, Risk{At: at, UsedAt: at, Report: r}, 1, "IPQS: LOW SCORE, score 10 of 100 (TOR). New answer. 1 object sent."},
		{"no score", Bands, Risk{At: at, UsedAt: at, Report: unknown}, 2, "IPQS: no verdict (no findings). New answer. 2 objects sent."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := published(Scoring{Model: tt.model}.verdict(tt.risk.Report), &tt.risk, tt.objects); got != tt.want {
				t.Errorf("published() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAgeText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		age  time.Duration
		want string
	}{
		{0, "0s"},
		{59999 * time.Millisecond, "59s"},
		{time.Minute, "1m"},
		{59*time.Minute + 59*time.Second, "59m"},
		{time.Hour, "1h 0m"},
		{23*time.Hour + 59*time.Minute, "23h 59m"},
		{49 * time.Hour, "2d 1h"},
	}
	for _, tt := range tests {
		if got := ageText(tt.age); got != tt.want {
			t.Errorf("ageText(%v) = %q, want %q", tt.age, got, tt.want)
		}
	}
}
