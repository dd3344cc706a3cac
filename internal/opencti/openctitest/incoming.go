package openctitest

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

// incoming is a STIX object as the platform reads it: the node that it becomes if it is new.
type incoming struct {
	node

	sent       string   // its STIX id
	found      []string // the ids that an existing object is found by
	confidence int      // the one that applies: capped by the user's, 100 when the object has none
	identified bool     // an observable has what identifies it
}

func decodeObject(stixObject any) (map[string]any, error) {
	body, err := json.Marshal(stixObject)
	if err != nil {
		return nil, err
	}
	var o map[string]any
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, err
	}
	if text(o["id"]) == "" || text(o["type"]) == "" {
		return nil, errors.New("the object has no id or no type")
	}
	return o, nil
}

// property looks a property up at the top, with OpenCTI's prefix or without, and in both extensions.
func property(o map[string]any, name string) any {
	for _, key := range []string{name, "x_opencti_" + name} {
		if value := o[key]; value != nil {
			return value
		}
	}
	extensions, _ := o["extensions"].(map[string]any)
	for _, id := range []string{extensionObservable, extensionOpenCTI} {
		extension, _ := extensions[id].(map[string]any)
		if value := extension[name]; value != nil {
			return value
		}
	}
	return nil
}

func texts(value any) []string {
	list, _ := value.([]any)
	var all []string
	for _, entry := range list {
		if s := text(entry); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func date(value any) time.Time {
	at, err := time.Parse(time.RFC3339, text(value))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// read reads a STIX object. The type of what is no node of the graph is "". The lock is held.
func (p *Platform) read(s Source, o map[string]any) (*incoming, string) {
	in := &incoming{sent: text(o["id"]), confidence: s.MaxConfidence}
	if c, ok := o["confidence"].(float64); ok {
		in.confidence = min(in.confidence, int(c))
	}
	in.Name, in.Description = text(o["name"]), text(property(o, "description"))
	in.Created = date(o["created"])
	var problem string
	if in.Score, problem = score(o); problem != "" {
		return nil, problem
	}
	labels, _ := first(o, "labels", "x_opencti_labels")
	in.Labels = texts(labels)
	in.Organizations = texts(property(o, "granted_refs"))
	for _, id := range texts(o["object_marking_refs"]) {
		if definition := p.markings[id]; definition != "" {
			in.Markings = append(in.Markings, definition)
		}
	}
	internal := func(id string) string {
		if n := p.graphs.lookup(s.DraftID, id); n != nil {
			return n.InternalID
		}
		return ""
	}
	in.Author = internal(text(property(o, "created_by_ref")))
	switch kind := text(o["type"]); kind {
	case "label", "marking-definition", "extension-definition":
		return in, ""
	case "indicator":
		p.readIndicator(s, in, o)
	case "note":
		in.Type, in.Abstract, in.Content, in.NoteTypes = typeNote, text(o["abstract"]), text(o["content"]), texts(o["note_types"])
		for _, id := range texts(o["object_refs"]) {
			in.Objects = append(in.Objects, internal(id))
		}
		in.StandardID = standard("note", map[string]any{"content": strings.TrimSpace(in.Content), "created": text(o["created"])})
	case "identity":
		class := strings.ToLower(text(o["identity_class"]))
		in.Type = map[string]string{"individual": "Individual", "class": "Sector", "system": "System"}[class]
		if in.Type == "" {
			in.Type = "Organization"
		}
		in.StandardID = standard("identity", map[string]any{"identity_class": class, "name": strings.ToLower(strings.TrimSpace(in.Name))})
	case "location":
		in.Type, in.Aliases = text(property(o, "location_type")), texts(property(o, "aliases"))
		if in.Type == "" {
			in.Type = typeCountry
		}
		in.StandardID = standard("location", map[string]any{
			"name": strings.ToLower(strings.TrimSpace(in.Name)), "x_opencti_location_type": in.Type,
		})
		if in.Type == typeCountry {
			in.found = append(in.found, countryID(in.Name))
		}
	case "relationship":
		in.Type, in.From, in.To = text(o["relationship_type"]), internal(text(o["source_ref"])), internal(text(o["target_ref"]))
		in.StandardID = standard("relationship", map[string]any{
			"relationship_type": in.Type, "source_ref": p.standardOf(s.DraftID, in.From), "target_ref": p.standardOf(s.DraftID, in.To),
		})
		in.found = append(in.found, endsID(in.Type, in.From, in.To))
	default:
		p.readObservable(in, kind, o)
	}
	in.found = append(in.found, in.StandardID, in.sent)
	if in.sent != in.StandardID {
		in.StixIDs = []string{in.sent}
	}
	if list, ok := property(o, "external_references").([]any); ok {
		for _, entry := range list {
			if fields, ok := entry.(map[string]any); ok {
				if id := p.reference(s, fields); id != "" {
					in.ExternalReferences = append(in.ExternalReferences, id)
				}
			}
		}
	}
	return in, ""
}

func (p *Platform) standardOf(draft, internalID string) string {
	if n := p.graphs.lookup(draft, internalID); n != nil {
		return n.StandardID
	}
	return ""
}

// readIndicator reads an indicator and computes what the platform does of one that comes in: score, validity, decay. Its
// revoked follows from valid_until; one that is sent as revoked without a valid_until is valid for one second.
func (p *Platform) readIndicator(s Source, in *incoming, o map[string]any) {
	in.Type, in.Pattern, in.IndicatorTypes = typeIndicator, text(o["pattern"]), texts(o["indicator_types"])
	in.MainObservableType = text(property(o, "main_observable_type"))
	in.Detection = property(o, "detection") == true
	in.StandardID = in.sent
	if in.Pattern != "" {
		in.StandardID = standard("indicator", map[string]any{"pattern": strings.TrimSpace(in.Pattern)})
	}
	if in.Score == nil {
		in.Score = new(defaultScore)
	}
	now := time.Now().UTC()
	if in.ValidFrom = date(o["valid_from"]); in.ValidFrom.IsZero() {
		if in.ValidFrom = in.Created; in.ValidFrom.IsZero() {
			in.ValidFrom = now
		}
	}
	switch in.ValidUntil = date(o["valid_until"]); {
	case !in.ValidUntil.IsZero():
	case o["revoked"] == true:
		in.ValidUntil = in.ValidFrom.Add(time.Second)
	default:
		in.ValidUntil = in.ValidFrom.Add(decayLifetime)
	}
	in.Revoked = !in.ValidUntil.After(now)
	if !in.Revoked && p.rules.decays {
		in.Decay, in.ValidUntil = newDecay(*in.Score, in.ValidFrom, s.UserID)
	}
}

// observableTypes are the platform's names of STIX types that do not follow from them.
var observableTypes = map[string]string{"ipv4-addr": "IPv4-Addr", "ipv6-addr": "IPv6-Addr", "file": "StixFile"}

// readObservable reads an observable, and what identifies it.
func (p *Platform) readObservable(in *incoming, kind string, o map[string]any) {
	in.Type = observableTypes[kind]
	if in.Type == "" {
		words := strings.Split(kind, "-")
		for i, word := range words {
			if word != "" {
				words[i] = strings.ToUpper(word[:1]) + word[1:]
			}
		}
		in.Type = strings.Join(words, "-")
	}
	in.Value = text(o["value"])
	if p.rules.lowercases && (in.Type == "Domain-Name" || in.Type == "Email-Addr") {
		in.Value = strings.ToLower(in.Value)
	}
	in.given = &Observable{Type: in.Type, Value: in.Value}
	contributing := map[string]any{"value": in.Value}
	hashes, _ := o["hashes"].(map[string]any)
	switch in.Type {
	case typeSystem:
		number, ok := o["number"].(float64)
		in.Number, in.identified = int(number), ok
		in.Value = strconv.Itoa(in.Number)
		contributing = map[string]any{"number": in.Number}
	case "User-Account":
		account := Account{Login: text(o["account_login"]), Type: text(o["account_type"]), UserID: text(o["user_id"])}
		in.given.Account = &account
		in.Value, contributing = account.identity()
		in.identified = len(contributing) > 0
	case "Artifact", "StixFile":
		sha256 := text(hashes["SHA-256"])
		in.given.Artifact = &Artifact{SHA256: sha256}
		in.Value, contributing = sha256, map[string]any{"hashes": map[string]any{"SHA-256": sha256}}
		in.identified = len(hashes) > 0 || text(o["url"]) != "" || in.Name != ""
	default:
		in.identified = in.Value != ""
	}
	in.given.Value = in.Value
	in.StandardID = standard(kind, contributing)
}
