package stages

import (
	"fmt"
	"slices"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

// indicatorPlan is the decision about the indicator of an observable.
type indicatorPlan struct {
	// id is its STIX id, "" where it neither exists nor is sent.
	id string
	// explained is what the note says about it.
	explained indicatorState
}

// indicator adds the indicator of the value and its link to the observable, as far as they change:
//
//   - one of another author, or of none, is linked and never sent;
//   - a new one is made of a score at or above the threshold;
//   - one of the worker's is updated, and revoked when the score falls below the threshold. A revoked one is only revived as
//     [RevivePolicy] allows.
//
// A value without a pattern has no indicator. The owner of a leaked account is a victim, so an account has none either, and its
// password is never part of a pattern; only the model that reproduces the connector in Python makes an indicator of a login.
func (b *builder) indicator() (indicatorPlan, error) {
	entity, verdict, report := b.job.Entity, b.job.Verdict, b.job.Risk.Report
	value := identifying(entity)
	if report.File != nil {
		value = b.sha256()
	}
	if value == "" {
		return indicatorPlan{}, nil
	}
	victim := report.Leak != nil && (verdict.Model != Connector || report.Kind == ipqs.KindLeakPassword)
	wanted := verdict.Score != nil && !victim && *verdict.Score >= b.options.IndicatorFrom.of(report)
	pattern, err := stix.Pattern(entity.Type, value)
	switch {
	case err != nil && wanted:
		return indicatorPlan{}, fmt.Errorf("of the indicator: %w", err)
	case err != nil:
		return indicatorPlan{}, nil //nolint:nilerr // a value without a pattern needs none below the threshold
	}
	i := stix.NewIndicator(pattern, b.at)
	known := b.state.Indicator
	if i.ID != b.state.IndicatorID {
		known = nil // it is another one that was read
	}
	if known == nil && b.givenIndicator == nil && !wanted {
		return indicatorPlan{}, nil
	}
	plan := indicatorPlan{id: i.ID}
	send := false
	switch {
	case known != nil && !known.Own, b.givenIndicator != nil && !b.ours(b.givenIndicator.CreatedByRef):
		plan.explained = indicatorForeign
	case verdict.Score == nil:
		if known != nil && b.withdrawn(known) {
			plan.explained = indicatorWithdrawn // still, and the next job has to know
		}
	case known != nil:
		send, i.Revoked, plan.explained = b.update(known, wanted)
	default:
		send = true
	}
	if send {
		b.describe(&i, value, known)
		if i.Revoked {
			// OpenCTI ignores revoked in an import and computes it from valid_until, which has to be later than valid_from.
			i.ValidFrom, i.ValidUntil = stix.Timestamp(b.at.Add(-time.Second)), stix.Timestamp(b.at)
			i.Description += withdrawal(b.state.ReadAt)
		}
		b.add(i)
	}
	if known == nil || !known.Linked {
		b.relate(stix.BasedOn, i.ID, entity.StandardID, "")
	}
	return plan, nil
}

// describe fills an indicator from the verdict.
func (b *builder) describe(i *stix.Indicator, value string, known *KnownIndicator) {
	verdict, report := b.job.Verdict, b.job.Risk.Report
	i.Name, i.Description = value, indicatorDescription(verdict, b.job.Risk)
	i.CreatedByRef, i.Confidence, i.Sharing = b.author.ID, b.options.Confidence, b.sharing
	if known != nil {
		i.Confidence = b.confidence(known.Confidence)
	}
	i.Score, i.Labels, i.MainObservableType = verdict.Score, b.labels(), b.job.Entity.Type
	i.IndicatorTypes = indicatorTypes(verdict, report)
	if b.givenIndicator != nil {
		for _, t := range b.givenIndicator.IndicatorTypes {
			if !slices.Contains(ownTypes[:], t) {
				i.IndicatorTypes = append(i.IndicatorTypes, t)
			}
		}
	}
	i.ExternalReferences = b.references()
	switch from := b.options.DetectFrom; {
	case from != nil:
		i.Detection = new(*i.Score >= *from)
	case report.File != nil:
		// A hash matches that one file, and an engine either detected malware or did not.
		i.Detection = new(detected(report.File) == ipqs.True)
	}
}

// update decides whether an indicator of the worker's is sent again, and whether it is revoked. It records the edits that an import
// cannot make: removing labels and types of earlier verdicts, and revoking or restoring it.
func (b *builder) update(known *KnownIndicator, wanted bool) (send, revoke bool, explained indicatorState) {
	score := *b.job.Verdict.Score
	automatic := known.Expired || b.withdrawn(known)
	switch {
	case !wanted && known.Revoked && !automatic:
		return false, false, "" // a person's decision, and the score agrees
	case wanted && known.Revoked && !b.options.Revive.allows(automatic):
		return false, false, indicatorRevoked
	}
	if wanted && known.Expired && known.Score != nil && score <= *known.Score {
		return false, false, "" // decay would revoke it again at once
	}
	changed := b.rescored(known) || b.changed(known)
	b.removeOutdated(known)
	switch {
	case !wanted && known.Expired && !changed:
		return false, false, ""
	case !wanted:
		if !known.Revoked {
			// An import with a score that it has had is ignored.
			b.changes.Indicator, b.changes.Patch.Revoke = known.ID, true
			b.changes.Patch.Description = indicatorDescription(b.job.Verdict, b.job.Risk) + withdrawal(b.state.ReadAt)
		}
		return changed || !known.Revoked, true, indicatorWithdrawn
	case !known.Revoked:
		return changed, false, ""
	default:
		// It restarts at the score that its decay began with. The import that follows gives it the new score, or is ignored where
		// the worker has given that score before.
		b.changes.Indicator, b.changes.Patch.Restore = known.ID, true
		return changed || known.Withdrawn || known.Base == nil || *known.Base != score, false, ""
	}
}

// withdrawn reports whether the worker itself revoked the indicator.
func (b *builder) withdrawn(known *KnownIndicator) bool {
	return known.Revoked && !known.Expired && (known.Withdrawn || b.state.Note != nil && b.state.Note.Withdrawn)
}

// rescored reports whether the verdict gives the indicator another score than the last one did. OpenCTI accepts each score of
// a source once and then lets it decay, so the current score says little.
func (b *builder) rescored(known *KnownIndicator) bool {
	if known.Base != nil && *known.Base == *b.job.Verdict.Score {
		return false
	}
	latest, ok := b.state.latest()
	return !ok || !latest.same(historyRow(b.job.Verdict, b.job.Risk))
}

// changed reports whether anything else of the indicator changes: its labels, its types, or the findings in its description.
func (b *builder) changed(known *KnownIndicator) bool {
	latest, ok := b.state.latest()
	return !ok || latest.Findings != historyRow(b.job.Verdict, b.job.Risk).Findings ||
		len(missing(b.job.Verdict.Labels, known.Labels)) > 0 ||
		slices.ContainsFunc(indicatorTypes(b.job.Verdict, b.job.Risk.Report), func(t string) bool { return !slices.Contains(known.Types, t) })
}

// removeOutdated notes the labels and types of earlier verdicts that come off the indicator.
func (b *builder) removeOutdated(known *KnownIndicator) {
	for _, label := range known.Labels {
		if b.job.Verdict.outdates(label.Value) {
			b.changes.Labels = append(b.changes.Labels, LabelOn{known.ID, label})
		}
	}
	types := indicatorTypes(b.job.Verdict, b.job.Risk.Report)
	for _, t := range known.Types {
		if slices.Contains(ownTypes[:], t) && !slices.Contains(types, t) {
			b.changes.Indicator, b.changes.Patch.RemoveTypes = known.ID, append(b.changes.Patch.RemoveTypes, t)
		}
	}
}

// ownTypes are the indicator types that the worker gives, and takes off its own indicators.
var ownTypes = [...]string{typeMalicious, typeAnomalous, typeAnonymization, typeCompromised, typeBenign, typeUnknown}

// sha256 is the hash of what was scanned, as it was computed here; else the one that OpenCTI has. What IPQS sends is not
// asked.
func (b *builder) sha256() string {
	if file := b.job.Risk.Report.File; file != nil && file.OwnSHA256 != "" {
		return string(file.OwnSHA256)
	}
	return identifying(b.job.Entity)
}

// identifying is what a pattern compares: the login of an account, the SHA-256 of an artifact, the value of all else. It is ""
// where there is none.
func identifying(e *opencti.Entity) string {
	switch {
	case e.Account != nil:
		return e.Account.Login
	case e.Artifact != nil:
		return e.Artifact.Hashes["SHA-256"]
	default:
		return e.Value
	}
}

// indicatorTypes returns the types of a verdict's indicator: what the level means, and whether IPQS sees the address hide its
// user. A value that IPQS reports findings about is never benign, however low its score.
func indicatorTypes(v *Verdict, report *ipqs.Report) []string {
	types := []string{v.Model.grade(v.Level).IndicatorType}
	if types[0] == typeBenign && len(v.Factors) > 0 {
		types[0] = typeUnknown
	}
	if report.Leak != nil && leaked(report.Leak) == ipqs.True {
		types = []string{typeCompromised}
	}
	if ip := report.IP; ip != nil && (ip.TOR == ipqs.True || ip.VPN == ipqs.True || ip.Proxy == ipqs.True) {
		types = append(types, typeAnonymization)
	}
	return types
}
