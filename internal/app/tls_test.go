package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/certtest"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
	"opencti-ipqs-worker/pipeline"
)

const (
	plantedToken = "planted-token-2b7d41"
	plantedKey   = "planted-key-77aa0c"
)

// load reads a configuration of variables alone.
func load(t *testing.T, environ ...string) config.Config {
	t.Helper()
	c, _, err := config.Load(config.Options{
		Path: filepath.Join(t.TempDir(), "config.yml"),
		Environ: append([]string{
			"OPENCTI_URL=http://opencti.test", "OPENCTI_TOKEN=" + plantedToken, "IPQS_PRIVATE_KEY=" + plantedKey,
			"CONNECTOR_ID=3d2a1c9b-6f0e-4b57-8a44-5d1f0c7e9b21",
		}, environ...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// file writes text to a file and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPlatformTLS asks servers with good and bad certificates, as the options say.
func TestPlatformTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := certtest.New(t), certtest.New(t)
	good := serveTLS(t, authority.Server(t, "127.0.0.1"))
	expired := serveTLS(t, authority.Expired(t, "127.0.0.1"))
	plain := httptest.NewServer(http.HandlerFunc(version))
	t.Cleanup(plain.Close)
	const untrusted, trust = "x509: certificate signed by unknown authority", ": set HTTPS_CA_CERTIFICATES or OPENCTI_SSL_VERIFY=false"
	tests := []struct {
		name, url string
		environ   []string
		want      []string // in the error; none for none
	}{
		{name: "authority as text", url: good, environ: []string{"HTTPS_CA_CERTIFICATES=" + authority.PEM}},
		{name: "authority in a file", url: good, environ: []string{"HTTPS_CA_CERTIFICATES=" + file(t, authority.PEM)}},
		{name: "not looked at", url: good, environ: []string{"OPENCTI_SSL_VERIFY=false"}},
		{name: "expired and not looked at", url: expired, environ: []string{"OPENCTI_SSL_VERIFY=false"}},
		{name: "unknown authority", url: good, want: []string{untrusted, trust}},
		{name: "another authority", url: good, environ: []string{"HTTPS_CA_CERTIFICATES=" + stranger.PEM}, want: []string{untrusted, trust}},
		{
			name: "another name", url: strings.Replace(good, "127.0.0.1", "localhost", 1), environ: []string{"HTTPS_CA_CERTIFICATES=" + authority.PEM},
			want: []string{"but wanted to match localhost: set OPENCTI_URL to a name that it has, or OPENCTI_SSL_VERIFY=false"},
		},
		{
			name: "expired", url: expired, environ: []string{"HTTPS_CA_CERTIFICATES=" + authority.PEM},
			want: []string{"x509: certificate has expired", ": renew it or set OPENCTI_SSL_VERIFY=false"},
		},
		{
			name: "no TLS there", url: strings.Replace(plain.URL, "http:", "https:", 1),
			want: []string{"is it the port for TLS? Without TLS: http:// in OPENCTI_URL"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client, err := newClient(Options{Config: load(t, append(tt.environ, "OPENCTI_URL="+tt.url)...), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.About(t.Context())
			if err != nil && tt.want == nil || !says(err, tt.want) {
				t.Errorf("About() = %v, want %q", err, tt.want)
			}
		})
	}
}

// says reports whether the error's text has all of the parts.
func says(err error, parts []string) bool {
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			return false
		}
	}
	return true
}

func version(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"about": map[string]any{"version": "7.260817.0"}}})
}

// serveTLS serves a version under the certificate and returns the address.
func serveTLS(t *testing.T, identity certtest.Pair) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(version))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{identity.TLS(t)}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// TestBrokerTLS connects to real TLS listeners with good and bad certificates on either side.
func TestBrokerTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := certtest.New(t), certtest.New(t)
	server, client, other, old := authority.Server(t, "127.0.0.1"), authority.Client(t), stranger.Client(t), authority.Expired(t, "127.0.0.1")
	const passphrase = "planted-passphrase-90b1"
	encrypted := client.Encrypted(t, passphrase)

	asking := rabbitnodetest.Start(t, rabbitnode.Options{TLS: &rabbitnode.TLS{Cert: server.Cert, Key: server.Key, ClientCA: authority.PEM}})
	expired := rabbitnodetest.Start(t, rabbitnode.Options{TLS: &rabbitnode.TLS{Cert: old.Cert, Key: old.Key}})
	trust := "MQ_USE_SSL_CA=" + authority.PEM
	untrusted := []string{"x509: certificate signed by unknown authority", ": set MQ_USE_SSL_CA or MQ_USE_SSL_REJECT_UNAUTHORIZED=false"}
	unwanted := []string{"remote error: tls: ", ": does the other side want a certificate of ours? Set MQ_USE_SSL_CERT and MQ_USE_SSL_KEY to one that it trusts"}
	us := []string{"MQ_USE_SSL_CERT=" + client.Cert, "MQ_USE_SSL_KEY=" + client.Key}
	tests := []struct {
		name    string
		node    *rabbitnode.Node
		environ []string
		want    []string // in the state and in the log; none for a connection
	}{
		{name: "texts", node: asking, environ: append([]string{trust}, us...)},
		{
			name: "files and a passphrase", node: asking, environ: []string{
				"MQ_USE_SSL_CA=" + file(t, authority.PEM), "MQ_USE_SSL_CERT=" + file(t, client.Cert),
				"MQ_USE_SSL_KEY=" + file(t, encrypted), "MQ_USE_SSL_PASSPHRASE=" + passphrase,
			},
		},
		{name: "expired and not looked at", node: expired, environ: []string{"MQ_USE_SSL_REJECT_UNAUTHORIZED=false"}},
		{
			name: "unknown authority", node: asking, environ: us,
			want: untrusted,
		},
		{
			name: "another authority", node: asking, environ: append([]string{"MQ_USE_SSL_CA=" + stranger.PEM}, us...),
			want: untrusted,
		},
		{
			name: "another name", node: asking, environ: append([]string{trust, "MQ_HOST=localhost"}, us...),
			want: []string{"but wanted to match localhost: set MQ_HOST to a name that it has, or MQ_USE_SSL_REJECT_UNAUTHORIZED=false"},
		},
		{
			name: "expired", node: expired, environ: []string{trust},
			want: []string{"x509: certificate has expired", ": renew it or set MQ_USE_SSL_REJECT_UNAUTHORIZED=false"},
		},
		{
			name: "no certificate of ours", node: asking, environ: []string{trust},
			want: unwanted,
		},
		{
			name: "a stranger's certificate", node: asking, environ: []string{trust, "MQ_USE_SSL_CERT=" + other.Cert, "MQ_USE_SSL_KEY=" + other.Key},
			want: unwanted,
		},
		{
			name: "the port without TLS", node: expired, environ: []string{trust, "MQ_PORT=" + port(t, expired.Addr())},
			want: []string{"is it the port for TLS? Without TLS: MQ_USE_SSL=false"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Log
			c := load(t, append([]string{"MQ_USE_SSL=true", "MQ_PORT=" + port(t, tt.node.TLSAddr())}, tt.environ...)...)
			carrier, err := rabbitMQ(Options{Config: c, Logger: slog.New(slog.NewJSONHandler(&log, nil))}, opencti.Registration{
				Connection: opencti.Connection{Host: "127.0.0.1", Port: 1, VHost: "/", User: "guest", Pass: "guest"},
				Listen:     "listen",
			}, []pipeline.Topic{{Name: pipeline.ListenTopic, Prefetch: 1, Foreign: true}, {Name: tt.name}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := carrier.Close(); err != nil {
					t.Errorf("Close() = %v", err)
				}
			})
			if tt.want == nil {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := carrier.Declare(ctx, pipeline.Topic{Name: tt.name}); err != nil {
					t.Errorf("Declare() = %v, log:\n%s", err, log.String())
				}
			} else {
				poll(t, func() bool {
					return says(carrier.Ready(), tt.want) && says(errors.New(log.String()), tt.want)
				}, func() string {
					return fmt.Sprintf("Ready() = %v, log:\n%swant %q", carrier.Ready(), log.String(), tt.want)
				})
			}
			for _, secret := range []string{passphrase, "PRIVATE KEY", plantedToken, plantedKey} {
				if strings.Contains(log.String(), secret) {
					t.Error("the log shows a secret")
				}
			}
		})
	}
}

// poll asks until the answer is yes. what says how things stand if it never is.
func poll(t *testing.T, done func() bool, what func() string) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(time.Minute)
	for !done() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatal(what())
		}
	}
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strconv.Atoi(text); err != nil {
		t.Fatal(err)
	}
	return text
}
