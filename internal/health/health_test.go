package health_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/health"
	"opencti-ipqs-worker/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func well() error { return nil }

func failing(text string) func() error { return func() error { return errors.New(text) } }

// ask sends one request to a server that does not listen.
func ask(s *health.Server, method, path string) (status int, body string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestLivez(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		live   func() error
		status int
		body   string
	}{
		{"the loop goes round", well, 200, `{"live":true}`},
		{"the loop is stuck", failing("stuck for 6m0s"), 503, `{"live":false,"reason":"stuck for 6m0s"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// What is not ready is alive all the same: a restart would not bring OpenCTI back.
			s := health.New(health.Options{Live: tt.live, Ready: []health.Check{{Name: "opencti", State: failing("away")}}})
			status, body := ask(s, http.MethodGet, "/livez")
			if diff := cmp.Diff([]any{tt.status, tt.body}, []any{status, body}); diff != "" {
				t.Errorf("GET /livez (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadyz(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		checks []health.Check
		status int
		body   string
	}{
		{
			"all is there",
			[]health.Check{{Name: "opencti", State: well}, {Name: "rabbitmq", State: well}},
			200, `{"ready":true,"dependencies":{"opencti":{"ok":true},"rabbitmq":{"ok":true}}}`,
		},
		{
			"one is not",
			[]health.Check{{Name: "opencti", State: well}, {Name: "rabbitmq", State: failing("dial tcp: refused <here>")}},
			503, `{"ready":false,"dependencies":{"opencti":{"ok":true},"rabbitmq":{"ok":false,"reason":"dial tcp: refused <here>"}}}`,
		},
		{
			"what is informative does not decide",
			[]health.Check{{Name: "opencti", State: well}, {Name: "ipqs", State: failing("open"), Informative: true}},
			200, `{"ready":true,"dependencies":{"ipqs":{"ok":false,"informative":true,"reason":"open"},"opencti":{"ok":true}}}`,
		},
		{
			"what has details shows them",
			[]health.Check{{Name: "hops", State: func() error { return detailed{"lookup"} }, Informative: true}},
			200, `{"ready":true,"dependencies":{"hops":{"ok":false,"informative":true,"reason":"1 of them","details":["lookup"]}}}`,
		},
		{
			"and does not mend what decides",
			[]health.Check{{Name: "opencti", State: failing("away")}, {Name: "ipqs", State: well, Informative: true}},
			503, `{"ready":false,"dependencies":{"ipqs":{"ok":true,"informative":true},"opencti":{"ok":false,"reason":"away"}}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := health.New(health.Options{Live: well, Ready: tt.checks})
			status, body := ask(s, http.MethodGet, "/readyz")
			if diff := cmp.Diff([]any{tt.status, tt.body}, []any{status, body}); diff != "" {
				t.Errorf("GET /readyz (-want +got):\n%s", diff)
			}
		})
	}
}

// detailed is an error with details.
type detailed []string

func (d detailed) Error() string { return fmt.Sprint(len(d), " of them") }
func (d detailed) Details() any  { return []string(d) }

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := health.New(health.Options{Live: well})
	s.Handle("GET /metrics", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a_metric 1") }))
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/livez", 200},
		{http.MethodHead, "/readyz", 200},
		{http.MethodGet, "/metrics", 200},
		{http.MethodPost, "/livez", 405},
		{http.MethodGet, "/", 404},
		{http.MethodGet, "/livez/more", 404},
	} {
		if status, _ := ask(s, tt.method, tt.path); status != tt.status {
			t.Errorf("%s %s = %d, want %d", tt.method, tt.path, status, tt.status)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	var log logtest.Log
	s := health.New(health.Options{Address: "127.0.0.1:0", Live: well, Logger: log.Logger()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	line := log.Await(t, "address=")
	_, address, found := strings.Cut(strings.TrimSpace(line), "address=")
	if !found {
		t.Fatalf("the log says %q, want the address", line)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Get("http://" + address + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("GET /livez = %d, want 200", response.StatusCode)
	}
	cancel()
	<-done
	if response, err := client.Get("http://" + address + "/livez"); err == nil {
		_ = response.Body.Close()
		t.Error("the server answers after its end")
	}
}

func TestATakenPortIsAWarning(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var log logtest.Log
	// It returns although its context does not end.
	health.New(health.Options{Address: taken.Addr().String(), Live: well, Logger: log.Logger()}).Run(t.Context())
	line := log.Await(t, "address=")
	for _, want := range []string{"level=WARN", fmt.Sprintf("address=%s", taken.Addr()), "in use"} {
		if !strings.Contains(line, want) {
			t.Errorf("the log says %q, want it to hold %q", line, want)
		}
	}
}
