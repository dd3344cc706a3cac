package opencti

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestErrorIs(t *testing.T) {
	t.Parallel()
	sentinels := []error{
		ErrAuth, ErrForbidden, ErrLock, ErrMissingReference, ErrNotFound, ErrDraftLocked, ErrWorkNotAlive, ErrUnavailable,
		ErrUnsupported, ErrRefused,
	}
	tests := []struct {
		code   string
		status int
		want   error // nil: none of them
	}{
		{"AUTH_REQUIRED", 200, ErrAuth},
		{"", 401, ErrAuth},
		{"FORBIDDEN_ACCESS", 200, ErrForbidden},
		{"", 403, ErrForbidden},
		{"LOCK_ERROR", 200, ErrLock},
		{"MISSING_REFERENCE_ERROR", 200, ErrMissingReference},
		{"RESOURCE_NOT_FOUND", 200, ErrNotFound},
		{"ALREADY_DELETED_ERROR", 200, ErrNotFound},
		{codeNull, 200, ErrNotFound},
		{"DRAFT_LOCKED", 200, ErrDraftLocked},
		{"DRAFT_LOCKED", 500, ErrDraftLocked},
		{"WORK_NOT_ALIVE", 200, ErrWorkNotAlive},
		{"WORK_NOT_ALIVE", 500, ErrWorkNotAlive},
		{"DATABASE_ERROR", 200, ErrUnavailable},
		{"INTERNAL_SERVER_ERROR", 200, ErrUnavailable},
		{"", 0, ErrUnavailable},
		{"", 200, ErrUnavailable},
		{"", 301, ErrUnavailable},
		{"", 404, ErrUnavailable},
		{"", 429, ErrUnavailable},
		{"", 502, ErrUnavailable},
		{"SOMETHING_NEW", 503, ErrUnavailable},
		{"SOMETHING_NEW", 200, nil},
		{"UNSUPPORTED_ERROR", 200, ErrUnsupported},
		{codeTooOld, 0, ErrUnsupported},
		{"FUNCTIONAL_ERROR", 200, ErrRefused},
		{"VALIDATION_ERROR", 200, ErrRefused},
		{"GRAPHQL_VALIDATION_FAILED", 400, ErrRefused},
		{"BAD_USER_INPUT", 200, ErrRefused},
		{"", 400, ErrRefused},
		{"", 413, ErrRefused},
	}
	for _, tt := range tests {
		err := fmt.Errorf("reading: %w", &Error{Operation: "Op", Code: tt.code, Status: tt.status})
		for _, sentinel := range sentinels {
			if got, want := errors.Is(err, sentinel), errors.Is(tt.want, sentinel); got != want {
				t.Errorf("code %q, status %d: errors.Is(%v) = %t, want %t", tt.code, tt.status, sentinel, got, want)
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  Error
		want string
	}{
		{Error{Operation: "Register", Code: "AUTH_REQUIRED", Status: 200, Message: "You must be logged in"}, "opencti: Register: AUTH_REQUIRED: You must be logged in"},
		{Error{Operation: "About", Status: 502, Message: "Bad Gateway"}, "opencti: About: HTTP status 502: Bad Gateway"},
		{Error{Operation: "About", Message: "connection refused"}, "opencti: About: connection refused"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}

// TestRefusalRepeatsNothing: what the platform repeats of our request never becomes part of an error.
func TestRefusalRepeatsNothing(t *testing.T) {
	t.Parallel()
	const token, header, value = "d434ce02-58b1-4a8d-8b0f-tokentoken", "proxy-credential", `person"name@example.com`
	c, err := New(Options{URL: "http://opencti.example", Token: token, Headers: map[string]string{"X-Proxy": header}})
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]any{"id": value, "input": map[string]any{"scope": []string{"Secret-Scope"}, "n": 7}}
	messages := []string{
		"Token " + token + " is unknown",
		"No element " + value + " for " + token + token,
		`Variable "$id" got invalid value "person\"name@example.com"; Expected type ID.`,
		`Variable "$input" got invalid value { scope: ["Secret-Scope"], other: "a; b" }; Field "other" is not defined by type "X".`,
		"header " + header + " and Secret-Scope",
		"long " + strings.Repeat("x", 1000),
		"two\nlines\x1b[31m",
	}
	for _, message := range messages {
		got := c.refusal("Op", http.StatusOK, []graphQLError{{Message: message}}, variables)
		for _, secret := range []string{token, header, "name@example.com", "Secret-Scope", "a; b", "\n", "\x1b"} {
			if strings.Contains(got.Error(), secret) {
				t.Errorf("error of %q repeats %q: %s", message, secret, got)
			}
		}
		if len([]rune(got.Message)) > maxMessage {
			t.Errorf("message has %d characters, want at most %d", len([]rune(got.Message)), maxMessage)
		}
	}
	got := c.refusal("Op", http.StatusOK, []graphQLError{{Message: messages[3]}}, variables)
	if want := `Variable "$input" got an invalid value; Field "other" is not defined by type "X".`; got.Message != want || !slices.Equal(got.refused, []string{"other"}) {
		t.Errorf("refusal = %q about %q, want %q about other", got.Message, got.refused, want)
	}
}
