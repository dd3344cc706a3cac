package app

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"opencti-ipqs-worker/internal/credit"
)

// Labels of what is measured about questions to IPQS; their values are closed sets.
const (
	labelKind  = attribute.Key("kind")
	labelEvent = attribute.Key("event")
	labelLane  = attribute.Key("lane")
)

// What the attempt's span says of the question that it asked.
const (
	attributeCache   = attribute.Key("ipqs_worker.cache") // hit, joined or miss
	attributeTurn    = attribute.Key("ipqs_worker.limiter.wait_ms")
	attributeCredits = attribute.Key("ipqs_worker.credits")
	attributeBudget  = attribute.Key("ipqs_worker.budget") // denied or held
)

// asked counts what happened to a question, and says so on the span of who asked it.
func (m *meters) asked(ctx context.Context, o credit.Observation) {
	m.lookups.Add(ctx, 1, metric.WithAttributes(labelKind.String(string(o.Kind)), labelEvent.String(string(o.Event))))
	span := trace.SpanFromContext(ctx)
	switch o.Event {
	case credit.Hit, credit.Joined:
		span.SetAttributes(attributeCache.String(string(o.Event)))
	case credit.Asked:
		m.turns.Record(ctx, o.Waited.Seconds())
		span.SetAttributes(attributeCache.String("miss"), attributeTurn.Int64(o.Waited.Milliseconds()))
	case credit.Spent:
		m.credits.Add(ctx, int64(o.Credits))
		span.SetAttributes(attributeCredits.Int(o.Credits))
	case credit.Denied, credit.Held:
		span.SetAttributes(attributeBudget.String(string(o.Event)))
	}
}

// watchCredits registers what is read of credits and of the line whenever metrics are.
func (m *meters) watchCredits(stats func() credit.Stats) error {
	var problems []error
	gauge := func(name, description string) metric.Int64ObservableGauge {
		g, err := m.meter.Int64ObservableGauge(name, metric.WithDescription(description))
		problems = append(problems, err)
		return g
	}
	left := gauge("ipqs_worker.credits.left", "Credits that the account had when it was last read; absent where nobody reads it.")
	reserve := gauge("ipqs_worker.credits.reserve", "Credits that the account is to keep.")
	spent := gauge("ipqs_worker.budget.spent", "Credits spent since IPQS' day began, by all who share the count.")
	budget := gauge("ipqs_worker.budget.limit", "Credits that may be spent in a day; 0 is without bound.")
	stopped := gauge("ipqs_worker.budget.reached", "1 while nothing may be spent: the day's budget or the reserve is reached.")
	window := gauge("ipqs_worker.limiter.window", "Questions to IPQS that may be under way at once.")
	underWay := gauge("ipqs_worker.limiter.under_way", "Questions to IPQS under way.")
	waiting := gauge("ipqs_worker.limiter.waiting", "Questions to IPQS that wait for their turn, by lane.")
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := stats()
		if s.Left != nil {
			o.ObserveInt64(left, int64(*s.Left))
		}
		o.ObserveInt64(reserve, int64(s.Reserve))
		o.ObserveInt64(spent, int64(s.SpentToday))
		o.ObserveInt64(budget, int64(s.DailyBudget))
		o.ObserveInt64(stopped, oneIf(s.Over != ""))
		o.ObserveInt64(window, int64(s.Window))
		o.ObserveInt64(underWay, int64(s.UnderWay))
		o.ObserveInt64(waiting, int64(s.WaitingUrgent), metric.WithAttributes(labelLane.String("urgent")))
		o.ObserveInt64(waiting, int64(s.Waiting), metric.WithAttributes(labelLane.String("others")))
		return nil
	}, left, reserve, spent, budget, stopped, window, underWay, waiting)
	if err := errors.Join(append(problems, err)...); err != nil {
		return fmt.Errorf("registering the metrics of credits: %w", err)
	}
	return nil
}
