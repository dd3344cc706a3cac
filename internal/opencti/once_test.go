package opencti

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAnswerPlaybookThatMayHaveBeenHeard: what fails on the way is only given again where it surely never arrived.
func TestAnswerPlaybookThatMayHaveBeenHeard(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	cut := func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, text)
		panic(http.ErrAbortHandler)
	}
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		late   bool // the time limit is reached once the platform has heard it
		unsure bool
		is     error // what it is instead
	}{
		{"connection lost", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, no, yes, nil},
		{"connection lost within the answer", func(w http.ResponseWriter, _ *http.Request) { cut(w, `{"data":`) }, no, yes, nil},
		{"time limit", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, yes, yes, nil},
		{"502 of a gateway", says(502, "<html>"), no, yes, nil},
		{"504 of a gateway", says(504, "<html>"), no, yes, nil},
		{"500 without a word of GraphQL", says(500, "oops"), no, yes, nil},
		{"200 without a word of GraphQL", says(200, "<html>"), no, yes, nil},
		{"503 of a gateway, which has asked nobody", says(503, "<html>"), no, no, ErrUnavailable},
		{"redirect", says(302, ""), no, no, ErrUnavailable},
		{"too many requests", says(429, ""), no, no, ErrUnavailable},
		{"too large", says(413, ""), no, no, ErrRefused},
		{"the platform's own word", says(200, `{"errors":[{"message":"m","extensions":{"code":"DATABASE_ERROR"}}]}`), no, no, ErrUnavailable},
		{"the platform's own word, by status too", says(502, `{"errors":[{"message":"m","extensions":{"code":"LOCK_ERROR"}}]}`), no, no, ErrLock},
		{"nobody waits", says(200, `{"data":{"playbookStepExecution":false}}`), no, no, ErrNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := limit{t.Context(), make(chan struct{})}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body) // all of it: only then does the server notice that a client has left
				if err != nil {
					t.Error(err)
				}
				if strings.Contains(string(body), "playbookStepExecution") {
					if tt.late {
						close(ctx.up) // not before: the version is asked for first
					}
					tt.answer(w, r)
					return
				}
				_, _ = io.WriteString(w, `{"data":{"about":{"version":"7.260817.0"}}}`)
			}))
			t.Cleanup(server.Close)
			c, err := New(Options{URL: server.URL, Token: token, HTTPClient: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			checkUnsure(ctx, t, c, "{}", tt.unsure, tt.is)
		})
	}
}

// limit is a context whose deadline is when up is closed.
type limit struct {
	context.Context //nolint:containedctx // it is one
	up              chan struct{}
}

func (l limit) Done() <-chan struct{} { return l.up }

func (l limit) Err() error {
	select {
	case <-l.up:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func checkUnsure(ctx context.Context, t *testing.T, c *Client, bundle string, unsure bool, is error) {
	t.Helper()
	err := c.AnswerPlaybook(ctx, Playbook{ExecutionID: "e", Bundle: []byte(`{}`)}, time.Now(), []byte(bundle))
	if got := errors.Is(err, ErrUnsure); err == nil || got != unsure {
		t.Fatalf("AnswerPlaybook() error = %v, unsure %t, want %t", err, got, unsure)
	}
	if unsure && (errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), token)) {
		t.Errorf("AnswerPlaybook() error = %v, want nothing that is tried again, and no token", err)
	}
	if !unsure && !errors.Is(err, is) {
		t.Errorf("AnswerPlaybook() error = %v, want %v", err, is)
	}
}

// TestAnswerPlaybookThatNeverArrived: without a connection, or on one that breaks before all was written, nobody heard.
func TestAnswerPlaybookThatNeverArrived(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return
		}
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, `{"data":{"about":{"version":"7.260817.0"}}}`)
	}))
	t.Cleanup(server.Close)
	for name, broken := range map[string]func(net.Conn) (net.Conn, error){
		"connection refused": func(conn net.Conn) (net.Conn, error) {
			_ = conn.Close()
			return nil, errors.New("connection refused")
		},
		"broken while it is written": func(conn net.Conn) (net.Conn, error) { return breaking{conn}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dials atomic.Int32
			transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
				if err != nil || dials.Add(1) == 1 { // the version is asked for first
					return conn, err
				}
				return broken(conn)
			}}
			t.Cleanup(transport.CloseIdleConnections)
			c, err := New(Options{URL: server.URL, Token: token, HTTPClient: &http.Client{Transport: transport}})
			if err != nil {
				t.Fatal(err)
			}
			// More than fits into any buffer: what is lost there may as well have been sent.
			checkUnsure(t.Context(), t, c, strings.Repeat(" ", 1<<20)+"{}", false, ErrUnavailable)
		})
	}
}

// breaking is a connection that takes half of what it is given and breaks.
type breaking struct{ net.Conn }

func (b breaking) Write(text []byte) (int, error) {
	n, _ := b.Conn.Write(text[:len(text)/2])
	return n, errors.New("broken pipe")
}
