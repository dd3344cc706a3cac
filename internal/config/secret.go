package config

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[REDACTED]"

// Secret is a text that must not be seen. However it is printed, marshalled or logged, it gives [REDACTED]; only Reveal
// gives the text. The zero Secret is an empty text.
type Secret struct {
	// A pointer, because fmt prints what a struct of somebody else's hides in an unexported field without asking the
	// value's methods: of a pointer it prints an address.
	text *string
}

// NewSecret returns text as a Secret.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero tells whether the secret is empty, that is: not set.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal tells whether both secrets are the same text.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String returns [REDACTED].
func (Secret) String() string { return redacted }

// Format prints [REDACTED] for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns [REDACTED]; JSON and YAML encoders use it.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns [REDACTED].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
