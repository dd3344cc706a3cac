package stix

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Sketch is what an object that others made says of itself, as far as it matters to those who add to its bundle. OpenCTI's
// additions are read in whichever form they are written.
type Sketch struct {
	// Type is its "type", such as "ipv4-addr".
	Type string
	// Value is what a [Pattern] of it compares: its value, the login of an account, the SHA-256 of an artifact. It is "" where
	// there is none.
	Value string
	// CreatedByRef is the id of its author, "" where it has none.
	CreatedByRef string
	// Score is 0 to 100, nil where it has none.
	Score *int
	// IndicatorTypes are those of an indicator.
	IndicatorTypes []string
	// Sharing is who may see it.
	Sharing
}

// Find reads the object with that id in a bundle. It returns an error that says where and what when there is none, or none
// that can be read.
func Find(bundle []byte, id string) (Sketch, error) {
	_, objects, err := openBundle(bundle)
	if err != nil {
		return Sketch{}, fmt.Errorf("reading bundle: %w", err)
	}
	for i, text := range objects {
		if id == "" || idOf(text) != id {
			continue
		}
		sketch, err := sketched(text)
		if err != nil {
			return Sketch{}, fmt.Errorf("reading object %d of the bundle: %w", i, err)
		}
		return sketch, nil
	}
	return Sketch{}, fmt.Errorf("reading bundle: %w %.100q", ErrNoObject, id)
}

// ErrNoObject is the error of [Find] for a bundle that does not have the object.
var ErrNoObject = errors.New("no object has the id")

// ReadSketch reads one object. It returns an error that says where and what when it cannot be read.
func ReadSketch(object []byte) (Sketch, error) {
	if !json.Valid(object) {
		return Sketch{}, errors.New("reading object: not JSON")
	}
	text := strings.Trim(string(object), " \t\r\n")
	if text[0] != '{' {
		return Sketch{}, fmt.Errorf("reading object: found %s, expected an object", kindOf(text))
	}
	sketch, err := sketched(text)
	if err != nil {
		return Sketch{}, fmt.Errorf("reading object: %w", err)
	}
	return sketch, nil
}

func sketched(text string) (Sketch, error) {
	object := fields(readMembers(text))
	var s Sketch
	var ok bool
	if s.Type, ok = unquote(object.get("type")); !ok {
		return s, errors.New("type: missing, or no string")
	}
	granted := object.get("x_opencti_granted_refs")
	if granted == "" {
		granted = object.at(place{openCTIExtension, "granted_refs"})
	}
	var err error
	if s.GrantedRefs, err = readIDs(granted); err != nil {
		return s, fmt.Errorf("granted_refs: %w", err)
	}
	if s.ObjectMarkingRefs, err = readIDs(object.get("object_marking_refs")); err != nil {
		return s, fmt.Errorf("object_marking_refs: %w", err)
	}
	if s.IndicatorTypes, err = readIDs(object.get("indicator_types")); err != nil {
		return s, fmt.Errorf("indicator_types: %w", err)
	}
	s.Value = object.identifying(s.Type)
	s.CreatedByRef, _ = unquote(object.first(authorPlaces))
	if score, err := strconv.Atoi(object.first(scorePlaces)); err == nil {
		s.Score = &score
	}
	return s, nil
}

// scorePlaces and authorPlaces are where an object can have its score and its author, in the order in which OpenCTI reads them.
var (
	scorePlaces = []place{
		{"", customPrefix + "score"}, {"", "score"}, {openCTIExtension, "score"}, {observableExtension, "score"},
	}
	authorPlaces = []place{
		{"", "created_by_ref"},
		{"", customPrefix + "created_by_ref"},
		{openCTIExtension, "created_by_ref"},
		{observableExtension, "created_by_ref"},
	}
)

// first returns the value at the first of the places that has one, "" where none has.
func (f fields) first(places []place) string {
	for _, p := range places {
		if value := f.at(p); value != "" {
			return value
		}
	}
	return ""
}

// identifying returns what a pattern compares.
func (f fields) identifying(stixType string) string {
	text := f.get("value")
	switch stixType {
	case typeUserAccount:
		text = f.get("account_login")
	case typeArtifact:
		text = property(f.get("hashes"), "SHA-256")
	}
	value, _ := unquote(text)
	return value
}

// readIDs returns the strings of a list, none for "".
func readIDs(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	refs, err := readRefs(text)
	var ids []string
	for _, ref := range refs {
		ids = append(ids, ref.id)
	}
	return ids, err
}
