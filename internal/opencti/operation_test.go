package opencti

import (
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"opencti-ipqs-worker/internal/opencti/schematest"
)

func operations() []operation {
	return []operation{
		opAbout, opRegister, opPing, opPingLegacy, opState, opStatePlain, opStateLegacy, opCountries, opCredential, opWorkReceived, opWorkProcessed, opWorkAnnounce, opWorkExpect,
		opWorkReport, opWork, opLabelAdd, opPlaybookStep, opPlaybookStepLegacy,
		opRegisterForCallback, opBundlePush, opBundlePushLegacy, opLabelRemove, opIndicatorPatch, opIndicatorPatchLegacy,
		opMe, opMeLegacy, opRegistered, opRegisteredCallback, opRegisteredPlaybook, opRegisteredLegacy,
	}
}

// TestOperationsAgainstSchemas validates every document against every real schema: valid exactly on the releases that it
// claims. Only PingLegacy and the documents without a claim are valid everywhere.
func TestOperationsAgainstSchemas(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, version string, schema *ast.Schema) {
		for _, op := range operations() {
			document, err := op.document()
			if err != nil {
				t.Fatal(err)
			}
			_, problems := gqlparser.LoadQueryWithRules(schema, document, nil)
			if got, want := len(problems) == 0, op.has(mustVersion(version).Capabilities()); got != want {
				t.Errorf("%s is valid = %t, claims %t: %v", op.name, got, want, problems)
			}
		}
		checkInput(t, schema, mustVersion(version))
	})
}

// checkInput compares the fields that a registration sends with those that the schema has.
func checkInput(t *testing.T, schema *ast.Schema, v Version) {
	t.Helper()
	full := Connector{ID: "c", Name: "name", Scope: []string{"Url"}, ListenCallbackURI: "http://callback.example"}
	for field := range full.input(v.Capabilities(), nil) {
		if schema.Types["RegisterConnectorInput"].Fields.ForName(field) == nil {
			t.Errorf("registration sends %s, which %s does not have", field, v)
		}
	}
}

// TestNeverAsked: what releases differ in and we do not ask for makes no difference to us.
func TestNeverAsked(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{
		"relationAdd, whose input type changed in 5.7.0":          {"relationAdd", "RelationshipAddInput"},
		"addDraftContext of 6.5.0, draftWorkspaceAdd of 6.4.0":    {"addDraftContext", "draftWorkspaceAdd"},
		"isWorkAlive of 6.8.7, too late once objects are queued":  {"isWorkAlive"},
		"dead_letter_routing of 6.8.7, which is the worker's":     {"dead_letter_routing"},
		"multipart works of 7.260422, as the platform makes ours": {"workAdd", "isMultiPartWork"},
		"xtm_one_intent of 7.260527":                              {"xtm_one_intent"},
		"config.s3 of 6.9.10, which holds credentials":            {"s3", "secret_key"},
		"deleteConnector, which deletes works and queues":         {"deleteConnector"},
		"introspection, which is refused":                         {"__schema", "__type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, op := range operations() {
				document, err := op.document()
				if err != nil {
					t.Fatal(err)
				}
				for _, word := range words {
					if strings.Contains(document, word) {
						t.Errorf("%s has %s", op.name, word)
					}
				}
			}
		})
	}
	full := Connector{ID: "c", Name: "name", Scope: []string{"Url"}, ListenCallbackURI: "http://callback.example"}
	if _, sent := full.input(mustVersion("7.260817.0").Capabilities(), nil)["xtm_one_intent"]; sent {
		t.Error("a registration has xtm_one_intent")
	}
}

// TestHeadersOfTheWorkerAreNeverSent: who imports as another user, and what tells a work that is dead since 6.9.19, is the
// platform's worker's.
func TestHeadersOfTheWorkerAreNeverSent(t *testing.T) {
	t.Parallel()
	platform := func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(name, "Opencti-") && name != "Opencti-Draft-Id" {
				t.Errorf("a request has the header %s", name)
			}
		}
		_, _ = io.WriteString(w, `{"data":{"about":{"version":"7.260817.0"},"workEdit":{}}}`)
	}
	c, _ := serve(t, platform)
	if _, err := c.About(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := NewWorks(c).Received(t.Context(), WorkJob{WorkID: "work_1"}, "m"); err != nil {
		t.Fatal(err)
	}
}

func TestOperationFiles(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	for _, op := range operations() {
		named[op.name+".graphql"] = true
		document, err := op.document()
		if err != nil {
			t.Errorf("document() of %s failed: %v", op.name, err)
		}
		if strings.Count(document, op.name) < 1 {
			t.Errorf("%s: the file has to have the operation of its name", op.name)
		}
		if strings.Contains(document, "jwks") != (op.name == opRegisterForCallback.name) {
			t.Errorf("%s asks for more than the minimum", op.name)
		}
		if strings.Count(document, "query ")+strings.Count(document, "mutation ") != 1 {
			t.Errorf("%s: one operation in a file is expected", op.name)
		}
	}
	files, err := fs.Glob(documents, "operations/*.graphql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !named[filepath.Base(file)] {
			t.Errorf("%s belongs to no operation", file)
		}
	}
}
