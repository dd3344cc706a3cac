package stix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// OpenCTI's additions to STIX have two forms. Connectors write properties that begin with x_opencti_. The platform itself
// writes extensions, and a playbook's components read only these. Types that STIX does not have at all (Phone-Number) have
// their score and labels at the top, under their plain names.
const (
	// openCTIExtension is the key of what OpenCTI adds to every object: its internal id, its name of the type, the
	// organisations that see the object, and what is special to a kind of SDO, an indicator's score for one.
	openCTIExtension = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba"
	// observableExtension is the key of what OpenCTI adds to observables: score, labels, author.
	observableExtension = "extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82"
)

const (
	// customPrefix begins the names of additions written as properties.
	customPrefix = "x_opencti_"
	// propertyExtension is the extension_type of an extension that adds to a type of STIX's. newType is that of one that
	// makes a type.
	propertyExtension = `"property-extension"`
	newType           = `"new-sco"`
)

// extended encodes an object with OpenCTI's additions in the platform's form.
func extended(o Object) (string, error) {
	text, err := encodeObject(o)
	if err != nil {
		return "", err
	}
	source := readMembers(text)
	kind, observable := TypeBySTIX(o.header().Type)
	var out fields
	put := func(value, extension, name string) {
		if err == nil {
			err = out.put(value, place{extension, name})
		}
	}
	for _, m := range source {
		if !strings.HasPrefix(m.name, customPrefix) {
			out = append(out, m)
		}
	}
	put(quoted(openCTIType(o)), openCTIExtension, "type")
	if observable {
		put(extensionType(kind), observableExtension, "extension_type")
	}
	for _, m := range source {
		name, custom := strings.CutPrefix(m.name, customPrefix)
		switch {
		case !custom:
		case !observable || name == "granted_refs":
			put(m.value, openCTIExtension, name)
		case kind.OpenCTIOnly:
			put(m.value, "", name)
		default:
			put(m.value, observableExtension, name)
		}
	}
	return out.text(), err
}

func extensionType(kind ObservableType) string {
	if kind.OpenCTIOnly {
		return newType
	}
	return propertyExtension
}

// openCTIType is what the platform calls an object's type: playbooks choose objects by it.
func openCTIType(o Object) string {
	switch o := o.(type) {
	case Identity:
		return capitalised(o.IdentityClass)
	case Relationship:
		return o.RelationshipType
	case Location:
		return o.LocationType
	}
	if kind, ok := TypeBySTIX(o.header().Type); ok {
		return kind.Name
	}
	return capitalised(o.header().Type)
}

func capitalised(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

func encodeObject(o Object) (string, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o); err != nil {
		return "", fmt.Errorf("encoding object %s: %w", o.header().ID, err)
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func quoted(s string) string { return string(appendCanonical(nil, s)) }

// fields is an object being changed: its members in their order, each with its bytes.
type fields []member

// place is where a property stands: in an extension, or, where that is "", at the top.
type place struct{ extension, name string }

func (p place) String() string {
	if p.extension == "" {
		return p.name
	}
	return "extensions." + p.extension + "." + p.name
}

// get returns the value of a member, "" where there is none, or null.
func (f fields) get(name string) string {
	value := ""
	for _, m := range f {
		if m.name == name && m.value != "null" {
			value = m.value
		}
	}
	return value
}

func (f *fields) set(name, value string) {
	for i := range *f {
		if (*f)[i].name == name {
			(*f)[i].value = value
			return
		}
	}
	*f = append(*f, member{key: quoted(name), name: name, value: value})
}

// at returns the value at a place, "" where there is none, or null.
func (f fields) at(p place) string {
	if p.extension == "" {
		return f.get(p.name)
	}
	if value := property(property(f.get("extensions"), p.extension), p.name); value != "null" {
		return value
	}
	return ""
}

// put sets the value at a place, and makes the extension if it is missing. It returns an error where something else is in
// the way.
func (f *fields) put(value string, p place) error {
	if p.extension == "" {
		f.set(p.name, value)
		return nil
	}
	all, err := within(f.get("extensions"))
	if err != nil {
		return fmt.Errorf("extensions: %w", err)
	}
	one, err := within(all.get(p.extension))
	if err != nil {
		return fmt.Errorf("extensions.%s: %w", p.extension, err)
	}
	if len(one) == 0 {
		one.set("extension_type", propertyExtension)
	}
	one.set(p.name, value)
	all.set(p.extension, one.text())
	f.set("extensions", all.text())
	return nil
}

// within returns the members of the object that text holds, none for "".
func within(text string) (fields, error) {
	switch {
	case text == "":
		return nil, nil
	case text[0] != '{':
		return nil, fmt.Errorf("found %s, expected an object", kindOf(text))
	default:
		return readMembers(text), nil
	}
}

// drop removes a member.
func (f *fields) drop(name string) {
	kept := (*f)[:0]
	for _, m := range *f {
		if m.name != name {
			kept = append(kept, m)
		}
	}
	*f = kept
}

// text writes the object.
func (f fields) text() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m.key)
		b.WriteByte(':')
		b.WriteString(m.value)
	}
	b.WriteByte('}')
	return b.String()
}
