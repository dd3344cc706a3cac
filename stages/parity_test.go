package stages

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix/stixtest"
)

// paritySettings restore the behaviour of the connector in Python.
var paritySettings = map[string]string{
	"IPQS_RISK_MODEL":          "connector",
	"IPQS_SCORE_POLICY":        "replace",
	"IPQS_INDICATOR_MIN_SCORE": "0",
	"IPQS_INDICATOR_REVIVE":    "always",
}

// TestParitySettingsAreDocumented: docs/migration.md names the settings of the parity test, and no others.
func TestParitySettingsAreDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(raw), "<!-- settings -->")
	block, _, _ = strings.Cut(block, "<!-- end -->")
	listed := map[string]string{}
	for _, setting := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllStringSubmatch(block, -1) {
		listed[setting[1]] = setting[2]
	}
	if diff := cmp.Diff(paritySettings, listed); diff != "" {
		t.Errorf("docs/migration.md (-parity test +file):\n%s", diff)
	}
}

// made is what the stages make of the recorded input with the settings for parity: lines to be compared.
func (r *recording) made(t *testing.T) []string {
	t.Helper()
	files := fakeFiles{}
	for id, content := range r.Input.Files {
		raw, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			t.Fatal(err)
		}
		files[id] = string(raw)
	}
	client, err := ipqs.NewClient(ipqs.Options{Key: "the-key-4711", BaseURL: "http://ipqs.example/api/json", HTTPClient: &http.Client{Transport: r}})
	if err != nil {
		t.Fatal(err)
	}
	tlp := func(name, otherwise string) opencti.TLP {
		text := otherwise
		if set := r.Config[name]; set != "" {
			text = "TLP:" + strings.TrimPrefix(strings.ToUpper(set), "TLP:")
		}
		parsed, err := opencti.ParseTLP(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	policy := Policy{
		Scope:  []string{"Domain-Name", "IPv4-Addr", "Email-Addr", "Url", "Phone-Number", typeAccount, typeArtifact},
		MaxTLP: tlp("IPQS_MAX_TLP", "TLP:AMBER"), DefaultTLP: tlp("IPQS_DEFAULT_TLP", "TLP:CLEAR"),
	}
	least, err := strconv.Atoi(paritySettings["IPQS_INDICATOR_MIN_SCORE"])
	if err != nil {
		t.Fatal(err)
	}
	enrichment := Enrichment{
		DefaultTLP: policy.DefaultTLP,
		Score:      ScorePolicy(paritySettings["IPQS_SCORE_POLICY"]), IndicatorFrom: MinScores{"ip": least, "email": least, "phone": least, "url": least, "leak": least, "file": least},
		Revive:          RevivePolicy(paritySettings["IPQS_INDICATOR_REVIVE"]),
		IPRelationships: r.Config["IPQS_IP_ADD_RELATIONSHIPS"] != "false", DomainRelationships: r.Config["IPQS_DOMAIN_ADD_RELATIONSHIPS"] != "false",
	}
	now := at
	lookup := Lookup(client, func() time.Time { return now }, Sources{
		Credentials: r, Files: files, Scanning: Scanning{On: true, MaxSize: 1 << 20, Wait: 2 * time.Minute},
	})
	scanned := Stage{Name: "test", Run: func(_ context.Context, job Job) (Job, error) {
		// The recorded answers speak of another file than the recorded ones, which no scanner ever saw.
		if file := job.Risk.Report.File; file != nil && file.SHA256 != "" {
			file.OwnSHA256 = file.SHA256
		}
		return job, nil
	}}
	job, err := Open(r.Input.Message)
	for _, stage := range []Stage{Resolve(r, &platform{}, policy, clock), lookup, scanned, Score(Scoring{Model: Model(paritySettings["IPQS_RISK_MODEL"])}), Bundle(enrichment)} {
		for err == nil {
			if job, err = stage.Run(context.Background(), job); err == nil {
				break
			}
			if f := AsFault(err); f.Class != Pending {
				break
			}
			now, err = now.Add(time.Minute), nil // as the pipeline has it wait
		}
	}
	if err != nil {
		return nil // nothing was changed
	}
	var bundle struct{ Objects []recordedObject }
	if err := json.Unmarshal(job.Bundle, &bundle); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range bundle.Objects {
		if o.ID == job.Entity.StandardID {
			if o.Score != nil {
				lines = append(lines, "score "+string(o.Score))
			}
			for _, label := range o.ObservableLabels {
				lines = append(lines, "label "+label)
			}
			continue
		}
		lines = append(lines, o.lines()...)
	}
	slices.Sort(lines)
	return lines
}

func (o recordedObject) lines() []string {
	scored := func() string {
		if o.Score == nil {
			return ""
		}
		return " scored " + string(o.Score)
	}
	switch o.Type {
	case "marking-definition", "note": // there on every platform; ours alone, or of a failure
		return nil
	case "indicator":
		return []string{fmt.Sprintf("indicator %s %s%s %q", o.ID, o.Pattern, scored(), o.Labels)}
	case "relationship":
		return []string{fmt.Sprintf("relationship %s %s %s %s", o.ID, o.Relationship, o.Source, o.Target)}
	default:
		return []string{"object " + o.ID + scored()}
	}
}

// observed is what the connector in Python did, in the same lines.
func (r *recording) observed() []string {
	var lines []string
	if r.Observed.Score != nil {
		lines = append(lines, "score "+*r.Observed.Score)
	}
	for _, label := range r.Observed.Labels {
		lines = append(lines, "label "+label)
	}
	for _, o := range r.Observed.Objects {
		lines = append(lines, o.lines()...)
	}
	slices.Sort(lines)
	return lines
}

// listed reads the table of differences in docs/migration.md: what differs (the first words of lines), by case.
func differencesListed(t *testing.T) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile("../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(raw), "<!-- differences by case -->")
	table, _, ended := strings.Cut(table, "<!-- end -->")
	if !found || !ended {
		t.Fatal("docs/migration.md has no table between its marks")
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	listed := map[string][]string{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 5 || strings.HasPrefix(strings.TrimSpace(cells[1]), "--") || strings.TrimSpace(cells[1]) == "cases" {
			continue
		}
		if strings.TrimSpace(cells[3]) == "" {
			t.Errorf("no reason in the row %s", row)
		}
		for _, name := range quoted.FindAllStringSubmatch(cells[1], -1) {
			for kind := range strings.SplitSeq(cells[2], ",") {
				listed[name[1]] = append(listed[name[1]], strings.TrimSpace(kind))
			}
		}
	}
	for name := range listed {
		slices.Sort(listed[name])
		listed[name] = slices.Compact(listed[name])
	}
	return listed
}

// With the settings of docs/migration.md the same input makes what the connector in Python was seen to make: ids, patterns, scores, labels
// and the ends of relationships. Where not, docs/migration.md lists the case, what differs and why, and nothing else.
func TestParityWithTheConnectorInPython(t *testing.T) {
	t.Parallel()
	dir, ok := stixtest.Reference("parity")
	if !ok {
		t.Skip("the reference material beside the repository (parity) is not here")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d recordings (%v), want more than 100", len(files), err)
	}
	listed := differencesListed(t)
	seen := map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r recording
		if err := json.Unmarshal(raw, &r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		seen[r.Case] = true
		want, got := r.observed(), r.made(t)
		kinds := map[string]bool{}
		for _, one := range [][2][]string{{want, got}, {got, want}} {
			for _, line := range one[0] {
				if !slices.Contains(one[1], line) {
					kind, _, _ := strings.Cut(line, " ")
					kinds[kind] = true
				}
			}
		}
		if diff := cmp.Diff(listed[r.Case], slices.Sorted(maps.Keys(kinds))); diff != "" {
			t.Errorf("%s: kinds of differences (-docs/migration.md +found):\n%sthe differences (-Python +ours):\n%s",
				r.Case, diff, cmp.Diff(want, got))
		}
	}
	for name := range listed {
		if !seen[name] {
			t.Errorf("docs/migration.md lists %q, which is no recording", name)
		}
	}
}
