package stix

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// read fills the splitter's objects from the text of a bundle.
func (s *splitter) read(bundle []byte) error {
	if !json.Valid(bundle) {
		var v any
		return fmt.Errorf("not JSON: %w", json.Unmarshal(bundle, &v))
	}
	if !utf8.Valid(bundle) {
		return errors.New("not UTF-8")
	}
	text := strings.Trim(string(bundle), " \t\r\n")
	if text[0] != '{' {
		return fmt.Errorf("found %s, expected an object", kindOf(text))
	}
	id, objects := "null", "null"
	for key, value := range members(text) {
		switch name, _ := unquote(key); name {
		case "id":
			id = value
		case "objects":
			objects = value
		}
	}
	switch {
	case id == "null":
		id = `"` + uuidOf(append([]byte(idNamespace), text...), "bundle") + `"`
	case id[0] != '"':
		return fmt.Errorf("id: found %s, expected a string", kindOf(id))
	case len(id) > maxBundleID:
		return fmt.Errorf("id: found %d bytes, expected at most %d", len(id), maxBundleID)
	}
	s.id = id
	if objects[0] != '[' {
		return fmt.Errorf("objects: found %s, expected an array", kindOf(objects))
	}
	for value := range elements(objects) {
		o, err := readObject(value)
		if err != nil {
			return fmt.Errorf("object %d: %w", len(s.objects), err)
		}
		s.objects = append(s.objects, o)
		s.byName[o.id] = o
	}
	// An internal id names what its object's id names, and hides no id.
	for _, o := range s.objects {
		for _, alias := range o.internalIDs() {
			if known := s.byName[alias]; known == nil || known.id != alias {
				s.byName[alias] = s.byName[o.id]
			}
		}
	}
	return nil
}

func readObject(text string) (*object, error) {
	if text[0] != '{' {
		return nil, fmt.Errorf("found %s, expected an object", kindOf(text))
	}
	o := &object{members: readMembers(text)}
	for i := range o.members {
		m := &o.members[i]
		var err error
		switch {
		case m.name == "id":
			o.id, err = readString(m.value)
		case m.name == "type":
			o.kind, err = readString(m.value)
		case m.value == "null":
		case strings.HasSuffix(m.name, "_refs"):
			m.refs, err = readRefs(m.value)
			m.had = len(m.refs)
		case strings.HasSuffix(m.name, "_ref"):
			m.ref, err = readString(m.value)
		case m.name == "external_references":
			m.value, err = dropDoubles(m.value, externalReferenceKey)
		case m.name == "kill_chain_phases":
			m.value, err = dropDoubles(m.value, killChainPhaseKey)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if o.id == "" {
		return nil, errors.New("id: missing")
	}
	if o.kind == "" {
		return nil, errors.New("type: missing")
	}
	return o, nil
}

// readMembers returns an object's members. Of members with one name the last counts, at the place of the first.
func readMembers(text string) []member {
	const few = 32 // up to here looking through them is faster than a map
	list := make([]member, 0, 16)
	var places map[string]int
	for key, value := range members(text) {
		name, _ := unquote(key)
		var place int
		var known bool
		if places != nil {
			place, known = places[name]
		} else {
			place = slices.IndexFunc(list, func(m member) bool { return m.name == name })
			known = place >= 0
		}
		if known {
			list[place].value = value
			continue
		}
		list = append(list, member{key: key, name: name, value: value})
		if places != nil {
			places[name] = len(list) - 1
		} else if len(list) == few {
			places = make(map[string]int, 2*few)
			for i, m := range list {
				places[m.name] = i
			}
		}
	}
	return list
}

func readString(text string) (string, error) {
	s, ok := unquote(text)
	switch {
	case !ok:
		return "", fmt.Errorf("found %s, expected a string", kindOf(text))
	case s == "":
		return "", errors.New("found an empty string")
	}
	return s, nil
}

func readRefs(text string) ([]reference, error) {
	if text[0] != '[' {
		return nil, fmt.Errorf("found %s, expected an array", kindOf(text))
	}
	refs := []reference{}
	for value := range elements(text) {
		id, err := readString(value)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", len(refs), err)
		}
		refs = append(refs, reference{text: value, id: id})
	}
	return refs, nil
}

// internalIDs returns what else the platform may call the object.
func (o *object) internalIDs() []string {
	var ids []string
	for _, m := range o.members {
		switch m.name {
		case "x_opencti_id":
			if id, _ := unquote(m.value); id != "" {
				ids = append(ids, id)
			}
		case "extensions":
			if id, _ := unquote(property(property(m.value, openCTIExtension), "id")); id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// property returns the value under a name in the object that text holds, or "".
func property(text, name string) string {
	found := ""
	if text == "" || text[0] != '{' {
		return found
	}
	for key, value := range members(text) {
		if k, _ := unquote(key); k == name {
			found = value
		}
	}
	return found
}

// dropDoubles returns the JSON array without the objects that have no key, or the key of an earlier one. An array that
// keeps all its elements keeps its bytes.
func dropDoubles(text string, key func(object string) (string, bool)) (string, error) {
	if text[0] != '[' {
		return "", fmt.Errorf("found %s, expected an array", kindOf(text))
	}
	seen := map[string]struct{}{}
	var kept []string
	count := 0
	for value := range elements(text) {
		if value[0] != '{' {
			return "", fmt.Errorf("element %d: found %s, expected an object", count, kindOf(value))
		}
		count++
		k, ok := key(value)
		if _, double := seen[k]; ok && !double {
			seen[k] = struct{}{}
			kept = append(kept, value)
		}
	}
	if len(kept) == count {
		return text, nil
	}
	return "[" + strings.Join(kept, ",") + "]", nil
}

// externalReferenceKey is what OpenCTI knows an external reference by: its url, else its source with the id there.
func externalReferenceKey(text string) (string, bool) {
	if url := identifying(text, "url"); url != "null" {
		return "url " + url, true
	}
	source, id := identifying(text, "source_name"), identifying(text, "external_id")
	return "source " + source + " " + id, source != "null" && id != "null"
}

func killChainPhaseKey(text string) (string, bool) {
	return identifying(text, "kill_chain_name") + " " + identifying(text, "phase_name"), true
}

// identifying returns a property in one form however it was escaped, "null" where it is missing.
func identifying(text, name string) string {
	value := property(text, name)
	if s, ok := unquote(value); ok {
		return string(appendCanonical(nil, s))
	}
	if value == "" {
		return "null"
	}
	return value
}

// importedType reports whether OpenCTI imports objects with such an id. An id that is no STIX id is the platform's own,
// and always passes.
func importedType(id string) bool {
	objectType, _, isSTIX := strings.Cut(id, "--")
	if !isSTIX {
		return true
	}
	switch objectType {
	case "label", "vocabulary", "kill-chain-phase",
		"attack-pattern", "campaign", "case-incident", "x-opencti-case-incident", "case-rfi", "x-opencti-case-rfi",
		"case-rft", "x-opencti-case-rft", "channel", "course-of-action", "data-component", "x-mitre-data-component",
		"data-source", "x-mitre-data-source", "event", "external-reference", "feedback", "x-opencti-feedback", "grouping",
		"identity", "incident", "indicator", "infrastructure", "intrusion-set", "language", "location", "malware",
		"malware-analysis", "marking-definition", "narrative", "note", "observed-data", "opinion", "report", "task",
		"x-opencti-task", "threat-actor", "tool", "vulnerability", "security-coverage",
		"relationship", "sighting", "pir":
		return true
	case "user", "group", "capability", "role", "settings", "notification", "work", "trash", "draftworkspace", "playbook",
		"deleteoperation", "workspace", "publicdashboard":
		return true
	case "autonomous-system", "directory", "domain-name", "email-addr", "email-message", "email-mime-part-type", "artifact",
		"file", "x509-certificate", "ipv4-addr", "ipv6-addr", "mac-addr", "mutex", "network-traffic", "process", "software",
		"url", "user-account", "windows-registry-key", "windows-registry-value-type", "hostname", "cryptographic-key",
		"cryptocurrency-wallet", "text", "user-agent", "bank-account", "phone-number", "credential", "tracking-number",
		"payment-card", "media-content", "simple-observable", "persona", "ssh-key", "ai-prompt", "imei", "iccid", "imsi":
		return true
	default:
		return false
	}
}
