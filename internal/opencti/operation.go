package opencti

import (
	"embed"
	"fmt"
)

//go:embed operations/*.graphql
var documents embed.FS

// operation is a GraphQL document: the file operations/<name>.graphql, which has one operation, of that name, and in it
// each mutation once, for the platform refuses to be asked the same twice in a document. It is valid on the releases in
// [since, before).
type operation struct{ name, since, before string }

var (
	opAbout    = operation{name: "About"}
	opRegister = operation{name: "Register"}
	// The keys are asked for only where a callback needs them.
	opRegisterForCallback = operation{name: "RegisterForCallback", since: "7.260224"}

	opPing               = operation{name: "Ping", since: "6.2.12"}
	opPingLegacy         = operation{name: "PingLegacy"}
	opObservable         = operation{name: "Observable", since: "5.12.24"}
	opObservableLegacy   = operation{name: "ObservableLegacy", before: "5.12.24"}
	opWorkReceived       = operation{name: "WorkReceived"}
	opWorkProcessed      = operation{name: "WorkProcessed"}
	opWorkExpect         = operation{name: "WorkExpect"}
	opWorkReport         = operation{name: "WorkReport"}
	opWork               = operation{name: "Work"}
	opLabelAdd           = operation{name: "LabelAdd"}
	opPlaybookStep       = operation{name: "PlaybookStep", since: "6.1.0"}
	opPlaybookStepLegacy = operation{name: "PlaybookStepLegacy", since: "5.11.0", before: "6.1.0"}
	opBundlePush         = operation{name: "BundlePush", since: "6.5.7"}
	opBundlePushLegacy   = operation{name: "BundlePushLegacy", since: "6.2.6"}
)

// document returns the text to send.
func (o operation) document() (string, error) {
	text, err := documents.ReadFile("operations/" + o.name + ".graphql")
	if err != nil {
		return "", fmt.Errorf("reading the document of %s: %w", o.name, err)
	}
	return string(text), nil
}
