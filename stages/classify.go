package stages

import (
	"context"
	"errors"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// rules is the one table from the outside world's errors to ours; the first match wins. ipqs and opencti say what was
// answered, this table says what it means for a job.
var rules = []struct {
	is     error
	class  Class
	reason Reason
}{
	{ipqs.ErrCircuitOpen, Throttled, ReasonCircuitOpen},
	{ipqs.ErrThrottled, Throttled, ReasonRateLimited},
	{ipqs.ErrKey, AccountWide, ReasonAuth},
	{ipqs.ErrCredits, AccountWide, ReasonCredits},
	{ipqs.ErrQuota, AccountWide, ReasonQuotaExhausted},
	{ipqs.ErrBudget, AccountWide, ReasonBudget},
	{ipqs.ErrReserve, AccountWide, ReasonCredits},
	{ipqs.ErrCapability, Permanent, ReasonCapability},
	{ipqs.ErrItem, Permanent, ReasonInvalidValue},
	{ipqs.ErrMalformed, Transient, ReasonMalformed},
	{ipqs.ErrUnknown, Permanent, ReasonOther},

	{opencti.ErrNotFound, Permanent, ReasonNotFound},
	{opencti.ErrAuth, AccountWide, ReasonAuth},
	{opencti.ErrForbidden, Permanent, ReasonCapability},
	{opencti.ErrLock, Transient, ReasonUnavailable},
	{opencti.ErrMissingReference, Transient, ReasonContract},
	{opencti.ErrDraftLocked, Permanent, ReasonContract},
	{opencti.ErrWorkNotAlive, Permanent, ReasonContract},
	{opencti.ErrRefused, Permanent, ReasonContract},
	{opencti.ErrUnsupported, Permanent, ReasonContract},

	// A time limit is the last to be asked about: every package above wraps it in its own error.
	{context.DeadlineExceeded, Transient, ReasonTimeout},
	{ipqs.ErrUnavailable, Transient, ReasonUnavailable},
	{opencti.ErrUnavailable, Transient, ReasonUnavailable},
}

func classify(err error) *Fault {
	if stopped(err) {
		return &Fault{Class: Stopping, Reason: ReasonStopping, Err: err}
	}
	for _, rule := range rules {
		if errors.Is(err, rule.is) {
			f := &Fault{Class: rule.class, Reason: rule.reason, Err: err}
			if api, ok := errors.AsType[*ipqs.APIError](err); ok {
				f.After = api.RetryAfter
			}
			return f
		}
	}
	return nil
}
