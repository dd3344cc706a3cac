package rabbitmq

import (
	"errors"
	"fmt"
	"testing"
	"time"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
)

func TestPauses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config *wamqp.ReconnectConfig
		most   time.Duration
	}{
		{"default", nil, 10 * time.Second},
		{"empty", &wamqp.ReconnectConfig{}, 10 * time.Second},
		{"configured", &wamqp.ReconnectConfig{
			BackoffInitialInterval: time.Second, BackoffMultiplier: 3, BackoffMaxInterval: 30 * time.Second,
		}, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pauses := newBackOff(tt.config)
			first := pauses.NextBackOff()
			var longest time.Duration
			for range 100 {
				pause := pauses.NextBackOff()
				if pause < 50*time.Millisecond || pause > tt.most {
					t.Errorf("pause = %v, want 50ms to %v", pause, tt.most)
				}
				longest = max(longest, pause)
			}
			if longest < tt.most/4 {
				t.Errorf("the longest pause is %v after %v at first, want them to grow towards %v", longest, first, tt.most)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	cause := errors.New("dialling amqp://u:hunter2@host: refused")
	err := redact(fmt.Errorf("connecting: %w", cause), "hunter2")
	if got, want := err.Error(), "connecting: dialling amqp://u:***@host: refused"; got != want {
		t.Errorf("redact() = %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the redacted error does not wrap its cause")
	}
	if got := redact(cause, ""); !errors.Is(got, cause) || got.Error() != cause.Error() {
		t.Errorf("redact() without a password = %v, want the error itself", got)
	}
	if got := redact(nil, "x"); got != nil {
		t.Errorf("redact(nil) = %v, want nil", got)
	}
}
