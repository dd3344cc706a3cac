package openctitest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vektah/gqlparser/v2/ast"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/schematest"
)

const (
	token       = "d434ce02-58b1-4a8d-8b0f-000000000000"
	connectorID = "0d0c7a2c-2f9e-4f11-8c3e-1f1d7e6d4b10"
)

func platform(t *testing.T, version string) (*Platform, *Memory) {
	t.Helper()
	broker := MemoryBroker()
	p, err := New(Options{Version: version, Token: token, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, broker
}

// ask sends a document as a connector does and returns the status, the data and the first error's code and message.
func ask(t *testing.T, p http.Handler, document string, variables map[string]any) (data map[string]any, code, message string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("opencti-draft-id", "")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("HTTP status %d, want 200: the platform says so even when it refuses", w.Code)
	}
	var answer struct {
		Data   map[string]any
		Errors []struct {
			Message    string
			Name       string
			Extensions struct{ Code string }
		}
	}
	if err := json.NewDecoder(w.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Errors) > 0 {
		if answer.Errors[0].Name != answer.Errors[0].Extensions.Code {
			t.Errorf("name is %q, want the code %q", answer.Errors[0].Name, answer.Errors[0].Extensions.Code)
		}
		return answer.Data, answer.Errors[0].Extensions.Code, answer.Errors[0].Message
	}
	return answer.Data, "", ""
}

const register = `mutation R($input: RegisterConnectorInput) { registerConnector(input: $input) { id connector_state config { listen } } }`

func input(extra ...string) map[string]any {
	in := map[string]any{
		"id": connectorID, "name": "IPQS", "type": "INTERNAL_ENRICHMENT", "scope": []string{"IPv4-Addr", "Phone-Number"}, "auto": true,
	}
	for _, field := range extra {
		in[field] = true
	}
	return map[string]any{"input": in}
}

// TestSchemaIsASubset compares the stand-in's schema with the real one of each release that there is: every type, field,
// argument and input of ours is there, of the same type. What an output may be null is not compared, for no document
// depends on it.
func TestSchemaIsASubset(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, version string, genuine *ast.Schema) {
		p, _ := platform(t, version)
		for name, ours := range p.schema.Types {
			if !ours.BuiltIn {
				checkSubset(t, name, ours, genuine.Types[name])
			}
		}
		// What the release lacks must be lacking here too, or a mistake of the client would go unseen.
		for name, ours := range newest(t).Types {
			if ours.BuiltIn || genuine.Types[name] == nil {
				continue
			}
			for _, field := range ours.Fields {
				here, there := p.schema.Types[name], genuine.Types[name].Fields.ForName(field.Name)
				if (here == nil || here.Fields.ForName(field.Name) == nil) && there != nil && !strings.HasPrefix(field.Name, "__") {
					t.Errorf("%s.%s is in %s, and the stand-in leaves it out", name, field.Name, version)
				}
			}
		}
	})
}

func newest(t *testing.T) *ast.Schema {
	t.Helper()
	p, _ := platform(t, "7.260817.0")
	return p.schema
}

func checkSubset(t *testing.T, name string, ours, genuine *ast.Definition) {
	t.Helper()
	if genuine == nil {
		t.Errorf("type %s does not exist", name)
		return
	}
	if ours.Kind != genuine.Kind {
		t.Errorf("%s is a %s, want a %s", name, ours.Kind, genuine.Kind)
	}
	for _, value := range ours.EnumValues {
		if genuine.EnumValues.ForName(value.Name) == nil {
			t.Errorf("%s.%s does not exist", name, value.Name)
		}
	}
	for _, field := range ours.Fields {
		if strings.HasPrefix(field.Name, "__") {
			continue
		}
		there := genuine.Fields.ForName(field.Name)
		if there == nil {
			t.Errorf("%s.%s does not exist", name, field.Name)
			continue
		}
		got, want := field.Type.String(), there.Type.String()
		if ours.Kind != ast.InputObject {
			got, want = strings.ReplaceAll(got, "!", ""), strings.ReplaceAll(want, "!", "")
		}
		if got != want {
			t.Errorf("%s.%s is %s, want %s", name, field.Name, field.Type, there.Type)
		}
		for _, argument := range field.Arguments {
			if known := there.Arguments.ForName(argument.Name); known == nil || known.Type.String() != argument.Type.String() {
				t.Errorf("%s.%s(%s: %s) is not as in the real schema", name, field.Name, argument.Name, argument.Type)
			}
		}
		for _, argument := range there.Arguments {
			if argument.Type.NonNull && field.Arguments.ForName(argument.Name) == nil {
				t.Errorf("%s.%s does not require %s", name, field.Name, argument.Name)
			}
		}
	}
}

// TestRefusals: what the platform does not accept, and in which words.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, version, document string
		variables               map[string]any
		code, message           string
	}{
		{
			"unknown field", "7.260817.0", `{ about { version secret } }`, nil,
			codeInvalid, `Cannot query field "secret" on type "AppInfo".`,
		},
		{"field of a later release", "6.8.6", `{ isWorkAlive(id: "w") }`, nil, codeInvalid, `Cannot query field "isWorkAlive" on type "Query".`},
		{"list where edges are", "5.12.23", `{ stixCyberObservable(id: "x") { objectLabel { value } } }`, nil, codeInvalid, `Cannot query field "value" on type "LabelConnection".`},
		{
			"input field of a later release, its value repeated", "6.8.8", register, input("auto_update"),
			codeInvalid, `Field "auto_update" is not defined by type "RegisterConnectorInput".`,
		},
		{"missing argument", "6.1.0", `mutation { playbookStepExecution(execution_id: "e") }`, nil, codeInvalid, `is required`},
		{"required variable", "7.260817.0", `query Q($id: String!) { stixCyberObservable(id: $id) { id } }`, nil, codeInvalid, "must be defined"},
		{"wrong enum", "7.260817.0", `mutation { registerConnector(input: {id: "c", name: "n", type: OTHER}) { id } }`, nil, codeInvalid, "OTHER"},
		{"introspection", "7.260817.0", `{ __schema { types { name } } }`, nil, "FORBIDDEN_ACCESS", "introspection"},
		{"one mutation under two names", "7.260817.0", `mutation { a: workEdit(id: "w") { ping } b: workEdit(id: "w") { ping } }`, nil, codeInvalid, "aliases"},
		{"one query under three names", "7.260817.0", `{ a: about { version } b: about { version } c: about { version } }`, nil, codeInvalid, "aliases"},
		{"two operations", "7.260817.0", `query A { about { version } } query B { about { version } }`, nil, codeInvalid, "one operation"},
		{"no GraphQL", "7.260817.0", `hello`, nil, codeInvalid, ""},
		{"short name", "7.260817.0", `mutation { registerConnector(input: {id: "c", name: " n ", type: INTERNAL_ENRICHMENT}) { id } }`, nil, "VALIDATION_ERROR", "name"},
		{"unknown connector", "7.260817.0", `mutation { pingConnector(id: "c") { id } }`, nil, "FUNCTIONAL_ERROR", "No connector found"},
		{"work that is gone", "7.260817.0", `mutation { workEdit(id: "w") { toReceived(message: "m") } }`, nil, "INTERNAL_SERVER_ERROR", "undefined"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, _ := platform(t, tt.version)
			_, code, message := ask(t, p, tt.document, tt.variables)
			if code != tt.code || !strings.Contains(message, tt.message) {
				t.Errorf("answer = %s %q, want %s with %q", code, message, tt.code, tt.message)
			}
		})
	}
}

func TestExecution(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	data, code, message := ask(t, p, `{ first: about { version __typename } work(id: "none") { id } }`, nil)
	if code != "" {
		t.Fatalf("refused: %s %s", code, message)
	}
	want := map[string]any{"first": map[string]any{"version": "7.260817.0", "__typename": "AppInfo"}, "work": nil}
	if diff := cmp.Diff(want, data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	id := p.AddObservable(Observable{Type: "Url", Value: "https://example.com/", Labels: []string{"a", "b"}})
	data, _, message = ask(t, p, `query Q($id: String!) { stixCyberObservable(id: $id) { observable_value x_opencti_score objectLabel { value } objectMarking { definition } } }`,
		map[string]any{"id": id})
	want = map[string]any{"stixCyberObservable": map[string]any{
		"observable_value": "https://example.com/", "x_opencti_score": nil,
		"objectLabel": []any{map[string]any{"value": "a"}, map[string]any{"value": "b"}}, "objectMarking": []any{},
	}}
	if diff := cmp.Diff(want, data); diff != "" {
		t.Errorf("data (-want +got, %s):\n%s", message, diff)
	}
}

// TestHTTP: what happens before GraphQL.
func TestHTTP(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	send := func(method, path, authorization, body string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		text, _ := io.ReadAll(w.Body)
		return w.Code, string(text)
	}
	const about = `{"query":"{about{version}}"}`
	tests := []struct {
		name, method, path, authorization, body string
		status                                  int
		text                                    string
	}{
		{"base path", "POST", "/opencti/graphql", "Bearer " + token, about, 200, "7.260817.0"},
		{"wrong token", "POST", "/graphql", "Bearer other", about, 200, "AUTH_REQUIRED"},
		{"no token", "POST", "/graphql", "", about, 200, "AUTH_REQUIRED"},
		{"method", "GET", "/graphql", "Bearer " + token, "", 405, ""},
		{"path", "POST", "/elsewhere", "Bearer " + token, about, 404, ""},
		{"no JSON", "POST", "/graphql", "Bearer " + token, "{", 413, ""},
	}
	for _, tt := range tests {
		status, text := send(tt.method, tt.path, tt.authorization, tt.body)
		if status != tt.status || !strings.Contains(text, tt.text) {
			t.Errorf("%s: %d %s, want %d with %q", tt.name, status, text, tt.status, tt.text)
		}
	}
	p.SetDown(true)
	if status, _ := send("POST", "/graphql", "Bearer "+token, about); status != 503 {
		t.Errorf("status while down = %d, want 503", status)
	}
	p.SetDown(false)
	if complaints := p.Complaints(); len(complaints) == 0 || !strings.Contains(complaints[0], "opencti-draft-id") {
		t.Errorf("complaints = %q, want one about the missing draft header", complaints)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "7.260817.0")
	const about = `query About { about { version } }`
	p.FailNext("About", 2, "LOCK_ERROR")
	for i, want := range []string{"LOCK_ERROR", "LOCK_ERROR", ""} {
		if _, code, _ := ask(t, p, about, nil); code != want {
			t.Errorf("answer %d = %q, want %q", i, code, want)
		}
	}
	if n := p.Requests()["About"]; n != 3 {
		t.Errorf("%d requests counted, want 3", n)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil {
		t.Error("New() without a broker succeeds")
	}
	if _, err := New(Options{Version: "develop", Broker: MemoryBroker()}); err == nil {
		t.Error("New() of no version succeeds")
	}
	if v, err := opencti.ParseVersion(DefaultVersion); err != nil || v.String() != DefaultVersion {
		t.Errorf("DefaultVersion is %v, %v", v, err)
	}
}
