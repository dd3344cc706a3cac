package config

import (
	"bytes"
	"fmt"
	"strings"
)

//go:generate go test -run ^TestSample$ -update .

// Variable is a variable that some library of ours reads by itself.
type Variable struct {
	Env         string
	Description string
}

// Tracing returns the variables of OpenTelemetry that matter most to the worker. Its libraries read them, and the others
// of the specification, from the environment only.
func Tracing() []Variable {
	return []Variable{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "Address of a collector, such as http://localhost:4318. Without it, no traces are sent."},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf (the default, port 4318) or grpc (port 4317)."},
		{"OTEL_EXPORTER_OTLP_HEADERS", "Headers for the collector: name=value,name=value."},
		{"OTEL_TRACES_EXPORTER", "otlp, console (to standard error) or none."},
		{"OTEL_TRACES_SAMPLER", "Which jobs are traced: always_on, always_off, traceidratio, or parentbased_ and one of them (default: parentbased_always_on)."},
		{"OTEL_TRACES_SAMPLER_ARG", "Share of jobs for a traceidratio sampler, from 0 to 1, such as 0.01."},
		{"OTEL_METRICS_EXPORTER", "otlp or console have metrics sent too, beside /metrics; prometheus and none do not."},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "Address of a collector for metrics, such as http://localhost:4318/v1/metrics. With it, they are sent too."},
		{"OTEL_SERVICE_NAME", "Name of the service in traces and metrics."},
		{"OTEL_RESOURCE_ATTRIBUTES", "More about this process: key=value,key=value."},
		{"OTEL_SDK_DISABLED", "true switches traces and metrics off."},
	}
}

// Proxies returns the variables by which Go's HTTP client finds a proxy.
func Proxies() []Variable {
	return []Variable{
		{"HTTPS_PROXY", "Proxy for addresses that begin with https: http://user:password@host:port."},
		{"HTTP_PROXY", "Proxy for addresses that begin with http."},
		{"NO_PROXY", "What is reached without a proxy: host,.domain,192.0.2.0/24,host:port."},
	}
}

// Sample returns config.yml.sample: every option with what it is for, what it accepts and its variable. What must be set
// has a placeholder, everything else is commented out and shows its default.
func Sample() []byte {
	var b bytes.Buffer
	b.WriteString(`# yaml-language-server: $schema=docs/config.schema.json
# Configuration of ipqs-worker. Copy this file to config.yml and replace every ChangeMe.
# It will hold secrets then: let nobody else read it.
#
# Each option can be given as an environment variable instead; its name is in brackets. A variable wins over this file,
# this file over the default. What is commented out shows the default. This file is generated: see internal/config.
`)
	section := ""
	var variables []Variable
	for _, o := range Table() {
		if o.EnvOnly {
			variables = append(variables, Variable{o.Env, o.Description})
			continue
		}
		head, key, _ := strings.Cut(o.YAML(), ".")
		if head != section {
			fmt.Fprintf(&b, "\n%s:\n", head)
			section = head
		} else {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "  # %s (%s)\n", o.Description, o.Env)
		fmt.Fprintf(&b, "  # Accepts %s.\n", o.Accepts)
		switch {
		case o.Required:
			fmt.Fprintf(&b, "  %s: ChangeMe\n", key)
		case o.Default == "":
			fmt.Fprintf(&b, "  #%s:\n", key)
		default:
			fmt.Fprintf(&b, "  #%s: %s\n", key, o.Default)
		}
	}
	list := func(heading string, variables []Variable) {
		b.WriteString("\n# " + heading + ", in the environment only:\n#\n")
		for _, v := range variables {
			fmt.Fprintf(&b, "#   %-35s %s\n", v.Env, v.Description)
		}
	}
	list("Access to OpenCTI and IPQualityScore", append(variables, Proxies()...))
	list("Traces are set up by OpenTelemetry's own variables", Tracing())
	return b.Bytes()
}
