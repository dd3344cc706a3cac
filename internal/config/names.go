package config

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// prefixes returns the beginnings of the variables that are about us.
func prefixes() []string {
	return []string{"OPENCTI_", "CONNECTOR_", "IPQS_", "PLAYBOOK_", "MQ_", "WORKER_", "HTTPS_CA_", "LISTEN_PROTOCOL_", "TRACE_OBSERVABLE_", "CACHE_URL"}
}

// sections returns the sections of config.yml.
func sections(table []Option) []string {
	var names []string
	for _, o := range table {
		if name, _, ok := strings.Cut(o.YAML(), "."); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// renamed returns variables under the names that OpenCTI's helper had for them before, and still takes. The name of today
// wins.
func renamed() map[string]string {
	return map[string]string{"QUEUE_PROTOCOL": "CONNECTOR_QUEUE_PROTOCOL"}
}

// helpers returns the variables of OpenCTI's Python helper that have no effect here. They are no mistakes: deployments
// carry them from connector to connector.
func helpers() []string {
	return []string{
		"CONNECTOR_AUTO_CREATE_SERVICE_ACCOUNT", "CONNECTOR_AUTO_CREATE_SERVICE_ACCOUNT_CONFIDENCE_LEVEL",
		"CONNECTOR_DURATION_PERIOD", "CONNECTOR_ENRICHMENT_RESOLUTION",
		"CONNECTOR_LIVE_STREAM_ID", "CONNECTOR_LIVE_STREAM_LISTEN_DELETE",
		"CONNECTOR_LIVE_STREAM_NO_DEPENDENCIES", "CONNECTOR_LIVE_STREAM_RECOVER_ISO_DATE",
		"CONNECTOR_LIVE_STREAM_START_TIMESTAMP", "CONNECTOR_LIVE_STREAM_WITH_INFERENCES", "CONNECTOR_METRICS_NAMESPACE",
		"CONNECTOR_METRICS_SUBSYSTEM", "CONNECTOR_QUEUE_THRESHOLD",
		"CONNECTOR_RUN_AND_TERMINATE", "CONNECTOR_SEND_TO_DIRECTORY", "CONNECTOR_SEND_TO_DIRECTORY_PATH",
		"CONNECTOR_SEND_TO_DIRECTORY_RETENTION", "CONNECTOR_SEND_TO_QUEUE", "CONNECTOR_SEND_TO_S3",
		"CONNECTOR_SEND_TO_S3_BUCKET", "CONNECTOR_SEND_TO_S3_FOLDER", "CONNECTOR_SEND_TO_S3_RETENTION",
		"CONNECTOR_VALIDATE_BEFORE_IMPORT", "CONNECTOR_XTM_ONE_INTENT",
	}
}

// longestName bounds the names that a misspelling is looked for in: the work grows with their length.
const longestName = 100

// serviceLink matches the variables that Kubernetes puts into every container for a Service called opencti, mq or the
// like: OPENCTI_SERVICE_HOST, MQ_PORT_5672_TCP_ADDR. Nobody wrote them, so they are not worth a warning.
var serviceLink = regexp.MustCompile(`_(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// checkNames returns a warning for each variable with one of our prefixes, and each key of the file, that is no option.
func checkNames(table []Option, environ, keys []string) []Warning {
	var envs, yamls, helperKeys []string
	for _, o := range table {
		envs = append(envs, o.Env)
		if key := o.YAML(); key != "" {
			yamls = append(yamls, key)
		}
	}
	for _, env := range helpers() {
		helperKeys = append(helperKeys, yamlKey(env))
	}
	var warnings []Warning
	for _, name := range environ {
		name, value, _ := strings.Cut(name, "=")
		ours := slices.ContainsFunc(prefixes(), func(p string) bool { return strings.HasPrefix(name, p) })
		switch {
		case value == "" || slices.Contains(envs, name) || serviceLink.MatchString(name):
		case ours:
			warnings = append(warnings, unknown(name, envs, helpers()))
		default:
			warnings = append(warnings, almost(name, envs, environ)...)
		}
	}
	for _, key := range keys {
		if !slices.Contains(yamls, key) {
			warnings = append(warnings, unknown(key, yamls, helperKeys))
		}
	}
	slices.SortFunc(warnings, func(a, b Warning) int { return strings.Compare(a.Name, b.Name) })
	return warnings
}

func unknown(name string, known, helper []string) Warning {
	if slices.Contains(helper, name) {
		return Warning{Level: slog.LevelInfo, Name: name, Text: "this option of OpenCTI's Python helper has no effect here"}
	}
	w := Warning{Level: slog.LevelWarn, Name: name, Text: "there is no such option, it has no effect"}
	if _, err := parseText(name); err != nil || len(name) > longestName {
		w.Name = quote(name) // somebody else's file, by its looks
	} else if n := nearest(name, known); n != "" {
		w.Text += "; did you mean " + n + "?"
	}
	return w
}

// shortest and most bound which variables that are nobody's business here are looked at all the same: names such as DB_HOST
// are near to some of ours by chance.
const (
	shortest = 10
	most     = 2
)

// almost warns of a variable that begins like none of ours and is almost one, as IPSQ_PRIVATE_KEY or opencti_token, where that
// one is not set.
func almost(name string, known, environ []string) []Warning {
	if len(name) < shortest || len(name) > longestName {
		return nil
	}
	upper := strings.ToUpper(name)
	for _, k := range known {
		meant := len(k) >= shortest && levenshtein.ComputeDistance(upper, k) <= most
		if meant && !slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, k+"=") && len(v) > len(k)+1 }) {
			return []Warning{{Level: slog.LevelWarn, Name: name, Text: "there is no such option, it has no effect; did you mean " + k + "?"}}
		}
	}
	return nil
}

// nearest returns the known name that name is most likely a misspelling of, or nothing when none is near.
func nearest(name string, known []string) string {
	best, least := "", max(2, len(name)/5)+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}
