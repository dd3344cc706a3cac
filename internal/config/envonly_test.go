package config

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVariableOnly: HTTPS_CA_CERTIFICATES is read from the environment and nowhere else.
func TestVariableOnly(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	cert = strings.TrimSpace(cert)
	tests := []struct {
		name, file string
		env        []string
		want       string
		warnings   []Warning
		err        string
	}{
		{name: "variable", env: []string{"HTTPS_CA_CERTIFICATES=" + cert}, want: cert},
		{
			name: "key of the file", file: "https: {ca_certificates: hunter2}",
			warnings: []Warning{{Level: slog.LevelWarn, Name: "https.ca_certificates", Text: "there is no such option, it has no effect"}},
		},
		{
			name: "both", file: "https: {ca_certificates: {hunter2: 1}}", env: []string{"HTTPS_CA_CERTIFICATES=" + cert}, want: cert,
			warnings: []Warning{{Level: slog.LevelWarn, Name: "https.ca_certificates.hunter2", Text: "there is no such option, it has no effect"}},
		},
		{
			name: "misspelt", env: []string{"HTTPS_CA_CERTIFICATE=x", "HTTPS_PROXY=http://proxy:3128"},
			warnings: []Warning{{Level: slog.LevelWarn, Name: "HTTPS_CA_CERTIFICATE", Text: "there is no such option, it has no effect; did you mean HTTPS_CA_CERTIFICATES?"}},
		},
		{
			name: "no certificate", env: []string{"HTTPS_CA_CERTIFICATES=/nowhere/ca.pem"},
			err: `HTTPS_CA_CERTIFICATES: found "/nowhere/ca.pem" (no such file or directory) in the environment, want a text in PEM, or the path of a file that holds one`,
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
			if tt.err != "" {
				if err == nil || !strings.HasSuffix(err.Error(), "\n  "+tt.err) {
					t.Errorf("Load() error = %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || c.OpenCTI.CA != tt.want {
				t.Errorf("Load() CA = %q, %v, want %q", c.OpenCTI.CA, err, tt.want)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("Load() warnings differ (-want +got):\n%s", diff)
			}
		})
	}
	if sample := Sample(); bytes.Contains(sample, []byte("https:\n")) || !bytes.Contains(sample, []byte("#   HTTPS_CA_CERTIFICATES ")) {
		t.Error("Sample() has HTTPS_CA_CERTIFICATES as a key, want it among the variables")
	}
}
