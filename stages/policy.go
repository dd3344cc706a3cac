package stages

import (
	"slices"
	"strings"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// ScorePolicy says when the score of IPQS replaces the score of an observable. Observables have no confidence in OpenCTI:
// nothing else protects the score that another source gave.
type ScorePolicy string

// The score policies. "" is RespectScore.
const (
	// RespectScore replaces it unless the observable has another author and a higher score.
	RespectScore ScorePolicy = "respect"
	// ReplaceScore always replaces it, as the connector in Python does.
	ReplaceScore ScorePolicy = "replace"
	// RaiseScore replaces a lower one only.
	RaiseScore ScorePolicy = "raise"
	// KeepScore never sets it.
	KeepScore ScorePolicy = "keep"
)

// ScorePolicies returns the policies, the default first.
func ScorePolicies() []ScorePolicy {
	return []ScorePolicy{RespectScore, ReplaceScore, RaiseScore, KeepScore}
}

// replaces reports whether a score is set on an observable that has the current one, or none. foreign says that the observable
// has an author other than the worker's.
func (p ScorePolicy) replaces(current *int, foreign bool, score int) bool {
	switch {
	case p == KeepScore:
		return false
	case p == ReplaceScore || current == nil:
		return true
	case p == RaiseScore:
		return score > *current
	default:
		return !foreign || score >= *current
	}
}

// RevivePolicy says which revoked indicators of the worker become valid again when IPQS confirms them.
type RevivePolicy string

// The revive policies. "" is ReviveExpired.
const (
	// ReviveExpired revives those that decay revoked, and those that the worker itself revoked.
	ReviveExpired RevivePolicy = "expired"
	// ReviveAlways revives those that a person revoked, too.
	ReviveAlways RevivePolicy = "always"
	// ReviveNever revives none.
	ReviveNever RevivePolicy = "never"
)

// RevivePolicies returns the policies, the default first.
func RevivePolicies() []RevivePolicy { return []RevivePolicy{ReviveExpired, ReviveAlways, ReviveNever} }

// allows reports whether a revoked indicator may be revived. automatic says that no person revoked it.
func (p RevivePolicy) allows(automatic bool) bool {
	return p == ReviveAlways || p != ReviveNever && automatic
}

// MinScores are the least scores that an indicator is made of, by what an answer is about: "ip", "email", "phone", "url"
// (domains included), "leak" and "file". What is missing is 0: every score.
type MinScores map[string]int

// of returns the least score for an answer.
func (m MinScores) of(r *ipqs.Report) int {
	switch productOf(r) {
	case ProductIP:
		return m["ip"]
	case ProductEmail:
		return m["email"]
	case ProductPhone:
		return m["phone"]
	case ProductURL:
		return m["url"]
	case ProductLeak:
		return m["leak"]
	case ProductFile:
		return m["file"]
	default:
		return 0
	}
}

// foreign reports whether the entity has an author other than the worker's.
func foreign(e *opencti.Entity, s State) bool { return e.Author != nil && !own(e.Author, s.Author) }

// missing returns the labels that are not among those that are there. OpenCTI tells labels apart by neither case nor the space
// around them.
func missing(labels []Label, there []opencti.Label) []Label {
	return slices.DeleteFunc(slices.Clone(labels), func(l Label) bool {
		return slices.ContainsFunc(there, func(have opencti.Label) bool {
			return strings.EqualFold(strings.TrimSpace(have.Value), strings.TrimSpace(l.Value))
		})
	})
}
