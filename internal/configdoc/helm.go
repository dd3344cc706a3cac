package configdoc

import (
	"bytes"
	"fmt"

	"opencti-ipqs-worker/internal/config"
)

// The marks in values.yaml between which the options stand.
const (
	optionsBegin = "# --- options: generated, see internal/configdoc ---\n"
	optionsEnd   = "# --- end of options ---\n"
)

// insertValues returns the chart's values with the options of today between the marks.
func insertValues(values []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(values, []byte(optionsBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(optionsEnd))
	if !ok || !ok2 {
		return nil, fmt.Errorf("found no lines %q and %q in it", optionsBegin, optionsEnd)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(optionsBegin)
	b.WriteString(`# The worker's options by their variables, as docs/configuration.md describes them. What is commented out shows the default.
config:
`)
	list(&b, false)
	b.WriteString(`
secret:
  # Name of a Secret that exists, with OPENCTI_TOKEN, IPQS_PRIVATE_KEY and what else is secret by their variables.
  existing: ""
  # Or the values themselves, from which the chart makes a Secret: for a trial.
  values:
`)
	list(&b, true)
	b.WriteString(optionsEnd)
	b.Write(after)
	return b.Bytes(), nil
}

// list writes the options that are secret, or those that are not.
func list(b *bytes.Buffer, secret bool) {
	indent := "  "
	if secret {
		indent = "    "
	}
	for _, o := range config.Table() {
		if o.Secret != secret {
			continue
		}
		fmt.Fprintf(b, "%s# %s\n", indent, o.Description)
		switch {
		case o.Required:
			fmt.Fprintf(b, "%s%s: \"\"\n", indent, o.Env)
		default:
			fmt.Fprintf(b, "%s# %s: %q\n", indent, o.Env, o.Default)
		}
	}
}

// valuesSchema is what Helm checks values against before it renders anything: a misspelt option ends there.
func valuesSchema() schema {
	options, secrets := schema{}, schema{}
	for _, o := range config.Table() {
		if o.Secret {
			secrets[o.Env] = schema{"type": "string", "description": describe(o)}
			continue
		}
		s := written(o)
		delete(s, "format") // Helm would refuse the empty one that means: not set
		options[o.Env] = s
	}
	text, number, yes := schema{"type": "string"}, schema{"type": "integer", "minimum": 0}, schema{"type": "boolean"}
	object := schema{"type": "object"}
	list := schema{"type": "array"}
	closed := func(properties schema) schema {
		return schema{"type": "object", "additionalProperties": false, "properties": properties}
	}
	scaled := closed(schema{
		"min": number, "max": schema{"type": "integer", "minimum": 1}, "backlog": schema{"type": "integer", "minimum": 1},
	})
	hop := closed(schema{"replicas": number, "resources": object})
	hops := func(each schema) schema {
		return closed(schema{"resolve": each, "lookup": each, "score": each, "bundle": each, "publish": each})
	}
	s := closed(schema{
		"nameOverride": text, "fullnameOverride": text, "global": object,
		"image":            closed(schema{"repository": text, "tag": text, "digest": text, "pullPolicy": text}),
		"imagePullSecrets": list,
		"config": schema{
			"type": "object", "additionalProperties": false, "properties": options,
			"patternProperties": schema{"^(OTEL_[A-Z0-9_]+|HTTPS?_PROXY|NO_PROXY)$": schema{"type": []string{"string", "boolean", "integer"}}},
		},
		"secret":    closed(schema{"existing": text, "values": closed(secrets)}),
		"replicas":  number,
		"resources": object,
		"perHop":    closed(schema{"enabled": yes, "hops": hops(hop)}),
		"keda": closed(schema{
			"enabled": yes, "pollingInterval": number, "cooldownPeriod": number, "queuePrefix": text,
			"authentication": closed(schema{"secretName": text, "secretKey": text}),
			"ipqs":           closed(schema{"requestsPerSecond": number, "latencyMilliseconds": schema{"type": "integer", "minimum": 1}}),
			"all":            scaled, "hops": hops(scaled),
		}),
		"podDisruptionBudget": closed(schema{"enabled": yes, "maxUnavailable": schema{"type": []string{"integer", "string"}}}),
		"networkPolicy": closed(schema{
			"enabled": yes, "openctiPorts": list, "rabbitmqPorts": list, "tracePorts": list, "cachePorts": list,
			"metricsFrom": list, "callbackFrom": list, "extraEgress": list,
		}),
		"serviceMonitor":                closed(schema{"enabled": yes, "interval": text, "labels": object}),
		"serviceAccount":                closed(schema{"create": yes, "name": text, "annotations": object}),
		"terminationGracePeriodSeconds": number,
		"extraEnv":                      list, "extraEnvFrom": list, "extraVolumes": list, "extraVolumeMounts": list,
		"podAnnotations": object, "podLabels": object, "nodeSelector": object, "tolerations": list, "affinity": object,
		"topologySpreadConstraints": list, "priorityClassName": text,
	})
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "Values of the chart ipqs-worker"
	return s
}
