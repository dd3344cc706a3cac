package stages

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
	"opencti-ipqs-worker/stix/stixtest"
)

// goldenCase is an answer about an entity, and how the operator wants it. testdata has what must come of it.
type goldenCase struct {
	name    string
	entity  opencti.Entity
	kind    ipqs.Kind
	fields  string
	scoring Scoring
	options Enrichment
}

// What most cases are made with: the defaults of the configuration.
var (
	usual = Enrichment{
		IPRelationships: true, DomainRelationships: true, Confidence: new(50),
		IndicatorFrom: MinScores{"ip": 26, "email": 26, "phone": 26, "url": 26, "leak": 26, "file": 26},
	}
	flagged   = Scoring{Model: Bands, FlagLabels: true}
	connector = Scoring{Model: Connector}
	guidance  = Scoring{Model: Guidance, FlagLabels: true}
)

func ip(value string) opencti.Entity     { return entity("IPv4-Addr", value) }
func domain(value string) opencti.Entity { return entity("Domain-Name", value) }
func url(value string) opencti.Entity    { return entity("Url", value) }
func email(value string) opencti.Entity  { return entity("Email-Addr", value) }
func phone(value string) opencti.Entity  { return entity("Phone-Number", value) }

func account(login string) opencti.Entity {
	e := entity("User-Account", login)
	e.StandardID = "user-account--6deb37bd-12b7-54ae-805f-5f7146f3d171"
	e.Account = &opencti.Account{Login: login, Type: "unix"}
	if login == "" {
		e.Account = &opencti.Account{UserID: "1000"}
		e.Value = "1000"
	}
	return e
}

// sha256Hex is the hash of artifact.
const sha256Hex = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"

func artifact() opencti.Entity {
	e := entity("Artifact", sha256Hex)
	e.Artifact = &opencti.Artifact{MIMEType: "text/plain", Hashes: map[string]string{"SHA-256": sha256Hex}}
	return e
}

func marked(e opencti.Entity, definitions ...string) opencti.Entity {
	for _, d := range definitions {
		m := opencti.Marking{ID: "marking-definition--11111111-1111-4111-8111-111111111111", Type: "PAP", Definition: d}
		if id, ok := stix.TLP(d); ok {
			m = opencti.Marking{ID: id, Type: "TLP", Definition: d}
		}
		e.Markings = append(e.Markings, m)
	}
	return e
}

func sharedWith(e opencti.Entity, organization string) opencti.Entity {
	e.Organizations = []string{organization}
	return e
}

func with(change func(*Enrichment)) Enrichment {
	e := usual
	change(&e)
	return e
}

func TestBundleGolden(t *testing.T) {
	t.Parallel()
	for _, tt := range goldenCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer := report(tt.kind, tt.fields)
			got := bundleOf(t, tt.entity, answer, tt.scoring, tt.options)
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, got, "", "  "); err != nil {
				t.Fatalf("the bundle is no JSON: %v", err)
			}
			pretty.WriteByte('\n')
			golden(t, tt.name, pretty.Bytes())
			if again := bundleOf(t, tt.entity, answer, tt.scoring, tt.options); !bytes.Equal(got, again) {
				t.Errorf("the same job made other bytes")
			}
		})
	}
}

// Every golden bundle has patterns by the grammar, and objects that OASIS' schemas of STIX 2.1 take. A playbook's is left
// out: most of it is what the test gave the step, which is in no form but OpenCTI's.
func TestGoldenBundlesAreSTIX(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bundle_*.golden.json")
	files = slices.DeleteFunc(files, func(file string) bool { return strings.Contains(file, "_playbook_") })
	if err != nil || len(files) < 60 {
		t.Fatalf("%d golden bundles (%v), want 60 and more", len(files), err)
	}
	schemas, ok := stixtest.Reference("stix-schemas")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var bundle struct {
			Objects []struct{ Type, ID, Pattern string }
		}
		if err := json.Unmarshal(raw, &bundle); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, o := range bundle.Objects {
			if o.Type != "indicator" {
				continue
			}
			if err := stixtest.Pattern(o.Pattern); err != nil {
				t.Errorf("%s: %s: %v", file, o.ID, err)
			}
		}
		if !ok {
			continue
		}
		problems, err := stixtest.Problems(schemas, raw)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, problem := range problems {
			// The schema's "email" is ASCII's: mailboxes in other scripts and with quotes are good ones all the same.
			if strings.Contains(problem, "is not valid email") && (strings.Contains(file, "email_idn") || strings.Contains(file, "email_quoted")) {
				continue
			}
			t.Errorf("%s: %s", file, problem)
		}
	}
	if !ok {
		t.Skip("the reference material beside the repository (stix-schemas) is not here: patterns were checked, schemas were not")
	}
}
