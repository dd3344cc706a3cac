package opencti

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"unicode"
)

//go:embed operations/*.graphql
var documents embed.FS

// operation is a GraphQL document: the file operations/<name>.graphql, which has one operation, of that name, and in it
// each mutation once, for the platform refuses to be asked the same twice in a document.
type operation struct {
	name string
	// in says whether a release has it; nil means that all have. The releases themselves are in the table of capabilities.
	in func(Capabilities) bool
	// gate is the capability that the document rests on, and names what of it a platform may still refuse: arguments,
	// fields, types. A platform that does is asked as if it had not the capability.
	gate  func(*Capabilities) *bool
	names []string
}

var (
	opAbout    = operation{name: "About"}
	opRegister = operation{name: "Register"}
	// The keys are asked for only where a callback needs them.
	opRegisterForCallback = operation{
		name: "RegisterForCallback", in: func(c Capabilities) bool { return c.CallbackJWT },
		gate: func(c *Capabilities) *bool { return &c.CallbackJWT }, names: []string{"jwks"},
	}
	// Reading a registration: the fields of 6.8.9, of 6.5.7, of 5.11, and of before.
	opRegistered = operation{
		name: "Registered", in: func(c Capabilities) bool { return c.AutoUpdate },
		gate: func(c *Capabilities) *bool { return &c.AutoUpdate }, names: []string{"auto_update", "enrichment_resolution"},
	}
	opRegisteredCallback = operation{
		name: "RegisteredCallback", in: func(c Capabilities) bool { return c.ListenCallbackURI },
		gate: func(c *Capabilities) *bool { return &c.ListenCallbackURI }, names: []string{"listen_callback_uri"},
	}
	opRegisteredPlaybook = operation{
		name: "RegisteredPlaybook", in: func(c Capabilities) bool { return c.PlaybookCompatible },
		gate: func(c *Capabilities) *bool { return &c.PlaybookCompatible }, names: []string{"playbook_compatible"},
	}
	opRegisteredLegacy = operation{name: "RegisteredLegacy"}
	// Nobody but who checks the token asks whom it belongs to.
	opMe = operation{
		name: "Me", in: func(c Capabilities) bool { return c.MaxConfidence },
		gate: func(c *Capabilities) *bool { return &c.MaxConfidence }, names: []string{"effective_confidence_level"},
	}
	opMeLegacy = operation{name: "MeLegacy"}
	opPing     = operation{
		name: "Ping", in: func(c Capabilities) bool { return c.ConnectorInfo },
		gate: func(c *Capabilities) *bool { return &c.ConnectorInfo }, names: []string{"connectorInfo", "ConnectorInfoInput"},
	}
	opPingLegacy = operation{name: "PingLegacy"}
	opState      = operation{
		name: "State", in: func(c Capabilities) bool { return c.ListMarkings && c.IndicatorDecay },
		gate: func(c *Capabilities) *bool { return &c.IndicatorDecay }, names: []string{"decay_base_score", "decay_history"},
	}
	opStatePlain    = operation{name: "StatePlain", in: func(c Capabilities) bool { return c.ListMarkings }}
	opStateLegacy   = operation{name: "StateLegacy", in: func(c Capabilities) bool { return !c.ListMarkings }}
	opCountries     = operation{name: "Countries"}
	opCredential    = operation{name: "Credential"}
	opWorkReceived  = operation{name: "WorkReceived"}
	opWorkProcessed = operation{name: "WorkProcessed"}
	opWorkAnnounce  = operation{name: "WorkAnnounce"}
	opWorkExpect    = operation{name: "WorkExpect"}
	opWorkReport    = operation{name: "WorkReport"}
	opWork          = operation{name: "Work"}
	opLabelAdd      = operation{name: "LabelAdd"}
	opLabelRemove   = operation{name: "LabelRemove"}

	opIndicatorPatch = operation{
		name: "IndicatorPatch", in: func(c Capabilities) bool { return c.IndicatorFieldPatch },
		gate: func(c *Capabilities) *bool { return &c.IndicatorFieldPatch }, names: []string{"indicatorFieldPatch"},
	}
	opIndicatorPatchLegacy = operation{name: "IndicatorPatchLegacy", in: func(c Capabilities) bool { return !c.IndicatorFieldPatch }}

	opPlaybookStep = operation{
		name: "PlaybookStep", in: func(c Capabilities) bool { return c.EventID },
		gate: func(c *Capabilities) *bool { return &c.EventID }, names: []string{"event_id"},
	}
	opPlaybookStepLegacy = operation{name: "PlaybookStepLegacy", in: func(c Capabilities) bool { return c.PlaybookCompatible && !c.EventID }}
	opBundlePush         = operation{
		name: "BundlePush", in: func(c Capabilities) bool { return c.BundlePushWork },
		gate: func(c *Capabilities) *bool { return &c.BundlePushWork }, names: []string{"work_id"},
	}
	opBundlePushLegacy = operation{name: "BundlePushLegacy", in: func(c Capabilities) bool { return c.BundlePush }}
)

// has reports whether a release with these capabilities has the operation.
func (o operation) has(c Capabilities) bool { return o.in == nil || o.in(c) }

// document returns the text to send.
func (o operation) document() (string, error) {
	text, err := documents.ReadFile("operations/" + o.name + ".graphql")
	if err != nil {
		return "", fmt.Errorf("reading the document of %s: %w", o.name, err)
	}
	return string(text), nil
}

// Words returns the words of all operations' documents, among them the name of every field that is asked for. An answer that
// has others has something that nobody asked for.
func Words() []string {
	var words []string
	files, err := documents.ReadDir("operations")
	if err != nil {
		return nil // they are built in
	}
	for _, file := range files {
		text, err := documents.ReadFile("operations/" + file.Name())
		if err != nil {
			return nil
		}
		words = append(words, strings.FieldsFunc(string(text), func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })...)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// doFirst is do with the first of the operations that the platform has. What it refuses by name, whatever its version
// promises, is not asked of it again, which is logged once, and the next of the operations takes over. Variables that the
// one sent does not declare are left out. A platform that has none of them is [ErrUnsupported]. doFirst returns the
// operation that was the last one asked.
func (c *Client) doFirst(ctx context.Context, operations []operation, variables map[string]any, draftID string, answer any) (operation, error) {
	for {
		has, err := c.Capabilities(ctx)
		if err != nil {
			return operation{}, err
		}
		i := slices.IndexFunc(operations, func(o operation) bool { return o.has(has) })
		if i < 0 {
			last := operations[len(operations)-1]
			return last, &Error{Operation: last.name, Code: codeTooOld, Message: "this release does not have it"}
		}
		op := operations[i]
		document, err := op.document()
		if err != nil {
			return op, err
		}
		declared := maps.Clone(variables)
		maps.DeleteFunc(declared, func(name string, _ any) bool { return !strings.Contains(document, "$"+name+":") })
		if err = c.do(ctx, op, declared, draftID, answer); !c.withoutGate(ctx, op, err) {
			return op, err
		}
	}
}

// withoutGate takes the capability that the operation rests on away from the platform when it refused the operation for
// the lack of it. It reports whether it did.
func (c *Client) withoutGate(ctx context.Context, op operation, err error) bool {
	refusal, ok := errors.AsType[*Error](err)
	if !ok || op.gate == nil {
		return false
	}
	i := slices.IndexFunc(op.names, func(name string) bool { return slices.Contains(refusal.refused, name) })
	if i < 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !*op.gate(&c.capabilities) {
		return true // somebody else has found out meanwhile
	}
	*op.gate(&c.capabilities) = false
	if !slices.ContainsFunc(c.lacks, func(o operation) bool { return o.name == op.name }) {
		c.lacks = append(c.lacks, op)
		c.log.WarnContext(ctx, "OpenCTI does not know a part of a request, going on without it",
			slog.String("operation", op.name), slog.String("field", op.names[i]))
	}
	return true
}
