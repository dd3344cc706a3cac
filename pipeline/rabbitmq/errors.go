package rabbitmq

import (
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

// inequivalent finds the argument in RabbitMQ's reason for refusing a declaration.
var inequivalent = regexp.MustCompile(`inequivalent arg '([^']+)'`)

// declaring explains the error of a queue declaration.
func declaring(queue string, err error) error {
	var exception *amqp.Error
	if errors.As(err, &exception) && exception.Code == amqp.PreconditionFailed {
		argument := "argument"
		if found := inequivalent.FindStringSubmatch(exception.Reason); found != nil {
			argument = found[1]
		}
		return fmt.Errorf("declaring queue %s: %w: %s differs; delete the queue or configure what it has: %s",
			queue, ErrMismatch, argument, exception.Reason)
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
