package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/cenkalti/backoff/v4"

	"opencti-ipqs-worker/stages"
)

// retried runs the stage again while its fault may pass in a moment and the hop's schedule has attempts left. It waits the
// schedule's wait or what the other side asked for, but never longer than a playbook waits for the job. A shutdown ends the
// waiting: the job goes back untouched.
func (p *Pipeline) retried(hop Hop) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) (out []*message.Message, err error) {
			err = p.again(msg.Context(), hop.Retry, tripOf(msg).deadline, func() error {
				out, err = next(msg)
				return p.recovered(msg.Context(), err)
			})
			return out, err
		}
	}
}

// Bounds on how long a job is in hand, which together stay below RabbitMQ's consumer_timeout (30 minutes by default).
const (
	// longestWait bounds what another side may ask for before one attempt.
	longestWait = time.Minute
	// patience is how long a job in hand may be told to come back later, in all, before that counts as failing.
	patience = 5 * time.Minute
	// moment is the same where there are waiting rooms: what takes longer is waited for there.
	moment = 3 * time.Second
)

// again calls do until it succeeds, fails for good, or the schedule is through. Being told to come back later is no
// attempt of the schedule's, as long as patience lasts: the job has done nothing wrong. What is pending is waited for in a
// waiting room, and here only where there is none. What makes the hop pause is not tried again here. Where there is a deadline, it gives up as soon as the next call would come after it.
func (p *Pipeline) again(ctx context.Context, schedule Schedule, deadline time.Time, do func() error) error {
	waits, roomy := schedule.waits(), p.roomy(schedule)
	var told time.Duration // waited because we were told to
	for {
		err := do()
		fault := stages.AsFault(err)
		pending := fault != nil && fault.Class == stages.Pending
		if fault == nil || !p.passing(fault.Class) && !pending || p.pauses(fault) {
			return err
		}
		var wait time.Duration
		switch asked := max(fault.After, time.Second); {
		case pending && roomy, roomy && told+asked > moment && fault.Class == stages.Throttled:
			return err
		case pending:
			wait = jittered(min(asked, longestWait))
		case fault.Class == stages.Throttled && told < patience:
			wait = jittered(min(asked, longestWait))
			told += wait
		default:
			if wait = waits.NextBackOff(); wait == backoff.Stop {
				return err
			}
		}
		if !deadline.IsZero() && !p.Now().Add(wait).Before(deadline) {
			return p.late(err)
		}
		timer := time.NewTimer(wait)
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

// jittered adds up to a quarter, so that those who were told the same time don't all come back at once.
func jittered(wait time.Duration) time.Duration { return wait + rand.N(wait/4+1) }

func (s Schedule) waits() backoff.BackOff {
	if s.Attempts < 2 {
		return &backoff.StopBackOff{}
	}
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(s.First), backoff.WithMaxInterval(s.Most), backoff.WithMaxElapsedTime(0))
	return backoff.WithMaxRetries(waits, uint64(s.Attempts-1))
}

// passing reports whether a fault of this class may be gone at the next attempt.
func (p *Pipeline) passing(class stages.Class) bool {
	switch class {
	case stages.Transient, stages.Throttled:
		return true
	case stages.AccountWide:
		return !p.Attended
	default:
		return false
	}
}

// recovered turns the panic that Watermill's Recoverer caught into a fault. Its stack goes to the log only: not into
// headers, works or spans.
func (p *Pipeline) recovered(ctx context.Context, err error) error {
	var panicked middleware.RecoveredPanicError
	if !errors.As(err, &panicked) {
		return err
	}
	p.Logger.LogAttrs(ctx, slog.LevelError, "stage panicked", slog.Any("panic", panicked.V), slog.String("stack", panicked.Stacktrace))
	return stages.Panicked()
}
