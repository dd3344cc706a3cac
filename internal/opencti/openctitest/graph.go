package openctitest

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Object is one object of the graph as the platform keeps it: an entity, a relationship or an external reference. In a
// [Graph], fields that refer to other objects (Author, From, To, Objects, ExternalReferences) hold their keys.
type Object struct {
	InternalID, StandardID string
	// StixIDs are other STIX ids that the object was sent with (x_opencti_stix_ids).
	StixIDs []string
	// Type is the platform's name: "IPv4-Addr", "Indicator", "Organization", "External-Reference"; of a relationship its
	// type, such as "based-on".
	Type string
	// Value is what the platform displays of an observable, Number an autonomous system's.
	Value  string
	Number int

	Name, Description          string
	Pattern                    string // of an indicator
	Abstract, Content          string // of a note
	URL, SourceName, Reference string // of an external reference; Reference is its external_id

	// Author is the identity of createdBy, "" for none.
	Author string
	// From and To are a relationship's ends, Objects what a note refers to.
	From, To string
	Objects  []string
	// Markings are definitions such as "TLP:AMBER", Labels values, Organizations STIX ids.
	Markings, Labels, Organizations []string
	ExternalReferences, Aliases     []string
	IndicatorTypes, NoteTypes       []string
	Creators                        []string // ids of users
	Score, Confidence               *int     // 0 to 100; observables have no confidence
	Revoked, Detection              bool
	ValidFrom, ValidUntil           time.Time
	Created, Modified               time.Time // of the STIX object
	CreatedAt, UpdatedAt            time.Time // of the platform's record
	MainObservableType              string
	Decay                           *Decay
}

// Graph is a copy of what the platform has, by keys that stay the same while an object changes.
type Graph map[string]Object

// node is an object in a store. Its references are internal ids.
type node struct {
	Object

	key   string
	given *Observable // of an observable: what the test set and the graph does not hold
}

// isRelationship reports whether the object connects two others.
func (o *Object) isRelationship() bool { return o.From != "" }

func (n *node) clone() *node {
	c := *n
	for _, list := range []*[]string{
		&c.StixIDs, &c.Objects, &c.Markings, &c.Labels, &c.Organizations, &c.ExternalReferences, &c.Aliases, &c.IndicatorTypes,
		&c.NoteTypes, &c.Creators,
	} {
		*list = slices.Clone(*list)
	}
	for _, number := range []**int{&c.Score, &c.Confidence} {
		if *number != nil {
			*number = new(**number)
		}
	}
	if n.Decay != nil {
		decay := *n.Decay
		decay.History = slices.Clone(decay.History)
		c.Decay = &decay
	}
	return &c
}

// store is the graph outside of drafts, or what one draft has of its own.
type store struct {
	nodes map[string]*node    // by internal id
	ids   map[string]string   // internal ids by every id that an object is found by
	links map[string][]string // the relationships' internal ids by those of their ends
}

func newStore() *store {
	return &store{nodes: map[string]*node{}, ids: map[string]string{}, links: map[string][]string{}}
}

// graphs are the store outside of drafts, under "", and those of the drafts. A draft shows its own objects and, for the
// rest, those outside; an object is copied into the draft when it is changed there.
type graphs map[string]*store

func (g graphs) store(draft string) *store {
	if g[draft] == nil {
		g[draft] = newStore()
	}
	return g[draft]
}

// lookup returns the object with that id (internal, standard, or another STIX id), nil when there is none.
func (g graphs) lookup(draft, id string) *node {
	own := g[draft]
	if own != nil {
		if n := own.nodes[own.ids[id]]; n != nil {
			return n
		}
	}
	live := g.store("")
	n := live.nodes[live.ids[id]]
	if n != nil && own != nil && own.nodes[n.InternalID] != nil {
		return own.nodes[n.InternalID]
	}
	return n
}

// edit returns the object to change in the draft, a copy when it is from outside.
func (g graphs) edit(draft string, n *node) *node {
	s := g.store(draft)
	if s.nodes[n.InternalID] == n {
		return n
	}
	n = n.clone()
	s.put(n)
	return n
}

// put adds the object, or finds it by its present ids from now on. Ids that an object loses are forgotten by forget before.
func (s *store) put(n *node) {
	if s.nodes[n.InternalID] == nil && n.isRelationship() {
		for _, end := range []string{n.From, n.To} {
			s.links[end] = append(s.links[end], n.InternalID)
		}
	}
	s.nodes[n.InternalID] = n
	for _, id := range n.allIDs() {
		s.ids[id] = n.InternalID
	}
}

// allIDs returns the ids that the object is found by, including those that make relationships, references and countries unique.
func (n *node) allIDs() []string {
	ids := append([]string{n.InternalID, n.StandardID}, n.StixIDs...)
	switch {
	case n.isRelationship():
		ids = append(ids, endsID(n.Type, n.From, n.To))
	case n.Type == typeReference:
		ids = append(ids, referenceID(n.URL, n.SourceName, n.Reference))
	case n.Type == typeCountry:
		for _, name := range append([]string{n.Name}, n.Aliases...) {
			ids = append(ids, countryID(name))
		}
	}
	return ids
}

func (s *store) forget(n *node) {
	for _, id := range n.allIDs() {
		if s.ids[id] == n.InternalID {
			delete(s.ids, id)
		}
	}
}

func (s *store) remove(n *node) {
	s.forget(n)
	for _, end := range []string{n.From, n.To} {
		s.links[end] = slices.DeleteFunc(s.links[end], func(id string) bool { return id == n.InternalID })
	}
	delete(s.nodes, n.InternalID)
}

// relationships returns those that the object is an end of, in the order that they came.
func (g graphs) relationships(draft, internalID string) []*node {
	var found []*node
	seen := map[string]bool{}
	for _, s := range []*store{g.store(""), g[draft]} {
		if s == nil {
			continue
		}
		for _, id := range s.links[internalID] {
			if n := g.lookup(draft, id); n != nil && !seen[id] {
				seen[id] = true
				found = append(found, n)
			}
		}
	}
	return found
}

// all returns what the draft shows, in no order. An object that the draft has made hides one from outside with the same
// standard id.
func (g graphs) all(draft string) []*node {
	shown := maps.Clone(g.store("").nodes)
	if own := g[draft]; draft != "" && own != nil {
		maps.DeleteFunc(shown, func(_ string, n *node) bool { return own.ids[n.StandardID] != "" })
		maps.Copy(shown, own.nodes)
	}
	return slices.Collect(maps.Values(shown))
}

const (
	typeReference = "External-Reference"
	typeCountry   = "Country"
	typeIndicator = "Indicator"
	typeNote      = "Note"
	typeSystem    = "Autonomous-System"
)

func endsID(kind, from, to string) string { return "ends " + kind + " " + from + " " + to }

// referenceID is what makes two external references one: the URL, else source and id.
func referenceID(url, source, id string) string {
	return "reference " + cmp.Or(url, source+" "+id)
}

func countryID(name string) string { return "country " + strings.ToLower(strings.TrimSpace(name)) }

// internalID is the platform's internal id of an object.
func internalID(draft, standardID string) string {
	return uuid.NewSHA1(stixNamespace, []byte("internal "+draft+standardID)).String()
}

// newKey returns the key of a new object, for people to read.
func newKey(o *Object, sent string, name func(internalID string) string) string {
	switch {
	case o.isRelationship():
		return name(o.From) + " " + o.Type + " " + name(o.To)
	case o.Type == typeReference:
		return o.Type + " " + cmp.Or(o.URL, o.SourceName+" "+o.Reference)
	case o.Type == typeNote:
		return o.Type + " " + sent
	case o.Type == typeSystem:
		return o.Type + " " + strconv.Itoa(o.Number)
	default:
		return o.Type + " " + cmp.Or(o.Pattern, o.Value, o.Name, sent)
	}
}

// Graph returns a copy of everything outside of drafts.
func (p *Platform) Graph() Graph { return p.GraphInDraft("") }

// GraphInDraft returns a copy of everything that a draft shows.
func (p *Platform) GraphInDraft(draftID string) Graph {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := Graph{}
	name := func(internalID string) string { return p.keyOf(draftID, internalID) }
	names := func(ids []string) {
		for i, id := range ids {
			ids[i] = name(id)
		}
		slices.Sort(ids)
	}
	for _, n := range p.graphs.all(draftID) {
		o := n.clone().Object
		o.Author, o.From, o.To = name(o.Author), name(o.From), name(o.To)
		names(o.Objects)
		names(o.ExternalReferences)
		g[n.key] = o
	}
	return g
}

func (p *Platform) keyOf(draft, internalID string) string {
	if n := p.graphs.lookup(draft, internalID); n != nil {
		return n.key
	}
	return internalID
}

// Object returns one object outside of drafts by any of its ids, as [Platform.Graph] does.
func (p *Platform) Object(id string) (Object, bool) {
	p.mu.Lock()
	n := p.graphs.lookup("", id)
	p.mu.Unlock()
	if n == nil {
		return Object{}, false
	}
	o, ok := p.Graph()[n.key]
	return o, ok
}

// DeleteObject deletes an object outside of drafts by any of its ids, as a user can, and the relationships that end in it.
// Drafts lose what they have of both.
func (p *Platform) DeleteObject(id string) {
	p.set(func() {
		n := p.graphs.lookup("", id)
		if n == nil {
			return
		}
		for _, s := range p.graphs {
			s.drop(n.InternalID)
		}
	})
}

// drop removes an object, and what refers to it.
func (s *store) drop(internalID string) {
	for _, id := range slices.Clone(s.links[internalID]) {
		s.remove(s.nodes[id])
	}
	for _, other := range s.nodes {
		is := func(ref string) bool { return ref == internalID }
		other.Objects = slices.DeleteFunc(other.Objects, is)
		other.ExternalReferences = slices.DeleteFunc(other.ExternalReferences, is)
		if is(other.Author) {
			other.Author = ""
		}
	}
	if n := s.nodes[internalID]; n != nil {
		s.remove(n)
	}
}

// observable returns the observable as it stands, nil when the object is none.
func (n *node) observable() *Observable {
	if n == nil || n.given == nil {
		return nil
	}
	o := *n.given
	o.Score, o.Markings, o.Labels, o.Organizations = n.Score, n.Markings, n.Labels, n.Organizations
	o.standardID, o.internalID, o.updatedAt = n.StandardID, n.InternalID, n.UpdatedAt
	return &o
}
