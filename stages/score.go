package stages

import (
	"context"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// Score turns what IPQS said into a verdict. It meets nobody: the same answer is the same verdict.
func Score() Stage {
	return Stage{
		Name:    "score",
		Needs:   []Section{SectionRisk},
		Fills:   []Section{SectionVerdict},
		Timeout: 5 * time.Second,
		Run: func(_ context.Context, job Job) (Job, error) {
			job.Verdict = verdict(job.Risk.Report)
			return job, nil
		},
	}
}

// verdict is the model "bands": the score decides the level alone, the flags only explain. Without a score there is no
// level and no label.
func verdict(report *ipqs.Report) *Verdict {
	v := &Verdict{Factors: factors(report)}
	score, known := report.Score()
	if !known {
		return v
	}
	band := BandOf(score)
	v.Score, v.Level, v.Labels = &score, band.Level, []Label{band.Label}
	return v
}

// raised is a fact that IPQS states as a boolean, with what an analyst calls it.
type raised struct {
	is   ipqs.Bool
	name string
}

// factors lists the flags that are raised, the weightiest first.
func factors(report *ipqs.Report) []string {
	var names []string
	for _, f := range flags(report) {
		if f.is == ipqs.True {
			names = append(names, f.name)
		}
	}
	return names
}

func flags(report *ipqs.Report) []raised {
	switch {
	case report.IP != nil:
		r := report.IP
		return []raised{
			{r.HighRiskAttacks, "high-risk attacks"},
			{r.FrequentAbuser, "frequent abuser"},
			{r.RecentAbuse, "recent abuse"},
			{r.BotStatus, "bot activity"},
			{r.ActiveTOR, "active TOR node"},
			{r.TOR, "TOR"},
			{r.ActiveVPN, "active VPN"},
			{r.VPN, "VPN"},
			{r.Proxy, "proxy"},
			{r.SecurityScanner, "security scanner"},
		}
	case report.Email != nil:
		r := report.Email
		return []raised{
			{r.Honeypot, "honeypot"},
			{r.Disposable, "disposable address"},
			{r.RecentAbuse, "recent abuse"},
			{r.FrequentComplainer, "frequent complainer"},
			{r.Leaked, "seen in a leak"},
			{r.CatchAll, "catch-all domain"},
			{r.RiskyTLD, "risky top-level domain"},
		}
	case report.Phone != nil:
		r := report.Phone
		return []raised{
			{r.Spammer, "spammer"},
			{r.Risky, "risky number"},
			{r.RecentAbuse, "recent abuse"},
			{r.VOIP, "VoIP line"},
			{r.Prepaid, "prepaid line"},
			{r.Leaked, "seen in a leak"},
		}
	case report.URL != nil:
		r := report.URL
		return []raised{
			{r.Malware, "malware"},
			{r.Phishing, "phishing"},
			{r.Suspicious, "suspicious"},
			{r.Spamming, "spamming"},
			{r.Unsafe, "unsafe"},
			{r.Adult, "adult content"},
			{r.Parking, "parked domain"},
			{r.ShortLinkRedirect, "short-link redirect"},
			{r.RiskyTLD, "risky top-level domain"},
		}
	default:
		return nil
	}
}
