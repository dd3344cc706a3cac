package stages

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// Texts about a verdict follow from its level and from what IPQS reports, so that no text contradicts a finding.

// lowScore replaces, in texts, the level CLEAN of the model connector where IPQS reports findings: that model goes by the score
// of most types alone. The label keeps the model's word.
const lowScore Level = "LOW SCORE"

// shownLevel is the level as texts show it.
func shownLevel(v *Verdict) Level {
	if v.Level == Clean && len(v.Factors) > 0 {
		return lowScore
	}
	return v.Level
}

// headline is the verdict in a few words: "CRITICAL, score 93 of 100".
func headline(v *Verdict) string {
	if v.Score == nil {
		return "no verdict"
	}
	return fmt.Sprintf("%s, score %d of 100", shownLevel(v), *v.Score)
}

// meaning explains the level in words. Leaks and files have words of their own: the owner of a leaked account is a victim, and a
// scan is about a file.
func meaning(v *Verdict, report *ipqs.Report) string {
	if v.Score == nil {
		return unscored(report)
	}
	bad := *v.Score == 100
	switch {
	case report.Kind == ipqs.KindLeakPassword && bad:
		return "the password appears in a known leak"
	case report.Kind == ipqs.KindLeakPassword:
		return "the password appears in no known leak"
	case report.Leak != nil && bad:
		return "appears in a known leak; the owner of the account is a victim"
	case report.Leak != nil:
		return "appears in no known leak"
	case report.File != nil && bad:
		return "an engine detects malware"
	case report.File != nil:
		return "no engine detects malware"
	}
	grade := v.Model.grade(v.Level)
	if (grade.IndicatorType == typeBenign || v.Level == LowRisk) && len(v.Factors) > 0 {
		return "low risk by the score alone, but flagged"
	}
	return grade.Means
}

// unscored says why there is no score.
func unscored(report *ipqs.Report) string {
	switch {
	case report.Leak != nil:
		return "IPQS does not state whether it appears in a leak"
	case report.File != nil:
		return "the scan was inconclusive"
	default:
		return "IPQS gives no score"
	}
}

// reasons lists the findings behind a verdict: what IPQS reports, then what only the deciding rule asks for, such as "not
// confirmed as valid".
func reasons(v *Verdict, report *ipqs.Report) []string {
	why := slices.Clone(v.Factors)
	if v.Score == nil {
		return why
	}
	_, _, facts := v.Model.decide(report, *v.Score)
	for _, fact := range facts {
		if !slices.Contains(why, fact) {
			why = append(why, fact)
		}
	}
	return why
}

// reasonsText is [reasons] as a list, or a statement that there are none.
func reasonsText(v *Verdict, report *ipqs.Report) string {
	why := reasons(v, report)
	if len(why) == 0 {
		return "no findings"
	}
	return strings.Join(why, ", ")
}

// published is the message of a completed work: the verdict, its findings, the age of the answer, and how many objects were
// sent.
func published(v *Verdict, risk *Risk, objects int) string {
	return fmt.Sprintf("IPQS: %s (%s). %s. %s sent.",
		headline(v), reasonsText(v, risk.Report), capital(source(risk)), count(objects, "object"))
}

// source says whether an answer is new or from the cache.
func source(risk *Risk) string {
	if !risk.Cached {
		return "new answer"
	}
	if age := risk.UsedAt.Sub(risk.At); age >= 0 && !risk.UsedAt.IsZero() {
		return "answer from the cache, " + ageText(age) + " old"
	}
	return "answer from the cache"
}

// ageText is a duration in its two largest units, cut off: "3d 4h", "5h 12m", "12m", "40s".
func ageText(d time.Duration) string {
	days, hours, minutes := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd %dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh %dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm", minutes)
	default:
		return fmt.Sprintf("%ds", int(d/time.Second))
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// instantLayout is how texts write times: RFC 3339, UTC, to the second.
const instantLayout = "2006-01-02T15:04:05Z"

func instant(t time.Time) string { return t.UTC().Format(instantLayout) }
