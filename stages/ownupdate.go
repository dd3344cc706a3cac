package stages

import (
	"context"
	"slices"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

// triggerUpdate is what [opencti.Request].Trigger says of a job about an observable that was changed.
const triggerUpdate = "update"

// ownUpdateAge is how long after its note was written an update of an observable can count as the worker's own.
const ownUpdateAge = time.Hour

// SkippingOwnUpdate makes resolve skip an automatic job about an update (CONNECTOR_AUTO_UPDATE) where OpenCTI has the worker's
// verdict already: the note is at most an hour old, and the observable has the labels and the score that the verdict gives. The
// worker's own write causes such a job. An update of another source that changes neither is skipped, too: the verdict is
// applied.
func SkippingOwnUpdate(resolve Stage, scoring Scoring, policy ScorePolicy, now func() time.Time) Stage {
	run := resolve.Run
	resolve.Run = func(ctx context.Context, job Job) (Job, error) {
		job, err := run(ctx, job)
		if err != nil || !job.automatic() || job.Request.Trigger != triggerUpdate || !applied(job, scoring, policy, now()) {
			return job, err
		}
		return job, fault(Skip, ReasonOwnUpdate, "the verdict of IPQS is applied already")
	}
	return resolve
}

// applied reports whether the entity of a resolved job has what the newest verdict in its note gives.
func applied(job Job, scoring Scoring, policy ScorePolicy, now time.Time) bool {
	row, ok := job.State.latest()
	if !ok {
		return false
	}
	written := job.State.Note.Modified
	if row.To.After(written) {
		written = row.To
	}
	if age := now.Sub(written); age < 0 || age > ownUpdateAge {
		return false
	}
	if row.Score == nil {
		return true // such a verdict gives neither
	}
	entity := job.Entity
	if (entity.Score == nil || *entity.Score != *row.Score) && policy.replaces(entity.Score, foreign(entity, *job.State), *row.Score) {
		return false
	}
	labels := scoring.rowLabels(row)
	return len(labels) > 0 && len(missing(labels, entity.Labels)) == 0 &&
		!slices.ContainsFunc(entity.Labels, func(l opencti.Label) bool { return (&Verdict{Score: row.Score, Labels: labels}).outdates(l.Value) })
}

// rowLabels returns the labels of the verdict that a row of a note is about, none where the row is of another model.
func (s Scoring) rowLabels(row VerdictRow) []Label {
	level := row.Level
	if level == lowScore {
		level = Clean
	}
	grade := s.Model.grade(level)
	if grade.Label.Value == "" {
		return nil
	}
	labels := []Label{grade.Label}
	if !s.FlagLabels {
		return labels
	}
	findings := strings.Split(row.Findings, ", ")
	for _, p := range Products() {
		for _, f := range Facts(p) {
			if f.Flag != "" && slices.Contains(findings, f.Name) && !slices.Contains(labels, flagLabel(f.Flag)) {
				labels = append(labels, flagLabel(f.Flag))
			}
		}
	}
	return labels
}
