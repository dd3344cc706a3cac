package configdoc

import (
	"bytes"
	"fmt"
	"strings"

	"opencti-ipqs-worker/internal/config"
)

// reference is docs/configuration.md.
func reference() []byte {
	var b bytes.Buffer
	b.WriteString(`# Configuration

Every option of the worker. This page is generated from the table that the worker reads itself (` + "`internal/config`" + `);
` + "`make generate`" + ` rewrites it.

An option is set by its environment variable or by its key in ` + "`config.yml`" + `: ` + "`IPQS_PRIVATE_KEY`" + ` and

` + "```yaml" + `
ipqs:
  private_key: …
` + "```" + `

are the same. A variable wins over the file, the file over the default; an empty value counts as not set. The file is
` + "`config.yml`" + ` in the working directory, or what ` + "`--config`" + ` names. [` + "`config.yml.sample`" + `](../config.yml.sample) is one to
start from; its first line tells an editor of [` + "`config.schema.json`" + `](config.schema.json), so that it checks the file while you
write.

A configuration that cannot work is reported whole, each problem with its variable, what was found and what is expected,
with exit status 2, before anything is contacted. An unknown variable with one of our prefixes, or an unknown key, is a
warning with the name that was probably meant. Options marked *secret* never reach a log, an error text or a trace.
`)
	section := ""
	var variables []config.Variable
	for _, o := range config.Table() {
		head, _, ok := strings.Cut(o.YAML(), ".")
		if !ok {
			variables = append(variables, config.Variable{Env: o.Env, Description: describe(o)})
			continue
		}
		if head != section {
			fmt.Fprintf(&b, "\n## %s\n\n| variable | key | default | what it is, and what it accepts |\n|---|---|---|---|\n", head)
			section = head
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", o.Env, o.YAML(), standard(o), cell(sentence(o)))
	}
	list := func(title, text string, variables []config.Variable) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| variable | what it is |\n|---|---|\n", title, text)
		for _, v := range variables {
			fmt.Fprintf(&b, "| `%s` | %s |\n", v.Env, cell(v.Description))
		}
	}
	list("Access", "These are environment variables only; they concern the way to OpenCTI and IPQualityScore.",
		append(variables, config.Proxies()...))
	list("OpenTelemetry", "OpenTelemetry's own variables, in the environment only. Its libraries read the others of its specification, too.",
		config.Tracing())
	return b.Bytes()
}

// standard is the default as the reference shows it.
func standard(o config.Option) string {
	switch {
	case o.Required:
		return "**required**"
	case o.Default == "":
		return "unset"
	default:
		return "`" + cell(strings.ReplaceAll(o.Default, ",", ", ")) + "`"
	}
}

// sentence is what an option is for and what it accepts.
func sentence(o config.Option) string {
	text := o.Description + " Accepts " + o.Accepts + "."
	if o.Secret {
		text += " *Secret.*"
	}
	return text
}
