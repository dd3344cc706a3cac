package stix

import (
	"fmt"
	"time"
)

// Object is what a [Bundle] holds: one of this package's object structs.
type Object interface {
	header() Header
}

// Header is what every object begins with. The constructors fill it.
type Header struct {
	Type        string `json:"type"`
	SpecVersion string `json:"spec_version"`
	ID          string `json:"id"`
}

func (h Header) header() Header { return h }

func newHeader(objectType, id string) Header {
	return Header{Type: objectType, SpecVersion: "2.1", ID: id}
}

// Provenance says who asserts an object, when, and how surely. Observables have none of it: they are facts.
type Provenance struct {
	CreatedByRef string `json:"created_by_ref,omitempty"`
	// Created and Modified are texts as [Timestamp] makes them.
	Created  string `json:"created"`
	Modified string `json:"modified"`
	// Confidence is 0 to 100, or nil to leave it to OpenCTI, which caps it by its user's own limit.
	Confidence *int `json:"confidence,omitempty"`
}

func newProvenance(at time.Time) Provenance {
	now := Timestamp(at)
	return Provenance{Created: now, Modified: now}
}

// Sharing says who may see an object. OpenCTI adds to what it has; it takes nothing away.
type Sharing struct {
	// ObjectMarkingRefs are the ids of markings, see [TLP].
	ObjectMarkingRefs []string `json:"object_marking_refs,omitempty"`
	// GrantedRefs are the ids of the organisations that the object is shared with.
	GrantedRefs []string `json:"x_opencti_granted_refs,omitempty"`
}

// ExternalReference links an object to a page outside of OpenCTI. OpenCTI keeps one reference per URL and updates its
// description.
type ExternalReference struct {
	SourceName  string `json:"source_name"`
	Description string `json:"description,omitempty"`
	URL         string `json:"url,omitempty"`
}

// Identity is a person or organisation; here, the author of the others.
type Identity struct {
	Header
	Provenance
	Name          string `json:"name"`
	Description   string `json:"description,omitempty"`
	IdentityClass string `json:"identity_class,omitempty"`
	Sharing
}

// NewIdentity returns an identity of that name and class ("organization").
func NewIdentity(name, class string, at time.Time) Identity {
	return Identity{
		Header:     newHeader("identity", IdentityID(name, class)),
		Provenance: newProvenance(at),
		Name:       name, IdentityClass: class,
	}
}

// Indicator is a pattern by which sensors recognise what was judged, and the judgement.
type Indicator struct {
	Header
	Provenance
	Name           string   `json:"name,omitempty"`
	Description    string   `json:"description,omitempty"`
	IndicatorTypes []string `json:"indicator_types,omitempty"`
	Pattern        string   `json:"pattern"`
	PatternType    string   `json:"pattern_type"`
	PatternVersion string   `json:"pattern_version,omitempty"`
	ValidFrom      string   `json:"valid_from"`
	ValidUntil     string   `json:"valid_until,omitempty"`
	// Revoked says that the indicator is not valid any more. False is left out: it does not restore a revoked indicator.
	Revoked            bool                `json:"revoked,omitempty"`
	Labels             []string            `json:"labels,omitempty"`
	ExternalReferences []ExternalReference `json:"external_references,omitempty"`
	// Score is 0 to 100; OpenCTI makes 50 of nil.
	Score *int `json:"x_opencti_score,omitempty"`
	// MainObservableType is an [ObservableType]'s Name.
	MainObservableType string `json:"x_opencti_main_observable_type,omitempty"`
	// Detection says whether to hand the indicator to sensors; nil leaves what an analyst may have set.
	Detection *bool `json:"x_opencti_detection,omitempty"`
	Sharing
}

// NewIndicator returns an indicator of a STIX pattern, see [Pattern], valid from at on.
func NewIndicator(pattern string, at time.Time) Indicator {
	return Indicator{
		Header:     newHeader("indicator", IndicatorID(pattern)),
		Provenance: newProvenance(at),
		Pattern:    pattern, PatternType: "stix", PatternVersion: "2.1",
		ValidFrom: Timestamp(at),
	}
}

// Note is text about other objects, in Markdown.
type Note struct {
	Header
	Provenance
	Abstract string `json:"abstract,omitempty"`
	Content  string `json:"content"`
	// NoteTypes are OpenCTI's, from its open vocabulary note_types_ov: "external", "internal" …
	NoteTypes  []string `json:"note_types,omitempty"`
	ObjectRefs []string `json:"object_refs"`
	Sharing
}

// NewNote returns a note of that id (see [NoteID]) on the objects with the ids refs, of which there must be at least one.
// It was modified at at. created is when the note was first written, as OpenCTI has it; "" means at. A note is never
// modified before it was created (STIX 2.1, section 3.2): modified is then created.
func NewNote(id, content, created string, at time.Time, refs ...string) Note {
	n := Note{
		Header:     newHeader("note", id),
		Provenance: newProvenance(at),
		Content:    content, ObjectRefs: refs,
	}
	if created != "" {
		n.Created = created
		if since, err := time.Parse(time.RFC3339, created); err == nil && since.After(at) {
			n.Modified = created
		}
	}
	return n
}

// Location is a place; here, a country.
type Location struct {
	Header
	Provenance
	Name    string `json:"name"`
	Country string `json:"country,omitempty"`
	// LocationType is OpenCTI's name of the type ("Country"), and Aliases are names that it knows the place by as well.
	LocationType string   `json:"x_opencti_location_type"`
	Aliases      []string `json:"x_opencti_aliases,omitempty"`
	Sharing
}

// NewCountry returns the country of that name in English; code is ISO 3166's of two letters.
func NewCountry(name, code string, at time.Time) Location {
	const country = "Country"
	return Location{
		Header:     newHeader("location", LocationID(name, country)),
		Provenance: newProvenance(at),
		Name:       name, Country: code, LocationType: country, Aliases: []string{code},
	}
}

// Relationship joins two objects.
type Relationship struct {
	Header
	Provenance
	RelationshipType string `json:"relationship_type"`
	Description      string `json:"description,omitempty"`
	SourceRef        string `json:"source_ref"`
	TargetRef        string `json:"target_ref"`
	Sharing
}

// The relationships that the worker makes, as OpenCTI allows them between its types.
const (
	BasedOn    = "based-on"    // an indicator on an observable
	BelongsTo  = "belongs-to"  // an IP address to an autonomous system
	ResolvesTo = "resolves-to" // a domain name to an IP address
	LocatedAt  = "located-at"  // an IP address to a country
)

// NewRelationship returns a relationship of that type from one id to another.
func NewRelationship(relationshipType, source, target string, at time.Time) Relationship {
	return Relationship{
		Header:           newHeader("relationship", RelationshipID(relationshipType, source, target)),
		Provenance:       newProvenance(at),
		RelationshipType: relationshipType, SourceRef: source, TargetRef: target,
	}
}

// Observable is a thing seen, of any [ObservableType] but Autonomous-System. Of its properties those stand that identify
// it; OpenCTI needs them to find the one that it has.
type Observable struct {
	Header
	Value        string `json:"value,omitempty"`
	UserID       string `json:"user_id,omitempty"`
	AccountLogin string `json:"account_login,omitempty"`
	AccountType  string `json:"account_type,omitempty"`
	MIMEType     string `json:"mime_type,omitempty"`
	URL          string `json:"url,omitempty"`
	Hashes       Hashes `json:"hashes,omitempty"`
	// Score is 0 to 100; nil leaves the one that OpenCTI has.
	Score *int `json:"x_opencti_score,omitempty"`
	// Labels are added to those that OpenCTI has.
	Labels []string `json:"x_opencti_labels,omitempty"`
	// ExternalReferences are added to those that OpenCTI has.
	ExternalReferences []ExternalReference `json:"x_opencti_external_references,omitempty"`
	// Sharing of an observable that OpenCTI asked about is its own: a marking sent here is added to it.
	Sharing
}

// NewObservable returns the observable of OpenCTI's type ("IPv4-Addr") with that value, which means what it means to
// [Pattern]. Id is the one that OpenCTI gave it, or "" for an observable that we name first. It returns an error for a type
// that [TypeByName] does not know, and for Autonomous-System.
func NewObservable(openctiType, id, value string) (Observable, error) {
	t, ok := TypeByName(openctiType)
	if !ok || t.STIX == typeAutonomousSystem {
		return Observable{}, fmt.Errorf("making observable: found type %q, expected one of %s (but Autonomous-System)",
			openctiType, typeNames())
	}
	if id == "" {
		id = ObservableID(t.STIX, value)
	}
	o := Observable{Header: newHeader(t.STIX, id)}
	switch t.STIX {
	case typeUserAccount:
		o.AccountLogin = value
	case typeArtifact:
		o.Hashes = Hashes{"SHA-256": value}
	default:
		o.Value = value
	}
	return o, nil
}

// AutonomousSystem is a network of the Internet under one number. It has nothing but its number: OpenCTI leaves an
// existing one unchanged then, while an author, markings or a name would replace those that it has.
type AutonomousSystem struct {
	Header
	Number int `json:"number"`
}

// NewAutonomousSystem returns the autonomous system of that number, 1 to 4294967295.
func NewAutonomousSystem(number int) AutonomousSystem {
	return AutonomousSystem{Header: newHeader(typeAutonomousSystem, AutonomousSystemID(number)), Number: number}
}

// Label is a label with its colour, an object of OpenCTI's own that platforms from 6.3 on take in a bundle. Without one,
// OpenCTI makes a colour of a new label's text.
type Label struct {
	Header
	Value string `json:"value"`
	// Color is "#RRGGBB". The importer reads it without asking whether it is there.
	Color string `json:"color"`
	Sharing
}

// NewLabel returns a label of that text and colour ("#RRGGBB").
func NewLabel(value, color string) Label {
	return Label{Header: newHeader("label", LabelID(value)), Value: value, Color: color}
}

// Timestamp returns t as STIX writes a time: RFC 3339, UTC, milliseconds (what is finer is cut off), "Z".
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
