package stages

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"opencti-ipqs-worker/ipqs"
)

// Each model's verdict at both sides of each edge, written down from what IPQS and its connector publish.
func TestModelsAtTheirEdges(t *testing.T) {
	t.Parallel()
	bands := "0 LOW, 25 LOW, 26 MEDIUM, 50 MEDIUM, 51 HIGH, 75 HIGH, 76 CRITICAL, 100 CRITICAL"
	tests := []struct {
		model   Model
		kind    ipqs.Kind
		fields  string // beside the score
		verdict string // score and level, in turn
	}{
		{Bands, ipqs.KindIP, ``, bands},
		{Bands, ipqs.KindEmail, `"disposable":true,"valid":false`, bands},
		{Bands, ipqs.KindPhone, `"valid":false,"active":false`, bands},
		{Bands, ipqs.KindURL, `"malware":true`, bands},
		{"", ipqs.KindIP, ``, bands},

		{Connector, ipqs.KindIP, `"tor":true,"vpn":true`, "0 CLEAN, 59 CLEAN, 60 SUSPICIOUS, 74 SUSPICIOUS, 75 MODERATE RISK, 84 MODERATE RISK, 84.9 MODERATE RISK, 85 HIGH RISK, 99 HIGH RISK, 99.5 HIGH RISK, 100 CRITICAL"},
		{Connector, ipqs.KindEmail, `"valid":true`, "0 CLEAN, 79 CLEAN, 80 LOW RISK, 87 LOW RISK, 87.5 LOW RISK, 88 MODERATE RISK, 99 MODERATE RISK, 100 HIGH RISK"},
		{Connector, ipqs.KindEmail, `"valid":false,"timed_out":true`, "0 INVALID, 100 INVALID"},
		{Connector, ipqs.KindEmail, `"disposable":false`, "0 INVALID, 100 INVALID"},
		{Connector, ipqs.KindEmail, `"disposable":true,"valid":false`, "0 CRITICAL, 100 CRITICAL"},
		{Connector, ipqs.KindURL, `"unsafe":true`, "0 CLEAN, 54 CLEAN, 55 SUSPICIOUS, 69 SUSPICIOUS, 70 LOW RISK, 79 LOW RISK, 80 MODERATE RISK, 89 MODERATE RISK, 90 HIGH RISK, 100 HIGH RISK"},
		{Connector, ipqs.KindURL, `"phishing":true`, "0 CRITICAL, 10 CRITICAL"},
		{Connector, ipqs.KindURL, `"malware":"True"`, "0 CRITICAL"},
		{Connector, ipqs.KindPhone, `"valid":true,"active":true`, "0 CLEAN, 49 CLEAN, 50 SUSPICIOUS, 79 SUSPICIOUS, 80 LOW RISK, 89 LOW RISK, 90 HIGH RISK, 100 HIGH RISK"},
		{Connector, ipqs.KindPhone, `"valid":true,"active":null`, "0 MODERATE RISK, 100 MODERATE RISK"},
		{Connector, ipqs.KindPhone, `"active":true`, "0 MODERATE RISK, 100 MODERATE RISK"},

		{Guidance, ipqs.KindIP, ``, "0 LOW RISK, 74 LOW RISK, 75 SUSPICIOUS, 84 SUSPICIOUS, 85 HIGH RISK, 89 HIGH RISK, 90 VERY HIGH RISK, 100 VERY HIGH RISK"},
		{Guidance, ipqs.KindIP, `"bot_status":true`, "0 LOW RISK, 74 LOW RISK, 75 HIGH RISK"},
		{Guidance, ipqs.KindIP, `"proxy":true,"vpn":true`, "73 LOW RISK, 75 SUSPICIOUS"},
		{Guidance, ipqs.KindIP, `"abuse_velocity":"high"`, "74 LOW RISK, 75 HIGH RISK, 90 VERY HIGH RISK"},
		{Guidance, ipqs.KindIP, `"recent_abuse":null`, "75 SUSPICIOUS"},
		{Guidance, ipqs.KindEmail, `"valid":true`, "0 LOW RISK, 74 LOW RISK, 75 SUSPICIOUS, 84 SUSPICIOUS, 85 HIGH RISK, 89 HIGH RISK, 90 VERY HIGH RISK"},
		{Guidance, ipqs.KindEmail, `"valid":false`, "0 SUSPICIOUS, 85 HIGH RISK"},
		{Guidance, ipqs.KindEmail, `"valid":false,"suspect":true`, "0 LOW RISK"},
		{Guidance, ipqs.KindEmail, `"honeypot":true`, "0 SUSPICIOUS"},
		{Guidance, ipqs.KindEmail, `"spam_trap_score":"high"`, "0 SUSPICIOUS"},
		{Guidance, ipqs.KindEmail, `"leaked":true`, "0 LOW RISK"},
		{Guidance, ipqs.KindURL, ``, "0 LOW RISK, 74 LOW RISK, 75 SUSPICIOUS, 84 SUSPICIOUS, 85 HIGH RISK, 100 HIGH RISK"},
		{Guidance, ipqs.KindURL, `"suspicious":true`, "0 SUSPICIOUS, 85 HIGH RISK"},
		{Guidance, ipqs.KindURL, `"malware":true`, "0 HIGH RISK, 99 HIGH RISK, 100 VERY HIGH RISK"},
		{Guidance, ipqs.KindPhone, `"valid":true,"active":null`, "0 LOW RISK, 74 LOW RISK, 75 SUSPICIOUS, 84 SUSPICIOUS, 85 HIGH RISK, 90 VERY HIGH RISK"},
		{Guidance, ipqs.KindPhone, `"active":false`, "0 HIGH RISK, 90 VERY HIGH RISK"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%s/%s", tt.model, tt.kind, tt.fields), func(t *testing.T) {
			t.Parallel()
			for want := range strings.SplitSeq(tt.verdict, ", ") {
				score, level, _ := strings.Cut(want, " ")
				fields := tt.fields
				if fields != "" {
					fields += ","
				}
				v := Scoring{Model: tt.model}.verdict(report(tt.kind, fmt.Sprintf(`{%s"fraud_score":%s,"risk_score":%s}`, fields, score, score)))
				if string(v.Level) != level || len(v.Labels) != 1 || !strings.Contains(v.Labels[0].Value, `="`+level+`"`) {
					t.Errorf("at %s: level %q, labels %v, rule %q, want %s", score, v.Level, v.Labels, v.Rule, level)
				}
			}
		})
	}
}

// A table that names a fact nobody states, or a level without a label, would be wrong in silence.
func TestTablesAreComplete(t *testing.T) {
	t.Parallel()
	for _, m := range Models() {
		for _, p := range Products() {
			rules := m.Rules(p)
			if last := rules[len(rules)-1]; last.From != 0 || last.AnyOf != nil {
				t.Errorf("%s, %s: the last rule %+v does not always hold", m, p, last)
			}
			for i, rule := range rules {
				if g := m.grade(rule.Level); g.Label.Value == "" || g.Means == "" {
					t.Errorf("%s, %s: level %s has no grade", m, p, rule.Level)
				}
				for _, name := range rule.AnyOf {
					if !slices.ContainsFunc(Facts(p), func(f Fact) bool { return f.Name == name }) {
						t.Errorf("%s, %s: rule %d asks for %q, which is no fact", m, p, i, name)
					}
				}
			}
		}
	}
}
