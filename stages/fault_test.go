package stages

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

func TestAsFault(t *testing.T) {
	t.Parallel()
	wrapped := func(err error) error { return fmt.Errorf("asking: %w", err) }
	tests := []struct {
		name   string
		err    error
		class  Class
		reason Reason
	}{
		{"key", wrapped(ipqs.ErrKey), AccountWide, ReasonAuth},
		{"credits", wrapped(ipqs.ErrCredits), AccountWide, ReasonCredits},
		{"quota", wrapped(ipqs.ErrQuota), AccountWide, ReasonQuotaExhausted},
		{"our budget", wrapped(ipqs.ErrBudget), AccountWide, ReasonBudget},
		{"our reserve", wrapped(ipqs.ErrReserve), AccountWide, ReasonCredits},
		{"plan", wrapped(ipqs.ErrCapability), Permanent, ReasonCapability},
		{"value refused", wrapped(ipqs.ErrItem), Permanent, ReasonInvalidValue},
		{"throttled", wrapped(ipqs.ErrThrottled), Throttled, ReasonRateLimited},
		{"5xx", wrapped(ipqs.ErrUnavailable), Transient, ReasonUnavailable},
		{"slow", wrapped(errors.Join(ipqs.ErrUnavailable, context.DeadlineExceeded)), Transient, ReasonTimeout},
		{"garbage", wrapped(ipqs.ErrMalformed), Transient, ReasonMalformed},
		{"words nobody has seen", wrapped(ipqs.ErrUnknown), Permanent, ReasonOther},
		{"breaker", wrapped(ipqs.ErrCircuitOpen), Throttled, ReasonCircuitOpen},
		{"token", wrapped(opencti.ErrAuth), AccountWide, ReasonAuth},
		{"right missing", wrapped(opencti.ErrForbidden), Permanent, ReasonCapability},
		{"entity gone", wrapped(opencti.ErrNotFound), Permanent, ReasonNotFound},
		{"lock", wrapped(opencti.ErrLock), Transient, ReasonUnavailable},
		{"reference missing", wrapped(opencti.ErrMissingReference), Transient, ReasonContract},
		{"refused", wrapped(opencti.ErrRefused), Permanent, ReasonContract},
		{"unsupported", wrapped(opencti.ErrUnsupported), Permanent, ReasonContract},
		{"work deleted", wrapped(opencti.ErrWorkNotAlive), Permanent, ReasonContract},
		{"draft locked", wrapped(opencti.ErrDraftLocked), Permanent, ReasonContract},
		{"gateway", wrapped(opencti.ErrUnavailable), Transient, ReasonUnavailable},
		{"shutdown", wrapped(context.Canceled), Stopping, ReasonStopping},
		{"a fault stays itself", wrapped(&Fault{Class: Skip, Reason: ReasonTLP}), Skip, ReasonTLP},
		{"anything else", wrapped(errors.New("hm")), Transient, ReasonOther},
		{"a panic", Panicked(), Permanent, ReasonPanic},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := AsFault(tt.err)
			if f == nil || f.Class != tt.class || f.Reason != tt.reason {
				t.Errorf("AsFault() = %+v, want class %s, reason %s", f, tt.class, tt.reason)
			}
		})
	}
	if f := AsFault(nil); f != nil {
		t.Errorf("AsFault(nil) = %v, want nil", f)
	}
}

func TestAsFaultTakesOverWhenToComeBack(t *testing.T) {
	t.Parallel()
	err := &ipqs.APIError{Class: ipqs.ClassThrottled, RetryAfter: 42 * time.Second}
	if f := AsFault(fmt.Errorf("asking: %w", err)); f.After != 42*time.Second {
		t.Errorf("After = %v, want 42s", f.After)
	}
}

// Every sentinel of ipqs must have a line in the table: a new one is not to fall into "other" unnoticed.
func TestEveryClassOfIPQSHasARule(t *testing.T) {
	t.Parallel()
	classes := []ipqs.Class{
		ipqs.ClassKey, ipqs.ClassCredits, ipqs.ClassQuota, ipqs.ClassCapability, ipqs.ClassItem, ipqs.ClassThrottled,
		ipqs.ClassUnavailable, ipqs.ClassMalformed, ipqs.ClassUnknown, ipqs.ClassCircuitOpen,
		ipqs.ClassBudget, ipqs.ClassReserve,
	}
	for _, class := range classes {
		if classify(&ipqs.APIError{Class: class}) == nil {
			t.Errorf("classify(%s) has no rule", class)
		}
	}
}
