package stages

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// noteOf is the first Note about an answer, in the default model.
func noteOf(e *opencti.Entity, r *ipqs.Report, personal bool) string {
	v, risk := Scoring{}.verdict(r), &Risk{At: at, UsedAt: at, Report: r}
	return noteContent(noteFacts{Entity: e, Verdict: v, Risk: risk, History: mergeHistory(nil, historyRow(v, risk)), Personal: personal})
}

func TestNoteContent(t *testing.T) {
	t.Parallel()
	r := report(ipqs.KindURL, `{"risk_score":10,"phishing":true}`)
	r.RequestID = "Req4711"
	risk := &Risk{At: at, UsedAt: at.Add(3*time.Hour + 5*time.Minute), Cached: true, Report: r, Sent: "https://example.com"}
	v := flagged.verdict(r)
	e := url("https://example.com/a")
	got := noteContent(noteFacts{
		Entity: &e, Verdict: v, Risk: risk, Indicator: indicatorWithdrawn, History: mergeHistory(nil, historyRow(v, risk)),
	})
	const want = "## IPQS: LOW, score 10 of 100, 2026-03-04\n\n" +
		"Url **`https://example.com/a`**: low risk by the score alone, but flagged.\n\n" +
		"- **Why:** phishing\n" +
		"- **Level:** score 0 to 25 (model bands)\n" +
		"- **Queried:** 2026-03-04T05:06:07Z, answer from the cache, 3h 5m old\n" +
		"- **Sent to IPQS:** `https://example.com`\n" +
		"- **Request:** Req4711\n" +
		"- **Indicator:** withdrawn because the score fell below the threshold for indicators\n\n" +
		"| Risk | |\n| --- | --- |\n| Risk score | 10 of 100 |\n| Malware | unknown |\n| Phishing | yes |\n| Suspicious | unknown |\n\n" +
		"### Last verdicts\n\n| First answer | Last answer | Level | Score | Findings |\n| --- | --- | --- | --- | --- |\n" +
		"| 2026-03-04T05:06:07Z | 2026-03-04T05:06:07Z | LOW | 10 | phishing |\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("noteContent() (-want +got):\n%s", diff)
	}
	if got := noteAbstract(v, risk); got != "IPQS: LOW, score 10 of 100, 2026-03-04" {
		t.Errorf("noteAbstract() = %q", got)
	}
	if got, want := indicatorDescription(v, risk), "IPQS: LOW, score 10 of 100 (low risk by the score alone, but flagged). Findings: phishing. "+
		"Queried 2026-03-04T05:06:07Z, request Req4711."; got != want {
		t.Errorf("indicatorDescription() = %q, want %q", got, want)
	}
}

func TestNoteContent_Lines(t *testing.T) {
	t.Parallel()
	exposed := report(ipqs.KindLeakUsername, `{"exposed":true}`)
	clean := report(ipqs.KindIP, `{"fraud_score":0}`)
	login := account("jdoe-4711")
	address := ipv4()
	long := url("https://example.com/" + strings.Repeat("x", 300))
	secret := url("https://user:secret@example.com/")
	tests := []struct {
		name          string
		note          noteFacts
		has           []string
		first, absent string // the first line, and the beginning of one that is not there
	}{
		{
			"a foreign indicator",
			noteFacts{Entity: &address, Risk: &Risk{At: at, UsedAt: at, Report: clean}, Indicator: indicatorForeign},
			[]string{
				"- **Why:** no findings", "- **Queried:** 2026-03-04T05:06:07Z, new answer",
				"- **Indicator:** belongs to another source; it is linked and not changed",
			},
			"## IPQS: LOW, score 0 of 100, 2026-03-04", "- **Sent",
		},
		{
			"an indicator revoked by a person",
			noteFacts{Entity: &address, Risk: &Risk{At: at, UsedAt: at, Report: clean}, Indicator: indicatorRevoked},
			[]string{"- **Indicator:** revoked in OpenCTI and left revoked; IPQS still reports the value"},
			"## IPQS: LOW, score 0 of 100, 2026-03-04", "- **Request",
		},
		{
			"an account shows neither its login nor what was sent",
			noteFacts{Entity: &login, Risk: &Risk{At: at, Report: exposed, Sent: "jdoe-4711"}},
			[]string{"User-Account **" + login.StandardID + "**: appears in a known leak; the owner of the account is a victim."},
			"## IPQS: CRITICAL, score 100 of 100, 2026-03-04", "- **Sent",
		},
		{
			"no score",
			noteFacts{Entity: &address, Risk: &Risk{At: at, Report: report(ipqs.KindIP, `{"vpn":true}`)}},
			[]string{"- **Findings:** VPN"},
			"## IPQS: no verdict, 2026-03-04", "- **Level",
		},
		{
			"a URL shows no user name and password",
			noteFacts{Entity: &secret, Risk: &Risk{At: at, Report: clean, Sent: "https://example.com/"}},
			[]string{"Url **`https://example.com/`**: likely legitimate.", "- **Sent to IPQS:** `https://example.com/`"},
			"## IPQS: LOW, score 0 of 100, 2026-03-04", "- **Indicator",
		},
		{
			"a long value is cut off",
			noteFacts{Entity: &long, Risk: &Risk{At: at, Report: clean}},
			[]string{"Url **`https://example.com/" + strings.Repeat("x", 180) + "`… (" + long.StandardID + ")**: likely legitimate."},
			"## IPQS: LOW, score 0 of 100, 2026-03-04", "- **Indicator",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.note.Verdict = flagged.verdict(tt.note.Risk.Report)
			content := noteContent(tt.note)
			lines := strings.Split(content, "\n")
			if lines[0] != tt.first {
				t.Errorf("the Note begins with %q, want %q", lines[0], tt.first)
			}
			for _, want := range tt.has {
				if !strings.Contains(content, want+"\n") {
					t.Errorf("the Note lacks the line %q:\n%s", want, content)
				}
			}
			if strings.Contains(content, "\n"+tt.absent) || strings.Contains(content, "jdoe-4711") {
				t.Errorf("the Note has a line %q or a login:\n%s", tt.absent, content)
			}
		})
	}
}
