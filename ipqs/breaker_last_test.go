package ipqs

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// What a breaker says of the last failure names the cause, and nothing of the key, the question or the answer.
func TestBreaker_LastFailure(t *testing.T) {
	t.Parallel()
	const value, short = "jane.doe@example.org", "+4930"
	told := "of " + value + " and " + short + " with " + testKey
	failing := func(err error) *http.Client {
		return &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })}
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 443}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	hijacked := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New(value + testKey)}
	tests := []struct {
		name   string
		client *http.Client
		want   string
	}{
		{"nobody listens", failing(refused), "/email: dial tcp 192.0.2.7:443: connect: connection refused"},
		{"a network that quotes", failing(hijacked), "/email: dial tcp: [value][key]"},
		{"the connection ends", failing(io.EOF), "/email: EOF"},
		{"an error that quotes", failing(errors.New("malformed HTTP response " + told)), "/email: no answer"},
		{"time is up", failing(timeoutError{}), "/email: no answer in time"},
		{"a web page", canned(http.StatusOK, "text/html", "<html>"+told), "/email: a web page instead of an answer, as a block at the edge or a proxy sends (HTTP 200)"},
		{"trouble", canned(http.StatusBadGateway, "text/plain", told), "/email: the server is in trouble (HTTP 502)"},
		{"a redirect", canned(http.StatusFound, "text/plain", "", "Location", "https://"+short+".example.org/"+value), "/email: redirected (HTTP 302)"},
		{"throttled", canned(http.StatusTooManyRequests, "application/json", `{"success":false,"message":"slow down `+told+`"}`), "/email: too many requests (HTTP 429)"},
		{"unreadable", canned(http.StatusOK, "application/json", `["`+told+`"]`), "/email: the answer is no JSON object with a success member (HTTP 200)"},
		{"a member that is none", canned(http.StatusOK, "application/json", `{"success":true,"fraud_score":["`+told+`"]}`), "/email: unreadable answer (HTTP 200)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := NewBreaker(newClient(t, Options{HTTPClient: tt.client}), BreakerOptions{Failures: 1})
			if got := b.LastFailure(); got != "" {
				t.Errorf("LastFailure() before any = %q, want none", got)
			}
			if _, err := b.Lookup(t.Context(), Query{Kind: KindEmail, Value: value}); err == nil || b.State() != StateOpen {
				t.Fatalf("Lookup() = %v and State() = %s, want a failure that opens it", err, b.State())
			}
			got := b.LastFailure()
			if got != tt.want {
				t.Errorf("LastFailure() = %q, want %q", got, tt.want)
			}
			for _, secret := range []string{testKey, value, short} {
				if strings.Contains(got, secret) {
					t.Errorf("LastFailure() = %q, want it without %q", got, secret)
				}
			}
		})
	}
}

// A word that comes as the breaker opens is already the word on why it does.
func TestBreaker_LastFailure_onChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b *Breaker
		var told string
		s := &script{errs: []error{errors.New("surprise"), errDown, nil}}
		b = NewBreaker(s, BreakerOptions{Failures: 2, OnChange: func(_, to State) {
			if to == StateOpen {
				told = b.LastFailure()
			}
		}})
		for range 2 {
			_, _ = b.Lookup(t.Context(), question)
		}
		if want := "/ip: no answer"; told != want {
			t.Errorf("LastFailure() as it opens = %q, want %q", told, want)
		}
	})
}

// timeoutError is what a transport says that has a time limit of its own.
type timeoutError struct{}

func (timeoutError) Error() string   { return "time is up" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
