// Package stix makes the STIX 2.1 objects that the worker hands to OpenCTI: the observable with its new score and labels,
// an indicator, a note, an autonomous system, what joins them, and who says so.
//
// Three ideas carry it.
//
// Ids are deterministic. [IndicatorID] and its siblings hash what identifies an object, the way OpenCTI's own Python
// library does, so that the same finding is the same object on every run and beside every other connector. The
// constructors ([NewIndicator], [NewNote] …) use them; the one exception is an observable that OpenCTI asked about, which
// keeps the id it came with.
//
// Encoding is deterministic. An object is a struct whose JSON order is its field order; no clock and no random number is
// read here. Equal bundles encode to equal bytes.
//
// What OpenCTI's workers import is not the bundle but its parts: [Split] cuts an encoded bundle into one bundle per object,
// each after the objects it needs, and touches nothing that it need not: a value that it does not change keeps its bytes.
//
// A playbook's bundle is not ours: [Merge] adds to it what we found and leaves the rest as it came, byte for byte.
//
// A bundle as written here is standard STIX. OpenCTI's additions are the x_opencti_… properties, which Merge writes as the
// platform's own extensions instead, and the "spec_version", "x_opencti_seq" and "nb_deps" that Split adds to the parts.
package stix
