package openctitest

import (
	"math"
	"slices"
	"time"
)

// Decay is how an indicator loses its score with time.
type Decay struct {
	BaseScore    int
	BaseDate     time.Time
	NextReaction time.Time // when the score falls to the next decay point
	History      []DecayPoint
}

// DecayPoint is an entry of decay_history: a score, when it was given, and the user who gave it.
type DecayPoint struct {
	Score int
	At    time.Time
	By    string
}

// The platform's default decay rule: the score falls from base to 0 as base * (1 - (t/lifetime)^(1/3)), is shown as the next
// decay point that it has reached, and at the revoke score the indicator is revoked.
const (
	decayLifetime = 365 * 24 * time.Hour
	decayFactor   = 3
	revokeScore   = 20
	defaultScore  = 50 // of an indicator without a score

	decayUser = "the decay manager"
)

func decayPoints() []int { return []int{80, 60, 40, 20} }

// decayTime is the time in which a base score falls to a score.
func decayTime(base, score int) time.Duration {
	if base <= score {
		return 0
	}
	return time.Duration(float64(decayLifetime) * math.Pow(1-float64(score)/float64(base), decayFactor))
}

// nextPoint is the score that an indicator of this score falls to next.
func nextPoint(score int) int {
	for _, point := range decayPoints() {
		if point < score {
			return point
		}
	}
	return revokeScore
}

// newDecay returns the decay of an indicator with a new score, and the time when it reaches the revoke score.
func newDecay(score int, at time.Time, by string) (d *Decay, until time.Time) {
	return &Decay{
		BaseScore: score, BaseDate: at, NextReaction: at.Add(decayTime(score, nextPoint(score))),
		History: []DecayPoint{{score, at, by}},
	}, at.Add(decayTime(score, revokeScore))
}

// gave reports whether the user has given the score before: the platform takes each score of a source once.
func (d *Decay) gave(score int, by string) bool {
	return slices.ContainsFunc(d.History, func(point DecayPoint) bool { return point.Score == score && point.By == by })
}

// restart begins the decay anew.
func (d *Decay) restart(score int, at time.Time, by string) {
	d.BaseScore, d.BaseDate, d.NextReaction = score, at, at.Add(decayTime(score, nextPoint(score)))
	d.History = append(d.History, DecayPoint{score, at, by})
}

// Decay is one beat of the platform's decay manager: indicators outside of drafts fall to the scores that they have decayed to
// by now, and are revoked at the revoke score. Indicators without decay are revoked when they have expired.
func (p *Platform) Decay(now time.Time) {
	p.set(func() {
		for _, n := range p.graphs.store("").nodes {
			if n.Type != typeIndicator || n.Revoked {
				continue
			}
			if n.Decay == nil {
				if !n.ValidUntil.IsZero() && n.ValidUntil.Before(now) {
					n.Revoked, n.UpdatedAt, n.Modified = true, now, now
				}
				continue
			}
			for !n.Revoked && !n.Decay.NextReaction.After(now) {
				score := nextPoint(*n.Score)
				n.Score = &score
				n.Decay.History = append(n.Decay.History, DecayPoint{score, now, decayUser})
				n.Decay.NextReaction = n.Decay.BaseDate.Add(decayTime(n.Decay.BaseScore, nextPoint(score)))
				if score <= revokeScore {
					n.Revoked, n.Detection = true, false
				}
				n.UpdatedAt, n.Modified = now, now
			}
		}
	})
}

// RevokeIndicator revokes an indicator outside of drafts by any of its ids, as a person can. It reports whether there is a
// valid one.
func (p *Platform) RevokeIndicator(id, userID string) bool {
	revoked := false
	p.set(func() {
		if n := p.graphs.lookup("", id); n != nil && n.Type == typeIndicator && !n.Revoked {
			n.revoke(time.Now().UTC(), userID)
			revoked = true
		}
	})
	return revoked
}

// rescore is an edit of the score by the connector's user.
func (n *node) rescore(score int, now time.Time) {
	switch {
	case n.Decay == nil:
		n.Score = &score
	case score != n.Decay.BaseScore && !n.Decay.gave(score, UserID):
		n.Score, n.ValidUntil = &score, now.Add(decayLifetime)
		n.Decay.restart(score, now, UserID)
	}
}

// revoke is an edit of revoked to true.
func (n *node) revoke(now time.Time, userID string) {
	n.Revoked, n.Detection, n.ValidUntil, n.UpdatedAt, n.Modified = true, false, now, now, now
	score := 0
	if n.Decay != nil {
		score = revokeScore
		n.Decay.History = append(n.Decay.History, DecayPoint{score, now, userID})
	}
	n.Score = &score
}

// revive is an edit of revoked to false: the decay begins anew at the base score.
func (n *node) revive(now time.Time, userID string) {
	n.Revoked, n.UpdatedAt, n.Modified = false, now, now
	score := defaultScore
	if n.Decay != nil {
		score = n.Decay.BaseScore
		n.Decay.restart(score, now, userID)
		n.ValidUntil = now.Add(decayLifetime)
	} else {
		n.ValidFrom, n.ValidUntil = now, now.Add(90*24*time.Hour)
	}
	n.Score = &score
}
