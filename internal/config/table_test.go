package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var seen []string
	for _, o := range Table() {
		if slices.Contains(seen, o.Env) {
			t.Errorf("%s is in the table twice", o.Env)
		}
		seen = append(seen, o.Env)
		if !slices.ContainsFunc(prefixes(), func(p string) bool { return strings.HasPrefix(o.Env, p) }) {
			t.Errorf("%s begins with none of %v, so a misspelling would not be noticed", o.Env, prefixes())
		}
		if slices.Contains(helpers(), o.Env) {
			t.Errorf("%s is an option and said to have no effect", o.Env)
		}
		if o.Required && o.Default != "" {
			t.Errorf("%s is required and has a default", o.Env)
		}
		if o.Default != "" {
			if err := o.set(new(Config), o.Default); err != nil {
				t.Errorf("%s does not accept its default %q: %v", o.Env, o.Default, err)
			}
		}
		if o.Kind == "" || o.Accepts == "" || !strings.HasSuffix(o.Description, ".") || strings.Contains(o.Description, "\n") {
			t.Errorf("%s is not described: %+v", o.Env, o)
		}
	}
}

// TestBounds checks that the words and bounds of the table are those that an option really has.
func TestBounds(t *testing.T) {
	t.Parallel()
	closed := regexp.MustCompile(`^one of |^\S+ or \S+$`)
	takes := func(o Option, value string) bool { return o.set(new(Config), value) == nil }
	for _, o := range Table() {
		if o.Kind == Text && closed.MatchString(o.Accepts) && len(o.Words) == 0 {
			t.Errorf("%s accepts %q and has no words", o.Env, o.Accepts)
		}
		for _, word := range o.Words {
			if !takes(o, word) || !strings.Contains(o.Accepts, word) {
				t.Errorf("%s has the word %q, which it does not accept, or not say so: %q", o.Env, word, o.Accepts)
			}
		}
		if len(o.Words) > 0 && o.Kind == Text && takes(o, "none of them") {
			t.Errorf("%s accepts what is none of its words", o.Env)
		}
		if o.Kind != Number {
			continue
		}
		if want := fmt.Sprintf("from %d to %d", o.Least, o.Most); !strings.Contains(o.Accepts, want) {
			t.Errorf("%s accepts %q, want it to say %q", o.Env, o.Accepts, want)
		}
		for n, want := range map[int]bool{o.Least: true, o.Most: true, o.Least - 1: false, o.Most + 1: false} {
			if got := takes(o, strconv.Itoa(n)); got != want {
				t.Errorf("%s accepts %d = %t, want %t", o.Env, n, got, want)
			}
		}
	}
}

// TestEveryOptionHasAnEffect sets each option to something else than its default and sees that the configuration changes.
func TestEveryOptionHasAnEffect(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	values := map[string]string{
		"OPENCTI_URL": "http://other", "OPENCTI_TOKEN": "other", "OPENCTI_SSL_VERIFY": "no", "OPENCTI_JSON_LOGGING": "no",
		"OPENCTI_CUSTOM_HEADERS": "a:b", "CONNECTOR_ID": "00000000-0000-4000-8000-000000000000", "CONNECTOR_NAME": "other",
		"CONNECTOR_SCOPE": "Url", "CONNECTOR_AUTO": "yes", "CONNECTOR_AUTO_UPDATE": "yes", "CONNECTOR_ONLY_CONTEXTUAL": "yes",
		"CONNECTOR_CONFIDENCE_LEVEL": "0", "CONNECTOR_LOG_LEVEL": "error", "IPQS_PRIVATE_KEY": "other",
		"IPQS_BASE_URL": "https://other", "IPQS_IP_ADD_RELATIONSHIPS": "no", "IPQS_DOMAIN_ADD_RELATIONSHIPS": "no",
		"IPQS_IP_ADD_COUNTRY": "yes", "IPQS_RISK_MODEL": "guidance", "IPQS_FLAG_LABELS": "no", "IPQS_INDICATOR_MIN_SCORE": "51",
		"IPQS_DETECTION_MIN_SCORE": "90", "IPQS_INCLUDE_PERSONAL_DATA": "yes",
		"IPQS_DEFAULT_TLP": "green", "IPQS_MAX_TLP": "red", "IPQS_SKIP_PRIVATE": "no", "MQ_HOST": "h", "MQ_PORT": "1",
		"MQ_VHOST": "/", "MQ_USER": "u", "MQ_PASS": "p", "MQ_USE_SSL": "no", "MQ_USE_SSL_CA": cert, "MQ_USE_SSL_CERT": cert,
		"MQ_USE_SSL_KEY": key, "MQ_USE_SSL_PASSPHRASE": "p", "HTTPS_CA_CERTIFICATES": cert,
		"CONNECTOR_QUEUE_PROTOCOL": "API", "CONNECTOR_LISTEN_PROTOCOL": "api", "CONNECTOR_LISTEN_PROTOCOL_API_PORT": "1",
		"CONNECTOR_LISTEN_PROTOCOL_API_PATH": "/", "CONNECTOR_LISTEN_PROTOCOL_API_URI": "http://other",
		"CONNECTOR_LISTEN_PROTOCOL_API_SSL": "yes", "LISTEN_PROTOCOL_API_SSL_CERT": cert, "LISTEN_PROTOCOL_API_SSL_KEY": key,
		"LISTEN_PROTOCOL_API_SSL_PASSPHRASE": "p",
		"MQ_USE_SSL_REJECT_UNAUTHORIZED":     "no", "WORKER_QUEUE_TYPE": "quorum",
		"WORKER_LOOKUP_CONCURRENCY": "1", "WORKER_CONCURRENCY": "publish=4", "WORKER_SHUTDOWN_TIMEOUT": "1s", "CONNECTOR_METRICS_PORT": "0",
		"WORKER_METRICS_HOST": "127.0.0.1", "WORKER_DEBUG_PORT": "0", "WORKER_DEBUG_HOST": "::1", "CONNECTOR_EXPOSE_METRICS": "false",
		"TRACE_OBSERVABLE_VALUES": "true", "PLAYBOOK_MAX_WAIT": "1s",
		"IPQS_IP_STRICTNESS": "3", "IPQS_IP_FAST": "yes", "IPQS_IP_ALLOW_PUBLIC_ACCESS_POINTS": "yes",
		"IPQS_IP_LIGHTER_PENALTIES": "yes", "IPQS_IP_MOBILE": "yes", "IPQS_EMAIL_TIMEOUT": "60s", "IPQS_EMAIL_FAST": "yes",
		"IPQS_EMAIL_SUGGEST_DOMAIN": "yes", "IPQS_EMAIL_STRICTNESS": "2", "IPQS_EMAIL_ABUSE_STRICTNESS": "2",
		"IPQS_PHONE_COUNTRY": "us, CA", "IPQS_PHONE_STRICTNESS": "2", "IPQS_PHONE_ENHANCED_LINE_CHECK": "yes",
		"IPQS_PHONE_SMS_PUMPING": "yes", "IPQS_URL_STRICTNESS": "2", "IPQS_URL_FAST": "yes", "IPQS_URL_TIMEOUT": "10s",
		"IPQS_ARTIFACT_SCAN": "yes", "IPQS_ARTIFACT_MAX_SIZE": "1", "IPQS_ARTIFACT_SCAN_WAIT": "24h",
		"IPQS_CACHE_TTL": "1h", "IPQS_CACHE_NEGATIVE_TTL": "0", "IPQS_CACHE_SIZE": "1", "IPQS_REENRICH_INTERVAL": "1h",
		"IPQS_DAILY_BUDGET": "1", "IPQS_CREDIT_RESERVE": "0", "IPQS_ACCOUNT_INTERVAL": "1m", "IPQS_OVER_BUDGET": "skip",
		"IPQS_RATE_LIMIT": "1", "IPQS_RATE_SHARE": "2", "CACHE_URL": "redis://localhost",
	}
	other := map[string]string{
		"MQ_USE_SSL_CERT": "MQ_USE_SSL_KEY=" + key, "MQ_USE_SSL_KEY": "MQ_USE_SSL_CERT=" + cert,
		"CONNECTOR_LISTEN_PROTOCOL": "CONNECTOR_LISTEN_PROTOCOL_API_URI=http://other",
		"IPQS_ARTIFACT_SCAN":        "CONNECTOR_SCOPE=Url,Artifact",
	}
	for _, o := range Table() {
		if o.Env == "CONNECTOR_TYPE" {
			continue // there is only one
		}
		c, warnings, err := Load(Options{Path: noFile(t), Environ: minimal(o.Env+"="+values[o.Env], other[o.Env])})
		if err != nil || len(warnings) > 0 {
			t.Errorf("Load() with %s=%s: %v, %v", o.Env, values[o.Env], warnings, err)
		}
		if cmp.Equal(c, defaults()) {
			t.Errorf("Load() with %s=%s is the same as without", o.Env, values[o.Env])
		}
	}
}

// TestSample checks that config.yml.sample is what the table says; -update rewrites it.
func TestSample(t *testing.T) {
	t.Parallel()
	path := filepath.Join(root(t), "config.yml.sample")
	if *update {
		if err := os.WriteFile(path, Sample(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(Sample()), string(got)); diff != "" {
		t.Errorf("config.yml.sample is not up to date (-want +got), run go generate ./internal/config:\n%s", diff)
	}
}

// TestSampleLoads copies the sample as an operator would: only the placeholders are in the way, and what it shows as
// default is the default.
func TestSampleLoads(t *testing.T) {
	t.Parallel()
	_, _, err := Load(Options{Path: writeFile(t, string(Sample())), PathSet: true})
	if err == nil {
		t.Fatal("Load() of the sample has no error, want the placeholders refused")
	}
	for line := range strings.Lines(strings.TrimPrefix(err.Error(), "the configuration cannot be used:\n")) {
		if !strings.Contains(line, "the placeholder ChangeMe") {
			t.Errorf("Load() of the sample says %q, want placeholders only", line)
		}
	}
	filled := string(Sample())
	for _, v := range minimal() {
		env, value, _ := strings.Cut(v, "=")
		_, key, _ := strings.Cut(yamlKey(env), ".")
		filled = strings.Replace(filled, "  "+key+": ChangeMe\n", "  "+key+": "+value+"\n", 1)
	}
	filled = regexp.MustCompile(`(?m)^  #(\w+:)`).ReplaceAllString(filled, "  $1")
	got, warnings, err := Load(Options{Path: writeFile(t, filled), PathSet: true})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load() of the sample with everything filled in: %v, %v", warnings, err)
	}
	if diff := cmp.Diff(defaults(), got); diff != "" {
		t.Errorf("Load() of the sample with everything filled in differs from the defaults (-want +got):\n%s", diff)
	}
}

// TestRequirement checks that every variable that the connector's documentation names is an option.
func TestRequirement(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob(filepath.Join(root(t), "..", "shared", "requirements", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) == 0 {
		t.Skip("the reference material beside the repository is not there")
	}
	var known, named []string
	for _, o := range Table() {
		known = append(known, o.Env)
	}
	variable := regexp.MustCompile(`\b(?:OPENCTI|CONNECTOR|IPQS)_[A-Z_]+\b`)
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		named = append(named, variable.FindAllString(string(text), -1)...)
	}
	if len(named) < 10 {
		t.Errorf("found %d variables in the documentation, want 10 or more", len(named))
	}
	for _, env := range named {
		if !slices.Contains(known, env) {
			t.Errorf("%s is documented and no option", env)
		}
	}
}
