package deploy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// Each alert has an entry in the runbook, which it names, and a test; and each entry has an alert. IPQSWorkerPoisonGrowingFast
// is told of where IPQSWorkerPoisonGrowing is.
func TestEveryAlertHasARunbookEntryAndATest(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Annotations map[string]string
				Labels      map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/rules.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	tests, runbook := read(t, "prometheus/rules_test.yml"), read(t, "../docs/runbook.md")
	var entries []string
	for _, found := range regexp.MustCompile(`(?m)^## (IPQSWorker\w+)$`).FindAllStringSubmatch(runbook, -1) {
		entries = append(entries, found[1])
	}
	var named []string
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			anchor, ok := strings.CutPrefix(rule.Annotations["runbook"], "docs/runbook.md#")
			entry := slices.IndexFunc(entries, func(name string) bool { return strings.ToLower(name) == anchor })
			if !ok || entry < 0 || !strings.HasPrefix(rule.Alert, entries[entry]) || !strings.Contains(runbook, rule.Alert) {
				t.Errorf("%s: runbook is %q, want its entry, one of %v", rule.Alert, rule.Annotations["runbook"], entries)
				continue
			}
			named = append(named, entries[entry])
			if fires := regexp.MustCompile(`alertname: ` + rule.Alert + `\n\s+exp_alerts:\n\s+- exp_labels`); !fires.MatchString(tests) {
				t.Errorf("%s: no test has it fire", rule.Alert)
			}
			if rule.Annotations["summary"] == "" || !slices.Contains([]string{"warning", "critical"}, rule.Labels["severity"]) {
				t.Errorf("%s: summary %q, severity %q, want both", rule.Alert, rule.Annotations["summary"], rule.Labels["severity"])
			}
		}
	}
	slices.Sort(entries)
	slices.Sort(named)
	if diff := cmp.Diff(entries, slices.Compact(named)); diff != "" {
		t.Errorf("entries of the runbook that alerts name (-want +got):\n%s", diff)
	}
}
