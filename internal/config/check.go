package config

import (
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// scopeTypes returns the types of observables that the worker enriches, in OpenCTI's spelling.
func scopeTypes() []string {
	return append(defaultScope(), artifact)
}

// artifact is in no scope unless asked for, as its lookup hands a file to somebody else.
const artifact = "Artifact"

func defaultScope() []string {
	return []string{"IPv4-Addr", "IPv6-Addr", "Email-Addr", "Url", "Domain-Name", "Phone-Number", "User-Account"}
}

// check looks at what single values cannot tell: it normalises what has another common spelling, and reports what does
// not go together. Options in wrong are known to be bad already.
func check(c *Config, purpose Purpose, wrong []string) (warnings []Warning, problems []error) {
	warn := func(env, text string) {
		warnings = append(warnings, Warning{Level: slog.LevelWarn, Name: env, Text: text})
	}
	if purpose <= ForEnrich && !slices.Contains(wrong, "IPQS_BASE_URL") {
		checkBaseURL(c, warn)
	}
	if purpose <= ForEnrich {
		problems = append(problems, checkBudget(c.Credits, wrong)...)
	}
	if purpose <= ForEnrich && !c.IPQS.SkipPrivate && !slices.Contains(wrong, "IPQS_SKIP_PRIVATE") {
		warn("IPQS_SKIP_PRIVATE", "has no effect any more: private addresses and names of internal networks are never sent to IPQualityScore")
	}
	if purpose > ForRun {
		return warnings, problems
	}
	if c.Connector.ID != "" && !isUUID(c.Connector.ID) {
		warn("CONNECTOR_ID", "is no UUID; it works as long as no other connector has it")
	}
	if slices.Index(levelsOfTLP(), c.IPQS.DefaultTLP) > slices.Index(levelsOfTLP(), c.IPQS.MaxTLP) {
		warn("IPQS_DEFAULT_TLP", "is stricter than IPQS_MAX_TLP, so no unmarked observable will be enriched")
	}
	if !slices.Contains(wrong, "CONNECTOR_SCOPE") {
		problems = append(problems, checkScope(c, warn)...)
	}
	problems = append(problems, checkCallback(&c.Connector, wrong, warn)...)
	problems = append(problems, checkKeyPair("MQ_USE_SSL", c.MQ.Cert, &c.MQ.Key, c.MQ.Passphrase, wrong)...)
	return warnings, problems
}

// isUUID tells whether id is a UUID in its usual form; the package reads others too.
func isUUID(id string) bool {
	_, err := uuid.Parse(id)
	return err == nil && len(id) == 36
}

// checkBaseURL repairs the address that the Python connector's documentation gives: without www it only redirects, and a
// redirect loses the header that holds the key.
func checkBaseURL(c *Config, warn func(env, text string)) {
	u, err := url.Parse(c.IPQS.BaseURL)
	if err != nil {
		return
	}
	if strings.EqualFold(u.Hostname(), "ipqualityscore.com") {
		u.Host = "www." + strings.ToLower(u.Host)
		c.IPQS.BaseURL = u.String()
		warn("IPQS_BASE_URL", "ipqualityscore.com answers at www.ipqualityscore.com only; asking there")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		warn("IPQS_BASE_URL", "is http, so the API key travels unencrypted")
	}
}

// checkScope brings the scope into OpenCTI's spelling and leaves out what the worker does not enrich.
func checkScope(c *Config, warn func(env, text string)) []error {
	var scope []string
	for _, entry := range c.Connector.Scope {
		i := slices.IndexFunc(scopeTypes(), func(t string) bool { return strings.EqualFold(t, entry) })
		switch {
		case i < 0:
			warn("CONNECTOR_SCOPE", quote(entry)+" is not enriched by this worker and left out; it knows "+strings.Join(scopeTypes(), ", "))
		case scopeTypes()[i] == artifact && !c.IPQS.Artifact.Scan:
			warn("CONNECTOR_SCOPE", "Artifact is left out, for IPQS_ARTIFACT_SCAN is false: no file is sent anywhere")
		case !slices.Contains(scope, scopeTypes()[i]):
			scope = append(scope, scopeTypes()[i])
		}
	}
	if c.IPQS.Artifact.Scan && !slices.Contains(scope, artifact) {
		warn("IPQS_ARTIFACT_SCAN", "has no effect, for Artifact is not in CONNECTOR_SCOPE")
	}
	if len(scope) == 0 {
		return []error{&KeyError{
			Env: "CONNECTOR_SCOPE", YAML: yamlKey("CONNECTOR_SCOPE"),
			Found: "nothing that this worker enriches", Want: "at least one of " + strings.Join(scopeTypes(), ", "),
		}}
	}
	c.Connector.Scope = scope
	return nil
}

// checkCallback looks at how OpenCTI's workers are to reach us, and fills in the address where they are on this machine.
func checkCallback(c *Connector, wrong []string, warn func(env, text string)) []error {
	callback := &c.Callback
	if !callback.On {
		return nil
	}
	problems := checkKeyPair("LISTEN_PROTOCOL_API_SSL", callback.Cert, &callback.Key, callback.Passphrase, wrong)
	if env := "LISTEN_PROTOCOL_API_SSL_CERT"; callback.SSL && callback.Cert == "" && callback.Key.IsZero() && !slices.Contains(wrong, env) {
		problems = append(problems, &KeyError{Env: env, YAML: yamlOf(env), Want: "a certificate, for CONNECTOR_LISTEN_PROTOCOL_API_SSL is true"})
	}
	if env := "CONNECTOR_LISTEN_PROTOCOL_API_PORT"; callback.Port == c.MetricsPort && !slices.Contains(wrong, env) {
		problems = append(problems, &KeyError{
			Env: env, YAML: yamlOf(env), Found: strconv.Itoa(callback.Port) + ", which is CONNECTOR_METRICS_PORT too", Want: "a port of its own",
		})
	}
	if callback.URI == "" && !slices.Contains(wrong, "CONNECTOR_LISTEN_PROTOCOL_API_URI") {
		scheme := "http"
		if callback.SSL {
			scheme = "https"
		}
		callback.URI = scheme + "://127.0.0.1:" + strconv.Itoa(callback.Port)
		warn("CONNECTOR_LISTEN_PROTOCOL_API_URI", "is not set, so OpenCTI's workers look for this process on their own machine, at "+callback.URI)
	}
	return problems
}
