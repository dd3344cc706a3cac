package main

import (
	"bytes"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/health"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	away := func() error { return errors.New("gone fishing") }
	well := func() error { return nil }
	tests := []struct {
		name       string
		live       func() error
		opencti    func() error
		ipqs       func() error
		args       []string
		wantStatus int
		want       string // in the output
	}{
		{"ready", well, well, well, nil, exitOK, `"ready":true`},
		{"IPQS does not decide", well, well, away, nil, exitOK, `"ready":true`},
		{"OpenCTI is away", well, away, away, nil, exitFailure, "the worker is not well: opencti: gone fishing\n"},
		{"OpenCTI is away and the worker lives", well, away, well, []string{"--live"}, exitOK, `"live":true`},
		{"the worker hangs", away, well, well, []string{"--live"}, exitFailure, "the worker is not well: gone fishing\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(health.New(health.Options{Live: tt.live, Ready: []health.Check{
				{Name: "opencti", State: tt.opencti}, {Name: "ipqs", State: tt.ipqs, Informative: true},
			}}))
			defer server.Close()
			host, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			status, out := healthOf(t, tt.args, "CONNECTOR_METRICS_PORT="+port, "WORKER_METRICS_HOST="+host)
			if status != tt.wantStatus || !strings.Contains(out, tt.want) {
				t.Errorf("health = status %d, %q, want status %d and %q", status, out, tt.wantStatus, tt.want)
			}
		})
	}
}

func TestHealthWithoutWorker(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, port string
		wantStatus int
		want       string
	}{
		{"nobody there", "1", exitFailure, "asking the worker"},
		{"served nowhere", "0", exitUsage, "CONNECTOR_METRICS_PORT is 0"},
		{"wrong configuration", "x", exitUsage, "CONNECTOR_METRICS_PORT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, out := healthOf(t, nil, "CONNECTOR_METRICS_PORT="+tt.port)
			if status != tt.wantStatus || !strings.Contains(out, tt.want) {
				t.Errorf("health = status %d, %q, want status %d and %q", status, out, tt.wantStatus, tt.want)
			}
		})
	}
}

func TestNearby(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "192.0.2.1": "192.0.2.1", "worker.example": "worker.example",
	} {
		if got := nearby(host); got != want {
			t.Errorf("nearby(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestReasonsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"<html>", "{}", `{"dependencies":{"ipqs":{"ok":false,"informative":true}}}`} {
		if got, want := reasons(502, []byte(body)), "HTTP 502"; got != want {
			t.Errorf("reasons(502, %q) = %q, want %q", body, got, want)
		}
	}
}

// healthOf runs the command and returns its status and all it said.
func healthOf(t *testing.T, args []string, environ ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	environ = append([]string{
		"OPENCTI_URL=http://opencti", "OPENCTI_TOKEN=t", "CONNECTOR_ID=00000000-0000-4000-8000-000000000000", "IPQS_PRIVATE_KEY=k",
	}, environ...)
	status := execute(t.Context(), func() {}, append([]string{"health"}, args...), stdio{strings.NewReader(""), &out, &out}, environ)
	return status, out.String()
}
