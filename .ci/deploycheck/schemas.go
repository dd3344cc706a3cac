package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// schemas writes a JSON schema for each kind that the modules describe: Kubernetes in api/openapi-spec/v3, others as custom
// resource definitions. Files are named as kubeconform looks for them: kind-group-version.json.
func schemas(dir string, modules []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	written := 0
	for _, module := range modules {
		for _, pattern := range []string{"api/openapi-spec/v3/*__v*_openapi.json", "config/crd/bases/*.yaml", "example/prometheus-operator-crd/*.yaml"} {
			paths, err := filepath.Glob(filepath.Join(module, pattern))
			if err != nil {
				return err
			}
			for _, path := range paths {
				read := openAPI
				if strings.HasSuffix(path, ".yaml") {
					read = definition
				}
				n, err := read(dir, path)
				if err != nil {
					return fmt.Errorf("reading %s: %w", path, err)
				}
				written += n
			}
		}
	}
	if written == 0 {
		return fmt.Errorf("found no schemas in %v", modules)
	}
	fmt.Printf("%d schemas\n", written)
	return nil
}

// openAPI writes the kinds of one API group of Kubernetes.
func openAPI(dir, path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var document struct {
		Components struct {
			Schemas map[string]map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return 0, err
	}
	all := document.Components.Schemas
	for _, s := range all {
		closed(s)
	}
	written := 0
	for name, s := range all {
		kinds, _ := s["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // shared by all groups, such as DeleteOptions
		}
		kind := kinds[0].(map[string]any)
		err := write(dir, kind["group"].(string), kind["version"].(string), kind["kind"].(string), map[string]any{
			"$ref": "#/components/schemas/" + name, "components": map[string]any{"schemas": all},
		})
		if err != nil {
			return written, err
		}
		written++
	}
	return written, nil
}

// definition writes the versions of one custom resource.
func definition(dir, path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var crd struct {
		Spec struct {
			Group string
			Names struct{ Kind string }
			// In each: the schema under openAPIV3Schema.
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPI map[string]any `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return 0, err
	}
	for _, version := range crd.Spec.Versions {
		properties, _ := version.Schema.OpenAPI["properties"].(map[string]any)
		closed(version.Schema.OpenAPI)
		if properties != nil {
			properties["metadata"] = map[string]any{"type": "object"}
		}
		if err := write(dir, crd.Spec.Group, version.Name, crd.Spec.Names.Kind, version.Schema.OpenAPI); err != nil {
			return 0, err
		}
	}
	return len(crd.Spec.Versions), nil
}

func write(dir, group, version, kind string, schema map[string]any) error {
	name := strings.ToLower(kind)
	if group, _, _ = strings.Cut(group, "."); group != "" {
		name += "-" + group
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+"-"+version+".json"), text, 0o644)
}

// closed lets every object in a schema have the properties it names and no others, so that a misspelt one is noticed.
func closed(s map[string]any) {
	_, named := s["properties"].(map[string]any)
	_, open := s["additionalProperties"]
	if keep, _ := s["x-kubernetes-preserve-unknown-fields"].(bool); named && !open && !keep {
		s["additionalProperties"] = false
	}
	// Formats of OpenAPI that JSON schemas know nothing of.
	delete(s, "format")
	for key, value := range s {
		part, ok := value.(map[string]any)
		switch {
		case !ok, key == "default", key == "example":
		case key == "properties":
			for _, property := range part {
				if property, ok := property.(map[string]any); ok {
					closed(property)
				}
			}
		default:
			closed(part) // what stands under items and additionalProperties; allOf, anyOf and oneOf only add to it
		}
	}
}
