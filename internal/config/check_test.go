package config

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoadWarnings(t *testing.T) {
	t.Parallel()
	warn := func(name, text string) Warning { return Warning{Level: slog.LevelWarn, Name: name, Text: text} }
	tests := []struct {
		name string
		file string
		env  []string
		want []Warning
	}{
		{
			name: "misspelt variable",
			env:  []string{"IPQS_PRIVAT_KEY=hunter2"},
			want: []Warning{warn("IPQS_PRIVAT_KEY", "there is no such option, it has no effect; did you mean IPQS_PRIVATE_KEY?")},
		},
		{
			name: "misspelt in its first letters, or in small ones",
			env:  []string{"IPSQ_MAX_TLP=hunter2", "ipqs_risk_model=hunter2", "HTTP_CA_CERTIFICATES=hunter2"},
			want: []Warning{
				warn("HTTP_CA_CERTIFICATES", "there is no such option, it has no effect; did you mean HTTPS_CA_CERTIFICATES?"),
				warn("IPSQ_MAX_TLP", "there is no such option, it has no effect; did you mean IPQS_MAX_TLP?"),
				warn("ipqs_risk_model", "there is no such option, it has no effect; did you mean IPQS_RISK_MODEL?"),
			},
		},
		{
			name: "near to one of ours that is set, or by chance",
			env:  []string{"OPENCTY_TOKEN=hunter2", "MY_HOST=x", "DB_PORT=1", "SERVER_DEBUG_PORT=1", "IPSQ_MAX_TLP=", "_" + strings.Repeat("X", 200) + "=1"},
		},
		{
			name: "variable like no other",
			env:  []string{"WORKER_OBJECTS_MAX_REFS=hunter2"},
			want: []Warning{warn("WORKER_OBJECTS_MAX_REFS", "there is no such option, it has no effect")},
		},
		{
			name: "misspelt key, and a section of somebody else",
			file: "ipqs: {max_tpl: red}\nredis: {host: hunter2}",
			want: []Warning{
				warn("ipqs.max_tpl", "there is no such option, it has no effect; did you mean ipqs.max_tlp?"),
				warn("redis.host", "there is no such option, it has no effect"),
			},
		},
		{
			name: "keys of a file that is not ours",
			file: `"a\nb": 1` + "\n" + strings.Repeat("x", 101) + ": 1",
			want: []Warning{
				warn(`"a\nb"`, "there is no such option, it has no effect"),
				warn(`"`+strings.Repeat("x", 60)+`…"`, "there is no such option, it has no effect"),
			},
		},
		{
			name: "option of OpenCTI's helper",
			file: "connector: {queue_threshold: x}",
			env:  []string{"CONNECTOR_METRICS_NAMESPACE=x"},
			want: []Warning{
				{Level: slog.LevelInfo, Name: "CONNECTOR_METRICS_NAMESPACE", Text: "this option of OpenCTI's Python helper has no effect here"},
				{Level: slog.LevelInfo, Name: "connector.queue_threshold", Text: "this option of OpenCTI's Python helper has no effect here"},
			},
		},
		{
			name: "what Kubernetes sets by itself, what is empty, what has another prefix",
			env: []string{
				"OPENCTI_SERVICE_HOST=10.0.0.1", "OPENCTI_PORT=tcp://10.0.0.1:8080", "OPENCTI_PORT_8080_TCP_ADDR=10.0.0.1",
				"IPQS_WORKER_SERVICE_PORT_METRICS=9095", "IPQS_PRIVAT_KEY=", "MQTT_HOST=x", "PATH=/bin", "broken",
			},
		},
		{
			name: "address without www",
			env:  []string{"IPQS_BASE_URL=https://ipqualityscore.com/api/json/"},
			want: []Warning{warn("IPQS_BASE_URL", "ipqualityscore.com answers at www.ipqualityscore.com only; asking there")},
		},
		{
			name: "key in the clear",
			env:  []string{"IPQS_BASE_URL=http://www.ipqualityscore.com/api/json"},
			want: []Warning{warn("IPQS_BASE_URL", "is http, so the API key travels unencrypted")},
		},
		{name: "a stand-in on loopback", env: []string{"IPQS_BASE_URL=http://[::1]:8080"}},
		{
			name: "scope with strangers",
			env:  []string{"CONNECTOR_SCOPE=Artifact,Url,Malware\x1b"},
			want: []Warning{
				warn("CONNECTOR_SCOPE", "Artifact is left out, for IPQS_ARTIFACT_SCAN is false: no file is sent anywhere"),
				warn("CONNECTOR_SCOPE", `"Malware\x1b" is not enriched by this worker and left out; it knows IPv4-Addr, IPv6-Addr, Email-Addr, Url, Domain-Name, Phone-Number, User-Account, Artifact`),
			},
		},
		{
			name: "files to scan out of scope",
			env:  []string{"IPQS_ARTIFACT_SCAN=true"},
			want: []Warning{warn("IPQS_ARTIFACT_SCAN", "has no effect, for Artifact is not in CONNECTOR_SCOPE")},
		},
		{name: "files to scan in scope", env: []string{"IPQS_ARTIFACT_SCAN=true", "CONNECTOR_SCOPE=artifact"}},
		{
			name: "id that is no UUID",
			env:  []string{"CONNECTOR_ID=ipqs"},
			want: []Warning{warn("CONNECTOR_ID", "is no UUID; it works as long as no other connector has it")},
		},
		{
			name: "ceiling below the default marking",
			env:  []string{"IPQS_DEFAULT_TLP=red"},
			want: []Warning{warn("IPQS_DEFAULT_TLP", "is stricter than IPQS_MAX_TLP, so no unmarked observable will be enriched")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := noFile(t)
			if tt.file != "" {
				path = writeFile(t, tt.file)
			}
			c, got, err := Load(Options{Path: path, Environ: minimal(tt.env...)})
			if err != nil {
				t.Fatalf("Load() error = %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Load() warnings differ (-want +got):\n%s", diff)
			}
			if tt.name == "address without www" && c.IPQS.BaseURL != "https://www.ipqualityscore.com/api/json" {
				t.Errorf("Load() BaseURL = %s, want the one with www", c.IPQS.BaseURL)
			}
		})
	}
}
