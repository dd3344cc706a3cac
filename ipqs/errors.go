package ipqs

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says what a failed lookup means, for the item asked about and for all the others. The list is closed, and each
// class has one sentinel error that errors.Is finds in an [*APIError].
type Class string

// The classes of failure.
const (
	// ClassKey: IPQS does not accept the key. Nothing works until the configuration changes.
	ClassKey Class = "key"
	// ClassCredits: the account has no credits left. Nothing works until it is topped up or renewed.
	ClassCredits Class = "credits"
	// ClassQuota: the account's daily quota is used up. Nothing works until the next day.
	ClassQuota Class = "quota"
	// ClassCapability: the plan does not include this kind of lookup; the others work.
	ClassCapability Class = "capability"
	// ClassItem: IPQS knows no such address, number or URL. It will never answer for this value.
	ClassItem Class = "item"
	// ClassThrottled: too many requests. Every lookup should slow down.
	ClassThrottled Class = "throttled"
	// ClassUnavailable: there was no answer of IPQS: network, time limit, 5xx, or somebody else's web page.
	ClassUnavailable Class = "unavailable"
	// ClassMalformed: IPQS answered, and the answer cannot be read.
	ClassMalformed Class = "malformed"
	// ClassUnknown: IPQS refused in words that nobody has seen yet.
	ClassUnknown Class = "unknown"
	// ClassCircuitOpen: IPQS was not asked, because it failed too often just now.
	ClassCircuitOpen Class = "circuit_open"
	// ClassBudget: IPQS was not asked, because the credits that may be spent in a day are spent.
	ClassBudget Class = "budget"
	// ClassReserve: IPQS was not asked, because the credits that the account has left are not to be touched.
	ClassReserve Class = "reserve"
)

// The sentinels, one for each [Class]: errors.Is(err, ErrItem) asks whether a lookup failed for that reason.
var (
	ErrKey         = errors.New("ipqs: key refused")
	ErrCredits     = errors.New("ipqs: no credits left")
	ErrQuota       = errors.New("ipqs: request quota used up")
	ErrCapability  = errors.New("ipqs: not in the plan")
	ErrItem        = errors.New("ipqs: value refused")
	ErrThrottled   = errors.New("ipqs: too many requests")
	ErrUnavailable = errors.New("ipqs: no answer")
	ErrMalformed   = errors.New("ipqs: unreadable answer")
	ErrUnknown     = errors.New("ipqs: refused for an unknown reason")
	ErrCircuitOpen = errors.New("ipqs: circuit breaker is open")
	ErrBudget      = errors.New("ipqs: the credits for a day are spent")
	ErrReserve     = errors.New("ipqs: the credits left are held back")
)

// Err returns the sentinel of the class, or nil if there is no such class.
func (c Class) Err() error {
	switch c {
	case ClassKey:
		return ErrKey
	case ClassCredits:
		return ErrCredits
	case ClassQuota:
		return ErrQuota
	case ClassCapability:
		return ErrCapability
	case ClassItem:
		return ErrItem
	case ClassThrottled:
		return ErrThrottled
	case ClassUnavailable:
		return ErrUnavailable
	case ClassMalformed:
		return ErrMalformed
	case ClassUnknown:
		return ErrUnknown
	case ClassCircuitOpen:
		return ErrCircuitOpen
	case ClassBudget:
		return ErrBudget
	case ClassReserve:
		return ErrReserve
	default:
		return nil
	}
}

// APIError is a lookup that gave no report.
type APIError struct {
	Class Class
	Kind  Kind
	// Status is the HTTP status of the answer, 0 if there was none.
	Status int
	// Message is IPQS' sentence, or ours where it had none. It is one short line without the key and without the value
	// that was looked up.
	Message string
	// RetryAfter is how long the server, or the breaker, asked to wait; 0 if nobody did.
	RetryAfter time.Duration

	cause  error  // context.DeadlineExceeded or nil; other causes may quote the request
	ground string // why, in our own words or the network's: nothing of what was asked or answered; "" is what the class says
}

// Error says what was looked up (not its value), and why it failed.
func (e *APIError) Error() string {
	message := e.Message
	if message == "" && e.Class.Err() != nil {
		message = strings.TrimPrefix(e.Class.Err().Error(), "ipqs: ")
	}
	if e.Status == 0 {
		return fmt.Sprintf("looking up %s: %s", e.Kind, message)
	}
	return fmt.Sprintf("looking up %s: %s (HTTP %d)", e.Kind, message, e.Status)
}

// groundOf says of a failure which endpoint was asked, what came of it, and nothing of the question or of the answer. It may
// be shown for as long as the failure matters, to who has nothing to do with that one lookup.
func groundOf(err error) string {
	e, ok := errors.AsType[*APIError](err)
	if !ok {
		e = &APIError{Class: ClassUnavailable}
	}
	text := e.ground
	if text == "" && e.Class.Err() != nil {
		text = strings.TrimPrefix(e.Class.Err().Error(), "ipqs: ")
	}
	if e.Kind != "" {
		text = "/" + string(e.Kind) + ": " + text
	}
	if e.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	return text
}

// Is reports whether target is the sentinel of the error's class.
func (e *APIError) Is(target error) bool { return target != nil && target == e.Class.Err() }

// Unwrap returns context.DeadlineExceeded if a time limit ended the lookup, else nil.
func (e *APIError) Unwrap() error { return e.cause }
