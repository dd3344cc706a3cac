package stages

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
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
// applied. So is a job about an observable that the worker has just changed and OpenCTI has not imported yet, as far as writes
// knows; nil knows nothing.
func SkippingOwnUpdate(resolve Stage, scoring Scoring, policy ScorePolicy, writes *OwnWrites, now func() time.Time) Stage {
	run := resolve.Run
	resolve.Run = func(ctx context.Context, job Job) (Job, error) {
		job, err := run(ctx, job)
		switch {
		case err != nil || !job.automatic() || job.Request.Trigger != triggerUpdate:
			return job, err
		case writes.pending(job, now()):
			return job, fault(Skip, ReasonOwnUpdate, "the verdict of IPQS is on its way into OpenCTI")
		case applied(job, scoring, policy, now()):
			return job, fault(Skip, ReasonOwnUpdate, "the verdict of IPQS is applied already")
		}
		return job, nil
	}
	return resolve
}

// ownWriteAge is how long an [OwnWrites] remembers a write that OpenCTI has not imported.
const ownWriteAge = 10 * time.Minute

// OwnWrites remembers which observables this process has changed a short while ago: taking off a label causes a job before the
// new labels are imported. Such a job has nothing to do, as the import causes another. It is safe for concurrent use.
type OwnWrites struct {
	mu     sync.Mutex
	writes map[string]ownWrite // by the subject of the job
	pruned time.Time
}

type ownWrite struct {
	at     time.Time
	answer time.Time // when IPQS gave the answer that was written, to the second as in a note
}

// NewOwnWrites returns a memory without any write.
func NewOwnWrites() *OwnWrites { return &OwnWrites{writes: make(map[string]ownWrite)} }

// add notes that a job is about to change its observable.
func (w *OwnWrites) add(job Job, now time.Time) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.pruned) > ownWriteAge {
		maps.DeleteFunc(w.writes, func(_ string, write ownWrite) bool { return now.Sub(write.at) > ownWriteAge })
		w.pruned = now
	}
	w.writes[job.subject()] = ownWrite{at: now, answer: second(job.Risk.At)}
}

// remove forgets the write of a job that could not be published: nothing is on its way into OpenCTI.
func (w *OwnWrites) remove(job Job) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.writes, job.subject())
}

// pending reports whether the entity of a resolved job was changed a short while ago, and its note does not have the answer yet.
func (w *OwnWrites) pending(job Job, now time.Time) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	write, ok := w.writes[job.subject()]
	if !ok || now.Sub(write.at).Abs() > ownWriteAge {
		return false
	}
	row, ok := job.State.latest()
	return !ok || row.To.Before(write.answer)
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
