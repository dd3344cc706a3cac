package stix

import "strings"

// ObservableType is a type of observable under its two names, and where such an observable keeps what identifies it.
type ObservableType struct {
	// Name is OpenCTI's: "IPv4-Addr". It is also what an indicator's x_opencti_main_observable_type takes.
	Name string
	// STIX is the "type" of the object: "ipv4-addr".
	STIX string
	// Path is the object path that a pattern compares: "ipv4-addr:value".
	Path string
	// OpenCTIOnly says that STIX does not have the type.
	OpenCTIOnly bool
}

// The names of STIX types that need rules of their own.
const (
	typeArtifact         = "artifact"
	typeAutonomousSystem = "autonomous-system"
	typeUserAccount      = "user-account"
)

// observableTypes is the table. An artifact's pattern asks for its hash as a file's, because no sensor sees artifacts.
// SHA-256 keeps its quotes: OpenCTI takes them off names that are plain identifiers only.
func observableTypes() [9]ObservableType {
	return [9]ObservableType{
		{Name: "IPv4-Addr", STIX: "ipv4-addr", Path: "ipv4-addr:value"},
		{Name: "IPv6-Addr", STIX: "ipv6-addr", Path: "ipv6-addr:value"},
		{Name: "Email-Addr", STIX: "email-addr", Path: "email-addr:value"},
		{Name: "Url", STIX: "url", Path: "url:value"},
		{Name: "Domain-Name", STIX: "domain-name", Path: "domain-name:value"},
		{Name: "Phone-Number", STIX: "phone-number", Path: "phone-number:value", OpenCTIOnly: true},
		{Name: "User-Account", STIX: typeUserAccount, Path: "user-account:account_login"},
		{Name: "Artifact", STIX: typeArtifact, Path: "file:hashes.'SHA-256'"},
		{Name: "Autonomous-System", STIX: typeAutonomousSystem, Path: "autonomous-system:number"},
	}
}

// ObservableTypes returns every type that the package knows, in a fixed order. The slice is the caller's.
func ObservableTypes() []ObservableType {
	all := observableTypes()
	return all[:]
}

// TypeByName returns the type that OpenCTI calls name ("IPv4-Addr"). Case does not count, as in a connector's scope.
func TypeByName(name string) (ObservableType, bool) {
	for _, t := range observableTypes() {
		if strings.EqualFold(t.Name, name) {
			return t, true
		}
	}
	return ObservableType{}, false
}

// TypeBySTIX returns the type whose objects have that "type" ("ipv4-addr").
func TypeBySTIX(stixType string) (ObservableType, bool) {
	for _, t := range observableTypes() {
		if t.STIX == stixType {
			return t, true
		}
	}
	return ObservableType{}, false
}

// Hashes are the hashes of an artifact or file, in hexadecimal, by algorithm: "MD5", "SHA-1", "SHA-256", "SHA-512".
// One of them makes the id: the first present of these four, in this order.
type Hashes map[string]string

// identifying returns the hash that makes the id, or two empty strings.
func (h Hashes) identifying() (algorithm, value string) {
	for _, algorithm := range [...]string{"MD5", "SHA-1", "SHA-256", "SHA-512"} {
		if value := h[algorithm]; value != "" {
			return algorithm, value
		}
	}
	return "", ""
}
