package configdoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"opencti-ipqs-worker/internal/config"
)

// Slug names the worker among OpenCTI's connectors.
const Slug = "ipqs-worker"

// manifest is what OpenCTI's catalogue of connectors knows of one, in its own order of keys.
type manifest struct {
	Title              string   `json:"title"`
	Slug               string   `json:"slug"`
	Description        string   `json:"description"`
	ShortDescription   string   `json:"short_description"`
	Logo               *string  `json:"logo"`
	UseCases           []string `json:"use_cases"`
	SolutionCategories []string `json:"solution_categories"`
	LicenseType        string   `json:"license_type"`
	Contact            *string  `json:"contact"`
	Verified           bool     `json:"verified"`
	LastVerifiedDate   *string  `json:"last_verified_date"`
	PlaybookSupported  bool     `json:"playbook_supported"`
	MaxConfidenceLevel int      `json:"max_confidence_level"`
	SupportVersion     string   `json:"support_version"`
	SubscriptionLink   *string  `json:"subscription_link"`
	SourceCode         *string  `json:"source_code"`
	ManagerSupported   bool     `json:"manager_supported"`
	ContainerVersion   string   `json:"container_version"`
	ContainerImage     string   `json:"container_image"`
	ContainerType      string   `json:"container_type"`
}

// connectorManifest is deploy/__metadata__/connector_manifest.json. What only the catalogue's keepers can say is null or false.
func connectorManifest() manifest {
	subscription := "https://www.ipqualityscore.com/create-account/openccti"
	m := manifest{
		Title: "IPQS Fraud and Risk Scoring (event pipeline)",
		Slug:  Slug,
		ShortDescription: "Enriches observables with the risk scores of IPQualityScore: score, risk label, indicator, note and " +
			"relationships, as an event pipeline that loses no job.",
		UseCases: []string{
			"Fraud, Financial Crime & Cryptocurrency Monitoring", "Infrastructure & Attack Surface Visibility",
		},
		SolutionCategories: []string{"Enrichment & Reputation"},
		LicenseType:        "Commercial", // what is asked is: an account of IPQualityScore
		PlaybookSupported:  true,
		MaxConfidenceLevel: 100,
		SupportVersion:     ">=5.4.0",
		SubscriptionLink:   &subscription,
		ContainerVersion:   "rolling",
		ContainerImage:     Slug,
		ContainerType:      "INTERNAL_ENRICHMENT",
	}
	for _, o := range config.Table() {
		if o.Env == "CONNECTOR_SCOPE" {
			m.Description = "Enriches " + strings.ReplaceAll(o.Default, ",", ", ") + " with what IPQualityScore knows of them. Every job " +
				"makes five durable hops over OpenCTI's RabbitMQ, so a crash repeats a step and loses nothing, and can be " +
				"followed as one trace. Manual, automatic and playbook enrichment are served."
		}
	}
	return m
}

// connectorSchema is deploy/__metadata__/connector_config_schema.json: every variable but CONNECTOR_ID, which the catalogue makes
// itself.
func connectorSchema() schema {
	properties, required := schema{}, []string{}
	for _, o := range config.Table() {
		if o.Env == "CONNECTOR_ID" {
			continue
		}
		s := value(o)
		if len(o.Words) == 1 {
			delete(s, "enum")
			s["const"] = o.Words[0]
		}
		properties[o.Env] = s
		if o.Required {
			required = append(required, o.Env)
		}
	}
	return schema{
		"$schema":    draft2020,
		"$id":        "https://www.filigran.io/connectors/" + Slug + "_config.schema.json",
		"type":       "object",
		"properties": properties, "required": required, "additionalProperties": true,
	}
}

// connectorReference is deploy/__metadata__/CONNECTOR_CONFIG_DOC.md, in the catalogue's form.
func connectorReference() []byte {
	var b bytes.Buffer
	b.WriteString(`# Connector Configurations

Every variable, as the catalogue of OpenCTI's connectors lists them. [docs/configuration.md](../../docs/configuration.md) says
more.

### Type: ` + "`object`" + `

| Property | Type | Required | Possible values | Default | Description |
| -------- | ---- | -------- | --------------- | ------- | ----------- |
`)
	for _, o := range config.Table() {
		if o.Env == "CONNECTOR_ID" {
			continue
		}
		s, required, possible := value(o), "", ""
		if o.Required {
			required = "✅"
		}
		switch {
		case len(o.Words) > 0:
			possible = "`" + strings.Join(o.Words, "` `") + "`"
		case o.Kind == config.Number:
			possible = fmt.Sprintf("`%d <= x <= %d`", o.Least, o.Most)
		case s["format"] != nil:
			possible = fmt.Sprintf("Format: `%s`", s["format"])
		default:
			possible = s["type"].(string)
		}
		standard := ""
		if d, ok := s["default"]; ok {
			if text, err := json.Marshal(d); err == nil {
				standard = "`" + string(text) + "`"
			}
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", o.Env, s["type"], required, possible, standard, cell(s["description"].(string)))
	}
	return b.Bytes()
}

// cell makes text fit for a cell of a table in Markdown.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
