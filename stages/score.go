package stages

import (
	"context"
	"time"

	"opencti-ipqs-worker/ipqs"
)

// Scoring is how the operator wants verdicts to be made.
type Scoring struct {
	Model Model
	// FlagLabels says whether the facts worth filtering by become labels too.
	FlagLabels bool
}

// Score turns what IPQS said into a verdict. It meets nobody: the same answer is the same verdict.
func Score(s Scoring) Stage {
	return Stage{
		Name:    "score",
		Needs:   []Section{SectionRisk},
		Fills:   []Section{SectionVerdict},
		Timeout: 5 * time.Second,
		Run: func(_ context.Context, job Job) (Job, error) {
			job.Verdict = s.verdict(job.Risk.Report)
			return job, nil
		},
	}
}

// verdict concludes. Without a score there is no level and no label: what is unknown is not good.
func (s Scoring) verdict(report *ipqs.Report) *Verdict {
	v := &Verdict{Model: s.Model}
	facts := stated(report)
	for _, f := range facts {
		v.Factors = append(v.Factors, f.Name)
	}
	score, known := s.Model.Score(report)
	if !known {
		return v
	}
	v.Score = &score
	v.Level, v.Rule, _ = s.Model.decide(report, score)
	v.Labels = []Label{s.Model.grade(v.Level).Label}
	if s.FlagLabels {
		for _, f := range facts {
			if f.Flag != "" {
				v.Labels = append(v.Labels, flagLabel(f.Flag))
			}
		}
	}
	return v
}
