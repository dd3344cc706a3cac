package opencti

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// What an [*Error] can mean, for errors.Is. A cancelled context stays context.Canceled and matches none of them.
var (
	// ErrAuth: the platform does not know the token.
	ErrAuth = errors.New("opencti: not authenticated")
	// ErrForbidden: the token's user may not do this.
	ErrForbidden = errors.New("opencti: not allowed")
	// ErrLock: another writer holds the element; it passes in seconds.
	ErrLock = errors.New("opencti: element is locked")
	// ErrMissingReference: something that was referred to does not exist (yet).
	ErrMissingReference = errors.New("opencti: missing reference")
	// ErrNotFound: what was asked for does not exist, or the token's user may not see it.
	ErrNotFound = errors.New("opencti: not found")
	// ErrDraftLocked: the draft was validated or is being so.
	ErrDraftLocked = errors.New("opencti: draft is locked")
	// ErrWorkNotAlive: the work was deleted or its counters were.
	ErrWorkNotAlive = errors.New("opencti: work is not alive")
	// ErrUnavailable: no usable answer: network, time limit, gateway, a server error, the platform's database.
	ErrUnavailable = errors.New("opencti: unavailable")
	// ErrUnsure: sent whole, and no answer of the platform's came: it may have done it. Only [Client.AnswerPlaybook] says so,
	// of what must not be done twice; everything else can simply be asked again and is ErrUnavailable.
	ErrUnsure = errors.New("opencti: sent and not answered")
	// ErrUnsupported: this platform cannot do it.
	ErrUnsupported = errors.New("opencti: unsupported")
	// ErrRefused: the platform understood and said no; asking again will not help.
	ErrRefused = errors.New("opencti: refused")
)

// Error is a request to the platform that failed.
type Error struct {
	// Operation is the name of the GraphQL operation, such as "Register".
	Operation string
	// Code is the platform's own (extensions.code), or "" when the answer was not from GraphQL.
	Code string
	// Message is the platform's first error message, or what went wrong on the way, shortened, without the token and
	// without the values of variables.
	Message string
	// Status is the HTTP status, 0 when there was no answer. Refusals by GraphQL mostly come with 200.
	Status int

	cause   error    // of the way, not of the platform
	refused []string // the input fields, arguments, fields and types that the platform does not know
}

func (e *Error) Error() string {
	text := "opencti: " + e.Operation
	if e.Code != "" {
		text += ": " + e.Code
	} else if e.Status != 0 {
		text += fmt.Sprintf(": HTTP status %d", e.Status)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap returns what went wrong on the way (a TLS error, a time limit), if anything did.
func (e *Error) Unwrap() error { return e.cause }

// codes says which of the platform's codes mean what.
var codes = map[error][]string{
	ErrAuth:             {"AUTH_REQUIRED", "AUTH_FAILURE", "UNAUTHENTICATED"},
	ErrForbidden:        {"FORBIDDEN_ACCESS", "FORBIDDEN"},
	ErrLock:             {"LOCK_ERROR"},
	ErrMissingReference: {"MISSING_REFERENCE_ERROR"},
	ErrNotFound:         {"RESOURCE_NOT_FOUND", "ALREADY_DELETED_ERROR", codeNull},
	ErrDraftLocked:      {"DRAFT_LOCKED"},
	ErrWorkNotAlive:     {"WORK_NOT_ALIVE"},
	ErrUnavailable:      {"DATABASE_ERROR", "INTERNAL_SERVER_ERROR"},
	ErrUnsupported:      {"UNSUPPORTED_ERROR", codeTooOld},
	ErrRefused: {
		"FUNCTIONAL_ERROR", "VALIDATION_ERROR", "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "BAD_USER_INPUT",
		"BAD_REQUEST", "PERSISTED_QUERY_NOT_SUPPORTED",
	},
}

// Codes of our own: an answer of null where an object was asked for, and a release that lacks the operation.
const (
	codeNull   = "NULL"
	codeTooOld = "NOT_IN_THIS_RELEASE"
)

// Is reports whether the error means target, one of the sentinels above.
func (e *Error) Is(target error) bool {
	if slices.Contains(codes[target], e.Code) {
		return true
	}
	if e.Code != "" && e.Status == http.StatusOK {
		return false
	}
	switch target {
	case ErrAuth:
		return e.Code == "" && e.Status == http.StatusUnauthorized
	case ErrForbidden:
		return e.Code == "" && e.Status == http.StatusForbidden
	case ErrUnavailable:
		// Without a GraphQL answer nothing was decided, whatever the proxy in between thinks, a redirect, an HTML page and
		// a 404 of the path included. A refused size stays refused.
		switch e.Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusBadRequest:
			return false
		}
		return e.Code == "" || e.Status >= http.StatusInternalServerError && !e.known()
	case ErrRefused:
		return e.Code == "" && (e.Status == http.StatusRequestEntityTooLarge || e.Status == http.StatusBadRequest)
	}
	return false
}

func (e *Error) known() bool {
	for _, c := range codes {
		if slices.Contains(c, e.Code) {
			return true
		}
	}
	return false
}

// wayError is the error of a request that got no answer. The URL, which may hold credentials, is left out.
func wayError(ctx context.Context, operation string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("opencti: %s: %w", operation, context.Canceled)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return &Error{Operation: operation, Message: shorten(err.Error(), maxMessage), cause: err}
}

// unsureError is ErrUnsure and nothing else, so that nobody takes it for something that may be tried again.
type unsureError struct{ cause error }

func (e *unsureError) Error() string        { return ErrUnsure.Error() + ": " + e.cause.Error() }
func (e *unsureError) Is(target error) bool { return target == ErrUnsure }

const maxMessage = 300

// graphQLError is one entry of an answer's errors.
type graphQLError struct {
	Message    string `json:"message"`
	Name       string `json:"name"`
	Extensions struct {
		Code string `json:"code"`
	} `json:"extensions"`
}

var (
	// gotInvalid is how graphql-js repeats the value of a variable in a message; what follows the last "; " is the reason.
	gotInvalid = regexp.MustCompile(`(?s)got invalid value .*; `)
	// unknown is how it names what it does not know: an input's field, an object's, an argument, a type.
	unknown = []*regexp.Regexp{
		regexp.MustCompile(`Field "([^"]+)" is not defined by type`),
		regexp.MustCompile(`Cannot query field "([^"]+)" on type`),
		regexp.MustCompile(`Unknown argument "([^"]+)" on field`),
		regexp.MustCompile(`Unknown type "([^"]+)"`),
	}
)

// refusal makes the error of an answer that has errors: it is the first of them, without what must not be repeated.
func (c *Client) refusal(operation string, status int, all []graphQLError, variables map[string]any) *Error {
	e := all[0]
	refusal := &Error{Operation: operation, Code: e.Extensions.Code, Status: status}
	if refusal.Code == "" {
		refusal.Code = e.Name
	}
	for _, e := range all {
		for _, phrase := range unknown {
			if m := phrase.FindStringSubmatch(e.Message); m != nil {
				refusal.refused = append(refusal.refused, m[1])
			}
		}
	}
	message := gotInvalid.ReplaceAllString(e.Message, "got an invalid value; ")
	secrets := append(texts(variables), c.token)
	for _, value := range c.headers {
		secrets = append(secrets, value)
	}
	// The longest first: a value that is part of another must not leave the rest of it behind.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		if len(secret) < 3 {
			continue
		}
		message = strings.ReplaceAll(message, secret, "…")
		if quoted, err := json.Marshal(secret); err == nil {
			message = strings.ReplaceAll(message, string(quoted[1:len(quoted)-1]), "…")
		}
	}
	refusal.Message = shorten(message, maxMessage)
	return refusal
}

// texts returns the strings in a variable's value.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []string:
		return v
	case map[string]any:
		var all []string
		for _, inner := range v {
			all = append(all, texts(inner)...)
		}
		return all
	}
	return nil
}

// shorten makes one printable line of at most limit characters.
func shorten(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}
