package openctitest

import (
	"bufio"
	_ "embed" // schema.graphql
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"

	"opencti-ipqs-worker/internal/opencti"
)

//go:embed schema.graphql
var schemaText string

var (
	lineGate   = regexp.MustCompile(`^(.*\S)\s+#\s*([0-9.]+)?\s*(?:<([0-9.]+))?$`)
	lineSpread = regexp.MustCompile(`(?m)^  \.\.\.(\w+)\n`)
)

// schemas are those of the releases that there has been a platform of, and documents what was parsed and validated with one.
// Both take longer than all that a platform does with them.
var (
	schemas   sync.Map // *ast.Schema by the text of the version
	documents sync.Map // *ast.OperationDefinition by parsedKey
)

type parsedKey struct {
	schema   *ast.Schema
	document string
}

// schemaOf returns the schema of a release: schema.graphql without the lines of other releases.
func schemaOf(v opencti.Version) (*ast.Schema, error) {
	if known, ok := schemas.Load(v.String()); ok {
		return known.(*ast.Schema), nil //nolint:forcetypeassert // nothing else is stored
	}
	var kept strings.Builder
	for lines := bufio.NewScanner(strings.NewReader(schemaText)); lines.Scan(); {
		line := lines.Text()
		if m := lineGate.FindStringSubmatch(line); m != nil {
			inside, err := within(v, m[2], m[3])
			if err != nil {
				return nil, err
			}
			if !inside {
				continue
			}
			line = m[1]
		}
		kept.WriteString(line + "\n")
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphql", Input: spread(kept.String(), kept.String())})
	if err != nil {
		return nil, fmt.Errorf("loading the schema of %s: %w", v, err)
	}
	known, _ := schemas.LoadOrStore(v.String(), schema)
	return known.(*ast.Schema), nil //nolint:forcetypeassert // nothing else is stored
}

// spread replaces each line "...Name" of the text by the fields of the schema's interface Name.
func spread(text, schema string) string {
	return lineSpread.ReplaceAllStringFunc(text, func(line string) string {
		_, fields, _ := strings.Cut(schema, "\ninterface "+lineSpread.FindStringSubmatch(line)[1]+" {\n")
		fields, _, _ = strings.Cut(fields, "}\n")
		return spread(fields, schema)
	})
}

func within(v opencti.Version, since, before string) (bool, error) {
	if since != "" {
		bound, err := opencti.ParseVersion(since)
		if err != nil || v.Compare(bound) < 0 {
			return false, err
		}
	}
	if before != "" {
		bound, err := opencti.ParseVersion(before)
		if err != nil || v.Compare(bound) >= 0 {
			return false, err
		}
	}
	return true, nil
}

// refusal is an error as the platform's API words it.
type refusal struct{ code, message string }

func (r *refusal) Error() string { return r.code + ": " + r.message }

const codeInvalid = "GRAPHQL_VALIDATION_FAILED"

// query is a request that passed validation.
type query struct {
	operation *ast.OperationDefinition
	variables map[string]any
	schema    *ast.Schema
}

// parse validates a document and its variables as the platform's server does.
func parse(schema *ast.Schema, document string, variables map[string]any) (*query, *refusal) {
	if strings.Contains(document, "__schema") {
		return nil, &refusal{"FORBIDDEN_ACCESS", "GraphQL introspection is not authorized!"}
	}
	operation, refused := validate(schema, document)
	if refused != nil {
		return nil, refused
	}
	coerced, err := validator.VariableValues(schema, operation, variables)
	if err != nil {
		return nil, invalidVariable(operation, variables, err)
	}
	return &query{operation: operation, variables: coerced, schema: schema}, nil
}

// validate returns the one operation of a document.
func validate(schema *ast.Schema, document string) (*ast.OperationDefinition, *refusal) {
	key := parsedKey{schema, document}
	if known, ok := documents.Load(key); ok {
		return known.(*ast.OperationDefinition), nil //nolint:forcetypeassert // nothing else is stored
	}
	parsed, problems := gqlparser.LoadQueryWithRules(schema, document, nil)
	if len(problems) > 0 {
		return nil, &refusal{codeInvalid, problems[0].Message}
	}
	if len(parsed.Operations) != 1 {
		return nil, &refusal{codeInvalid, "one operation is expected"}
	}
	operation := parsed.Operations[0]
	if r := batched(operation); r != nil {
		return nil, r
	}
	documents.Store(key, operation)
	return operation, nil
}

// batched refuses a document that asks for the same thing too often under other names.
func batched(operation *ast.OperationDefinition) *refusal {
	limit := 2
	if operation.Operation == ast.Mutation {
		limit = 1
	}
	times := map[string]int{}
	for _, selection := range operation.SelectionSet {
		if field, ok := selection.(*ast.Field); ok {
			if times[field.Name]++; times[field.Name] > limit {
				return &refusal{codeInvalid, "Batching by aliases is not allowed: " + field.Name}
			}
		}
	}
	return nil
}

// invalidVariable words a refused variable as the platform's library does, the value repeated in it included.
func invalidVariable(operation *ast.OperationDefinition, variables map[string]any, err error) *refusal {
	var problem *gqlerror.Error
	if !errors.As(err, &problem) || len(problem.Path) < 2 {
		return &refusal{codeInvalid, err.Error()}
	}
	name, _ := problem.Path[1].(ast.PathName)
	value, _ := json.Marshal(variables[string(name)])
	reason := problem.Message
	if last, ok := problem.Path[len(problem.Path)-1].(ast.PathName); ok && problem.Message == "unknown field" {
		of := ""
		if definition := operation.VariableDefinitions.ForName(string(name)); definition != nil {
			of = definition.Type.Name()
		}
		reason = fmt.Sprintf("Field %q is not defined by type %q.", string(last), of)
	}
	return &refusal{codeInvalid, fmt.Sprintf(`Variable "$%s" got invalid value %s; %s`, name, value, reason)}
}

// object is a value with fields, each a value or a resolver.
type object map[string]any

// resolver is a field that is only computed, or done, when asked for.
type resolver func(arguments map[string]any) (any, error)

// run executes the query on the root object. The first error ends it.
func (q *query) run(root object) (map[string]any, error) {
	typ := q.schema.Query
	if q.operation.Operation == ast.Mutation {
		typ = q.schema.Mutation
	}
	return q.fields(q.operation.SelectionSet, typ, root)
}

func (q *query) fields(set ast.SelectionSet, typ *ast.Definition, from object) (map[string]any, error) {
	result := map[string]any{}
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			value, err := q.field(s, typ, from)
			if err != nil {
				return nil, err
			}
			result[s.Alias] = value
		case *ast.InlineFragment:
			if s.TypeCondition != "" && s.TypeCondition != typ.Name && !slices.Contains(typ.Interfaces, s.TypeCondition) {
				continue // about another type
			}
			more, err := q.fields(s.SelectionSet, typ, from)
			if err != nil {
				return nil, err
			}
			maps.Copy(result, more)
		default:
			return nil, &refusal{codeInvalid, "named fragments are more than this stand-in executes"}
		}
	}
	return result, nil
}

func (q *query) field(f *ast.Field, typ *ast.Definition, from object) (any, error) {
	if f.Name == "__typename" {
		return typ.Name, nil
	}
	value := from[f.Name]
	if resolve, ok := value.(resolver); ok {
		var err error
		if value, err = resolve(f.ArgumentMap(q.variables)); err != nil {
			return nil, err
		}
	}
	return q.complete(f, f.Definition.Type, value)
}

// complete shapes a value as its declared type, and refuses null where the type does.
func (q *query) complete(f *ast.Field, typ *ast.Type, value any) (any, error) {
	switch v := value.(type) {
	case nil:
		if typ.NonNull {
			return nil, &refusal{"INTERNAL_SERVER_ERROR", "Cannot return null for non-nullable field " + f.ObjectDefinition.Name + "." + f.Name + "."}
		}
		return nil, nil
	case object:
		if v == nil {
			return q.complete(f, typ, nil)
		}
		name := typ.Name()
		if concrete, ok := v["__typename"].(string); ok {
			name = concrete
		}
		return q.fields(f.SelectionSet, q.schema.Types[name], v)
	case []object:
		list := make([]any, 0, len(v))
		for _, element := range v {
			completed, err := q.complete(f, typ.Elem, element)
			if err != nil {
				return nil, err
			}
			list = append(list, completed)
		}
		return list, nil
	default:
		return v, nil
	}
}
