package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/cenkalti/backoff/v4"

	"opencti-ipqs-worker/stages"
)

// retried runs the stage again while its fault may pass and the hop's schedule has attempts left. It waits the longer of
// the schedule's wait and what the other side asked for. A shutdown ends the waiting: the job goes back untouched.
func (p *Pipeline) retried(hop Hop) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) (out []*message.Message, err error) {
			err = p.again(msg.Context(), hop.Retry, func() error {
				out, err = next(msg)
				return p.recovered(msg.Context(), err)
			})
			return out, err
		}
	}
}

// again calls do until it succeeds, fails for good, or the schedule is through.
func (p *Pipeline) again(ctx context.Context, schedule Schedule, do func() error) error {
	waits := schedule.waits()
	for {
		err := do()
		fault := stages.AsFault(err)
		if fault == nil || !passing(fault.Class) {
			return err
		}
		wait := waits.NextBackOff()
		if wait == backoff.Stop {
			return err
		}
		timer := time.NewTimer(max(wait, min(fault.After, longestWait)))
		select {
		case <-timer.C:
		case <-p.stopping:
			timer.Stop()
			return &stages.Fault{Class: stages.Stopping, Reason: stages.ReasonStopping, Err: err}
		case <-ctx.Done():
			timer.Stop()
			return &stages.Fault{Class: stages.Stopping, Reason: stages.ReasonStopping, Err: err}
		}
	}
}

// longestWait bounds what another side may ask for while a job is in hand, well below RabbitMQ's consumer_timeout (30
// minutes by default) even when every attempt is told to wait.
const longestWait = time.Minute

func (s Schedule) waits() backoff.BackOff {
	if s.Attempts < 2 {
		return &backoff.StopBackOff{}
	}
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(s.First), backoff.WithMaxInterval(s.Most), backoff.WithMaxElapsedTime(0))
	return backoff.WithMaxRetries(waits, uint64(s.Attempts-1)) //nolint:gosec // Validate holds it above zero
}

// passing reports whether a fault of this class may be gone at the next attempt.
func passing(class stages.Class) bool {
	return class == stages.Transient || class == stages.Throttled || class == stages.AccountWide
}

// recovered turns the panic that Watermill's Recoverer caught into a fault. Its stack goes to the log only: not into
// headers, works or spans.
func (p *Pipeline) recovered(ctx context.Context, err error) error {
	var panicked middleware.RecoveredPanicError
	if !errors.As(err, &panicked) {
		return err
	}
	p.Logger.LogAttrs(ctx, slog.LevelError, "stage panicked", slog.Any("panic", panicked.V), slog.String("stack", panicked.Stacktrace))
	return stages.Panicked(panicked.V)
}
