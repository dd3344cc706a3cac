package config

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCallback(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	cert, key = strings.TrimSpace(cert), strings.TrimSpace(key)
	nowhere := func(uri string) []Warning {
		return []Warning{{
			Level: slog.LevelWarn, Name: "CONNECTOR_LISTEN_PROTOCOL_API_URI",
			Text: "is not set, so OpenCTI's workers look for this process on their own machine, at " + uri,
		}}
	}
	tests := []struct {
		name, file string
		env        []string
		want       func(*Callback)
		warnings   []Warning
		problem    string
	}{
		{
			name: "on", env: []string{"CONNECTOR_LISTEN_PROTOCOL=api"},
			want:     func(c *Callback) { c.On, c.URI = true, "http://127.0.0.1:7070" },
			warnings: nowhere("http://127.0.0.1:7070"),
		},
		{
			name: "on, in the file, with TLS",
			file: "connector: {listen_protocol: API, listen_protocol_api_ssl: true, listen_protocol_api_port: 8443, listen_protocol_api_path: /jobs,\n" +
				" listen_protocol_api_ssl_cert: \"" + strings.ReplaceAll(cert, "\n", "\\n") + "\", listen_protocol_api_ssl_key: \"" + strings.ReplaceAll(key, "\n", "\\n") + "\"}",
			want: func(c *Callback) {
				*c = Callback{On: true, Port: 8443, Path: "/jobs", URI: "https://127.0.0.1:8443", SSL: true, Cert: cert, Key: NewSecret(key)}
			},
			warnings: nowhere("https://127.0.0.1:8443"),
		},
		{
			name: "an address", env: []string{"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_URI=https://ipqs.example.com/worker/"},
			want: func(c *Callback) { c.On, c.URI = true, "https://ipqs.example.com/worker" },
		},
		{
			name: "off, nothing is checked", env: []string{"CONNECTOR_LISTEN_PROTOCOL=AMQP", "CONNECTOR_LISTEN_PROTOCOL_API_SSL=true", "CONNECTOR_METRICS_PORT=7070"},
			want: func(c *Callback) { c.SSL = true },
		},
		{
			name: "neither", env: []string{"CONNECTOR_LISTEN_PROTOCOL=http"},
			problem: `CONNECTOR_LISTEN_PROTOCOL (connector.listen_protocol): found "http" in the environment, want AMQP or API`,
		},
		{
			name: "no certificate", env: []string{"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_SSL=true"},
			problem: "LISTEN_PROTOCOL_API_SSL_CERT (connector.listen_protocol_api_ssl_cert): not set, want a certificate, for CONNECTOR_LISTEN_PROTOCOL_API_SSL is true",
		},
		{
			name: "no key", env: []string{"CONNECTOR_LISTEN_PROTOCOL=API", "LISTEN_PROTOCOL_API_SSL_CERT=" + cert},
			problem: "LISTEN_PROTOCOL_API_SSL_KEY (connector.listen_protocol_api_ssl_key): not set, want the other half of LISTEN_PROTOCOL_API_SSL_CERT",
		},
		{
			name: "a path with a query", env: []string{"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_PATH=/x?y"},
			problem: `CONNECTOR_LISTEN_PROTOCOL_API_PATH (connector.listen_protocol_api_path): found "/x?y" in the environment, want a path such as /api/callback`,
		},
		{
			name: "a path without a slash", env: []string{"CONNECTOR_LISTEN_PROTOCOL_API_PATH=http://x/"},
			problem: `CONNECTOR_LISTEN_PROTOCOL_API_PATH (connector.listen_protocol_api_path): found "http://x/" in the environment, want a path such as /api/callback`,
		},
		{
			name: "a port that is taken", env: []string{"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_PORT=9095", "CONNECTOR_METRICS_PORT=9095"},
			problem: "CONNECTOR_LISTEN_PROTOCOL_API_PORT (connector.listen_protocol_api_port): found 9095, which is CONNECTOR_METRICS_PORT too, want a port of its own",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := noFile(t)
			if tt.file != "" {
				path = writeFile(t, tt.file)
			}
			c, warnings, err := Load(Options{Path: path, Environ: minimal(tt.env...)})
			if tt.problem != "" {
				if err == nil || !strings.HasSuffix(err.Error(), "\n  "+tt.problem) {
					t.Errorf("Load() error = %v, want %s", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatalf("Load() error = %v", err)
			}
			want := defaults().Connector.Callback
			tt.want(&want)
			if diff := cmp.Diff(want, c.Connector.Callback); diff != "" {
				t.Errorf("Load() callback differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("Load() warnings differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestQueueProtocol: under its name and the one it had before OpenCTI 6.5.7.
func TestQueueProtocol(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  []string
		want bool
	}{
		{name: "not set"},
		{name: "today's name", env: []string{"CONNECTOR_QUEUE_PROTOCOL=api"}, want: true},
		{name: "the name before", env: []string{"QUEUE_PROTOCOL=api"}, want: true},
		{name: "both", env: []string{"QUEUE_PROTOCOL=api", "CONNECTOR_QUEUE_PROTOCOL=amqp"}},
		{name: "today's is empty", env: []string{"CONNECTOR_QUEUE_PROTOCOL= ", "QUEUE_PROTOCOL=api"}, want: true},
	}
	for _, tt := range tests {
		c, warnings, err := Load(Options{Path: noFile(t), Environ: minimal(tt.env...)})
		if err != nil || len(warnings) > 0 || c.Connector.PushByAPI != tt.want {
			t.Errorf("%s: Load() PushByAPI = %t, %v, %v, want %t", tt.name, c.Connector.PushByAPI, warnings, err, tt.want)
		}
	}
}
