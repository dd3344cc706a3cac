package opencti

import (
	"strconv"
	"strings"
)

// TLP is a level of the Traffic Light Protocol, the strictest last.
type TLP int

// The levels. TLP:WHITE is the older name of TLPClear. TLPUnknown is a marking that calls itself TLP and is none of them:
// stricter than all, nothing allows it.
const (
	TLPClear TLP = iota
	TLPGreen
	TLPAmber
	TLPAmberStrict
	TLPRed
	TLPUnknown
)

// String returns the marking's definition, such as "TLP:AMBER+STRICT".
func (t TLP) String() string {
	switch t {
	case TLPClear:
		return "TLP:CLEAR"
	case TLPGreen:
		return "TLP:GREEN"
	case TLPAmber:
		return "TLP:AMBER"
	case TLPAmberStrict:
		return "TLP:AMBER+STRICT"
	case TLPRed:
		return "TLP:RED"
	default:
		return "TLP:UNKNOWN"
	}
}

// ParseTLP reads a level as markings ("TLP:AMBER+STRICT") and configurations ("amber+strict") write it, in any case.
// Anything else is a [*FieldError] and TLPUnknown.
func ParseTLP(text string) (TLP, error) {
	switch strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "TLP:") {
	case "CLEAR", "WHITE":
		return TLPClear, nil
	case "GREEN":
		return TLPGreen, nil
	case "AMBER":
		return TLPAmber, nil
	case "AMBER+STRICT":
		return TLPAmberStrict, nil
	case "RED":
		return TLPRed, nil
	default:
		return TLPUnknown, &FieldError{
			Field: "TLP", Found: strconv.Quote(shorten(text, 40)), Want: "CLEAR, WHITE, GREEN, AMBER, AMBER+STRICT or RED, with or without TLP:",
		}
	}
}

// Allowed reports whether something of this level may be used under a ceiling.
func (t TLP) Allowed(ceiling TLP) bool { return t <= ceiling && t < TLPUnknown }

// StrictestTLP returns the strictest TLP level among the markings, and false when none of them is a TLP marking.
func StrictestTLP(markings []Marking) (TLP, bool) {
	strictest, found := TLPClear, false
	for _, m := range markings {
		if !strings.EqualFold(m.Type, "TLP") {
			continue
		}
		level, _ := ParseTLP(m.Definition) // unknown is the strictest
		strictest, found = max(strictest, level), true
	}
	return strictest, found
}
