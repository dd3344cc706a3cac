package stix

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// SplitOptions are what [Split] may be told.
type SplitOptions struct {
	// Cleanup removes references to objects that are not in the bundle, markings and authors too. Without it they stay,
	// for the platform to resolve.
	Cleanup bool
	// Last is the id of an object that the platform has already: its part comes last, and references to it are kept but do not
	// count as dependencies. "" is none.
	Last string
	// EventVersion is put in each part as x_opencti_event_version; "" leaves it out.
	EventVersion string
}

// SplitResult is what [Split] made of a bundle.
type SplitResult struct {
	// Parts are bundles of one object each, an object after those that it needs. Their number is the number of
	// expectations that OpenCTI has to be told.
	Parts [][]byte
	// Incompatible are the ids of objects left out: of a type that OpenCTI does not import, or a relationship or sighting
	// with an end missing.
	Incompatible []string
}

// Limits on what Split takes. Nothing that makes sense comes near them: OpenCTI's own splitter ends in Python's recursion
// limit, which is the first one.
const (
	maxReferenceDepth = 1000
	maxBundleID       = 256
	maxDependencies   = 1 << 53 // what every JSON reader takes for a whole number
)

// Split cuts a bundle into parts as the splitter of OpenCTI's Python library (6.3 and later) does, which the platform's
// workers then import in any order, each once its references are there. Per object:
//
//   - a reference (in …_ref or …_refs) to the object itself, to an unsupported type, or back to an object that led here is
//     dropped, and so are doubles in a list;
//   - external references with no url and no source_name with external_id are dropped, and doubles; doubles of kill chain
//     phases are;
//   - nb_deps is set: one, and the nb_deps of all that it refers to. The parts are in that order.
//
// Of objects with one id the last counts. All that is not changed keeps its order and its bytes. A bundle without id gets
// one made of its text, so that equal bundles have equal parts. An object that another names by its OpenCTI-internal id is
// the same object, and comes once (there the Python library makes two parts of it).
//
// Split takes any input. It returns an error that says where and what for anything but a bundle of objects that have an id
// and a type and references that are strings.
func Split(bundle []byte, opts SplitOptions) (SplitResult, error) {
	s := splitter{opts: opts, byName: map[string]*object{}, links: map[link]struct{}{}}
	if err := s.read(bundle); err != nil {
		return SplitResult{}, fmt.Errorf("reading bundle: %w", err)
	}
	for _, o := range s.objects {
		if _, err := s.enlist(s.byName[o.id], true); err != nil {
			return SplitResult{}, fmt.Errorf("splitting bundle: %w", err)
		}
	}
	slices.SortStableFunc(s.kept, func(a, b *object) int { return cmp.Compare(s.rank(a), s.rank(b)) })
	result := SplitResult{Parts: make([][]byte, 0, len(s.kept)), Incompatible: s.incompatible}
	for _, o := range s.kept {
		result.Parts = append(result.Parts, s.part(o))
	}
	return result, nil
}

// isLast reports whether the object's part comes after all others.
func (s *splitter) isLast(o *object) bool { return s.opts.Last != "" && o.id == s.opts.Last }

// rank is what the parts are sorted by.
func (s *splitter) rank(o *object) int64 {
	if s.isLast(o) {
		return maxDependencies + 1
	}
	return o.deps
}

type splitter struct {
	opts         SplitOptions
	id           string // the bundle's, as a JSON string
	objects      []*object
	byName       map[string]*object // by id, and by the platform's internal ids
	links        map[link]struct{}
	depth        int
	kept         []*object
	incompatible []string
}

// link is a reference that was kept.
type link struct{ from, to *object }

// object is an object of the bundle, and what is known of it so far.
type object struct {
	id, kind string
	members  []member
	deps     int64
	done     bool
	// onPath says that references are being followed through the object, and did not start at it.
	onPath bool
}

// member is one property.
type member struct {
	key   string // in its quotes
	name  string
	value string // JSON
	// ref is what a …_ref says, refs what a …_refs does; a list that changed has fewer refs than it had.
	ref  string
	refs []reference
	had  int
}

type reference struct {
	text string // in its quotes
	id   string
}

// enlist counts what o needs, drops what must not be referred to, and puts o behind all that it needs. The order of things
// is the Python library's: while references are followed from root around a cycle back to it, root is looked at once more,
// with the lists as far as they have come.
func (s *splitter) enlist(o *object, root bool) (int64, error) {
	if o.done {
		return o.deps, nil
	}
	if s.depth++; s.depth > maxReferenceDepth {
		return 0, fmt.Errorf("object %s is at the end of a chain of more than %d references", o.id, maxReferenceDepth)
	}
	o.onPath = !root
	deps := int64(1)
	for i := range o.members {
		m := &o.members[i]
		switch {
		case m.refs != nil:
			kept := newRefList(len(m.refs))
			for _, ref := range m.refs {
				n, ok, err := s.follow(o, ref.id)
				if err != nil {
					return 0, err
				}
				if ok {
					deps = min(deps+n, maxDependencies)
					kept.add(ref)
				}
				m.refs = kept.refs
			}
		case m.ref != "":
			n, ok, err := s.follow(o, m.ref)
			if err != nil {
				return 0, err
			}
			if ok {
				deps = min(deps+n, maxDependencies)
			} else {
				m.ref, m.value = "", "null"
			}
		}
	}
	s.depth--
	o.onPath = false
	o.deps = deps
	if !o.done {
		o.done = true
		if o.importable() {
			s.kept = append(s.kept, o)
		} else {
			s.incompatible = append(s.incompatible, o.id)
		}
	}
	return deps, nil
}

// follow decides whether from may refer to id, and if so enlists what that names and returns its count.
func (s *splitter) follow(from *object, id string) (deps int64, ok bool, err error) {
	if !importedType(id) {
		return 0, false, nil
	}
	to := s.byName[id]
	if to == nil {
		return 0, !s.opts.Cleanup, nil
	}
	if s.isLast(to) && to != from {
		return 0, true, nil
	}
	if _, back := s.links[link{to, from}]; back || to == from || to.onPath {
		return 0, false, nil
	}
	s.links[link{from, to}] = struct{}{}
	deps, err = s.enlist(to, false)
	return deps, true, err
}

// importable reports whether OpenCTI's worker would import the object as it is now.
func (o *object) importable() bool {
	switch o.kind {
	case "relationship":
		return o.has("source_ref") && o.has("target_ref")
	case "sighting":
		return o.has("sighting_of_ref") && o.has("where_sighted_refs")
	default:
		return importedType(o.id)
	}
}

// has reports whether a reference, or a list of them, is there and not empty.
func (o *object) has(name string) bool {
	return slices.ContainsFunc(o.members, func(m member) bool { return m.name == name && (m.ref != "" || len(m.refs) > 0) })
}

// part writes the bundle that o goes out in.
func (s *splitter) part(o *object) []byte {
	size := 160 + len(s.id) + len(s.opts.EventVersion)
	for _, m := range o.members {
		size += len(m.key) + len(m.value) + 2
	}
	b := make([]byte, 0, size)
	b = append(append(b, `{"type":"bundle","id":`...), s.id...)
	b = append(b, `,"spec_version":"2.1","x_opencti_seq":`...)
	b = strconv.AppendInt(b, o.deps, 10)
	b = append(b, `,"objects":[{`...)
	counted := false
	for _, m := range o.members {
		b = append(append(b, m.key...), ':')
		switch {
		case m.name == "nb_deps":
			counted = true
			b = strconv.AppendInt(b, o.deps, 10)
		case len(m.refs) != m.had:
			b = append(b, '[')
			for i, ref := range m.refs {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, ref.text...)
			}
			b = append(b, ']')
		default:
			b = append(b, m.value...)
		}
		b = append(b, ',')
	}
	if !counted {
		b = append(b, `"nb_deps":`...)
		b = strconv.AppendInt(b, o.deps, 10)
	} else {
		b = b[:len(b)-1]
	}
	b = append(b, `}]`...)
	if s.opts.EventVersion != "" {
		b = append(b, `,"x_opencti_event_version":`...)
		b = appendCanonical(b, s.opts.EventVersion)
	}
	return append(b, '}')
}

// refList is a list of references without doubles.
type refList struct {
	refs []reference
	seen map[string]struct{} // only for long lists
}

func newRefList(most int) refList {
	l := refList{refs: make([]reference, 0, most)}
	if most > 16 {
		l.seen = make(map[string]struct{}, most)
	}
	return l
}

func (l *refList) add(r reference) {
	if l.seen == nil {
		if slices.ContainsFunc(l.refs, func(have reference) bool { return have.id == r.id }) {
			return
		}
	} else {
		if _, double := l.seen[r.id]; double {
			return
		}
		l.seen[r.id] = struct{}{}
	}
	l.refs = append(l.refs, r)
}
