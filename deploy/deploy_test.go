// Package deploy_test holds what deploys the worker against the worker itself: its options, its commands, its stand-ins.
// That the files are well-formed is what `make deploy-check` sees.
package deploy_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
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
	"opencti-ipqs-worker/pipeline"
)

// service is what we look at of a service of a compose file.
type service struct {
	Image       string
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

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func services(t *testing.T, path string) map[string]service {
	t.Helper()
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(read(t, path)), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// TestComposeHasTheVariables checks that compose.yaml sets what the example of the connector's documentation sets: whoever
// comes from the connector in Python finds the same variables, and no other.
func TestComposeHasTheVariables(t *testing.T) {
	t.Parallel()
	want := []string{
		"CONNECTOR_AUTO", "CONNECTOR_CONFIDENCE_LEVEL", "CONNECTOR_ID", "CONNECTOR_LOG_LEVEL", "CONNECTOR_NAME", "CONNECTOR_SCOPE",
		"IPQS_BASE_URL", "IPQS_DOMAIN_ADD_RELATIONSHIPS", "IPQS_IP_ADD_RELATIONSHIPS", "IPQS_PRIVATE_KEY", "OPENCTI_TOKEN", "OPENCTI_URL",
	}
	// Where the documentation itself is at hand, it has the last word.
	if documentation, err := os.ReadFile("../../shared/requirements/connector-readme.md"); err == nil {
		var documented []string
		for _, m := range regexp.MustCompile(`(?m)^ +- ([A-Z_]+)=`).FindAllStringSubmatch(string(documentation), -1) {
			documented = append(documented, m[1])
		}
		slices.Sort(documented)
		if diff := cmp.Diff(documented, want); diff != "" {
			t.Errorf("the list of variables is not the documentation's (-documentation +list):\n%s", diff)
		}
	}
	got := slices.Sorted(maps.Keys(services(t, "compose.yaml")["connector-ipqs"].variables(t)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("compose.yaml sets other variables than the documentation (-want +got):\n%s", diff)
	}
}

// TestComposeJoinsOpenCTI checks that the worker is in a network of somebody else's, as OpenCTI's compose project makes it:
// RabbitMQ is found there alone.
func TestComposeJoinsOpenCTI(t *testing.T) {
	t.Parallel()
	var file struct {
		Services map[string]struct{ Networks []string }
		Networks map[string]struct {
			External bool
			Name     string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	joined := file.Services["connector-ipqs"].Networks
	if len(joined) != 1 {
		t.Fatalf("the worker joins %v, want one network", joined)
	}
	const name = "${IPQS_WORKER_NETWORK:-docker_default}"
	if network := file.Networks[joined[0]]; !network.External || network.Name != name {
		t.Errorf("the worker's network is external: %t, and called %s, want true and %s", network.External, network.Name, name)
	}
}

// TestOneNameOfTheImage checks that the image that `make image` makes is the one that is run, everywhere.
func TestOneNameOfTheImage(t *testing.T) {
	t.Parallel()
	found := func(path, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
		if m == nil {
			t.Fatalf("%s has nothing like %s", path, pattern)
		}
		return m[1]
	}
	version := found("helm/ipqs-worker/Chart.yaml", `(?m)^appVersion: "(.+)"$`)
	if tag := found("helm/ipqs-worker/values.yaml", `(?m)^  tag: "(.*)"$`); tag != "" {
		t.Errorf("the chart's tag is %q, want appVersion's", tag)
	}
	want := "ipqs-worker:" + version
	for name, got := range map[string]string{
		"make image":          found("../Makefile", `(?m)^IMAGE +\?= (.+)$`),
		"the chart":           found("helm/ipqs-worker/values.yaml", `(?m)^  repository: (.+)$`) + ":" + version,
		"compose.yaml":        found("compose.yaml", `image: \$\{IPQS_WORKER_IMAGE:-(.+)\}`),
		"compose.demo.yaml":   found("compose.demo.yaml", `image: \$\{IPQS_WORKER_IMAGE:-(.+)\}`),
		"kubernetes/together": strings.Replace(found("kubernetes/together/kustomization.yaml", `newName: (.+)\}`), ", newTag: ", ":", 1),
		"kubernetes/per-hop":  strings.Replace(found("kubernetes/per-hop/kustomization.yaml", `newName: (.+)\}`), ", newTag: ", ":", 1),
		"README.md":           found("README.md", "It is called `(.+)` in all files here"),
	} {
		if got != want {
			t.Errorf("%s has the image %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(read(t, "../Makefile"), "build -f deploy/Dockerfile -t $(IMAGE) ") {
		t.Error("make image does not build deploy/Dockerfile as IMAGE")
	}
}

// TestKEDACountsEveryQueue checks that each queue that a hop reads is counted, and nothing else. That the chart counts the same
// ones is what `make deploy-check` sees.
func TestKEDACountsEveryQueue(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, topic := range pipeline.Topics(pipeline.Definition(pipeline.World{})) {
		switch {
		case topic.Foreign:
			want = append(want, "ipqs-worker-resolve listen_ChangeMe")
		case topic.Prefetch > 0:
			hop, _, _ := strings.Cut(topic.Name, ".")
			want = append(want, "ipqs-worker-"+hop+" ipqs-worker.ChangeMe."+topic.Name)
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "kubernetes/per-hop-autoscaled/scaledobjects.yaml")))
	for {
		var object struct {
			Spec struct {
				ScaleTargetRef struct{ Name string } `yaml:"scaleTargetRef"`
				Triggers       []struct {
					Metadata struct {
						QueueName string `yaml:"queueName"`
					}
				}
			}
		}
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, trigger := range object.Spec.Triggers {
			got = append(got, object.Spec.ScaleTargetRef.Name+" "+trigger.Metadata.QueueName)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("KEDA counts other queues than the hops read (-want +got):\n%s", diff)
	}
}

// TestTheShareIsThatOfTheReplicas checks that what the manifests divide limits by is how many workers of theirs ask.
func TestTheShareIsThatOfTheReplicas(t *testing.T) {
	t.Parallel()
	share := regexp.MustCompile(`(?m)^IPQS_RATE_SHARE=(.+)$`).FindStringSubmatch(read(t, "kubernetes/common/config.env"))
	if share == nil {
		t.Fatal("config.env sets no IPQS_RATE_SHARE")
	}
	for path, pattern := range map[string]string{
		"kubernetes/worker/deployment.yaml":                `(?m)^  replicas: (.+)$`,
		"kubernetes/per-hop/lookup/kustomization.yaml":     `path: /spec/replicas, value: (.+)\}`,
		"kubernetes/per-hop-autoscaled/scaledobjects.yaml": `(?s)name: ipqs-worker-lookup\n.*?maxReplicaCount: (\d+)`,
	} {
		replicas := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
		if replicas == nil || replicas[1] != share[1] {
			t.Errorf("%s: the replicas are %q, want the %s of IPQS_RATE_SHARE", path, replicas, share[1])
		}
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
	all := services(t, "compose.demo.yaml")
	got := all["worker"].variables(t)
	// Where the stand-ins listen, as the workers see them.
	flags := all["stand-ins"].Command
	listening := func(flag string) string {
		t.Helper()
		i := slices.Index(flags, flag)
		if i < 0 || i+1 == len(flags) {
			t.Fatalf("the stand-ins are started with %q, want %s and an address", flags, flag)
		}
		host, port, ok := strings.Cut(flags[i+1], ":")
		if !ok || host != "0.0.0.0" {
			t.Fatalf("the stand-ins listen at %s %s, want 0.0.0.0 and a port: workers are other containers", flag, flags[i+1])
		}
		return "stand-ins:" + port
	}
	for _, v := range demo.Environ(listening("--opencti"), listening("--ipqs")) {
		name, want, _ := strings.Cut(v, "=")
		if got[name] != want {
			t.Errorf("compose.demo.yaml has %s=%q, want %q", name, got[name], want)
		}
		delete(got, name)
	}
	if i := slices.Index(flags, "--amqp"); i < 0 || !strings.Contains(flags[i+1], "@rabbitmq:") || all["rabbitmq"].Image == "" {
		t.Errorf("the stand-ins are started with %q, want the RabbitMQ of the file", flags)
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
			if !slices.Contains(known, name) && name != "IPQS_WORKER_IMAGE" && name != "IPQS_WORKER_NETWORK" {
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
