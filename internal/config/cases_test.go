package config

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// option is what an option does: each has one here, so that none is documented that has no effect, or takes anything.
type option struct {
	good string   // a value other than the default
	with []string // other variables that it wants
	// effect is what the good value changes in the configuration that the required variables make.
	effect func(*Config)
	// bad is a value that is refused; badYAML is one in config.yml, for an option that takes every text.
	bad, badYAML string
}

func options(t *testing.T) map[string]option {
	t.Helper()
	cert, key := certificate(t)
	cert, key = strings.TrimSpace(cert), strings.TrimSpace(key)
	yes := func(field func(*Config) *bool) option {
		return option{good: "yes", bad: "1", effect: func(c *Config) { *field(c) = true }}
	}
	no := func(field func(*Config) *bool) option {
		return option{good: "no", bad: "0", effect: func(c *Config) { *field(c) = false }}
	}
	number := func(good, bad string, n int, field func(*Config) *int) option {
		return option{good: good, bad: bad, effect: func(c *Config) { *field(c) = n }}
	}
	text := func(good, bad string, field func(*Config) *string) option {
		return option{good: good, bad: bad, effect: func(c *Config) { *field(c) = good }}
	}
	duration := func(good, bad string, d time.Duration, field func(*Config) *time.Duration) option {
		return option{good: good, bad: bad, effect: func(c *Config) { *field(c) = d }}
	}
	secret := func(field func(*Config) *Secret) option {
		return option{good: "planted-other", bad: "planted other", effect: func(c *Config) { *field(c) = NewSecret("planted-other") }}
	}
	mqCert := option{good: cert, bad: "nowhere.pem", with: []string{"MQ_USE_SSL_KEY=" + key}, effect: func(c *Config) {
		c.MQ.Cert, c.MQ.Key = cert, NewSecret(key)
	}}
	mqKey := mqCert
	mqKey.good, mqKey.with = key, []string{"MQ_USE_SSL_CERT=" + cert}
	inCallback := []string{"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_URI=http://other", "LISTEN_PROTOCOL_API_SSL_KEY=" + key}
	callbackCert := option{good: cert, bad: "nowhere.pem", with: inCallback, effect: func(c *Config) {
		c.Connector.Callback.On, c.Connector.Callback.URI = true, "http://other"
		c.Connector.Callback.Cert, c.Connector.Callback.Key = cert, NewSecret(key)
	}}
	callbackKey := callbackCert
	callbackKey.good, callbackKey.with = key, append(slices.Clone(inCallback[:2]), "LISTEN_PROTOCOL_API_SSL_CERT="+cert)
	return map[string]option{
		"OPENCTI_URL":            text("http://other", "other", func(c *Config) *string { return &c.OpenCTI.URL }),
		"OPENCTI_TOKEN":          secret(func(c *Config) *Secret { return &c.OpenCTI.Token }),
		"OPENCTI_SSL_VERIFY":     no(func(c *Config) *bool { return &c.OpenCTI.SSLVerify }),
		"OPENCTI_JSON_LOGGING":   no(func(c *Config) *bool { return &c.OpenCTI.JSONLogging }),
		"OPENCTI_CUSTOM_HEADERS": {good: "X-A:planted-b", bad: "planted-header", effect: func(c *Config) { c.OpenCTI.CustomHeaders = map[string]Secret{"X-A": NewSecret("planted-b")} }},
		"HTTPS_CA_CERTIFICATES":  text(cert, "nowhere.pem", func(c *Config) *string { return &c.OpenCTI.CA }),

		"CONNECTOR_ID":                       text("00000000-0000-4000-8000-000000000000", "with space", func(c *Config) *string { return &c.Connector.ID }),
		"CONNECTOR_NAME":                     text("other", "o", func(c *Config) *string { return &c.Connector.Name }),
		"CONNECTOR_TYPE":                     {good: "internal_enrichment", bad: "STREAM", effect: func(*Config) {}}, // there is only one
		"CONNECTOR_SCOPE":                    {good: "ipv6-addr,Url", bad: ",", effect: func(c *Config) { c.Connector.Scope = []string{"IPv6-Addr", "Url"} }},
		"CONNECTOR_AUTO":                     yes(func(c *Config) *bool { return &c.Connector.Auto }),
		"CONNECTOR_AUTO_UPDATE":              yes(func(c *Config) *bool { return &c.Connector.AutoUpdate }),
		"CONNECTOR_ONLY_CONTEXTUAL":          yes(func(c *Config) *bool { return &c.Connector.OnlyContextual }),
		"CONNECTOR_SKIP_AS":                  {good: "error", bad: "skip", effect: func(c *Config) { c.Connector.SkipInError = true }},
		"CONNECTOR_CONFIDENCE_LEVEL":         {good: "0", bad: "101", effect: func(c *Config) { c.Connector.ConfidenceLevel = 0 }},
		"CONNECTOR_QUEUE_PROTOCOL":           {good: "api", bad: "http", effect: func(c *Config) { c.Connector.PushByAPI = true }},
		"CONNECTOR_LISTEN_PROTOCOL":          {good: "API", bad: "http", with: inCallback[1:2], effect: func(c *Config) { c.Connector.Callback.On, c.Connector.Callback.URI = true, "http://other" }},
		"CONNECTOR_LISTEN_PROTOCOL_API_PORT": number("1", "0", 1, func(c *Config) *int { return &c.Connector.Callback.Port }),
		"CONNECTOR_LISTEN_PROTOCOL_API_PATH": text("/other", "other", func(c *Config) *string { return &c.Connector.Callback.Path }),
		"CONNECTOR_LISTEN_PROTOCOL_API_URI":  text("http://other", "other:7070", func(c *Config) *string { return &c.Connector.Callback.URI }),
		"CONNECTOR_LISTEN_PROTOCOL_API_SSL":  yes(func(c *Config) *bool { return &c.Connector.Callback.SSL }),
		"LISTEN_PROTOCOL_API_SSL_CERT":       callbackCert,
		"LISTEN_PROTOCOL_API_SSL_KEY":        callbackKey,
		"LISTEN_PROTOCOL_API_SSL_PASSPHRASE": {good: "planted-p", badYAML: "12345", effect: func(c *Config) { c.Connector.Callback.Passphrase = NewSecret("planted-p") }},
		"CONNECTOR_LOG_LEVEL":                {good: "error", bad: "fatal", effect: func(c *Config) { c.Connector.LogLevel = slog.LevelError }},
		"CONNECTOR_METRICS_PORT":             number("0", "65536", 0, func(c *Config) *int { return &c.Connector.MetricsPort }),
		"CONNECTOR_EXPOSE_METRICS":           no(func(c *Config) *bool { return &c.Connector.ExposeMetrics }),

		"IPQS_PRIVATE_KEY":              secret(func(c *Config) *Secret { return &c.IPQS.PrivateKey }),
		"IPQS_BASE_URL":                 text("https://other/api/json", "other/api/json", func(c *Config) *string { return &c.IPQS.BaseURL }),
		"IPQS_IP_ADD_RELATIONSHIPS":     no(func(c *Config) *bool { return &c.IPQS.IPAddRelationships }),
		"IPQS_DOMAIN_ADD_RELATIONSHIPS": no(func(c *Config) *bool { return &c.IPQS.DomainAddRelationships }),
		"IPQS_IP_ADD_COUNTRY":           yes(func(c *Config) *bool { return &c.IPQS.IPAddCountry }),
		"IPQS_RISK_MODEL":               text("guidance", "strict", func(c *Config) *string { return &c.IPQS.RiskModel }),
		"IPQS_FLAG_LABELS":              {good: "no", bad: "some", effect: func(c *Config) { c.IPQS.FlagLabels = new(false) }},
		"IPQS_SCORE_POLICY":             {good: "Keep", bad: "lower", effect: func(c *Config) { c.IPQS.ScorePolicy = "keep" }},
		"IPQS_INDICATOR_MIN_SCORE": {good: "51, url=75", bad: "51,asn=3", effect: func(c *Config) {
			c.IPQS.IndicatorMinScore = map[string]int{"ip": 51, "email": 51, "phone": 51, "url": 75, "leak": 51, "file": 51}
		}},
		"IPQS_INDICATOR_REVIVE":      {good: "never", bad: "sometimes", effect: func(c *Config) { c.IPQS.IndicatorRevive = "never" }},
		"IPQS_DETECTION_MIN_SCORE":   {good: "90", bad: "-1", effect: func(c *Config) { c.IPQS.DetectionMinScore = new(90) }},
		"IPQS_INCLUDE_PERSONAL_DATA": yes(func(c *Config) *bool { return &c.IPQS.IncludePersonalData }),
		"IPQS_DEFAULT_TLP":           {good: "green", bad: "purple", effect: func(c *Config) { c.IPQS.DefaultTLP = "TLP:GREEN" }},
		"IPQS_MAX_TLP":               {good: "red", bad: "purple", effect: func(c *Config) { c.IPQS.MaxTLP = "TLP:RED" }},
		"IPQS_SKIP_PRIVATE":          {good: "yes", bad: "0", effect: func(*Config) {}}, // it has none
		"IPQS_EXCLUDE": {good: "example.com, 203.0.113.0/24", bad: "example.com, 203.0.113.0/33", effect: func(c *Config) {
			c.IPQS.Exclude = []string{"example.com", "203.0.113.0/24"}
		}},
		"IPQS_URL_SEND":                      text("host", "path", func(c *Config) *string { return &c.IPQS.URLSend }),
		"IPQS_IP_STRICTNESS":                 number("3", "4", 3, func(c *Config) *int { return &c.IPQS.IP.Strictness }),
		"IPQS_IP_FAST":                       yes(func(c *Config) *bool { return &c.IPQS.IP.Fast }),
		"IPQS_IP_ALLOW_PUBLIC_ACCESS_POINTS": yes(func(c *Config) *bool { return &c.IPQS.IP.AllowPublicAccessPoints }),
		"IPQS_IP_LIGHTER_PENALTIES":          yes(func(c *Config) *bool { return &c.IPQS.IP.LighterPenalties }),
		"IPQS_IP_MOBILE":                     yes(func(c *Config) *bool { return &c.IPQS.IP.Mobile }),
		"IPQS_EMAIL_TIMEOUT":                 duration("60s", "61s", time.Minute, func(c *Config) *time.Duration { return &c.IPQS.Email.Timeout }),
		"IPQS_EMAIL_FAST":                    yes(func(c *Config) *bool { return &c.IPQS.Email.Fast }),
		"IPQS_EMAIL_SUGGEST_DOMAIN":          yes(func(c *Config) *bool { return &c.IPQS.Email.SuggestDomain }),
		"IPQS_EMAIL_STRICTNESS":              number("2", "3", 2, func(c *Config) *int { return &c.IPQS.Email.Strictness }),
		"IPQS_EMAIL_ABUSE_STRICTNESS":        number("2", "3", 2, func(c *Config) *int { return &c.IPQS.Email.AbuseStrictness }),
		"IPQS_PHONE_COUNTRY":                 {good: "us, CA", bad: "USA", effect: func(c *Config) { c.IPQS.Phone.Countries = []string{"US", "CA"} }},
		"IPQS_PHONE_STRICTNESS":              number("2", "3", 2, func(c *Config) *int { return &c.IPQS.Phone.Strictness }),
		"IPQS_PHONE_ENHANCED_LINE_CHECK":     yes(func(c *Config) *bool { return &c.IPQS.Phone.EnhancedLineCheck }),
		"IPQS_PHONE_SMS_PUMPING":             yes(func(c *Config) *bool { return &c.IPQS.Phone.SMSPumping }),
		"IPQS_URL_STRICTNESS":                number("2", "3", 2, func(c *Config) *int { return &c.IPQS.URL.Strictness }),
		"IPQS_URL_FAST":                      yes(func(c *Config) *bool { return &c.IPQS.URL.Fast }),
		"IPQS_URL_TIMEOUT":                   duration("10s", "1500ms", 10*time.Second, func(c *Config) *time.Duration { return &c.IPQS.URL.Timeout }),
		"IPQS_ARTIFACT_SCAN": {good: "yes", bad: "1", with: []string{"CONNECTOR_SCOPE=Url,Artifact"}, effect: func(c *Config) {
			c.IPQS.Artifact.Scan, c.Connector.Scope = true, []string{"Url", "Artifact"}
		}},
		"IPQS_ARTIFACT_MAX_SIZE":  {good: "1", bad: "0", effect: func(c *Config) { c.IPQS.Artifact.MaxSize = 1 << 20 }},
		"IPQS_ARTIFACT_SCAN_WAIT": duration("24h", "9s", 24*time.Hour, func(c *Config) *time.Duration { return &c.IPQS.Artifact.ScanWait }),

		"IPQS_CACHE_TTL": {good: "1h,url=0", bad: "1h,asn=2h", effect: func(c *Config) {
			c.Credits.CacheTTL = map[string]time.Duration{"ip": time.Hour, "email": time.Hour, "phone": time.Hour, "url": 0, "leak": time.Hour}
		}},
		"IPQS_CACHE_NEGATIVE_TTL": duration("0", "25h", 0, func(c *Config) *time.Duration { return &c.Credits.NegativeTTL }),
		"IPQS_CACHE_SIZE":         number("1", "0", 1, func(c *Config) *int { return &c.Credits.CacheSize }),
		"IPQS_REENRICH_INTERVAL":  duration("1h", "-1h", time.Hour, func(c *Config) *time.Duration { return &c.Credits.ReenrichInterval }),
		"IPQS_DAILY_BUDGET":       number("1", "-1", 1, func(c *Config) *int { return &c.Credits.DailyBudget }),
		"IPQS_CREDIT_RESERVE":     {good: "0", bad: "-1", effect: func(c *Config) { c.Credits.Reserve = new(0) }},
		"IPQS_ACCOUNT_INTERVAL":   duration("1m", "59s", time.Minute, func(c *Config) *time.Duration { return &c.Credits.AccountInterval }),
		"IPQS_OVER_BUDGET":        {good: "skip", bad: "fail", effect: func(c *Config) { c.Credits.SkipOverBudget = true }},
		"IPQS_RATE_LIMIT":         number("1000", "1001", 1000, func(c *Config) *int { return &c.Credits.RateLimit }),
		"IPQS_RATE_SHARE":         number("2", "0", 2, func(c *Config) *int { return &c.Credits.RateShare }),
		"CACHE_URL":               {good: "rediss://u:planted-p@localhost/1", bad: "http://u:planted-p@localhost", effect: func(c *Config) { c.Cache.URL = NewSecret("rediss://u:planted-p@localhost/1") }},
		"PLAYBOOK_MAX_WAIT":       duration("1s", "16m", time.Second, func(c *Config) *time.Duration { return &c.Playbook.MaxWait }),

		"MQ_HOST":                        text("rabbit.example.com", "a\tb", func(c *Config) *string { return &c.MQ.Host }),
		"MQ_PORT":                        number("1", "0", 1, func(c *Config) *int { return &c.MQ.Port }),
		"MQ_VHOST":                       text("/", "a\tb", func(c *Config) *string { return &c.MQ.VHost }),
		"MQ_USER":                        text("other", "a\tb", func(c *Config) *string { return &c.MQ.User }),
		"MQ_PASS":                        {good: "planted-p ", badYAML: "12345", effect: func(c *Config) { c.MQ.Pass = NewSecret("planted-p ") }},
		"MQ_USE_SSL":                     {good: "no", bad: "on", effect: func(c *Config) { c.MQ.UseSSL = new(false) }},
		"MQ_USE_SSL_CA":                  text(cert, "nowhere.pem", func(c *Config) *string { return &c.MQ.CA }),
		"MQ_USE_SSL_CERT":                mqCert,
		"MQ_USE_SSL_KEY":                 mqKey,
		"MQ_USE_SSL_PASSPHRASE":          {good: "planted-p", badYAML: "12345", effect: func(c *Config) { c.MQ.Passphrase = NewSecret("planted-p") }},
		"MQ_USE_SSL_REJECT_UNAUTHORIZED": no(func(c *Config) *bool { return &c.MQ.RejectUnauthorized }),

		"WORKER_QUEUE_TYPE":         text("quorum", "stream", func(c *Config) *string { return &c.Worker.QueueType }),
		"WORKER_LOOKUP_CONCURRENCY": number("1", "0", 1, func(c *Config) *int { return &c.Worker.LookupConcurrency }),
		"WORKER_CONCURRENCY": {good: "publish=4,lookup=2", bad: "publish", effect: func(c *Config) {
			c.Worker.LookupConcurrency, c.Worker.Concurrency = 2, map[string]int{"publish": 4}
		}},
		"WORKER_SHUTDOWN_TIMEOUT": duration("1s", "30", time.Second, func(c *Config) *time.Duration { return &c.Worker.ShutdownTimeout }),
		"WORKER_METRICS_HOST":     text("127.0.0.1", "a\tb", func(c *Config) *string { return &c.Worker.MetricsHost }),
		"WORKER_DEBUG_PORT":       number("0", "65536", 0, func(c *Config) *int { return &c.Worker.DebugPort }),
		"WORKER_DEBUG_HOST":       text("::1", "a\tb", func(c *Config) *string { return &c.Worker.DebugHost }),
		"TRACE_OBSERVABLE_VALUES": yes(func(c *Config) *bool { return &c.Worker.TraceValues }),
	}
}

// TestEveryOption changes every option there is, and sees its effect and nothing else; by its variable, and in config.yml.
// Then it gives each a value that is refused, and sees the error name the option, what was found and what is expected.
func TestEveryOption(t *testing.T) {
	t.Parallel()
	all := options(t)
	for _, o := range Table() {
		tt, ok := all[o.Env]
		if !ok || tt.effect == nil || tt.good == "" || tt.bad == "" && tt.badYAML == "" {
			t.Errorf("%s has no complete case in this test", o.Env)
			continue
		}
		delete(all, o.Env)
		t.Run(o.Env, func(t *testing.T) {
			t.Parallel()
			want := defaults()
			tt.effect(&want)
			tt.checkGood(t, want, Options{Path: noFile(t), Environ: minimal(append(slices.Clone(tt.with), o.Env+"="+tt.good)...)})
			if o.EnvOnly {
				tt.checkBad(t, o, Options{Path: noFile(t), Environ: minimal(o.Env + "=" + tt.bad)})
				return
			}
			// In the file it is as good, unless the environment has it too.
			environ := slices.DeleteFunc(minimal(tt.with...), func(v string) bool { return strings.HasPrefix(v, o.Env+"=") })
			tt.checkGood(t, want, Options{Path: writeFile(t, o.YAML()+": "+quoteYAML(tt.good)), Environ: environ})
			if tt.badYAML != "" {
				tt.checkBad(t, o, Options{Path: writeFile(t, o.YAML()+": "+tt.badYAML), Environ: environ})
				return
			}
			tt.checkBad(t, o, Options{Path: noFile(t), Environ: minimal(o.Env + "=" + tt.bad)})
		})
	}
	for env := range all {
		t.Errorf("%s is in this test and no option", env)
	}
}

func (tt option) checkGood(t *testing.T, want Config, o Options) {
	t.Helper()
	got, warnings, err := Load(o)
	if err != nil || len(warnings) > 0 {
		t.Errorf("Load() = %v, %v, want neither", warnings, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load() differs (-want +got):\n%s", diff)
	}
}

func (tt option) checkBad(t *testing.T, o Option, from Options) {
	t.Helper()
	_, _, err := Load(from)
	all, ok := errors.AsType[*Error](err)
	if !ok || len(all.Problems) != 1 {
		t.Fatalf("Load() error = %v, want one problem", err)
	}
	problem, ok := errors.AsType[*KeyError](all.Problems[0])
	if !ok || problem.Env != o.Env || problem.YAML != o.YAML() || problem.Want != o.Accepts {
		t.Errorf("Load() error = %v, want one about %s that wants %s", err, o.Env, o.Accepts)
		return
	}
	if tt.bad == "" {
		return
	}
	shown := strings.Contains(problem.Found, quote(tt.bad))
	if o.Secret == shown || o.Secret && !strings.Contains(problem.Found, redacted) {
		t.Errorf("Load() error says that it found %s, want the value in it: %t", problem.Found, !o.Secret)
	}
	if strings.Contains(err.Error(), "planted") {
		t.Errorf("Load() error shows a secret: %v", err)
	}
}

// quoteYAML writes a text as YAML.
func quoteYAML(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text) + `"`
}

// TestTheReferenceNamesEveryOption reads the documents that people look options up in.
func TestTheReferenceNamesEveryOption(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"docs/configuration.md", "config.yml.sample"} {
		text, err := os.ReadFile(root(t) + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range Table() {
			if !strings.Contains(string(text), o.Env) {
				t.Errorf("%s does not name %s", path, o.Env)
			}
		}
	}
}
