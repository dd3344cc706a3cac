package ipqs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const testKey = "Key+0123/456789abcdef"

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// canned returns an HTTP client that always gets the same answer; headers come in pairs.
func canned(status int, contentType, body string, headers ...string) *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}
}

// hanging returns an HTTP client whose requests end with their context only.
func hanging() *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})}
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Key == "" {
		o.Key = testKey
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatalf("NewClient() = %v, want no error", err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestNewClient_refuses(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"no key", Options{}, "key: want"},
		{"key with a line break", Options{Key: secret + "\n"}, "key: want"},
		{"key with a space", Options{Key: secret + " x"}, "key: want"},
		{"key that is no ASCII", Options{Key: secret + "é"}, "key: want"},
		{"no URL", Options{Key: "k", BaseURL: "://" + secret}, "base URL: found something else"},
		{"other scheme", Options{Key: "k", BaseURL: "ftp://example.com/" + secret}, "base URL: want http"},
		{"no host", Options{Key: "k", BaseURL: "https:///" + secret}, "base URL: want http"},
		{"credentials", Options{Key: "k", BaseURL: "https://u:" + secret + "@example.com"}, "base URL: found credentials"},
		{"query", Options{Key: "k", BaseURL: "https://example.com/?key=" + secret}, "base URL: found a query"},
		{"fragment", Options{Key: "k", BaseURL: "https://example.com/#" + secret}, "base URL: found a query or a fragment"},
		{"timeout of no kind", Options{Key: "k", Timeouts: map[Kind]time.Duration{"fax": 1}}, `timeouts: kind: found "fax"`},
		{"no time", Options{Key: "k", Timeouts: map[Kind]time.Duration{KindIP: 0}}, `timeout of "ip": found 0s`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewClient(tt.options)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("NewClient() = %v, want an error that begins with %q and hides %q", err, tt.want, secret)
			}
		})
	}
}

func TestClient_Lookup_request(t *testing.T) {
	t.Parallel()
	type request struct{ Method, Path, Value, Key, UserAgent string }
	got := make(chan request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || len(query) != 1 {
			t.Errorf("query = %q, %v, want one parameter", r.URL.RawQuery, err)
		}
		kind := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		got <- request{r.Method, r.URL.Path, query.Get(kind), r.Header.Get("IPQS-KEY"), r.UserAgent()}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{"success":true,"message":"Success","fraud_score":7,"risk_score":8,"request_id":"r1"}`)
	}))
	t.Cleanup(server.Close)
	client := newClient(t, Options{BaseURL: server.URL + "/api/json/", UserAgent: "tester/1"})
	tests := []struct {
		query Query
		want  *Report
	}{
		{Query{Kind: KindIP, Value: "192.0.2.1"}, &Report{IP: &IP{FraudScore: NumberOf(7)}}},
		{Query{Kind: KindIP, Value: "2001:db8::1"}, &Report{IP: &IP{FraudScore: NumberOf(7)}}},
		{Query{Kind: KindEmail, Value: `"o'brien+x"@exämple.com`}, &Report{Email: &Email{FraudScore: NumberOf(7)}}},
		{Query{Kind: KindPhone, Value: "+1 (202) 555-0100"}, &Report{Phone: &Phone{FraudScore: NumberOf(7)}}},
		{Query{Kind: KindURL, Value: "https://example.com/a?b=c&d=e#f;g=%2F\\"}, &Report{URL: &URL{RiskScore: NumberOf(8)}}},
		{Query{Kind: KindURL, Value: " \t\x00\xff\u2028"}, &Report{URL: &URL{RiskScore: NumberOf(8)}}},
		{Query{Kind: KindURL, Value: "https://example.com/" + strings.Repeat("é", 10_000)}, &Report{URL: &URL{RiskScore: NumberOf(8)}}},
	}
	for _, tt := range tests {
		report, err := client.Lookup(t.Context(), tt.query)
		if err != nil {
			t.Fatalf("Lookup(%+v) = %v, want no error", tt.query, err)
		}
		want := request{http.MethodGet, "/api/json/" + string(tt.query.Kind), tt.query.Value, testKey, "tester/1"}
		if diff := cmp.Diff(want, <-got); diff != "" {
			t.Errorf("request of %+v (-want +got):\n%s", tt.query, diff)
		}
		tt.want.Kind, tt.want.RequestID, tt.want.Message = tt.query.Kind, "r1", "Success"
		if diff := cmp.Diff(tt.want, report); diff != "" {
			t.Errorf("Lookup(%+v) (-want +got):\n%s", tt.query, diff)
		}
	}
}

func TestClient_Lookup_refused(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	tests := []struct {
		name              string
		status            int
		contentType, body string
		header            []string
		want              APIError
	}{
		{
			"key", 200, json, `{"success":false,"message":"Invalid or unauthorized key. Please check the API key and try again."}`, nil,
			APIError{Class: ClassKey, Status: 200, Message: "Invalid or unauthorized key. Please check the API key and try again."},
		},
		{
			"no message", 401, json, `{"success":"False"}`, nil,
			APIError{Class: ClassKey, Status: 401, Message: "the key was refused"},
		},
		{
			"errors instead of a message", 200, json, `{"success":false,"errors":["Invalid phone number.","Too short."]}`, nil,
			APIError{Class: ClassItem, Status: 200, Message: "Invalid phone number.; Too short."},
		},
		{
			"throttled with a time", 429, "text/html", `<html>`,
			[]string{"Retry-After", "30"},
			APIError{Class: ClassThrottled, Status: 429, Message: "too many requests", RetryAfter: 30 * time.Second},
		},
		{
			"throttled by IPQS", 403, json, `{"success":false,"message":"Slow down."}`, nil,
			APIError{Class: ClassThrottled, Status: 403, Message: "Slow down."},
		},
		{
			"edge block", 403, "text/html; charset=UTF-8", "<!doctype html>", nil,
			APIError{Class: ClassUnavailable, Status: 403, Message: "a web page instead of an answer, as a block at the edge or a proxy sends"},
		},
		{
			"page that lies about its type", 200, json, "\n <html>", nil,
			APIError{Class: ClassUnavailable, Status: 200, Message: "a web page instead of an answer, as a block at the edge or a proxy sends"},
		},
		{
			"answer that lies about its type", 200, "text/html", `{"success":true,"fraud_score":5}`, nil,
			APIError{Class: ClassUnavailable, Status: 200, Message: "a web page instead of an answer, as a block at the edge or a proxy sends"},
		},
		{
			"XML", 200, "application/xml", `<result/>`, nil,
			APIError{Class: ClassUnavailable, Status: 200, Message: "a web page instead of an answer, as a block at the edge or a proxy sends"},
		},
		{
			"redirect", 301, "", "",
			[]string{"Location", "https://www.example.com/api/json/ip?ip=192.0.2.1"},
			APIError{Class: ClassUnavailable, Status: 301, Message: "redirected to https://www.example.com; the base URL should name the host that answers"},
		},
		{
			"redirect to nowhere", 302, "", "", nil,
			APIError{Class: ClassUnavailable, Status: 302, Message: "redirected"},
		},
		{
			"in trouble", 503, "text/plain", "x", nil,
			APIError{Class: ClassUnavailable, Status: 503, Message: "the server is in trouble"},
		},
		{
			"empty", 200, json, "", nil,
			APIError{Class: ClassMalformed, Status: 200, Message: "the answer is no JSON object with a success member"},
		},
		{
			"half", 200, json, `{"success":true,"fraud_sc`, nil,
			APIError{Class: ClassMalformed, Status: 200, Message: "the answer is no JSON object with a success member"},
		},
		{
			"list", 200, json, `[]`, nil,
			APIError{Class: ClassMalformed, Status: 200, Message: "the answer is no JSON object with a success member"},
		},
		{
			"null", 200, json, `null`, nil,
			APIError{Class: ClassMalformed, Status: 200, Message: "the answer is no JSON object with a success member"},
		},
		{
			"no success", 200, json, `{"fraud_score":5}`, nil,
			APIError{Class: ClassMalformed, Status: 200, Message: "the answer is no JSON object with a success member"},
		},
		{
			"score out of range", 200, json, `{"success":true,"fraud_score":101}`, nil,
			APIError{Class: ClassMalformed, Status: 200, Message: "fraud_score: found 101, want a number from 0 to 100"},
		},
		{
			"too long", 200, json, `{"success":true,"x":"` + strings.Repeat("x", 1<<20) + `"}`, nil,
			APIError{Class: ClassMalformed, Status: 200, Message: "the answer has more than 1048576 bytes"},
		},
		{
			"unknown words", 200, json, `{"success":false,"message":"Computer\r\nsays no."}`, nil,
			APIError{Class: ClassUnknown, Status: 200, Message: "Computer  says no."},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, Options{HTTPClient: canned(tt.status, tt.contentType, tt.body, tt.header...)})
			_, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"})
			var got *APIError
			if !errors.As(err, &got) {
				t.Fatalf("Lookup() = %v, want an *APIError", err)
			}
			tt.want.Kind = KindIP
			if diff := cmp.Diff(&tt.want, got, cmpopts.IgnoreFields(APIError{}, "ground"), cmp.AllowUnexported(APIError{})); diff != "" {
				t.Errorf("Lookup() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClient_Lookup_largestAnswer(t *testing.T) {
	t.Parallel()
	const head, tail = `{"success":true,"x":"`, `"}`
	body := head + strings.Repeat("x", 1<<20-len(head)-len(tail)) + tail
	client := newClient(t, Options{HTTPClient: canned(200, "application/json", body)})
	if _, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"}); err != nil {
		t.Errorf("Lookup() with an answer of 1 MB = %v, want no error", err)
	}
}

func TestClient_Lookup_refusesQuery(t *testing.T) {
	t.Parallel()
	client := newClient(t, Options{HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("a request was made, want none")
		return nil, errors.New("unwanted")
	})}})
	for _, q := range []Query{
		{Kind: "fax", Value: "+12025550100"},
		{Value: "x"},
		{Kind: KindIP},
		{Kind: KindLeakPassword},
		{Kind: KindFileResult},
		{Kind: KindFileScan, Value: "x"},
		{Kind: KindFileLookup, Upload: &Upload{Name: "empty"}},
	} {
		if _, err := client.Lookup(t.Context(), q); !errors.Is(err, ErrItem) {
			t.Errorf("Lookup(%+v) = %v, want %v", q, err, ErrItem)
		}
	}
}

// The key must not follow a redirect to another host.
func TestClient_Lookup_redirect(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed, want it refused")
	}))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/?email=jane@example.com", http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	_, err := newClient(t, Options{BaseURL: server.URL, HTTPClient: &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
	}}).Lookup(t.Context(), Query{Kind: KindEmail, Value: "jane@example.com"})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "redirected to "+elsewhere.URL+";") {
		t.Errorf("Lookup() = %v, want %v that names %s", err, ErrUnavailable, elsewhere.URL)
	}
}

func TestClient_Lookup_timeouts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		kind    Kind
		options Options
		caller  time.Duration // the caller's own limit
		want    time.Duration
	}{
		{name: "IP", kind: KindIP, want: 10 * time.Second},
		{name: "phone", kind: KindPhone, want: 15 * time.Second},
		{name: "URL", kind: KindURL, want: 12 * time.Second},
		{name: "e-mail", kind: KindEmail, want: 17 * time.Second},
		{name: "set", kind: KindEmail, options: Options{Timeouts: map[Kind]time.Duration{KindEmail: time.Minute}}, want: time.Minute},
		{name: "others stay", kind: KindIP, options: Options{Timeouts: map[Kind]time.Duration{KindEmail: time.Minute}}, want: 10 * time.Second},
		{name: "caller's", kind: KindIP, caller: 3 * time.Second, want: 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tt.options.HTTPClient = hanging()
				client := newClient(t, tt.options)
				ctx := t.Context()
				if tt.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.caller)
					defer cancel()
				}
				start := time.Now()
				_, err := client.Lookup(ctx, Query{Kind: tt.kind, Value: "value"})
				if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Lookup() = %v, want %v and %v", err, ErrUnavailable, context.DeadlineExceeded)
				}
				if got := time.Since(start); got != tt.want {
					t.Errorf("Lookup() took %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// A time limit of the HTTP client's own is one, too.
func TestClient_Lookup_httpTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hanging()
		h.Timeout = time.Second
		_, err := newClient(t, Options{HTTPClient: h}).Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"})
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lookup() = %v, want %v and %v", err, ErrUnavailable, context.DeadlineExceeded)
		}
	})
}

// An answer that stops coming is a timeout like one that never begins.
func TestClient_Lookup_slowBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer func() { _ = theirs.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
					t.Errorf("reading the request: %v", err)
				}
				_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"success\":")
				_, _ = io.Copy(io.Discard, theirs) // until the client has left
			}()
			return ours, nil
		}}
		client := newClient(t, Options{BaseURL: "http://ipqs.example", HTTPClient: &http.Client{Transport: transport}})
		began := time.Now()
		_, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"})
		var e *APIError
		if !errors.As(err, &e) || e.Class != ClassUnavailable || !errors.Is(err, context.DeadlineExceeded) || e.Status != 200 {
			t.Errorf("Lookup() = %v, want %v with status 200 and %v", err, ErrUnavailable, context.DeadlineExceeded)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("Lookup() took %v, want the 10s of an address", took)
		}
	})
}

func TestClient_Lookup_cancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := newClient(t, Options{HTTPClient: hanging()}).Lookup(ctx, Query{Kind: KindIP, Value: "192.0.2.1"})
		var e *APIError
		if !errors.Is(err, context.Canceled) || errors.As(err, &e) {
			t.Errorf("Lookup() = %v, want %v and no *APIError", err, context.Canceled)
		}
	})
}

// Neither the key nor the value may be in what an error says, however the world outside tries.
func TestClient_Lookup_errorsHideSecrets(t *testing.T) {
	t.Parallel()
	const value = "https://user:pass@victim.example/path?token=t0ken&x=y"
	raw := func(answer string) string { // a server that speaks no HTTP
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1<<16))
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}()
		return "http://" + listener.Addr().String()
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	echo := fmt.Sprintf(`{"success":false,"message":%q}`, "Invalid URL "+value+" of "+testKey+" "+url.QueryEscape(testKey)+" "+strings.ToUpper(value))
	tests := []struct {
		name    string
		options Options
	}{
		{"message", Options{HTTPClient: canned(200, "application/json", echo)}},
		{"errors", Options{HTTPClient: canned(200, "application/json", strings.NewReplacer(`"message":`, `"errors":[`, `"}`, `"]}`).Replace(echo))}},
		{"message of a throttled answer", Options{HTTPClient: canned(429, "application/json", echo, "Retry-After", testKey)}},
		{"score", Options{HTTPClient: canned(200, "application/json", `{"success":true,"risk_score":"`+testKey+value+`"}`)}},
		{"content type", Options{HTTPClient: canned(200, "text/html; "+testKey, testKey)}},
		{"location", Options{HTTPClient: canned(302, "", "", "Location", "https://"+url.PathEscape("victim.example")+"/"+testKey+"?url="+url.QueryEscape(value))}},
		{"location that is none", Options{HTTPClient: canned(302, "", "", "Location", "://"+testKey)}},
		{"connection refused", Options{BaseURL: closed.URL}},
		{"key in the base URL", Options{BaseURL: closed.URL + "/" + url.PathEscape(testKey)}},
		{"status line", Options{BaseURL: raw("HTTP/9.9 " + testKey + " " + value + "\r\n\r\n")}},
		{"header line", Options{BaseURL: raw("HTTP/1.1 200 OK\r\n" + testKey + " " + value + "\r\n\r\n")}},
		{"half an answer", Options{BaseURL: raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + testKey)}},
		{"error of the transport", Options{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("cannot send %s with %v", r.URL, r.Header)
		})}}},
		{"timeout", Options{HTTPClient: &http.Client{Transport: hanging().Transport, Timeout: time.Millisecond}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, tt.options).Lookup(t.Context(), Query{Kind: KindURL, Value: value})
			if err == nil {
				t.Fatal("Lookup() = nil, want an error")
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				text := strings.ToLower(fmt.Sprintf("%v %+v %#v", e, e, e))
				for _, secret := range []string{testKey, url.QueryEscape(testKey), url.PathEscape(testKey), "456789abcdef", "t0ken", "victim.example/"} {
					if strings.Contains(text, strings.ToLower(secret)) {
						t.Errorf("Lookup() = %s, want an error without %q", text, secret)
					}
				}
				if strings.ContainsAny(e.Error(), "\r\n") {
					t.Errorf("Lookup() = %q, want one line", e)
				}
			}
		})
	}
}

// A value too short to be searched for is not there, either: the URL is never quoted.
func TestClient_Lookup_errorsHideURL(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	_, err := newClient(t, Options{BaseURL: closed.URL}).Lookup(t.Context(), Query{Kind: KindURL, Value: "b.io"})
	if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "b.io") {
		t.Errorf("Lookup() = %v, want %v without the value", err, ErrUnavailable)
	}
}

func TestClient_Lookup_reusesConnections(t *testing.T) {
	t.Parallel()
	const parallel, rounds = 8, 5
	var (
		mu     sync.Mutex
		opened int
		gate   sync.WaitGroup
	)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		gate.Done()
		gate.Wait() // until all lookups of the round are here, each with a connection
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"success":false,"message":"Computer says no."}`)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			mu.Lock()
			defer mu.Unlock()
			opened++
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	client := newClient(t, Options{BaseURL: server.URL, MaxIdleConns: parallel})
	for range rounds {
		gate.Add(parallel)
		var wg sync.WaitGroup
		for range parallel {
			wg.Go(func() {
				if _, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"}); !errors.Is(err, ErrUnknown) {
					t.Errorf("Lookup() = %v, want %v", err, ErrUnknown)
				}
			})
		}
		wg.Wait()
	}
	mu.Lock()
	defer mu.Unlock()
	// A lookup that comes before the connection of an earlier one is back in the pool opens one more.
	if opened < parallel || opened > 2*parallel {
		t.Errorf("%d rounds of %d lookups opened %d connections, want %d, or a few more", rounds, parallel, opened, parallel)
	}
}
