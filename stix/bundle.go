package stix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Bundle is what one enrichment found, in one piece. STIX 2.1 gives it no spec_version.
type Bundle struct {
	// ID is the bundle's id, see [BundleID].
	ID string
	// Objects are encoded in this order.
	Objects []Object
}

// Encode returns the bundle as compact JSON. Equal bundles give equal bytes. It returns an error for a bundle without id
// or objects, and for an object without type or id, which is one that no constructor made.
func (b Bundle) Encode() ([]byte, error) {
	if b.ID == "" {
		return nil, errors.New("encoding bundle: it has no id")
	}
	if len(b.Objects) == 0 {
		return nil, fmt.Errorf("encoding bundle %s: it has no objects", b.ID)
	}
	for i, o := range b.Objects {
		if o == nil {
			return nil, fmt.Errorf("encoding bundle %s: object %d is nil", b.ID, i)
		}
		if h := o.header(); h.Type == "" || h.ID == "" || h.SpecVersion == "" {
			return nil, fmt.Errorf("encoding bundle %s: object %d has type %q, id %q and spec_version %q, expected all three",
				b.ID, i, h.Type, h.ID, h.SpecVersion)
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Type    string   `json:"type"`
		ID      string   `json:"id"`
		Objects []Object `json:"objects"`
	}{"bundle", b.ID, b.Objects})
	if err != nil {
		return nil, fmt.Errorf("encoding bundle %s: %w", b.ID, err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
