package opencti

import (
	"bytes"
	"encoding/json"
)

// Entity is what the platform knows of an observable, as far as we use it. Its keys are short: it travels between hops.
type Entity struct {
	// ID is the platform's internal one, StandardID the STIX id: always this one is published, never a computed one.
	ID         string `json:"id,omitempty"`
	StandardID string `json:"standard,omitempty"`
	// Type is the platform's name of the type, such as "IPv4-Addr" or "StixFile".
	Type string `json:"type,omitempty"`
	// Value is what the platform displays: the value, for files a hash or a name. For an account, which may be displayed by
	// its password, it is the login, or the user id, or nothing.
	Value string `json:"value,omitempty"`
	// Account is set for a User-Account.
	Account *Account `json:"account,omitempty"`
	// Artifact is set for an Artifact.
	Artifact *Artifact `json:"artifact,omitempty"`
	// Score is 0 to 100, nil when the entity has none.
	Score *int `json:"score,omitempty"`
	// Author is the identity that the platform shows as its author, nil where there is none.
	Author *Reference `json:"author,omitempty"`
	// CreatedAt is when the platform first had it, RFC 3339, as the platform writes it.
	CreatedAt string    `json:"created,omitempty"`
	Markings  []Marking `json:"markings,omitempty"`
	Labels    []Label   `json:"labels,omitempty"`
	// Organizations are the STIX ids of those the entity is shared with (granted_refs).
	Organizations []string `json:"orgs,omitempty"`
}

// Reference names an object of the platform: by its internal id, and by its STIX id.
type Reference struct {
	ID         string `json:"id,omitempty"`
	StandardID string `json:"standard,omitempty"`
}

// Account is what identifies a User-Account. It has no password: see [Client.Credential].
type Account struct {
	Login  string `json:"login,omitempty"`
	Type   string `json:"type,omitempty"`
	UserID string `json:"user_id,omitempty"`
}

// Artifact is what identifies an Artifact, and what the platform keeps of it.
type Artifact struct {
	URL      string            `json:"url,omitempty"`
	MIMEType string            `json:"mime,omitempty"`
	Hashes   map[string]string `json:"hashes,omitempty"` // in hexadecimal, by algorithm: "MD5", "SHA-256" …
	Files    []File            `json:"files,omitempty"`
}

// File is a file in the platform's storage; [Client.Download] reads it.
type File struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	Size int64  `json:"size,omitempty"` // bytes; 0 where the platform does not say
}

// Marking is a marking definition.
type Marking struct {
	// ID is the STIX id.
	ID string `json:"id,omitempty"`
	// Type is the family, such as "TLP", and Definition the marking, such as "TLP:AMBER".
	Type       string `json:"type,omitempty"`
	Definition string `json:"def,omitempty"`
	// Order ranks markings within a family, the strictest highest.
	Order int `json:"order,omitempty"`
}

// refs reads a list of references in both of its shapes: a plain list, or the connection that releases before 5.12.24
// have.
type refs[T any] []T

func (r *refs[T]) UnmarshalJSON(text []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return json.Unmarshal(text, (*[]T)(r))
	}
	var connection struct {
		Edges []struct {
			Node T `json:"node"`
		} `json:"edges"`
	}
	if err := json.Unmarshal(text, &connection); err != nil {
		return err
	}
	*r = make(refs[T], 0, len(connection.Edges))
	for _, edge := range connection.Edges {
		*r = append(*r, edge.Node)
	}
	return nil
}
