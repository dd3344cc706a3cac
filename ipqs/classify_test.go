package ipqs

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	const echo = "https://shop.example/invalid-key?unauthorized key=1"
	refused := func(message string) answer {
		return answer{status: 200, object: true, success: False, message: message}
	}
	tests := []struct {
		name   string
		answer answer
		want   Class
	}{
		// Sentences, with HTTP 200.
		{"key", refused("Invalid or unauthorized key. Please check the API key and try again."), ClassKey},
		{"key, short", refused("Invalid API Key."), ClassKey},
		{"key, other order", refused("Your API key is INVALID"), ClassKey},
		{"credits", refused("You have insufficient credits to make this query. Please contact IPQualityScore support if this error persists."), ClassCredits},
		{"credits, cut", refused("You have insufficient credits to make this query."), ClassCredits},
		{"credits, title case", refused("Insufficient Credits"), ClassCredits},
		{"quota", refused("You have exceeded your request quota of 35 per day. Please upgrade to increase your request quota."), ClassQuota},
		{"quota with a prefix", refused("Error: You have exceeded your request quota of 250 per day."), ClassQuota},
		{"quota of another period", refused("You have exceeded your monthly request quota."), ClassQuota},
		{"item: IP", refused("Invalid IPv4 address, IPv6 address or hostname. Please check the IP/Hostname and try again."), ClassItem},
		{"item: IP, older", refused("Invalid IPv4 or IPv6 address. Please check the IP and try again."), ClassItem},
		{"item: e-mail", refused("Invalid email address. Please check the email and try again."), ClassItem},
		{"item: phone", refused("Invalid phone number."), ClassItem},
		{"item: URL", refused("Invalid URL. Please check it and try again."), ClassItem},
		{"item: domain", refused("Invalid domain name. Please double check your request."), ClassItem},
		{"item: monkey is no key", refused("Invalid hostname monkey.example"), ClassItem},
		{"item: no records", refused("Unable to locate records matching your request."), ClassItem},
		{"item: rate limited word in it", refused("Invalid URL: rate limit page"), ClassItem},
		{"rate limit", refused("Rate limit exceeded. Please try again later."), ClassThrottled},
		{"too many requests", refused("Too many requests"), ClassThrottled},
		{"unknown: internal", refused("An internal error occurred. Please try again later."), ClassUnknown},
		{"unknown: plan", refused("Your subscription is not valid for this IP API."), ClassUnknown},
		{"unknown: no words", refused(""), ClassUnknown},
		{"item: no words for an empty value", answer{query: Query{Kind: KindIP, Value: " "}, status: 200, object: true, success: False}, ClassItem},

		// Statuses.
		{"401", answer{status: 401, object: true, success: False, message: "no"}, ClassKey},
		{"401 page", answer{status: 401, markup: true}, ClassKey},
		{"402", answer{status: 402, object: true, success: False, message: "no"}, ClassCredits},
		{"403 of IPQS", answer{status: 403, object: true, success: False, message: "no"}, ClassThrottled},
		{"403 of the edge", answer{status: 403, markup: true}, ClassUnavailable},
		{"403 without a body", answer{status: 403}, ClassUnavailable},
		{"403 that names the key", answer{status: 403, object: true, success: False, message: "Invalid or unauthorized key."}, ClassKey},
		{"400 that names the value", answer{status: 400, object: true, message: "Invalid URL."}, ClassItem},
		{"400", answer{status: 400, object: true, success: False, message: "no"}, ClassUnknown},
		{"404 of nobody", answer{status: 404}, ClassUnavailable},
		{"408", answer{status: 408, object: true, success: False}, ClassUnavailable},
		{"414", answer{status: 414, markup: true}, ClassItem},
		{"429", answer{status: 429, markup: true}, ClassThrottled},
		{"509", answer{status: 509}, ClassThrottled},
		{"500", answer{status: 500, object: true, success: False, message: "no"}, ClassUnavailable},
		{"502", answer{status: 502, markup: true}, ClassUnavailable},
		{"503", answer{status: 503}, ClassUnavailable},
		{"504", answer{status: 504, object: true, success: True}, ClassUnavailable},
		{"301", answer{status: 301, markup: true}, ClassUnavailable},
		{"302", answer{status: 302}, ClassUnavailable},
		{"no answer", answer{}, ClassUnavailable},

		// Answers that are none.
		{"page", answer{status: 200, markup: true}, ClassUnavailable},
		{"empty", answer{status: 200}, ClassMalformed},
		{"object of somebody else", answer{status: 200, object: true, message: "Forbidden"}, ClassMalformed},
		{"success where none is expected", answer{status: 404, object: true, success: True}, ClassUnknown},

		// A value that is echoed does not speak for IPQS.
		{"echoed value", answer{query: Query{Kind: KindURL, Value: echo}, status: 200, object: true, success: False, message: "Invalid URL " + echo}, ClassItem},
		{"echoed value, upper case", answer{query: Query{Kind: KindURL, Value: echo}, status: 200, object: true, success: False, message: "Invalid URL " + strings.ToUpper(echo)}, ClassItem},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := tt.answer
			if a.query.Value == "" {
				a.query = Query{Kind: KindURL, Value: "https://example.com"}
			}
			a.message = strings.ToLower(scrub(a.message, "0123456789abcdef", a.query.Value))
			if got, _ := classify(a); got != tt.want {
				t.Errorf("classify() = %s, want %s", got, tt.want)
			}
		})
	}
}

// Each class has its sentinel and no other.
func TestAPIError_Is(t *testing.T) {
	t.Parallel()
	sentinels := map[Class]error{
		ClassKey: ErrKey, ClassCredits: ErrCredits, ClassQuota: ErrQuota, ClassCapability: ErrCapability, ClassItem: ErrItem,
		ClassThrottled: ErrThrottled, ClassUnavailable: ErrUnavailable, ClassMalformed: ErrMalformed, ClassUnknown: ErrUnknown,
		ClassCircuitOpen: ErrCircuitOpen,
		ClassBudget:      ErrBudget,
		ClassReserve:     ErrReserve,
	}
	for class := range sentinels {
		err := error(&APIError{Class: class})
		for other, sentinel := range sentinels {
			if got, want := errors.Is(err, sentinel), class == other; got != want {
				t.Errorf("errors.Is(error of class %s, %v) = %t, want %t", class, sentinel, got, want)
			}
		}
	}
	if err := (&APIError{Class: "nonsense"}); errors.Is(err, ErrUnknown) || err.Is(nil) {
		t.Errorf("an error of no class is one of the sentinels, want none")
	}
}

func TestAPIError_Error(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  *APIError
		want string
	}{
		{&APIError{Class: ClassItem, Kind: KindURL, Status: 200, Message: "Invalid URL."}, "looking up url: Invalid URL. (HTTP 200)"},
		{&APIError{Class: ClassUnavailable, Kind: KindIP, Message: "connection refused"}, "looking up ip: connection refused"},
		{&APIError{Class: ClassCircuitOpen, Kind: KindEmail}, "looking up email: circuit breaker is open"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		header string
		want   time.Duration
	}{
		{"", 0},
		{"7", 7 * time.Second},
		{" 7 ", 7 * time.Second},
		{"0", 0},
		{"-5", 0},
		{"1.5", 0},
		{"soon", 0},
		{"4000000000", 24 * time.Hour},
		{"99999999999999999999", 0},
		{now.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		{now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{now.AddDate(5, 0, 0).Format(http.TimeFormat), 24 * time.Hour},
	}
	for _, tt := range tests {
		if got := retryAfter(tt.header, now); got != tt.want {
			t.Errorf("retryAfter(%q) = %v, want %v", tt.header, got, tt.want)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	const (
		key   = "KeyOf+the/Account"
		value = "jane.specimen+tag@example.com"
	)
	tests := []struct {
		name, text, value, want string
	}{
		{"nothing to hide", "Invalid URL.", value, "Invalid URL."},
		{"key", "key KeyOf+the/Account is invalid", value, "key [key] is invalid"},
		{"key in another case", "KEYOF+THE/ACCOUNT", value, "[key]"},
		{"key in a query", "?key=KeyOf%2Bthe%2FAccount", value, "?key=[key]"},
		{"key in a path", "/KeyOf+the%2FAccount/x", value, "/[key]/x"},
		{"key twice", key + key, value, "[key][key]"},
		{"value", "Invalid email " + value + ".", value, "Invalid email [value]."},
		{"value in a query", "?email=jane.specimen%2Btag%40example.com", value, "?email=[value]"},
		{"value in HTML", "a &lt;b&gt; &amp; c", "a <b> & c", "[value]"},
		{"value with slashes as JSON in JSON has them", `https:\/\/a.example\/b`, "https://a.example/b", "[value]"},
		{"value that holds the key", "x" + key + "y", "x" + key + "y", "x[key]y"},
		{"value that the key holds", "at " + key, "the/Account", "at [key]"},
		{"short value", "Invalid address", "a", "Invalid address"},
		{"value that is no UTF-8", "ab\uFFFDcdef", "ab\xffcdef", "[value]"},
		{"line breaks", "a\r\nb", value, "a  b"},
		{"huge", strings.Repeat("x", 1<<20), value, "(a text of 1048576 bytes)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := scrub(tt.text, key, tt.value); got != tt.want {
				t.Errorf("scrub(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
	if got, want := quote(strings.Repeat("é", 400)), strings.Repeat("é", 300)+"…"; got != want {
		t.Errorf("quote() = %q, want %q", got, want)
	}
}
