package stages

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class says what becomes of a job that a stage could not do.
type Class string

// The classes of faults.
const (
	// Transient: the same job may pass next time. The hop tries again on its schedule, then gives up.
	Transient Class = "transient"
	// Throttled: IPQS or OpenCTI asked us to come back later, or our own breaker is open. Nothing is wrong with the job.
	Throttled Class = "throttled"
	// AccountWide: no job can pass until the operator or the calendar acts: key, credits, quota, token.
	AccountWide Class = "account_wide"
	// Pending: IPQS has begun what we asked for and is not done. The job comes again after the fault's After, as the stage
	// returned it, and no attempt is counted. When that has lasted too long is for the stage to say.
	Pending Class = "pending"
	// Permanent: the same job would fail the same way. It is dead-lettered at once.
	Permanent Class = "permanent"
	// Skip: there is nothing for us to do. The job ends, without a dead letter.
	Skip Class = "skip"
	// Stopping: we are shutting down. The job goes back to its queue as if never taken.
	Stopping Class = "stopping"
)

// Reason is the closed list of why a job was not enriched: a metric's label, a dead letter's field, and the word an
// analyst reads in the work.
type Reason string

// The reasons.
const (
	ReasonTimeout        Reason = "timeout"         // no answer in time
	ReasonUnavailable    Reason = "unavailable"     // network error, 5xx, gateway or edge refusal
	ReasonRateLimited    Reason = "rate_limited"    // 403, 429, 509
	ReasonQuotaExhausted Reason = "quota_exhausted" // IPQS: requests of the day used up
	ReasonCredits        Reason = "credits"         // IPQS: no credits left, or none but those held back
	ReasonBudget         Reason = "budget"          // the credits that the operator allows for a day are spent
	ReasonAuth           Reason = "auth"            // key or token refused
	ReasonCapability     Reason = "capability"      // the plan or the token does not include this
	ReasonInvalidValue   Reason = "invalid_value"   // IPQS refuses this very value
	ReasonNotFound       Reason = "not_found"       // OpenCTI does not show us the entity
	ReasonDeleted        Reason = "entity_deleted"  // the entity was deleted while its job waited
	ReasonOutdated       Reason = "outdated"        // OpenCTI has a newer answer of IPQS already
	ReasonOwnUpdate      Reason = "own_update"      // the worker's own write caused the job
	ReasonMalformed      Reason = "malformed"       // an answer, or a job, that cannot be read
	ReasonUnsupported    Reason = "unsupported"     // a type we have no endpoint for
	ReasonEmpty          Reason = "empty"           // nothing to look up: an account without a name, an artifact without a file
	ReasonTooLarge       Reason = "too_large"       // a file above IPQS_ARTIFACT_MAX_SIZE
	ReasonScope          Reason = "scope"           // outside CONNECTOR_SCOPE
	ReasonTLP            Reason = "tlp"             // marked above IPQS_MAX_TLP
	ReasonPrivate        Reason = "private_address" // a private or reserved address
	ReasonInternalName   Reason = "internal_name"   // a host name of an internal network
	ReasonExcluded       Reason = "excluded"        // matched by IPQS_EXCLUDE
	ReasonNetwork        Reason = "network"         // a network of more than one address
	ReasonRecent         Reason = "recent"          // enriched a short while ago, and nobody asked for it again
	ReasonAnswered       Reason = "answered"        // a playbook's step that has its answer, or waits no more
	ReasonCopy           Reason = "copy"            // another copy of the job has ended in this process; its message is dropped
	ReasonCircuitOpen    Reason = "circuit_open"    // our breaker holds lookups back
	ReasonBroker         Reason = "broker"          // RabbitMQ did not take or route a message
	ReasonContract       Reason = "contract"        // OpenCTI refused what we sent
	ReasonPanic          Reason = "panic"           // our own defect
	ReasonCrashLoop      Reason = "crash_loop"      // workers died over it again and again
	ReasonPending        Reason = "pending"         // asked for, and not done yet
	ReasonStopping       Reason = "stopping"        // shutdown
	ReasonOther          Reason = "other"           // anything else
)

// Reasons returns all of them, in the order above.
func Reasons() []Reason {
	return []Reason{
		ReasonTimeout, ReasonUnavailable, ReasonRateLimited, ReasonQuotaExhausted, ReasonCredits, ReasonBudget,
		ReasonAuth, ReasonCapability, ReasonInvalidValue, ReasonNotFound, ReasonDeleted, ReasonOutdated, ReasonOwnUpdate,
		ReasonMalformed, ReasonUnsupported,
		ReasonEmpty, ReasonTooLarge, ReasonScope, ReasonTLP, ReasonPrivate, ReasonInternalName, ReasonExcluded, ReasonNetwork,
		ReasonRecent, ReasonAnswered, ReasonCopy, ReasonCircuitOpen, ReasonBroker, ReasonContract, ReasonPanic, ReasonCrashLoop,
		ReasonPending, ReasonStopping, ReasonOther,
	}
}

// InError reports whether a job that is skipped for this reason ends its work in error where skipped jobs do
// (CONNECTOR_SKIP_AS=error). A setting of the administrator is an error for the user who asked. A value without a public
// meaning is none, nor is a job that no user asked for, nor one whose entity was deleted or has a newer answer.
func (r Reason) InError() bool {
	switch r {
	case ReasonPrivate, ReasonInternalName, ReasonNetwork, ReasonRecent, ReasonDeleted, ReasonOutdated, ReasonOwnUpdate:
		return false
	default:
		return true
	}
}

// Fault is an error of a stage together with the decision it implies.
type Fault struct {
	Class  Class
	Reason Reason
	// After is how long to wait at least before another try; zero when nobody said.
	After time.Duration
	// Err says what happened. Its text holds no secret: it goes to the log, the dead letter and the work.
	Err error
}

// Error returns the text of what happened; class and reason travel beside it.
func (f *Fault) Error() string {
	if f.Err == nil {
		return string(f.Reason)
	}
	return f.Err.Error()
}

// Unwrap returns the error that the fault was made of.
func (f *Fault) Unwrap() error { return f.Err }

func fault(class Class, reason Reason, format string, args ...any) *Fault {
	return &Fault{Class: class, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// AsFault returns the fault that err stands for: the one it wraps, else the table's (classify.go), else a transient one
// for the reason "other", because what nobody foresaw may pass next time. It returns nil for nil.
func AsFault(err error) *Fault {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	if f := classify(err); f != nil {
		return f
	}
	return &Fault{Class: Transient, Reason: ReasonOther, Err: err}
}

// Panicked makes the fault of a recovered panic. What it said may quote data and stays out of it, as the stack does.
func Panicked() *Fault {
	return fault(Permanent, ReasonPanic, "a defect of ours: the stage panicked, see the worker's log")
}

// stopped reports whether err comes from our own shutdown rather than from a time limit.
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
