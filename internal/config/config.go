package config

import (
	"log/slog"
	"time"
)

// Config is what an operator can set, checked and normalised. [Load] makes one.
type Config struct {
	OpenCTI   OpenCTI
	Connector Connector
	IPQS      IPQS
	Credits   Credits
	Cache     Cache
	Playbook  Playbook
	MQ        MQ
	Worker    Worker
}

// OpenCTI says where the platform is and how to talk to it.
type OpenCTI struct {
	// URL is the platform's base address, without a slash at its end.
	URL string
	// Token is the API token of the user that the worker acts as.
	Token Secret
	// SSLVerify says whether the platform's certificate is checked.
	SSLVerify bool
	// JSONLogging says whether the log is written as JSON, one object a line.
	JSONLogging bool
	// CustomHeaders are sent with every request to the platform, by name. Their values may be credentials of a proxy.
	CustomHeaders map[string]Secret
	// CA holds certificates of authorities in PEM, in addition to the system's; empty for the system's alone.
	CA string
}

// Connector is what the worker tells OpenCTI about itself, and its log level.
type Connector struct {
	// ID names the connector to OpenCTI and is part of every queue's name.
	ID string
	// Name is shown in OpenCTI.
	Name string
	// Type is INTERNAL_ENRICHMENT.
	Type string
	// Scope holds the observable types to enrich, in OpenCTI's spelling, none twice, at least one.
	Scope []string
	// Auto says whether OpenCTI sends every new observable of the scope without being asked.
	Auto bool
	// AutoUpdate says whether OpenCTI sends every observable of the scope that has changed (6.8.9 or newer).
	AutoUpdate bool
	// OnlyContextual says whether OpenCTI offers the connector inside containers only.
	OnlyContextual bool
	// PushByAPI says whether results go in over OpenCTI's API instead of its RabbitMQ.
	PushByAPI bool
	// Callback says how jobs come where they are not consumed from OpenCTI's RabbitMQ.
	Callback Callback
	// SkipInError says whether a skipped job ends its work in error instead of completing it.
	SkipInError bool
	// ConfidenceLevel is the confidence of new objects, 0 to 100.
	ConfidenceLevel int
	// LogLevel is the least level that is logged.
	LogLevel slog.Level
	// MetricsPort is where the worker's state is served over HTTP; 0 is nowhere.
	MetricsPort int
	// ExposeMetrics says whether its metrics are served there too.
	ExposeMetrics bool
}

// Callback says how OpenCTI's workers post jobs to us.
type Callback struct {
	// On says whether they do; without it the rest has no effect.
	On bool
	// Port and Path are where they are awaited. Path begins with a slash.
	Port int
	Path string
	// URI is the address of that port as OpenCTI's workers see it, without the path and without a slash at its end.
	URI string
	// SSL says whether TLS is spoken on the port. Cert is our certificate in PEM and Key its key in PEM, decrypted; Passphrase
	// is what it was encrypted with, if it was.
	SSL             bool
	Cert            string
	Key, Passphrase Secret
}

// IPQS says how to ask IPQualityScore and what to do with its answers.
type IPQS struct {
	// PrivateKey is the account's API key.
	PrivateKey Secret
	// BaseURL is the address of the JSON API, without a slash at its end.
	BaseURL string
	// IPAddRelationships says whether an address gets its autonomous system.
	IPAddRelationships bool
	// DomainAddRelationships says whether a domain gets the addresses that it resolves to.
	DomainAddRelationships bool
	// IPAddCountry says whether an address gets its country.
	IPAddCountry bool
	// RiskModel is how a verdict is made: "bands", "guidance" or "connector".
	RiskModel string
	// FlagLabels says whether facts such as "tor" become labels; nil leaves it to the model.
	FlagLabels *bool
	// ScorePolicy says when the score of IPQS replaces an observable's: "respect", "replace", "raise" or "keep".
	ScorePolicy string
	// IndicatorMinScore is the least score that an indicator is made of, by kind of answer: "ip", "email", "phone", "url",
	// "leak" and "file".
	IndicatorMinScore map[string]int
	// IndicatorRevive says which revoked indicators become valid again: "expired", "always" or "never".
	IndicatorRevive string
	// DetectionMinScore is the least score whose indicators are for detection; nil leaves that to OpenCTI's users.
	DetectionMinScore *int
	// IncludePersonalData says whether notes tell what IPQS knows of people.
	IncludePersonalData bool
	// DefaultTLP is the marking that an unmarked observable counts as, "TLP:CLEAR" for example.
	DefaultTLP string
	// MaxTLP is the strictest marking whose observables are sent to IPQS.
	MaxTLP string
	// SkipPrivate has no effect: values of internal networks are never sent.
	SkipPrivate bool
	// Exclude lists the domains and networks that are not sent to IPQS, as [egress.ParseExclusions] takes them.
	Exclude []string
	// URLSend is how much of a URL is sent: "full", "without-query" or "host".
	URLSend string
	// IP, Email, Phone and URL are IPQS' own options of each kind of lookup.
	IP    IPLookup
	Email EmailLookup
	Phone PhoneLookup
	URL   URLLookup
	// Artifact says whether and how files are sent to be scanned.
	Artifact Artifact
}

// Playbook says how to serve OpenCTI's playbooks.
type Playbook struct {
	// MaxWait is how long a playbook waits for its enrichment.
	MaxWait time.Duration
}

// MQ overrides what OpenCTI says about its RabbitMQ at registration. An empty, zero or nil field means: as OpenCTI says.
type MQ struct {
	Host   string
	Port   int
	VHost  string
	User   string
	Pass   Secret
	UseSSL *bool
	// CA holds certificates of authorities in PEM, in addition to the system's; empty for the system's alone.
	CA string
	// Cert is the client certificate in PEM. Cert and Key are both set, or neither is.
	Cert string
	// Key is the client certificate's key in PEM, decrypted.
	Key Secret
	// Passphrase is what Key was encrypted with, if it was.
	Passphrase Secret
	// RejectUnauthorized says whether the broker's certificate is checked.
	RejectUnauthorized bool
}

// Worker is what OpenCTI's helper has no name for.
type Worker struct {
	// QueueType is the type of the queues that the worker declares: "classic" or "quorum".
	QueueType string
	// LookupConcurrency is how many questions to IPQS are under way at once.
	LookupConcurrency int
	// Concurrency is how many jobs hops have in hand at once, by the hop's name, for those that are to have another number
	// than their default. The lookup hop's is LookupConcurrency, never in here.
	Concurrency map[string]int
	// ShutdownTimeout is how long jobs in hand may take to finish when the worker is told to stop.
	ShutdownTimeout time.Duration
	// MetricsHost is the address of this machine that Connector.MetricsPort is on; empty is all of them.
	MetricsHost string
	// DebugHost and DebugPort are where profiles and the log level are served over HTTP; port 0 is nowhere.
	DebugHost string
	DebugPort int
	// TraceValues says whether traces have the values of the observables.
	TraceValues bool
}
