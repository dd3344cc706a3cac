package configdoc

import (
	"slices"
	"strconv"
	"strings"

	"opencti-ipqs-worker/internal/config"
)

// schema is a JSON schema, or a part of one.
type schema map[string]any

// durationPattern is Go's notation of durations; 0 needs no unit.
const durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`

const draft2020 = "https://json-schema.org/draft/2020-12/schema"

// value returns what an option accepts, as JSON types. A schema is looser than the worker where it cannot be told more
// simply: the worker has the last word.
func value(o config.Option) schema {
	s := schema{"description": describe(o)}
	switch o.Kind {
	case config.Bool:
		s["type"] = "boolean"
	case config.Number:
		s["type"], s["minimum"], s["maximum"] = "integer", o.Least, o.Most
	case config.List:
		s["type"], s["items"] = "array", schema{"type": "string"}
		if len(o.Words) > 0 {
			s["items"] = schema{"type": "string", "enum": o.Words}
		}
	case config.Duration:
		s["type"], s["pattern"] = "string", durationPattern
	case config.URL:
		s["type"], s["format"] = "string", "uri"
	default:
		s["type"] = "string"
		if len(o.Words) > 0 {
			s["enum"] = o.Words
		}
	}
	if o.Secret {
		s["format"], s["writeOnly"] = "password", true
	}
	if d := defaultOf(o); d != nil {
		s["default"] = d
	}
	return s
}

// describe is what an option is for and, where the schema cannot say it, what it accepts.
func describe(o config.Option) string {
	if len(o.Words) > 0 || o.Kind == config.Bool || o.Kind == config.Number {
		return o.Description
	}
	return o.Description + " Accepts " + o.Accepts + "."
}

// defaultOf returns the default in JSON's types, or nil where there is none.
func defaultOf(o config.Option) any {
	if o.Default == "" {
		return nil
	}
	switch o.Kind {
	case config.Bool:
		return slices.Contains([]string{"true", "yes"}, o.Default)
	case config.Number:
		if n, err := strconv.Atoi(o.Default); err == nil {
			return n
		}
	case config.List:
		return strings.Split(o.Default, ",")
	default:
	}
	return o.Default
}

// written returns value as it may be written in config.yml or in a chart's values: everything can be text there, and what
// is not text in JSON need not be.
func written(o config.Option) schema {
	s := value(o)
	switch o.Kind {
	case config.Bool:
		s["type"] = []string{"boolean", "string"}
		s["pattern"] = "^(true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO)?$"
	case config.Number:
		s["type"] = []string{"integer", "string"}
		s["pattern"] = "^[0-9]*$"
	case config.List:
		s["type"] = []string{"array", "string"}
	case config.Scores:
		s["type"] = []string{"string", "integer"}
	case config.URL, config.Duration:
		// text already
	case config.Text:
		delete(s, "enum") // the worker takes other spellings of the same words
		if len(o.Words) > 0 {
			s["examples"] = o.Words
		}
	}
	return s
}

// fileSchema is the schema of config.yml.
func fileSchema() schema {
	sections := schema{}
	for _, o := range config.Table() {
		section, key, ok := strings.Cut(o.YAML(), ".")
		if !ok {
			continue // a variable only
		}
		if sections[section] == nil {
			sections[section] = schema{"type": []string{"object", "null"}, "additionalProperties": false, "properties": schema{}}
		}
		sections[section].(schema)["properties"].(schema)[key] = orEmpty(written(o))
	}
	return schema{
		"$schema":     draft2020,
		"title":       "Configuration of ipqs-worker",
		"description": "config.yml. Each option can be given as an environment variable instead, so none is required here.",
		"type":        "object", "additionalProperties": false,
		"properties": sections,
	}
}

// orEmpty lets a key have no value, which is as good as no key.
func orEmpty(s schema) schema {
	switch t := s["type"].(type) {
	case string:
		s["type"] = []string{t, "null"}
	case []string:
		s["type"] = append(t, "null")
	}
	return s
}
