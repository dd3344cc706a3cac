package callback

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/certtest"
	"opencti-ipqs-worker/internal/logtest"
)

const (
	path    = "/api/callback"
	secret  = "planted-token-6f7e1d"
	someJob = `{"internal":{"work_id":"work_1"},"event":{"entity_id":"x"}}`
)

// start makes a server that is closed with the test, and a log of it.
func start(t *testing.T, o Options) (*Server, *logtest.Log) {
	t.Helper()
	log := &logtest.Log{}
	o.Address, o.Path, o.Authorize = "127.0.0.1:0", path, Token(secret)
	o.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	if o.Accept == nil {
		o.Accept = func(context.Context, []byte) error { return nil }
	}
	s, err := Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if strings.Contains(log.String(), "planted") {
			t.Errorf("the log shows a secret: %s", log.String())
		}
	})
	return s, log
}

// client is one of a test's own, whose connections end with the test.
func client(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func post(ctx context.Context, t *testing.T, s *Server, c *http.Client, body io.Reader, edit func(*http.Request)) (status int, message string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Addr()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	if edit != nil {
		edit(r)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct{ Message string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatalf("status %d, body is no JSON: %v", response.StatusCode, err)
	}
	return response.StatusCode, answer.Message, response.Header
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	const most = 1000
	chunked := func(n int) io.Reader {
		return io.MultiReader(strings.NewReader(`"`+strings.Repeat("x", n-2)), strings.NewReader(`"`))
	}
	tests := []struct {
		name     string
		body     io.Reader
		edit     func(*http.Request)
		accept   error
		status   int
		message  string
		accepted bool
	}{
		{name: "a job", body: strings.NewReader(someJob), status: 202, message: "the job is safe", accepted: true},
		{name: "of the greatest length", body: chunked(most), status: 202, message: "the job is safe", accepted: true},
		{name: "too long", body: strings.NewReader(`"` + strings.Repeat("x", most) + `"`), status: 413, message: "the body is longer than 1000 bytes"},
		{name: "too long, length unknown", body: chunked(most + 1), status: 413, message: "the body is longer than 1000 bytes"},
		{name: "no JSON", body: strings.NewReader("{"), status: 400, message: "the body is no JSON (1 bytes)"},
		{name: "nothing", status: 400, message: "the body is no JSON (0 bytes)"},
		{name: "not safe", body: strings.NewReader(someJob), accept: errors.New("the broker is away"), status: 503, message: "the job is not safe yet", accepted: true},
		{name: "no token", body: strings.NewReader(someJob), edit: func(r *http.Request) { r.Header.Del("Authorization") }, status: 401, message: "the token is not OpenCTI's"},
		{name: "empty token", body: strings.NewReader(someJob), edit: func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, status: 401, message: "the token is not OpenCTI's"},
		{name: "another scheme", body: strings.NewReader(someJob), edit: func(r *http.Request) { r.SetBasicAuth("x", secret) }, status: 401, message: "the token is not OpenCTI's"},
		{name: "wrong token", body: strings.NewReader(someJob), edit: func(r *http.Request) { r.Header.Set("Authorization", "Bearer planted") }, status: 401, message: "the token is not OpenCTI's"},
		{name: "wrong token, no JSON", body: strings.NewReader("{"), edit: func(r *http.Request) { r.Header.Set("Authorization", "Bearer planted") }, status: 401, message: "the token is not OpenCTI's"},
		{name: "another path", edit: func(r *http.Request) { r.URL.Path += "/" }, status: 404, message: "there is nothing here"},
		{name: "another method", edit: func(r *http.Request) { r.Method = http.MethodGet }, status: 405, message: "jobs are posted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var accepted []string
			s, _ := start(t, Options{MaxBytes: most, Accept: func(_ context.Context, job []byte) error {
				accepted = append(accepted, string(job))
				return tt.accept
			}})
			status, message, header := post(t.Context(), t, s, client(t, nil), tt.body, tt.edit)
			if status != tt.status || message != tt.message {
				t.Errorf("answer = %d %q, want %d %q", status, message, tt.status, tt.message)
			}
			if (len(accepted) == 1) != tt.accepted {
				t.Errorf("accepted %q, want a job = %t", accepted, tt.accepted)
			}
			if (header.Get("WWW-Authenticate") == "Bearer") != (status == 401) || (header.Get("Retry-After") != "") != (status == 503) ||
				(header.Get("Allow") == "POST") != (status == 405) {
				t.Errorf("headers of %d are %v", status, header)
			}
		})
	}
}

// TestPatience: a job that takes too long stays with OpenCTI, and its context has ended.
func TestPatience(t *testing.T) {
	t.Parallel()
	s, log := start(t, Options{Patience: time.Millisecond, Accept: func(ctx context.Context, _ []byte) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	if status, _, _ := post(t.Context(), t, s, client(t, nil), strings.NewReader(someJob), nil); status != 503 {
		t.Errorf("status = %d, want 503", status)
	}
	if !strings.Contains(log.String(), "the job stays with OpenCTI") {
		t.Errorf("the log is %s, want it told", log.String())
	}
}

// TestMost: one job more than may be in hand is refused at once.
func TestMost(t *testing.T) {
	t.Parallel()
	inHand, safe := make(chan struct{}), make(chan struct{})
	s, _ := start(t, Options{Most: 1, Accept: func(context.Context, []byte) error {
		inHand <- struct{}{}
		<-safe
		return nil
	}})
	c := client(t, nil)
	first := make(chan int)
	go func() {
		status, _, _ := post(context.Background(), t, s, c, strings.NewReader(someJob), nil)
		first <- status
	}()
	<-inHand
	if status, message, _ := post(t.Context(), t, s, c, strings.NewReader(someJob), nil); status != 503 || message != "too many jobs are in hand" {
		t.Errorf("answer = %d %s, want 503", status, message)
	}
	close(safe)
	if status := <-first; status != 202 {
		t.Errorf("status of the first = %d, want 202", status)
	}
}

// TestDrainAndClose: no new job is taken, the one in hand may become safe until the server closes, and not after.
func TestDrainAndClose(t *testing.T) {
	t.Parallel()
	inHand, safe := make(chan struct{}), make(chan struct{}, 1)
	s, _ := start(t, Options{Accept: func(ctx context.Context, _ []byte) error {
		inHand <- struct{}{}
		select {
		case <-safe:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	c := client(t, nil)
	statuses := make(chan int)
	for range 2 {
		go func() {
			status, _, _ := post(context.Background(), t, s, c, strings.NewReader(someJob), nil)
			statuses <- status
		}()
		<-inHand
	}
	if err := s.Ready(); err != nil {
		t.Errorf("Ready() = %v, want nil", err)
	}
	s.Drain()
	if err := s.Ready(); err == nil {
		t.Error("Ready() = nil while draining, want an error")
	}
	if status, message, _ := post(t.Context(), t, s, c, strings.NewReader(someJob), nil); status != 503 || message != "the worker is stopping" {
		t.Errorf("answer while draining = %d %s, want 503", status, message)
	}
	safe <- struct{}{}
	if status := <-statuses; status != 202 {
		t.Errorf("status of a job that became safe = %d, want 202", status)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if status := <-statuses; status != 503 {
		t.Errorf("status of a job that did not = %d, want 503", status)
	}
	if response, err := c.Get("http://" + s.Addr() + path); err == nil {
		_ = response.Body.Close()
		t.Error("somebody answers after Close(), want nobody")
	}
}

// TestWorkerGoesAway: the context of its job ends.
func TestWorkerGoesAway(t *testing.T) {
	t.Parallel()
	inHand, gone := make(chan struct{}), make(chan error, 1)
	s, _ := start(t, Options{Accept: func(ctx context.Context, _ []byte) error {
		close(inHand)
		<-ctx.Done()
		gone <- ctx.Err()
		return ctx.Err()
	}})
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Addr()+path, strings.NewReader(someJob))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	go func() {
		<-inHand
		leave()
	}()
	if response, err := client(t, nil).Do(r); err == nil {
		_ = response.Body.Close()
		t.Errorf("status = %d, want no answer", response.StatusCode)
	}
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the job's context ended with %v, want %v", err, context.Canceled)
	}
}

// TestTLS: a worker that trusts the authority gets through; one that trusts another does not, and the log says why.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := certtest.New(t), certtest.New(t)
	identity := authority.Server(t, "127.0.0.1")
	s, log := start(t, Options{TLS: &tls.Config{Certificates: []tls.Certificate{identity.TLS(t)}, MinVersion: tls.VersionTLS12}})
	trusting := func(a *certtest.Authority) *tls.Config {
		return &tls.Config{RootCAs: a.Pool()}
	}
	secure := func(r *http.Request) { r.URL.Scheme = "https" }
	if status, _, _ := post(t.Context(), t, s, client(t, trusting(authority)), strings.NewReader(someJob), secure); status != 202 {
		t.Errorf("status = %d, want 202", status)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr()+path, strings.NewReader(someJob))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client(t, trusting(stranger)).Do(r)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		if err == nil {
			_ = response.Body.Close()
		}
		t.Errorf("posting while trusting another authority = %v, want it refused", err)
	}
	log.Await(t, "TLS handshake error")
	if !strings.Contains(log.String(), "remote error: tls: bad certificate") && !strings.Contains(log.String(), "unknown certificate authority") {
		t.Errorf("the log is %s, want the certificate named", log.String())
	}
}

func TestListenTwice(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	_, err := Listen(t.Context(), Options{Address: s.Addr(), Path: path})
	if err == nil || !strings.Contains(err.Error(), "listening for OpenCTI's jobs") {
		t.Errorf("Listen(taken) = %v, want an error", err)
	}
}

// TestComplainsOnce: whoever knocks without a token is told of once.
func TestComplainsOnce(t *testing.T) {
	t.Parallel()
	s, log := start(t, Options{})
	for range 3 {
		post(t.Context(), t, s, client(t, nil), strings.NewReader(someJob), func(r *http.Request) { r.Header.Del("Authorization") })
	}
	if n := log.Count("refused a job for its token"); n != 1 {
		t.Errorf("told %d times, want once: %s", n, log.String())
	}
}
