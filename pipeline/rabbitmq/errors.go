package rabbitmq

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What can become of a publication. All but ErrUnroutable and ErrTooLarge may pass if it is tried again; after
// ErrConfirmTimeout, ErrNotConnected and ErrClosed the broker may have the message all the same.
var (
	// ErrClosed is returned once Close was called.
	ErrClosed = errors.New("the RabbitMQ transport is closed")
	// ErrNotConnected says that there is no connection to the broker, or that it was lost before the confirm.
	ErrNotConnected = errors.New("not connected to RabbitMQ")
	// ErrBlocked says that the broker takes no publications for lack of memory or disk.
	ErrBlocked = errors.New("RabbitMQ has blocked publishing")
	// ErrConfirmTimeout says that the broker neither confirmed nor refused in time.
	ErrConfirmTimeout = errors.New("no confirm from RabbitMQ in time")
	// ErrUnroutable says that there is no such exchange, or no queue for the routing key.
	ErrUnroutable = errors.New("no queue takes the message")
	// ErrRefused says that the broker refused the message (basic.nack), as a full or broken queue does.
	ErrRefused = errors.New("RabbitMQ refused the message")
	// ErrTooLarge says that the metadata of a message do not fit into an AMQP frame.
	ErrTooLarge = errors.New("metadata too large for AMQP")
	// ErrMismatch says that a queue exists with other properties than ours.
	ErrMismatch = errors.New("the queue exists with different properties")
)

// MismatchError is [ErrMismatch] with the argument that differs, as RabbitMQ names it in its refusal of the declaration.
type MismatchError struct {
	Queue string
	// Argument is the name of the argument, such as "x-queue-type"; empty if RabbitMQ does not name it.
	Argument string
	// Current is the value that the queue has, Configured the one of the declaration; "none" is an argument that is not set.
	Current, Configured string
	// Reason is RabbitMQ's text.
	Reason string
}

// Error names the argument, both values and the remedy.
func (e *MismatchError) Error() string { return "declaring " + e.Difference() + "; " + e.Remedy() }

// Difference names the argument and both values.
func (e *MismatchError) Difference() string {
	if e.Argument == "" {
		return fmt.Sprintf("queue %s: %v: %s", e.Queue, ErrMismatch, e.Reason)
	}
	return fmt.Sprintf("queue %s: %v: %s is %s, this configuration needs %s", e.Queue, ErrMismatch, e.Argument,
		cmp.Or(e.Current, `""`), cmp.Or(e.Configured, `""`))
}

// Unwrap returns [ErrMismatch].
func (*MismatchError) Unwrap() error { return ErrMismatch }

// Remedy is what an operator can do about it.
func (e *MismatchError) Remedy() string {
	if e.Argument == amqp.QueueTypeArg {
		return "set WORKER_QUEUE_TYPE=" + e.Current + ", or let the workers empty the queue, stop them and delete it"
	}
	return "let the workers that declared the queue empty it, stop them and delete it; the next worker declares it again"
}

// inequivalent matches RabbitMQ's reason for refusing a declaration: "inequivalent arg 'x-queue-type' for queue 'q' in vhost
// '/': received the value 'quorum' of type 'longstr' but current is the value 'classic' of type 'longstr'".
var inequivalent = regexp.MustCompile(`inequivalent arg '([^']+)' for .*: received (.+) but current is (.+)$`)

// ofType matches a value in it.
var ofType = regexp.MustCompile(`^(?:the value )?'(.*?)'(?: of type '[^']*')?$`)

// Mismatch returns the error of a declaration that RabbitMQ refused because the queue exists with other arguments, nil for
// any other error.
func Mismatch(queue string, err error) *MismatchError {
	var exception *amqp.Error
	if !errors.As(err, &exception) || exception.Code != amqp.PreconditionFailed {
		return nil
	}
	mismatch := &MismatchError{Queue: queue, Reason: exception.Reason}
	if m := inequivalent.FindStringSubmatch(exception.Reason); m != nil {
		mismatch.Argument = m[1]
		mismatch.Configured = ofType.ReplaceAllString(m[2], "$1")
		mismatch.Current = ofType.ReplaceAllString(m[3], "$1")
	}
	return mismatch
}

// OfType returns the mismatch of a queue that exists with another queue type. RabbitMQ names the first argument that differs,
// which is rarely the type: the type decides about others too.
func (e *MismatchError) OfType(current, configured string) *MismatchError {
	return &MismatchError{Queue: e.Queue, Argument: amqp.QueueTypeArg, Current: current, Configured: configured, Reason: e.Reason}
}

// declaring explains the error of a queue declaration.
func declaring(queue string, err error) error {
	if mismatch := Mismatch(queue, err); mismatch != nil {
		return mismatch
	}
	return fmt.Errorf("declaring queue %s: %w", queue, err)
}

// hasCode says whether err is an AMQP exception with this code.
func hasCode(err error, code int) bool {
	var exception *amqp.Error
	return errors.As(err, &exception) && exception.Code == code
}

// secretError is an error whose text contained a secret.
type secretError struct {
	text string
	err  error
}

func (e *secretError) Error() string { return e.text }
func (e *secretError) Unwrap() error { return e.err }

// redact hides the password in the text of err. What it wraps is there for errors.Is and errors.As, not for printing.
func redact(err error, password string) error {
	if err == nil || password == "" || !strings.Contains(err.Error(), password) {
		return err
	}
	return &secretError{text: strings.ReplaceAll(err.Error(), password, "***"), err: err}
}
