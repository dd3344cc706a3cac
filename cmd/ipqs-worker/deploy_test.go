package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestTheCommandsOfDeployment parses what the files of deploy/ start the program with, as the program does.
func TestTheCommandsOfDeployment(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile("../../deploy/" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	found := map[string][]string{}
	add := func(where string, args []string) {
		if len(args) > 0 && strings.HasSuffix(args[0], "/ipqs-worker") {
			args = args[1:]
		}
		found[where] = args
	}
	for name, pattern := range map[string]string{"the image": `(?m)^CMD (.+)$`, "the image's health check": `(?m)^HEALTHCHECK .* CMD (.+)$`} {
		var args []string
		if m := regexp.MustCompile(pattern).FindStringSubmatch(read("Dockerfile")); m == nil || json.Unmarshal([]byte(m[1]), &args) != nil {
			t.Fatalf("the Dockerfile has no %s", name)
		}
		add(name, args)
	}
	for _, path := range []string{"compose.yaml", "compose.demo.yaml"} {
		var file struct {
			Services map[string]struct {
				Build   yaml.Node
				Command []string
			}
		}
		if err := yaml.Unmarshal([]byte(read(path)), &file); err != nil {
			t.Fatal(err)
		}
		for name, service := range file.Services {
			if !service.Build.IsZero() && len(service.Command) > 0 {
				add(path+" "+name, service.Command)
			}
		}
	}
	add("kubernetes", []string{strings.Trim(regexp.MustCompile(`args: \[(.+)\]`).FindStringSubmatch(read("kubernetes/worker/deployment.yaml"))[1], " ")})
	for _, hop := range []string{"resolve", "lookup", "score", "bundle", "publish"} {
		m := regexp.MustCompile(`args, value: \[(.+)\]`).FindStringSubmatch(read("kubernetes/per-hop/" + hop + "/kustomization.yaml"))
		if m == nil || !strings.HasSuffix(m[1], ", "+hop) {
			t.Fatalf("kubernetes/per-hop/%s does not run that hop: %v", hop, m)
		}
		add("kubernetes "+hop, strings.Split(m[1], ", "))
	}
	add("systemd", strings.Fields(regexp.MustCompile(`(?m)^ExecStart=(.+)$`).FindStringSubmatch(read("systemd/ipqs-worker.service"))[1]))
	if len(found) < 10 || found["compose.demo.yaml stand-ins"] == nil {
		t.Fatalf("found the commands %v, want those of the image, the stand-ins, the manifests and the unit", found)
	}
	for where, args := range found {
		cmd, rest, err := (&program{}).root().Find(args)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil || !slices.Contains([]string{"run", "health", "serve"}, cmd.Name()) {
			t.Errorf("%s starts the program with %q: %v", where, args, err)
		}
		if hops, err := cmd.Flags().GetStringSlice("hops"); err == nil {
			if _, err := hopsToRun(hops, cmd.Flags().Changed("hops")); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
	}
}
