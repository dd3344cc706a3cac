package stages

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// What other integrations of IPQS get wrong about verdicts, labels, notes and bundles, one test for each. Those about the
// client are in package ipqs, those about the account in internal/credit and ipqs.
//
//	 1 null becomes false                                          TestDefect01, ipqs.TestDefect01
//	 2 an absent score becomes a text, or a crash                  TestDefect02, ipqs.TestDefect02
//	 3 a fraction falls between two bands                          TestDefect03
//	 4 a phone number at 100 that is inactive is moderate          TestDefect04
//	 5 bands begin elsewhere for each product, without a reason    TestDefect05
//	 6 a file is clean because its list of engines is empty        TestDefect06
//	 7 what is clean has a score of 50 or 60, and an indicator     TestDefect07
//	 8 "False" as a text is true                                   ipqs.TestDefect08
//	 9 status and time limit are not looked at                     ipqs.TestDefect09
//	10 bot_status alone makes an address malicious                 TestDefect10
//	11 a domain is asked about as an address                       ipqs.TestDefect11
//	12 the test of the key spends a credit and believes HTTP 200   ipqs.TestDefect12
//	13 passwords stand in addresses, logs and patterns             TestDefect13, ipqs.TestDefect13
//	14 an ampersand cuts a value short                             ipqs.TestDefect14
//	15 a flag or a high score alone blocks what is known good      TestDefect15
//	16 what one value was called stays for the next                TestDefect16
//
// And of what a client must get right:
//
//	13 an e-mail address that could not be tried is not invalid    TestChecklist13
//	14 a stranger's text is no Markdown                            TestChecklist14, FuzzEscape

func verdictOf(m Model, kind ipqs.Kind, fields string) *Verdict {
	return Scoring{Model: m, FlagLabels: true}.verdict(report(kind, fields))
}

func TestDefect01_NullIsNotFalse(t *testing.T) {
	t.Parallel()
	for _, m := range []Model{Bands, Guidance} {
		unknown := verdictOf(m, ipqs.KindPhone, `{"fraud_score":10,"valid":null,"active":null}`)
		if unknown.Level != m.Grades()[0].Level || len(unknown.Factors) != 0 {
			t.Errorf("%s: verdict on an unknown line = %s, %q, want the mildest and nothing raised", m, unknown.Level, unknown.Factors)
		}
	}
	e := entity("Phone-Number", "+18005550100")
	r := report(ipqs.KindPhone, `{"fraud_score":10,"active":null}`)
	if note := noteOf(&e, r, false); !strings.Contains(note, "| Active | unknown |") {
		t.Errorf("the note says %s, want that active is unknown", note)
	}
}

func TestDefect02_AnAbsentScoreMakesNoVerdict(t *testing.T) {
	t.Parallel()
	for _, m := range Models() {
		for _, fields := range []string{`{"proxy":true}`, `{"fraud_score":null}`, `{"fraud_score":""}`} {
			v := verdictOf(m, ipqs.KindIP, fields)
			if v.Score != nil || v.Level != "" || v.Labels != nil {
				t.Errorf("%s: verdict of %s = %+v, want none", m, fields, v)
			}
		}
	}
	bundle := string(bundleOf(t, ipv4(), report(ipqs.KindIP, `{"proxy":true}`), Scoring{FlagLabels: true}, usual))
	for _, word := range []string{"x_opencti_score", "x_opencti_labels", `"indicator"`, "None"} {
		if strings.Contains(bundle, word) {
			t.Errorf("the bundle without a score has %s: %s", word, bundle)
		}
	}
}

// Every score in steps of a tenth has the level of the whole score below it, in each model and for each product.
func TestDefect03_NoScoreFallsBetweenBands(t *testing.T) {
	t.Parallel()
	kinds := []ipqs.Kind{ipqs.KindIP, ipqs.KindEmail, ipqs.KindURL, ipqs.KindPhone}
	for _, m := range Models() {
		for _, kind := range kinds {
			for tenths := range 1001 {
				exact := report(kind, `{"valid":true,"active":true}`)
				whole := report(kind, `{"valid":true,"active":true}`)
				setScore(exact, float64(tenths)/10)
				setScore(whole, float64(tenths/10))
				got, want := Scoring{Model: m}.verdict(exact), Scoring{Model: m}.verdict(whole)
				if got.Level == "" || got.Level != want.Level {
					t.Fatalf("%s, %s: level at %d tenths = %q, want %q as at the whole score", m, kind, tenths, got.Level, want.Level)
				}
			}
		}
	}
}

func setScore(r *ipqs.Report, score float64) {
	switch n := ipqs.NumberOf(score); r.Kind {
	case ipqs.KindIP:
		r.IP.FraudScore = n
	case ipqs.KindEmail:
		r.Email.FraudScore = n
	case ipqs.KindPhone:
		r.Phone.FraudScore = n
	default:
		r.URL.RiskScore = n
	}
}

func TestDefect04_AnInactivePhoneAtAHundredIsNoModerateRisk(t *testing.T) {
	t.Parallel()
	for m, want := range map[Model]Level{Bands: Critical, Guidance: VeryHighRisk} {
		if v := verdictOf(m, ipqs.KindPhone, `{"fraud_score":100,"valid":true,"active":false}`); v.Level != want {
			t.Errorf("%s: level = %s, want %s", m, v.Level, want)
		}
	}
}

func TestDefect05_BandsAreTheSameForAllProducts(t *testing.T) {
	t.Parallel()
	for _, p := range Products() {
		if diff := cmp.Diff(Bands.Rules(ProductIP), Bands.Rules(p)); diff != "" {
			t.Errorf("bands of %s (-of addresses +its own):\n%s", p, diff)
		}
	}
}

func TestDefect06_AnInconclusiveScanIsNotClean(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, fields string
		want         ipqs.Bool
	}{
		{"detected without a list of engines", `{"status":"done","detected":true,"result":[""]}`, ipqs.True},
		{"counted as text", `{"status":"cached","detected":false,"detected_scans":"1","total_scans":"7"}`, ipqs.True},
		{"one engine of two", `{"status":"done","result":[{"name":"A","detected":"True"},{"name":"B","detected":false}]}`, ipqs.True},
		{"by name", `{"status":"done","result":{"A":{"detected":false},"B":{"detected":true}}}`, ipqs.True},
		{"nothing found by who could tell", `{"status":"done","detected":false,"result":[{"name":"A","detected":false},{"name":"B","error":true}]}`, ipqs.False},
		{"nothing found, counted", `{"status":"finished","detected":false,"detected_scans":"0","total_scans":"7","result":[]}`, ipqs.False},
		{"nobody asked", `{"status":"completed","detected":false,"total_scans":0,"result":[""]}`, ipqs.Unknown},
		{"nobody could tell", `{"status":"done","detected":false,"total_scans":1,"result":[{"name":"A","detected":false,"error":true}]}`, ipqs.Unknown},
		{"an engine in error has no opinion", `{"status":"done","detected":false,"result":[{"name":"A","detected":true,"error":true}]}`, ipqs.Unknown},
		{"still going on", `{"status":"pending","detected":false,"total_scans":3,"result":[{"name":"A","detected":false}]}`, ipqs.Unknown},
		{"nothing said", `{}`, ipqs.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := report(ipqs.KindFileResult, tt.fields)
			if got := detected(r.File); got != tt.want {
				t.Errorf("detected() = %v, want %v", got, tt.want)
			}
			for _, m := range Models() {
				v := Scoring{Model: m}.verdict(r)
				if (v.Score != nil) != (tt.want != ipqs.Unknown) || v.Score != nil && (*v.Score == 100) != (tt.want == ipqs.True) {
					t.Errorf("%s: verdict = %+v, want one only where something is known", m, v)
				}
			}
		})
	}
}

func TestDefect07_WhatIsCleanCanDoWithoutIndicator(t *testing.T) {
	t.Parallel()
	if v := verdictOf(Bands, ipqs.KindFileLookup, `{"status":"cached","detected":false,"total_scans":3}`); *v.Score != 0 || v.Level != Low {
		t.Errorf("verdict on a clean file = %d, %s, want 0, LOW", *v.Score, v.Level)
	}
	r := report(ipqs.KindIP, `{"fraud_score":60}`)
	for from, want := range map[int]bool{0: true, 60: true, 61: false} {
		bundle := string(bundleOf(t, ipv4(), r, Scoring{}, with(func(e *Enrichment) { e.IndicatorFrom = MinScores{"ip": from} })))
		if got := strings.Contains(bundle, `"type":"indicator"`); got != want {
			t.Errorf("with IPQS_INDICATOR_MIN_SCORE=%d there is an indicator: %v, want %v", from, got, want)
		}
		if got := strings.Contains(bundle, `"based-on"`); got != want {
			t.Errorf("with IPQS_INDICATOR_MIN_SCORE=%d there is a relationship to it: %v, want %v", from, got, want)
		}
	}
}

func TestDefect10_BotStatusAloneDecidesNothing(t *testing.T) {
	t.Parallel()
	for _, m := range Models() {
		if v := verdictOf(m, ipqs.KindIP, `{"fraud_score":0,"bot_status":true}`); v.Level != m.Grades()[0].Level {
			t.Errorf("%s: level = %s, want the mildest", m, v.Level)
		}
	}
}

func TestDefect13_NoPasswordInABundle(t *testing.T) {
	t.Parallel()
	for _, m := range Models() {
		e := account("jdoe")
		bundle := string(bundleOf(t, e, report(ipqs.KindLeakPassword, `{"exposed":true}`), Scoring{Model: m}, usual))
		if strings.Contains(bundle, `"indicator"`) || strings.Contains(bundle, "credential") {
			t.Errorf("%s: the bundle of a password's lookup has an indicator or a credential: %s", m, bundle)
		}
	}
}

// IPQS' own examples give 8.8.8.8 the score 100, example.com 78, and a home line 73 and a proxy.
func TestDefect15_OneFlagBlocksNothing(t *testing.T) {
	t.Parallel()
	if v := verdictOf(Guidance, ipqs.KindIP, `{"fraud_score":73,"proxy":true}`); v.Level != LowRisk {
		t.Errorf("level of a home line behind a proxy = %s, want %s", v.Level, LowRisk)
	}
	bundle := string(bundleOf(t, ipv4(), report(ipqs.KindIP, `{"fraud_score":100}`), Scoring{}, usual))
	if strings.Contains(bundle, "x_opencti_detection") {
		t.Errorf("the indicator is for detection though nobody asked for that: %s", bundle)
	}
}

func TestDefect16_AVerdictKnowsNothingOfTheOneBefore(t *testing.T) {
	t.Parallel()
	scoring := Scoring{Model: Guidance, FlagLabels: true}
	first := scoring.verdict(report(ipqs.KindIP, `{"fraud_score":10}`))
	scoring.verdict(report(ipqs.KindIP, `{"fraud_score":100,"tor":true,"recent_abuse":true}`))
	if diff := cmp.Diff(first, scoring.verdict(report(ipqs.KindIP, `{"fraud_score":10}`))); diff != "" {
		t.Errorf("the same answer later makes another verdict (-first +later):\n%s", diff)
	}
}

func TestChecklist13_TimedOutIsNotInvalid(t *testing.T) {
	t.Parallel()
	for _, fields := range []string{`{"fraud_score":0,"valid":false,"timed_out":true}`, `{"fraud_score":0,"valid":false,"suspect":true}`} {
		r := report(ipqs.KindEmail, fields)
		for _, m := range []Model{Bands, Guidance} {
			v := Scoring{Model: m, FlagLabels: true}.verdict(r)
			if v.Level != m.Grades()[0].Level || len(v.Labels) != 1 {
				t.Errorf("%s: verdict of %s = %s, labels %v, want the mildest and no flag", m, fields, v.Level, v.Labels)
			}
		}
		e := email("slow@example.com")
		if note := noteOf(&e, r, false); !strings.Contains(note, "| Valid | unknown |") {
			t.Errorf("the note says %s, want that validity is unknown", note)
		}
	}
}

func TestChecklist14_AStrangersTextIsNoMarkdown(t *testing.T) {
	t.Parallel()
	inert := regexp.MustCompile("(?s)\\\\.|`[^`|\n]*`") // a backslash and what it makes plain text, and code
	const hostile = "</td>|x|\n# [click](http://evil.example) ![i](http://evil.example/i.png) <script>alert(1)</script> `c` **b** ~~s~~ &lt;"
	quoted, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(quoted)
	tests := []struct {
		kind   ipqs.Kind
		fields string
	}{
		{ipqs.KindURL, `{"risk_score":1,"page_title":` + text + `,"server":` + text + `,"category":` + text + `,"technologies":[` + text + `],"final_url":` + text + `}`},
		{ipqs.KindIP, `{"fraud_score":1,"host":` + text + `,"ISP":` + text + `,"organization":` + text + `,"abuse_events":[` + text + `]}`},
		{ipqs.KindLeakUsername, `{"exposed":true,"source":[` + text + `]}`},
		{ipqs.KindFileResult, `{"status":"done","file_name":` + text + `,"result":[{"name":` + text + `,"detected":true}]}`},
	}
	for _, tt := range tests {
		r := report(tt.kind, tt.fields)
		e := opencti.Entity{Type: "Url", Value: hostile, StandardID: "url--1"}
		note := inert.ReplaceAllString(noteOf(&e, r, false), "")
		for _, raw := range []string{"<", "[", "]", "://", "**b", "~", "`", "!", "&"} {
			if at := strings.Index(note, raw); at >= 0 {
				t.Errorf("%s: the note has %q as it came: …%s…", tt.kind, raw, note[max(0, at-20):min(len(note), at+40)])
			}
		}
		tables, history, _ := strings.Cut(note, "### "+historyTitle) // which has five columns, and nothing of a stranger's
		if strings.Contains(history, "evil") || strings.Contains(history, "click") {
			t.Errorf("%s: the history has a stranger's text: %s", tt.kind, history)
		}
		for line := range strings.Lines(tables) {
			if strings.HasPrefix(line, "# ") || strings.Count(line, "|") > 3 {
				t.Errorf("%s: a stranger's text has made a line of its own, or a column: %s", tt.kind, line)
			}
		}
	}
}

// What IPQS knows of people is in a note only if the operator says so, even where a report has it.
func TestPersonalDataIsLeftOutUnlessAskedFor(t *testing.T) {
	t.Parallel()
	r := report(ipqs.KindEmail, `{"fraud_score":1,"valid":true}`)
	r.Personal = &ipqs.Personal{
		Names: ipqs.List{"Jane *Roe*"}, PhoneNumbers: ipqs.List{"+18005550177"},
		Identities: []ipqs.Identity{{Names: ipqs.List{"John Doe"}, Addresses: ipqs.List{"1 Example Street"}, Source: "marketing"}},
	}
	e := email("jane@example.com")
	for _, word := range []string{`Jane \*Roe\*`, "+18005550177", "John Doe", "1 Example Street"} {
		if !strings.Contains(noteOf(&e, r, true), word) {
			t.Errorf("the note with personal data lacks %q", word)
		}
		if strings.Contains(noteOf(&e, r, false), word) {
			t.Errorf("the note without personal data has %q", word)
		}
	}
	if bundle := string(bundleOf(t, e, r, Scoring{}, usual)); strings.Contains(bundle, "Jane") || strings.Contains(bundle, "Doe") {
		t.Errorf("the bundle without personal data has a name: %s", bundle)
	}
}

// Whatever a stranger writes, nothing of it is left that begins markup or a line, nor what a renderer would make a link of.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{
		"", "plain", "a|b", "\\|", "\\\\", "`", "<b>", "x\r\ny", "\u2028", "\u202e", "&#124;", "www.x", "a://b", "\xff", "WWW.x|", "a@b`c", "`://`", "\\`@",
	} {
		f.Add(seed)
	}
	links := regexp.MustCompile(`(?i)https?://|www\.|[-.\w+]@[-\w]`)
	f.Fuzz(func(t *testing.T, text string) {
		escaped := []rune(escape(text))
		var shown []rune // but for what is in code
		for i := 0; i < len(escaped); i++ {
			switch r := escaped[i]; {
			case r == '\\':
				i++ // what follows is text
				if i == len(escaped) {
					t.Fatalf("escape(%q) = %q ends in a backslash, which would escape what follows", text, string(escaped))
				}
				shown = append(shown, escaped[i])
			case r == '`':
				length := slices.Index(escaped[i+1:], '`')
				if length < 1 || slices.ContainsFunc(escaped[i+1:i+1+length], func(r rune) bool { return r == '|' || r == '\n' || r == '\r' }) {
					t.Fatalf("escape(%q) = %q has code that does not end, or has a bar in it", text, string(escaped))
				}
				i += length + 1
				if i+1 < len(escaped) && escaped[i+1] == '`' {
					t.Fatalf("escape(%q) = %q has code that ends in more than a backtick", text, string(escaped))
				}
				shown = append(shown, '\x00')
			case strings.ContainsRune(markup, r) || r == '\n' || r == '\r':
				t.Fatalf("escape(%q) = %q leaves %q", text, string(escaped), r)
			default:
				shown = append(shown, r)
			}
		}
		if link := links.FindString(string(shown)); link != "" {
			t.Fatalf("escape(%q) = %q would be shown with a link from %q on", text, string(escaped), link)
		}
	})
}
