// Package stixtest holds bundles against the JSON schemas of STIX 2.1 that OASIS publishes, for tests that have them.
package stixtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// base is what the schemas call the folder that they lie in.
const base = "http://raw.githubusercontent.com/oasis-open/cti-stix2-json-schemas/stix2.1/schemas/"

const observableCore = "common/cyber-observable-core.json"

// Reference returns where a file or folder of the reference material beside the repository lies, and false where there is
// none. It looks from the working directory upwards.
func Reference(name string) (path string, ok bool) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path = filepath.Join(dir, "..", "shared", name)
			_, err := os.Stat(path)
			return path, err == nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return "", false
}

// Problems validates each object of a bundle against the schema of its type in the folder schemas, and returns what is
// wrong. Types of OpenCTI's own are held against what STIX asks of every observable, and so are artifacts: STIX wants their
// content or its address in them, which OpenCTI, for whom a hash is enough, does not give away. The bundle as a whole is not: OASIS'
// schema of bundles refuses every note.
func Problems(schemas string, bundle []byte) ([]string, error) {
	var decoded struct {
		Objects []json.RawMessage `json:"objects"`
	}
	if err := json.Unmarshal(bundle, &decoded); err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	compiled := make(map[string]*jsonschema.Schema)
	var problems []string
	for _, raw := range decoded.Objects {
		object, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("reading an object: %w", err)
		}
		var header struct{ Type, ID string }
		if err := json.Unmarshal(raw, &header); err != nil {
			return nil, fmt.Errorf("reading an object: %w", err)
		}
		name := schemaOf(schemas, header.Type)
		if compiled[name] == nil {
			if compiled[name], err = Compile(schemas, name); err != nil {
				return nil, err
			}
		}
		if err := compiled[name].Validate(object); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", header.ID, err))
		}
	}
	return problems, nil
}

func schemaOf(schemas, objectType string) string {
	if objectType == "artifact" {
		return observableCore
	}
	for _, folder := range []string{"sdos", "sros", "observables"} {
		name := folder + "/" + objectType + ".json"
		if _, err := os.Stat(filepath.Join(schemas, name)); err == nil {
			return name
		}
	}
	return observableCore
}

// Compile returns one schema of the folder, by its path in it.
func Compile(schemas, name string) (*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(folder(schemas))
	compiler.AssertFormat()
	schema, err := compiler.Compile(base + name)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", name, err)
	}
	return schema, nil
}

// folder gives the schemas from a folder instead of from the web.
type folder string

func (f folder) Load(url string) (any, error) {
	raw, err := os.ReadFile(filepath.Join(string(f), strings.TrimPrefix(url, base)))
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(raw))
}
