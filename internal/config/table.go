package config

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Purpose is what a configuration is loaded for. Each needs the options of the ones after it too: an option that a
// purpose does not need is neither read nor checked, and has its default.
type Purpose int

const (
	// ForRun is for the connector: every option.
	ForRun Purpose = iota
	// ForEnrich is for enrichment without OpenCTI: what concerns IPQS and its answers.
	ForEnrich
	// ForNothing is for what needs no outside system: how to log.
	ForNothing
)

// Kind is the sort of value that an option takes.
type Kind string

// The kinds of options. In config.yml a Bool may be a YAML boolean, a Number or Scores a YAML number, a List a YAML list; all
// may be written as text, as in a variable.
const (
	Text     Kind = "text"
	URL      Kind = "URL"
	Bool     Kind = "yes or no"
	Number   Kind = "number"
	List     Kind = "list"
	Scores   Kind = "scores"
	Duration Kind = "duration"
)

// Option describes one option of the worker.
type Option struct {
	// Env is the variable. The key in config.yml follows from it: [Option.YAML].
	Env string
	// Key is the key in config.yml where it does not follow from Env.
	Key  string
	Kind Kind
	// Default is the value, as one would write it in the variable, that an option has when it is not set.
	Default string
	// Required says that the option has no default and must be set, for the purposes that need it.
	Required bool
	// Secret says that the value must not be shown.
	Secret bool
	// EnvOnly says that the option is no key of config.yml.
	EnvOnly bool
	// Description says what the option is for, in one line.
	Description string
	// Accepts says which values are good: it completes "want …".
	Accepts string
	// Words lists the values of a Text, or the entries of a List, that takes only certain ones; others may be good as other
	// spellings of these.
	Words []string
	// Least and Most bound a Number.
	Least, Most int
	// For is the last purpose that needs the option, so the purposes before it need it too.
	For Purpose

	// set parses a value and stores it. Its error says what is wrong with the value without repeating it, or is
	// errUnacceptable when Accepts says it all.
	set func(c *Config, value string) error
}

// YAML returns the option's key in config.yml: its section, a dot, and its name, for example "ipqs.private_key". It is empty
// for an option that is a variable only.
func (o Option) YAML() string {
	if o.EnvOnly {
		return ""
	}
	return o.path()
}

// path is where the option's value is kept while sources are laid over each other.
func (o Option) path() string { return cmp.Or(o.Key, yamlKey(o.Env)) }

// yamlKey returns the key in config.yml that is the same option as the variable env.
func yamlKey(env string) string { return strings.ToLower(strings.Replace(env, "_", ".", 1)) }

// yamlOf returns the key in config.yml of the option whose variable is env.
func yamlOf(env string) string {
	table := Table()
	if i := slices.IndexFunc(table, func(o Option) bool { return o.Env == env }); i >= 0 {
		return table[i].YAML()
	}
	return ""
}

// Table returns every option, in the order in which people read about them.
func Table() []Option {
	const (
		switches = "true, false, yes or no"
		pem      = "a text in PEM, or the path of a file that holds one"
	)
	return slices.Concat([]Option{
		{
			Env: "OPENCTI_URL", Kind: URL, Required: true,
			Description: "Address of the OpenCTI platform.",
			Accepts:     "an address such as https://opencti.example.com",
			set:         into(func(c *Config) *string { return &c.OpenCTI.URL }, parseURL),
		},
		{
			Env: "OPENCTI_TOKEN", Kind: Text, Required: true, Secret: true,
			Description: "API token of the OpenCTI user that the worker acts as.",
			Accepts:     "the API token of an OpenCTI user",
			set:         into(func(c *Config) *Secret { return &c.OpenCTI.Token }, parseCredential),
		},
		{
			Env: "OPENCTI_SSL_VERIFY", Kind: Bool, Default: "true",
			Description: "Check the certificate of the OpenCTI platform.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.OpenCTI.SSLVerify }, parseBool),
		},
		{
			Env: "OPENCTI_JSON_LOGGING", Kind: Bool, Default: "true", For: ForNothing,
			Description: "Write the log as JSON, one object a line, instead of as text.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.OpenCTI.JSONLogging }, parseBool),
		},
		{
			Env: "OPENCTI_CUSTOM_HEADERS", Kind: Text, Secret: true,
			Description: "HTTP headers to send with every request to OpenCTI, for a proxy in front of it.",
			Accepts:     "headers such as X-First:value;X-Second:value",
			set:         into(func(c *Config) *map[string]Secret { return &c.OpenCTI.CustomHeaders }, parseHeaders),
		},
		{
			Env: "HTTPS_CA_CERTIFICATES", Kind: Text, EnvOnly: true,
			Description: "Certificates of the authorities to trust for OpenCTI, besides the system's.",
			Accepts:     pem,
			set:         into(func(c *Config) *string { return &c.OpenCTI.CA }, parseCA),
		},
		{
			Env: "CONNECTOR_ID", Kind: Text, Required: true,
			Description: "Identifier of this connector, a UUIDv4 of your own making that no other connector has.",
			Accepts:     "a UUIDv4 that no other connector has",
			set:         into(func(c *Config) *string { return &c.Connector.ID }, parseID),
		},
		{
			Env: "CONNECTOR_NAME", Kind: Text, Default: "IPQS Fraud and Risk Scoring",
			Description: "Name of this connector as OpenCTI shows it.",
			Accepts:     "a name of at least 2 characters",
			set:         into(func(c *Config) *string { return &c.Connector.Name }, parseName),
		},
		{
			Env: "CONNECTOR_TYPE", Kind: Text, Default: "INTERNAL_ENRICHMENT",
			Description: "Type of this connector, which is always the same.",
			Accepts:     "INTERNAL_ENRICHMENT",
			Words:       []string{"INTERNAL_ENRICHMENT"},
			set:         into(func(c *Config) *string { return &c.Connector.Type }, parseOneOf("INTERNAL_ENRICHMENT")),
		},
		{
			Env: "CONNECTOR_SCOPE", Kind: List, Default: strings.Join(defaultScope(), ","),
			Description: "Types of observables to enrich; Artifact requires IPQS_ARTIFACT_SCAN too.",
			Accepts:     "a comma-separated list of at least one of " + strings.Join(scopeTypes(), ", "),
			Words:       scopeTypes(),
			set:         into(func(c *Config) *[]string { return &c.Connector.Scope }, parseList),
		},
		{
			Env: "CONNECTOR_AUTO", Kind: Bool, Default: "false",
			Description: "Enrich every new observable of the scope without being asked.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.Connector.Auto }, parseBool),
		},
		{
			Env: "CONNECTOR_AUTO_UPDATE", Kind: Bool, Default: "false",
			Description: "Enrich every changed observable of the scope again, from OpenCTI 6.8.9 on; our own score is a change too.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.Connector.AutoUpdate }, parseBool),
		},
		{
			Env: "CONNECTOR_ONLY_CONTEXTUAL", Kind: Bool, Default: "false",
			Description: "Offer the connector for observables inside a container only.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.Connector.OnlyContextual }, parseBool),
		},
		{
			Env: "CONNECTOR_SKIP_AS", Kind: Text, Default: "complete",
			Description: "How a skipped job ends its work in OpenCTI: complete with the reason as the message, or in error if a setting is the reason, such as the scope, the marking or IPQS_EXCLUDE.",
			Accepts:     "complete or error",
			Words:       []string{"complete", "error"},
			set:         into(func(c *Config) *bool { return &c.Connector.SkipInError }, parseEither("complete", "error")),
		},
		{
			Env: "CONNECTOR_CONFIDENCE_LEVEL", Kind: Number, Default: "50", For: ForEnrich,
			Description: "Confidence of new indicators, notes and relationships; existing ones keep a higher one.",
			Accepts:     "a whole number from 0 to 100",
			Most:        100,
			set:         into(func(c *Config) *int { return &c.Connector.ConfidenceLevel }, parseInt(0, 100)),
		},
		{
			Env: "CONNECTOR_QUEUE_PROTOCOL", Kind: Text, Default: "amqp",
			Description: "Way that results take into OpenCTI: its RabbitMQ (amqp), or its API (api) where RabbitMQ is out of reach.",
			Accepts:     "amqp or api",
			Words:       []string{"amqp", "api"},
			set:         into(func(c *Config) *bool { return &c.Connector.PushByAPI }, parseEither("amqp", "api")),
		},
		{
			Env: "CONNECTOR_LISTEN_PROTOCOL", Kind: Text, Default: "AMQP",
			Description: "Way that jobs come from OpenCTI: its RabbitMQ (AMQP), or posts of its workers to this process (API).",
			Accepts:     "AMQP or API",
			Words:       []string{"AMQP", "API"},
			set:         into(func(c *Config) *bool { return &c.Connector.Callback.On }, parseEither("AMQP", "API")),
		},
		{
			Env: "CONNECTOR_LISTEN_PROTOCOL_API_PORT", Kind: Number, Default: "7070",
			Description: "Port that OpenCTI's workers post jobs to.",
			Accepts:     "a whole number from 1 to 65535",
			Least:       1, Most: 65535,
			set: into(func(c *Config) *int { return &c.Connector.Callback.Port }, parseInt(1, 65535)),
		},
		{
			Env: "CONNECTOR_LISTEN_PROTOCOL_API_PATH", Kind: Text, Default: "/api/callback",
			Description: "Path that OpenCTI's workers post jobs to.",
			Accepts:     "a path such as /api/callback",
			set:         into(func(c *Config) *string { return &c.Connector.Callback.Path }, parsePath),
		},
		{
			Env: "CONNECTOR_LISTEN_PROTOCOL_API_URI", Kind: URL,
			Description: "Address of this process as OpenCTI's workers see it, without the path; not set, their own machine.",
			Accepts:     "an address such as https://ipqs-worker.example.com:7070",
			set:         into(func(c *Config) *string { return &c.Connector.Callback.URI }, parseURL),
		},
		{
			Env: "CONNECTOR_LISTEN_PROTOCOL_API_SSL", Kind: Bool, Default: "false",
			Description: "Speak TLS on that port.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.Connector.Callback.SSL }, parseBool),
		},
		{
			Env: "LISTEN_PROTOCOL_API_SSL_CERT", Key: "connector.listen_protocol_api_ssl_cert", Kind: Text,
			Description: "Certificate for that port, followed by those between it and the authority.",
			Accepts:     pem,
			set:         into(func(c *Config) *string { return &c.Connector.Callback.Cert }, parsePEM),
		},
		{
			Env: "LISTEN_PROTOCOL_API_SSL_KEY", Key: "connector.listen_protocol_api_ssl_key", Kind: Text, Secret: true,
			Description: "Key of that certificate.",
			Accepts:     pem,
			set:         into(func(c *Config) *Secret { return &c.Connector.Callback.Key }, parseSecretPEM),
		},
		{
			Env: "LISTEN_PROTOCOL_API_SSL_PASSPHRASE", Key: "connector.listen_protocol_api_ssl_passphrase", Kind: Text, Secret: true,
			Description: "Passphrase of that key, if it is encrypted.",
			Accepts:     "the passphrase of the key in LISTEN_PROTOCOL_API_SSL_KEY",
			set:         func(c *Config, value string) error { c.Connector.Callback.Passphrase = NewSecret(value); return nil },
		},
		{
			Env: "CONNECTOR_LOG_LEVEL", Kind: Text, Default: "info", For: ForNothing,
			Description: "Least level of what is logged.",
			Accepts:     "one of debug, info, warn, error",
			Words:       []string{"debug", "info", "warn", "error"},
			set:         into(func(c *Config) *slog.Level { return &c.Connector.LogLevel }, parseLevel),
		},
		{
			Env: "CONNECTOR_METRICS_PORT", Kind: Number, Default: "9095",
			Description: "Port on which /livez, /readyz and /metrics are served; 0 serves them nowhere.",
			Accepts:     "a whole number from 0 to 65535",
			Most:        65535,
			set:         into(func(c *Config) *int { return &c.Connector.MetricsPort }, parseInt(0, 65535)),
		},
		{
			Env: "CONNECTOR_EXPOSE_METRICS", Kind: Bool, Default: "true",
			Description: "Serve /metrics for Prometheus on that port too.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.Connector.ExposeMetrics }, parseBool),
		},
		{
			Env: "IPQS_PRIVATE_KEY", Kind: Text, Required: true, Secret: true, For: ForEnrich,
			Description: "API key of the IPQualityScore account.",
			Accepts:     "the API key of an IPQualityScore account",
			set:         into(func(c *Config) *Secret { return &c.IPQS.PrivateKey }, parseCredential),
		},
		{
			Env: "IPQS_BASE_URL", Kind: URL, Default: ownIPQS, For: ForEnrich,
			Description: "Address of the IPQualityScore JSON API.",
			Accepts:     "an address such as https://www.ipqualityscore.com/api/json",
			set:         into(func(c *Config) *string { return &c.IPQS.BaseURL }, parseURL),
		},
	}, graphOptions(), egressOptions(), lookupOptions(), creditOptions(), []Option{
		{
			Env: "PLAYBOOK_MAX_WAIT", Kind: Duration, Default: "30s",
			Description: "Time that a playbook waits for its enrichment; then it goes on without.",
			Accepts:     "a duration from 1s to 15m, such as 30s or 1m30s",
			set:         into(func(c *Config) *time.Duration { return &c.Playbook.MaxWait }, parseDuration(time.Second, 15*time.Minute)),
		},
	}, brokerOptions(), []Option{
		{
			Env: "WORKER_QUEUE_TYPE", Kind: Text, Default: "classic",
			Description: "Type of the worker's queues: quorum where RabbitMQ has three nodes or more.",
			Accepts:     "classic or quorum",
			Words:       []string{"classic", "quorum"},
			set:         into(func(c *Config) *string { return &c.Worker.QueueType }, parseOneOf("classic", "quorum")),
		},
		{
			Env: "WORKER_LOOKUP_CONCURRENCY", Kind: Number, Default: "16", For: ForEnrich,
			Description: "Questions to IPQualityScore under way at once.",
			Accepts:     "a whole number from 1 to 1024",
			Least:       1, Most: 1024,
			set: into(func(c *Config) *int { return &c.Worker.LookupConcurrency }, parseInt(1, 1024)),
		},
		{
			Env: "WORKER_CONCURRENCY", Kind: List, For: ForEnrich,
			Description: "Jobs that hops have in hand at once, in each process; for lookup in place of WORKER_LOOKUP_CONCURRENCY.",
			Accepts:     acceptsConcurrency,
			set:         setConcurrency,
		},
		{
			// Under the 30 s that Kubernetes leaves a container by default.
			Env: "WORKER_SHUTDOWN_TIMEOUT", Kind: Duration, Default: "25s",
			Description: "Time that jobs in hand have to finish when the worker is stopped; the rest go back untouched.",
			Accepts:     "a duration from 1s to 15m, such as 25s or 1m30s",
			set:         into(func(c *Config) *time.Duration { return &c.Worker.ShutdownTimeout }, parseDuration(time.Second, 15*time.Minute)),
		},
		{
			Env: "WORKER_METRICS_HOST", Kind: Text,
			Description: "Address to listen on at CONNECTOR_METRICS_PORT; not set, every one of the machine.",
			Accepts:     "an address or host name of this machine, such as 127.0.0.1",
			set:         into(func(c *Config) *string { return &c.Worker.MetricsHost }, parseText),
		},
		{
			Env: "WORKER_DEBUG_PORT", Kind: Number, Default: "9096",
			Description: "Port on which /debug/pprof and /log-level are served, to this machine alone; 0 serves them nowhere.",
			Accepts:     "a whole number from 0 to 65535",
			Most:        65535,
			set:         into(func(c *Config) *int { return &c.Worker.DebugPort }, parseInt(0, 65535)),
		},
		{
			Env: "WORKER_DEBUG_HOST", Kind: Text, Default: "127.0.0.1",
			Description: "Address to listen on at WORKER_DEBUG_PORT. Whoever reaches it sees the memory's profile and can change the log level.",
			Accepts:     "an address or host name of this machine, such as 127.0.0.1",
			set:         into(func(c *Config) *string { return &c.Worker.DebugHost }, parseText),
		},
		{
			Env: "TRACE_OBSERVABLE_VALUES", Kind: Bool, Default: "false",
			Description: "Put the values of the observables, which may be somebody's address or number, into traces.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.Worker.TraceValues }, parseBool),
		},
	})
}

// into makes the set function of an option: parse says how to read the value, spaces around it taken off, and field where
// it goes.
func into[T any](field func(*Config) *T, parse func(string) (T, error)) func(*Config, string) error {
	return func(c *Config, value string) error {
		v, err := parse(strings.TrimSpace(value))
		if err != nil {
			return err
		}
		*field(c) = v
		return nil
	}
}
