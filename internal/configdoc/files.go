package configdoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// valuesPath is the one file that is written in part only.
const valuesPath = "deploy/helm/ipqs-worker/values.yaml"

// Files returns what the files have to hold, by their path below the repository's root. The chart's values.yaml is read
// from there: only what lies between its marks is ours.
func Files(root string) (map[string][]byte, error) {
	values, err := os.ReadFile(filepath.Join(root, valuesPath))
	if err != nil {
		return nil, err
	}
	if values, err = insertValues(values); err != nil {
		return nil, fmt.Errorf("writing the options into %s: %w", valuesPath, err)
	}
	files := map[string][]byte{
		"docs/configuration.md":                       reference(),
		"deploy/__metadata__/CONNECTOR_CONFIG_DOC.md": connectorReference(),
		valuesPath: values,
	}
	for path, document := range map[string]any{
		"docs/config.schema.json":                          fileSchema(),
		"deploy/__metadata__/connector_manifest.json":      connectorManifest(),
		"deploy/__metadata__/connector_config_schema.json": connectorSchema(),
		"deploy/helm/ipqs-worker/values.schema.json":       valuesSchema(),
	} {
		if files[path], err = asJSON(document); err != nil {
			return nil, fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return files, nil
}

// asJSON returns a document as a person reads it; keys of maps are sorted.
func asJSON(document any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(document)
	return b.Bytes(), err
}
