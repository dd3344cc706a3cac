package config

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated files")

// root returns the repository's root.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above this package")
		}
		dir = parent
	}
}

// minimal is the least environment that ForRun accepts, with more after it.
func minimal(more ...string) []string {
	return append([]string{
		"OPENCTI_URL=https://opencti.example.com/",
		"OPENCTI_TOKEN=token-4711",
		"CONNECTOR_ID=9f8cb5ab-0a0c-4b2c-8b3d-2b0c6b1f7a11",
		"IPQS_PRIVATE_KEY=key-4711",
	}, more...)
}

// noFile is a path where nothing is, so that a test depends on its variables alone.
func noFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "config.yml")
}

// writeFile writes a configuration file and returns its path.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := noFile(t)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
