package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func defaults() Config {
	return Config{
		OpenCTI: OpenCTI{
			URL: "https://opencti.example.com", Token: NewSecret("token-4711"), SSLVerify: true, JSONLogging: true,
		},
		Connector: Connector{
			ID: "9f8cb5ab-0a0c-4b2c-8b3d-2b0c6b1f7a11", Name: "IPQS Fraud and Risk Scoring", Type: "INTERNAL_ENRICHMENT",
			Scope:       []string{"IPv4-Addr", "IPv6-Addr", "Email-Addr", "Url", "Domain-Name", "Phone-Number", "User-Account"},
			Callback:    Callback{Port: 7070, Path: "/api/callback"},
			MetricsPort: 9095, ExposeMetrics: true, ConfidenceLevel: 50,
		},
		IPQS: IPQS{
			PrivateKey: NewSecret("key-4711"), BaseURL: "https://www.ipqualityscore.com/api/json",
			IPAddRelationships: true, DomainAddRelationships: true, RiskModel: "bands", ScorePolicy: "respect", IndicatorRevive: "expired",
			IndicatorMinScore: map[string]int{"ip": 26, "email": 26, "phone": 26, "url": 26, "leak": 26, "file": 26},
			DefaultTLP:        "TLP:CLEAR", MaxTLP: "TLP:AMBER", SkipPrivate: true, URLSend: "full",
			Email: EmailLookup{Timeout: 7 * time.Second}, URL: URLLookup{Timeout: 2 * time.Second},
			Artifact: Artifact{MaxSize: 32 << 20, ScanWait: 10 * time.Minute},
		},
		Credits: Credits{
			CacheTTL: map[string]time.Duration{
				"ip": 24 * time.Hour, "email": 24 * time.Hour, "phone": 72 * time.Hour, "url": 6 * time.Hour, "leak": 24 * time.Hour,
			},
			NegativeTTL: 10 * time.Minute, CacheSize: 5_000, AccountInterval: 10 * time.Minute, RateShare: 1,
		},
		Playbook: Playbook{MaxWait: 30 * time.Second},
		MQ:       MQ{RejectUnauthorized: true},
		Worker:   Worker{QueueType: "classic", LookupConcurrency: 16, ShutdownTimeout: 25 * time.Second, DebugHost: "127.0.0.1", DebugPort: 9096},
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		file string // empty for no file
		env  []string
		want func(*Config)
	}{
		{
			name: "required variables alone",
			env:  minimal(),
			want: func(*Config) {},
		},
		{
			name: "file alone",
			file: `
opencti: {url: "https://opencti.example.com", token: token-4711}
connector: {id: 9f8cb5ab-0a0c-4b2c-8b3d-2b0c6b1f7a11, auto: yes, confidence_level: 0, scope: [url, " IPV4-ADDR "]}
ipqs: {private_key: key-4711, max_tlp: amber+strict, ip_add_country: true}
mq: {host: rabbit, port: 5671, use_ssl: true}
`,
			want: func(c *Config) {
				c.Connector.Auto, c.Connector.ConfidenceLevel = true, 0
				c.Connector.Scope = []string{"Url", "IPv4-Addr"}
				c.IPQS.MaxTLP, c.IPQS.IPAddCountry = "TLP:AMBER+STRICT", true
				c.MQ.Host, c.MQ.Port, c.MQ.UseSSL = "rabbit", 5671, new(true)
			},
		},
		{
			name: "environment over file over default",
			file: "connector: {name: from file, log_level: debug}\nmq: {host: from-file, user: from-file}",
			env:  minimal("CONNECTOR_NAME=from environment", "MQ_HOST=from-environment"),
			want: func(c *Config) {
				c.Connector.Name, c.Connector.LogLevel = "from environment", slog.LevelDebug
				c.MQ.Host, c.MQ.User = "from-environment", "from-file"
			},
		},
		{
			name: "empty is not set, everywhere",
			file: "opencti:\nconnector: {name: '', log_level: warning, confidence_level: }\nmq: {}\nipqs: {max_tlp: {}}",
			env:  minimal("CONNECTOR_LOG_LEVEL=", "CONNECTOR_AUTO=", "IPQS_MAX_TLP= ", "MQ_PASS="),
			want: func(c *Config) { c.Connector.LogLevel = slog.LevelWarn },
		},
		{
			name: "spaces around values are dropped, but not around a password",
			env:  minimal("CONNECTOR_NAME= Fraud ", "OPENCTI_TOKEN=token-4711\n", "MQ_PASS= p4711 ", "CONNECTOR_SCOPE= url , ,EMAIL-ADDR,Url"),
			want: func(c *Config) {
				c.Connector.Name, c.Connector.Scope = "Fraud", []string{"Url", "Email-Addr"}
				c.MQ.Pass = NewSecret(" p4711 ")
			},
		},
		{
			name: "custom headers",
			env:  minimal("OPENCTI_CUSTOM_HEADERS=X-One: 1:1 ;;X-Two:2"),
			want: func(c *Config) {
				c.OpenCTI.CustomHeaders = map[string]Secret{"X-One": NewSecret("1:1"), "X-Two": NewSecret("2")}
			},
		},
		{
			name: "keys with dots in them",
			file: "connector.auto: true\nworker.queue_type: Quorum\nworker.shutdown_timeout: 1m30s\n",
			env:  minimal(),
			want: func(c *Config) {
				c.Connector.Auto = true
				c.Worker.QueueType, c.Worker.ShutdownTimeout = "quorum", 90*time.Second
			},
		},
		{
			name: "markings in their other spellings",
			env:  minimal("IPQS_DEFAULT_TLP=white", "IPQS_MAX_TLP=tlp:Red"),
			want: func(c *Config) { c.IPQS.MaxTLP = "TLP:RED" },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := noFile(t)
			if tt.file != "" {
				path = writeFile(t, tt.file)
			}
			want := defaults()
			tt.want(&want)
			got, warnings, err := Load(Options{Path: path, Environ: tt.env})
			if err != nil {
				t.Fatalf("Load() error = %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Load() differs (-want +got):\n%s", diff)
			}
			if len(warnings) > 0 {
				t.Errorf("Load() warnings = %v, want none", warnings)
			}
		})
	}
}

func TestParseBool(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ want, ok bool }{
		"yes": {true, true}, "true": {true, true}, "True": {true, true}, "TRUE": {true, true},
		"no": {false, true}, "false": {false, true}, "False": {false, true}, "FALSE": {false, true},
		"1": {}, "0": {}, "on": {}, "y": {}, "truee": {},
	}
	for v, tt := range tests {
		got, err := parseBool(v)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("parseBool(%q) = %v, %v, want %v, ok %v", v, got, err, tt.want, tt.ok)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	const url, level = "an address such as https://opencti.example.com", "one of debug, info, warn, error"
	tests := []struct {
		name string
		file string
		env  []string
		want string // the one line of the error
	}{
		{name: "not a URL", env: []string{"OPENCTI_URL=opencti"}, want: `OPENCTI_URL (opencti.url): found "opencti" in the environment, want ` + url},
		{name: "no host", env: []string{"OPENCTI_URL=http://"}, want: `OPENCTI_URL (opencti.url): found "http://" in the environment, want ` + url},
		{name: "password in URL", env: []string{"OPENCTI_URL=http://u:hunter2@h"}, want: `OPENCTI_URL (opencti.url): found [REDACTED] (it holds a user name or password) in the environment, want ` + url},
		{name: "broken URL with password", env: []string{"OPENCTI_URL=ht tp://u:hunter2@h"}, want: `OPENCTI_URL (opencti.url): found [REDACTED] in the environment, want ` + url},
		{name: "query in URL", env: []string{"OPENCTI_URL=http://h/?key=hunter2"}, want: `OPENCTI_URL (opencti.url): found [REDACTED] (it holds a query or fragment) in the environment, want ` + url},
		{name: "placeholder", env: []string{"OPENCTI_TOKEN=ChangeMe"}, want: `OPENCTI_TOKEN (opencti.token): found the placeholder ChangeMe in the environment, want the API token of an OpenCTI user`},
		{name: "placeholder with a hint", env: []string{"CONNECTOR_ID=<CHANGE_ME_UUIDv4>"}, want: `CONNECTOR_ID (connector.id): found the placeholder ChangeMe in the environment, want a UUIDv4 that no other connector has`},
		{name: "secret that no header can hold", env: []string{"IPQS_PRIVATE_KEY=hunter2 hunter2"}, want: `IPQS_PRIVATE_KEY (ipqs.private_key): found [REDACTED] (it holds a space, a line break or a character that no HTTP header may hold) in the environment, want the API key of an IPQualityScore account`},
		{name: "headers without colon", env: []string{"OPENCTI_CUSTOM_HEADERS=a:b;hunter2"}, want: `OPENCTI_CUSTOM_HEADERS (opencti.custom_headers): found [REDACTED] (entry 2 has no colon) in the environment, want headers such as X-First:value;X-Second:value`},
		{name: "header name", env: []string{"OPENCTI_CUSTOM_HEADERS=a b:hunter2"}, want: `OPENCTI_CUSTOM_HEADERS (opencti.custom_headers): found [REDACTED] (entry 1 is no HTTP header) in the environment, want headers such as X-First:value;X-Second:value`},
		{name: "long id", env: []string{"CONNECTOR_ID=" + strings.Repeat("x", 129)}, want: `CONNECTOR_ID (connector.id): found "` + strings.Repeat("x", 60) + `…" (it is longer than 128 bytes) in the environment, want a UUIDv4 that no other connector has`},
		{name: "id with a space", env: []string{"CONNECTOR_ID=a b"}, want: `CONNECTOR_ID (connector.id): found "a b" (it holds a space) in the environment, want a UUIDv4 that no other connector has`},
		{name: "short name", env: []string{"CONNECTOR_NAME=é"}, want: `CONNECTOR_NAME (connector.name): found "é" in the environment, want a name of at least 2 characters`},
		{name: "line break in name", env: []string{"CONNECTOR_NAME=a\nb"}, want: `CONNECTOR_NAME (connector.name): found "a\nb" (it holds a character that cannot be printed) in the environment, want a name of at least 2 characters`},
		{name: "other type", env: []string{"CONNECTOR_TYPE=STREAM"}, want: `CONNECTOR_TYPE (connector.type): found "STREAM" in the environment, want INTERNAL_ENRICHMENT`},
		{name: "bool", env: []string{"CONNECTOR_AUTO=1"}, want: `CONNECTOR_AUTO (connector.auto): found "1" in the environment, want true, false, yes or no`},
		{name: "confidence", env: []string{"CONNECTOR_CONFIDENCE_LEVEL=101"}, want: `CONNECTOR_CONFIDENCE_LEVEL (connector.confidence_level): found "101" in the environment, want a whole number from 0 to 100`},
		{name: "log level", env: []string{"CONNECTOR_LOG_LEVEL=verbose"}, want: `CONNECTOR_LOG_LEVEL (connector.log_level): found "verbose" in the environment, want ` + level},
		{name: "scope of commas", env: []string{"CONNECTOR_SCOPE=,"}, want: `CONNECTOR_SCOPE (connector.scope): found "," in the environment, want a comma-separated list of at least one of IPv4-Addr, IPv6-Addr, Email-Addr, Url, Domain-Name, Phone-Number, User-Account, Artifact`},
		{name: "scope of strangers", env: []string{"CONNECTOR_SCOPE=Malware"}, want: `CONNECTOR_SCOPE (connector.scope): found nothing that this worker enriches, want at least one of IPv4-Addr, IPv6-Addr, Email-Addr, Url, Domain-Name, Phone-Number, User-Account, Artifact`},
		{name: "TLP", env: []string{"IPQS_MAX_TLP=purple"}, want: `IPQS_MAX_TLP (ipqs.max_tlp): found "purple" in the environment, want one of TLP:CLEAR, TLP:GREEN, TLP:AMBER, TLP:AMBER+STRICT, TLP:RED`},
		{name: "port", env: []string{"MQ_PORT=tcp://10.0.0.7:5672"}, want: `MQ_PORT (mq.port): found "tcp://10.0.0.7:5672" in the environment, want a whole number from 1 to 65535`},
		{name: "no file of that name", env: []string{"MQ_USE_SSL_CA=/nowhere/ca.pem"}, want: `MQ_USE_SSL_CA (mq.use_ssl_ca): found "/nowhere/ca.pem" (no such file or directory) in the environment, want a text in PEM, or the path of a file that holds one`},
		{name: "device as file", env: []string{"MQ_USE_SSL_CA=/dev/zero"}, want: `MQ_USE_SSL_CA (mq.use_ssl_ca): found "/dev/zero" (it is no regular file of at most 1048576 bytes) in the environment, want a text in PEM, or the path of a file that holds one`},
		{name: "no PEM in file", env: []string{"MQ_USE_SSL_CERT=load_test.go"}, want: `MQ_USE_SSL_CERT (mq.use_ssl_cert): found "load_test.go" (it holds no PEM block) in the environment, want a text in PEM, or the path of a file that holds one`},
		{name: "key instead of a path", env: []string{"MQ_USE_SSL_KEY=hunter2"}, want: `MQ_USE_SSL_KEY (mq.use_ssl_key): found [REDACTED] (no such file or directory) in the environment, want a text in PEM, or the path of a file that holds one`},
		{name: "queue type", env: []string{"WORKER_QUEUE_TYPE=stream"}, want: `WORKER_QUEUE_TYPE (worker.queue_type): found "stream" in the environment, want classic or quorum`},
		{name: "concurrency", env: []string{"WORKER_LOOKUP_CONCURRENCY=0"}, want: `WORKER_LOOKUP_CONCURRENCY (worker.lookup_concurrency): found "0" in the environment, want a whole number from 1 to 1024`},
		{name: "duration without unit", env: []string{"WORKER_SHUTDOWN_TIMEOUT=30"}, want: `WORKER_SHUTDOWN_TIMEOUT (worker.shutdown_timeout): found "30" in the environment, want a duration from 1s to 15m, such as 25s or 1m30s`},

		{name: "value in file", file: "ipqs: {max_tlp: purple}", want: `IPQS_MAX_TLP (ipqs.max_tlp): found "purple" in FILE, want one of TLP:CLEAR, TLP:GREEN, TLP:AMBER, TLP:AMBER+STRICT, TLP:RED`},
		{name: "digits only as a key", file: "mq: {pass: 12345678901234567890123456789012}", want: `MQ_PASS (mq.pass): found a YAML number (put it in quotes) in FILE, want a password`},
		{name: "date as a text", file: "mq: {user: 2026-01-01}", want: `MQ_USER (mq.user): found a YAML date (put it in quotes) in FILE, want the name of a user`},
		{name: "boolean as a text", file: "mq: {vhost: true}", want: `MQ_VHOST (mq.vhost): found a YAML boolean (put it in quotes) in FILE, want the name of a virtual host`},
		{name: "number as a boolean", file: "connector: {auto: 1}", want: `CONNECTOR_AUTO (connector.auto): found a YAML number (put it in quotes) in FILE, want true, false, yes or no`},
		{name: "fraction as a number", file: "mq: {port: 5672.5}", want: `MQ_PORT (mq.port): found "5672.5" in FILE, want a whole number from 1 to 65535`},
		{name: "list as a text", file: "mq: {host: [hunter2]}", want: `MQ_HOST (mq.host): found a YAML list in FILE, want a host name or address`},
		{name: "list of numbers", file: "connector: {scope: [1]}", want: `CONNECTOR_SCOPE (connector.scope): found a YAML list with a YAML number (put it in quotes) in FILE, want a comma-separated list of at least one of IPv4-Addr, IPv6-Addr, Email-Addr, Url, Domain-Name, Phone-Number, User-Account, Artifact`},
		{name: "section as a text", file: "mq: {host: {name: hunter2}}", want: `MQ_HOST (mq.host): found a YAML section in FILE, want a host name or address`},
		{name: "text as a section", file: "mq: hunter2", want: `mq: found a single value or list in FILE, want a section, with keys under it`},
		{name: "list as a section", file: "mq: [hunter2]", want: `mq: found a single value or list in FILE, want a section, with keys under it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := noFile(t)
			if tt.file != "" {
				path = writeFile(t, tt.file)
			}
			// The last variable of a name wins, as in a process.
			_, _, err := Load(Options{Path: path, Environ: minimal(tt.env...)})
			if err == nil {
				t.Fatal("Load() error = nil, want one")
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE")
			if want := "the configuration cannot be used:\n  " + tt.want; got != want {
				t.Errorf("Load() error =\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Load() error shows a secret: %v", err)
			}
		})
	}
}

func TestLoadReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "opencti: {token: ChangeMe}\nconnector: {auto: maybe}\nmq: [1]\n")
	_, _, err := Load(Options{Path: path, Environ: []string{"OPENCTI_URL=opencti", "IPQS_MAX_TLP=purple", "MQ_PORT=99999"}})
	want := `the configuration cannot be used:
  mq: found a single value or list in FILE, want a section, with keys under it
  OPENCTI_URL (opencti.url): found "opencti" in the environment, want an address such as https://opencti.example.com
  OPENCTI_TOKEN (opencti.token): found the placeholder ChangeMe in FILE, want the API token of an OpenCTI user
  CONNECTOR_ID (connector.id): not set, want a UUIDv4 that no other connector has
  CONNECTOR_AUTO (connector.auto): found "maybe" in FILE, want true, false, yes or no
  IPQS_PRIVATE_KEY (ipqs.private_key): not set, want the API key of an IPQualityScore account
  IPQS_MAX_TLP (ipqs.max_tlp): found "purple" in the environment, want one of TLP:CLEAR, TLP:GREEN, TLP:AMBER, TLP:AMBER+STRICT, TLP:RED
  MQ_PORT (mq.port): found "99999" in the environment, want a whole number from 1 to 65535`
	if err == nil {
		t.Fatal("Load() error = nil, want one")
	}
	if diff := cmp.Diff(want, strings.ReplaceAll(err.Error(), path, "FILE")); diff != "" {
		t.Errorf("Load() error differs (-want +got):\n%s", diff)
	}
	if _, ok := errors.AsType[*KeyError](err); !ok {
		t.Errorf("Load() error = %T, want one that holds a *KeyError", err)
	}
}

func TestLoadFileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, path, want string
	}{
		{"absent", filepath.Join(dir, "absent.yml"), "no such file or directory"},
		{"a directory", dir, "is a directory"},
		{"not YAML", write("broken.yml", "opencti: {url: [hunter2"), "not usable YAML: line 1: did not find expected ',' or ']'"},
		{"a bare text", write("text.yml", "hunter2hunter2"), "not usable YAML: line 1: found something else where keys with values are expected"},
		{"a list", write("list.yml", "- hunter2"), "not usable YAML: line 1: found something else where keys with values are expected"},
		{"a token that looks like an alias", write("alias.yml", "opencti: {token: *hunter2}"), "not usable YAML: unknown anchor referenced"},
		{"a key twice", write("twice.yml", "mq:\n  host: a\n  host: b"), `not usable YAML: line 3: mapping key "host" already defined at line 2`},
		{"a section as a key", write("key.yml", "a: {{token: hunter2}: x}"), "not usable YAML: a list or section is used as a key"},
		{"binary", write("binary.yml", "\x00\x01"), "not usable YAML: control characters are not allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Load(Options{Path: tt.path, PathSet: true, Environ: minimal()})
			want := "the configuration cannot be used:\n  reading configuration file " + tt.path + ": " + tt.want
			if err == nil || err.Error() != want {
				t.Errorf("Load() error = %v, want %s", err, want)
			}
			if _, ok := errors.AsType[*FileError](err); !ok {
				t.Errorf("Load() error = %T, want one that holds a *FileError", err)
			}
		})
	}
	_, _, err := Load(Options{Path: filepath.Join(dir, "absent.yml"), PathSet: true, Environ: minimal()})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load() error = %v, want fs.ErrNotExist in it", err)
	}
}

func TestLoadFor(t *testing.T) {
	t.Parallel()
	broken := writeFile(t, "opencti: {url: ChangeMe, token: ChangeMe}\nconnector: {id: ChangeMe}\nmq: {port: x, host: {a: b}}")
	got, _, err := Load(Options{Path: broken, Environ: []string{"IPQS_PRIVATE_KEY=key-4711", "IPQS_MAX_TLP=red"}, Require: ForEnrich})
	if err != nil {
		t.Fatalf("Load(ForEnrich) error = %v", err)
	}
	want := defaults()
	want.OpenCTI.URL, want.OpenCTI.Token, want.Connector.ID, want.IPQS.MaxTLP = "", Secret{}, "", "TLP:RED"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load(ForEnrich) differs (-want +got):\n%s", diff)
	}
	_, _, err = Load(Options{Path: broken, Require: ForEnrich})
	if line := "IPQS_PRIVATE_KEY (ipqs.private_key): not set"; err == nil || !strings.Contains(err.Error(), line) {
		t.Errorf("Load(ForEnrich) error = %v, want %s", err, line)
	}

	got, _, err = Load(Options{Path: broken, Environ: []string{"IPQS_MAX_TLP=purple", "CONNECTOR_LOG_LEVEL=error"}, Require: ForNothing})
	if err != nil {
		t.Fatalf("Load(ForNothing) error = %v", err)
	}
	want.IPQS.PrivateKey, want.IPQS.MaxTLP, want.Connector.LogLevel = Secret{}, "TLP:AMBER", slog.LevelError
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load(ForNothing) differs (-want +got):\n%s", diff)
	}
}
