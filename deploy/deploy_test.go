// Package deploy_test holds what deploys the worker against the worker itself: its options, its commands, its stand-ins.
// That the files are well-formed is what `make deploy-check` sees.
package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/demo"
)

// service is what we look at of a service of a compose file.
type service struct {
	Command     []string
	Environment yaml.Node
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
}

// variables returns the environment, which is written as a list or as a mapping.
func (s service) variables(t *testing.T) map[string]string {
	t.Helper()
	variables := map[string]string{}
	if s.Environment.Kind == yaml.SequenceNode {
		var list []string
		if err := s.Environment.Decode(&list); err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			name, value, _ := strings.Cut(v, "=")
			variables[name] = value
		}
	} else if err := s.Environment.Decode(&variables); err != nil {
		t.Fatal(err)
	}
	return variables
}

func services(t *testing.T, path string) map[string]service {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// TestComposeHasTheVariables checks compose.yaml against the example of the connector's documentation: the same variables.
func TestComposeHasTheVariables(t *testing.T) {
	t.Parallel()
	documentation, err := os.ReadFile("../../shared/requirements/connector-readme.md")
	if err != nil {
		t.Skip("the reference material beside the repository is not there")
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^ +- ([A-Z_]+)=`).FindAllStringSubmatch(string(documentation), -1) {
		want = append(want, m[1])
	}
	if len(want) < 10 {
		t.Fatalf("found %d variables in the documentation's example, want 10 or more", len(want))
	}
	var got []string
	for name := range services(t, "compose.yaml")["connector-ipqs"].variables(t) {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("compose.yaml sets other variables than the documentation (-want +got):\n%s", diff)
	}
}

// TestComposeLoads loads what compose.yaml sets as the worker would.
func TestComposeLoads(t *testing.T) {
	t.Parallel()
	asked := map[string]string{
		"OPENCTI_URL": "http://opencti:8080", "OPENCTI_TOKEN": "t", "CONNECTOR_ID": "9f8cb5ab-0a0c-4b2c-8b3d-2b0c6b1f7a11", "IPQS_PRIVATE_KEY": "k",
	}
	var environ []string
	for name, value := range services(t, "compose.yaml")["connector-ipqs"].variables(t) {
		if strings.HasPrefix(value, "${"+name+":?") {
			value = asked[name]
		}
		environ = append(environ, name+"="+value)
	}
	_, warnings, err := config.Load(config.Options{Path: filepath.Join(t.TempDir(), "config.yml"), Environ: environ})
	if err != nil || len(warnings) > 0 {
		t.Errorf("Load() = %v, %v, want no warning and no error", warnings, err)
	}
}

// TestDemoKnowsItsWorkers checks that compose.demo.yaml gives workers what the stand-ins expect, and no more than options.
func TestDemoKnowsItsWorkers(t *testing.T) {
	t.Parallel()
	got := services(t, "compose.demo.yaml")["worker"].variables(t)
	for _, v := range demo.Environ("stand-ins:8080", "stand-ins:8081") {
		name, want, _ := strings.Cut(v, "=")
		if got[name] != want {
			t.Errorf("compose.demo.yaml has %s=%q, want %q", name, got[name], want)
		}
		delete(got, name)
	}
	for name := range got {
		if !strings.HasPrefix(name, "OTEL_") {
			t.Errorf("compose.demo.yaml sets %s, which the stand-ins do not ask for", name)
		}
	}
}

// TestComposeIsHardened checks that what runs of ours can write nowhere and has no capability.
func TestComposeIsHardened(t *testing.T) {
	t.Parallel()
	for path, names := range map[string][]string{"compose.yaml": {"connector-ipqs"}, "compose.demo.yaml": {"worker", "stand-ins"}} {
		for _, name := range names {
			if s := services(t, path)[name]; !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
				t.Errorf("%s: %s has read_only %t and drops %v, want true and ALL", path, name, s.ReadOnly, s.CapDrop)
			}
		}
	}
}

// TestVariablesAreOptions looks for variables of ours in every file, and wants each to be one.
func TestVariablesAreOptions(t *testing.T) {
	t.Parallel()
	var known []string
	for _, o := range config.Table() {
		known = append(known, o.Env)
	}
	ours := regexp.MustCompile(`\b(?:OPENCTI|CONNECTOR|PLAYBOOK|MQ|WORKER|IPQS)_[A-Z0-9_]+\b`)
	seen := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range ours.FindAllString(string(text), -1) {
			seen++
			if !slices.Contains(known, name) && name != "IPQS_WORKER_IMAGE" {
				t.Errorf("%s names %s, which is no option", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 100 {
		t.Errorf("found %d variables, want 100 or more", seen)
	}
}

// TestShutdownFits checks that whoever stops a worker waits longer than the worker itself does by default.
func TestShutdownFits(t *testing.T) {
	t.Parallel()
	patience := map[string]string{
		"compose.yaml": `stop_grace_period: 35s`, "compose.demo.yaml": `stop_grace_period: 35s`, "systemd/ipqs-worker.service": `TimeoutStopSec=35`,
		"kubernetes/worker/deployment.yaml": `terminationGracePeriodSeconds: 35`, "helm/ipqs-worker/values.yaml": `terminationGracePeriodSeconds: 35`,
	}
	for _, o := range config.Table() {
		if o.Env == "WORKER_SHUTDOWN_TIMEOUT" && o.Default != "25s" {
			t.Errorf("the default of %s is %s: want 10 s less than what is below", o.Env, o.Default)
		}
	}
	for path, want := range patience {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s has no %q", path, want)
		}
	}
}
