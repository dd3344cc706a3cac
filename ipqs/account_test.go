package ipqs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestDefect12_TheTestOfTheKeyIsFreeAndReadsTheAnswer(t *testing.T) {
	t.Parallel()
	const body = `{"success":true,"message":"","credits":4200,"usage":"92","proxy_usage":54,"email_usage":38,"url_usage":60,` +
		`"phone_usage":null,"request_id":"r1"}`
	var asked []string
	client := newClient(t, Options{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get(keyHeader))
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}})
	account, err := client.Account(t.Context())
	want := Account{Credits: NumberOf(4200), Usage: NumberOf(92), ProxyUsage: NumberOf(54), EmailUsage: NumberOf(38), URLUsage: NumberOf(60)}
	if diff := cmp.Diff(want, account); err != nil || diff != "" {
		t.Errorf("Account() = %v (-want +got):\n%s", err, diff)
	}
	refusing := newClient(t, Options{HTTPClient: canned(200, "application/json", `{"success":false,"message":"Invalid or unauthorized key. Please check the API key and try again."}`)})
	if _, err := refusing.Account(t.Context()); !errors.Is(err, ErrKey) {
		t.Errorf("Account() of a refusal with HTTP 200 = %v, want %v", err, ErrKey)
	}
	// The key's slash is part of the key, and it is in no header beside.
	if diff := cmp.Diff([]string{"GET /api/json/account/Key+0123%2F456789abcdef "}, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// The key is in the address, which net/http quotes in its errors and servers in their pages.
func TestClient_Account_keepsTheKeyToItself(t *testing.T) {
	t.Parallel()
	echo := "https://www.ipqualityscore.com/api/json/account/Key+0123%2F456789abcdef"
	tests := []struct {
		name string
		http *http.Client
		want error
	}{
		{"no connection", &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("dialing " + r.URL.String() + ": refused")
		})}, ErrUnavailable},
		{"refused", canned(200, "application/json", `{"success":false,"message":"Invalid or unauthorized key. Please check the API key and try again."}`), ErrKey},
		{"refused, quoting", canned(200, "application/json", `{"success":false,"message":"No such account: `+echo+`"}`), ErrUnknown},
		{"a web page", canned(403, "text/html", "<html>"+echo+"</html>"), ErrUnavailable},
		{"redirected", canned(301, "text/html", "", "Location", echo), ErrUnavailable},
		{"no JSON", canned(200, "application/json", `[]`), ErrMalformed},
		{"not found", canned(404, "application/json", `{"message":"`+echo+`"}`), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, Options{HTTPClient: tt.http}).Account(t.Context())
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Fatalf("Account() = %v, want %v", err, tt.want)
			}
			for _, form := range encodings(testKey) {
				if strings.Contains(err.Error(), form) {
					t.Errorf("Account() = %v, which quotes the key", err)
				}
			}
		})
	}
}

func TestClient_Account_inTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, err := newClient(t, Options{HTTPClient: hanging()}).Account(t.Context())
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Account() = %v, want %v for its time limit", err, ErrUnavailable)
		}
	})
}
