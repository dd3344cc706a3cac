package app

import (
	"cmp"
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// Attributes that the attempt's span has beside those of the pipeline.
const (
	attributeScore   = attribute.Key("ipqs_worker.score")
	attributeLevel   = attribute.Key("ipqs_worker.level")
	attributeModel   = attribute.Key("ipqs_worker.model")
	attributeRule    = attribute.Key("ipqs_worker.rule") // of the model's table, in words
	attributeFactors = attribute.Key("ipqs_worker.signals")
	attributeBreaker = attribute.Key("ipqs_worker.breaker.state")
	attributeKind    = attribute.Key("ipqs_worker.lookup.kind")
	attributeValue   = attribute.Key("ipqs_worker.observable.value")
	attributeBytes   = attribute.Key("ipqs_worker.bundle.bytes")
	attributeObjects = attribute.Key("ipqs_worker.published.objects")
)

// explaining has every stage tell what it found: to the attempt's span, and to the debug log. The observable's value is
// told only where values says so: it is what an analyst looks at, and may be somebody's address. An account's is never told:
// it names somebody who may be in a leak.
func explaining(hops []pipeline.Hop, log *slog.Logger, m *meters, values bool) []pipeline.Hop {
	for i := range hops {
		name, run := hops[i].Name(), hops[i].Stage.Run
		hops[i].Stage.Run = func(ctx context.Context, before stages.Job) (stages.Job, error) {
			job, err := run(ctx, before)
			span := trace.SpanFromContext(ctx)
			if values && job.Entity != nil && job.Entity.Account == nil {
				span.SetAttributes(attributeValue.String(traceable(job.Entity)))
			}
			if err != nil {
				return job, err // the hop says it
			}
			switch name {
			case "resolve":
				explainEntity(ctx, log, job)
			case "score":
				explainVerdict(ctx, span, log, m, job)
			case "bundle":
				span.SetAttributes(attributeBytes.Int(len(job.Bundle)))
				log.LogAttrs(ctx, slog.LevelDebug, "bundle made", slog.Int("bytes", len(job.Bundle)))
			}
			return job, nil
		}
	}
	return hops
}

// traceable returns the value of an entity without the credentials that a URL may hold.
func traceable(entity *opencti.Entity) string {
	if entity.Type == "Url" {
		return egress.WithoutCredentials(entity.Value)
	}
	return entity.Value
}

func explainEntity(ctx context.Context, log *slog.Logger, job stages.Job) {
	if job.Entity == nil {
		return
	}
	log.LogAttrs(ctx, slog.LevelDebug, "entity resolved", slog.String("entity", job.Entity.StandardID), slog.String("type", job.Entity.Type))
}

func explainVerdict(ctx context.Context, span trace.Span, log *slog.Logger, m *meters, job stages.Job) {
	v := job.Verdict
	if v == nil {
		return
	}
	model := cmp.Or(v.Model, stages.Bands)
	span.SetAttributes(attributeModel.String(string(model)), attributeRule.String(v.Rule), attributeLevel.String(string(v.Level)),
		attributeFactors.StringSlice(v.Factors))
	attrs := []slog.Attr{
		slog.String("model", string(model)), slog.String("rule", v.Rule), slog.String("level", string(v.Level)), slog.Any("signals", v.Factors),
	}
	if v.Score != nil {
		m.scores.Record(ctx, int64(*v.Score))
		span.SetAttributes(attributeScore.Int(*v.Score))
		attrs = append(attrs, slog.Int("score", *v.Score))
	}
	log.LogAttrs(ctx, slog.LevelDebug, "score calculated", attrs...)
}

// explainedRisks tells the attempt's span how the breaker stood, and counts what IPQS did not answer.
type explainedRisks struct {
	next   ipqs.Lookuper
	state  func() ipqs.State
	meters *meters
}

// Lookup asks IPQS.
func (r explainedRisks) Lookup(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
	trace.SpanFromContext(ctx).SetAttributes(attributeKind.String(string(q.Kind)), attributeBreaker.String(string(r.state())))
	report, err := r.next.Lookup(ctx, q)
	if err != nil {
		r.meters.clientErrors.Add(ctx, 1)
	}
	return report, err
}
