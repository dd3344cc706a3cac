package stix

import "strings"

// TLP returns the id of a TLP marking by the name it has in OpenCTI: "TLP:CLEAR", "TLP:WHITE" (its older name, the same
// marking), "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED". It returns false for any other name, other case
// included. The markings exist on every platform and need not be in a bundle.
func TLP(name string) (id string, ok bool) {
	switch name {
	case "TLP:CLEAR", "TLP:WHITE":
		return "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9", true
	case "TLP:GREEN":
		return "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", true
	case "TLP:AMBER":
		return "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82", true
	case "TLP:AMBER+STRICT":
		return "marking-definition--826578e1-40ad-459f-bc73-ede076f81f37", true
	case "TLP:RED":
		return "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed", true
	default:
		return "", false
	}
}

// TLPName returns the name of the TLP marking with that id, "TLP:CLEAR" for the one that has two. It returns false for any
// other marking.
func TLPName(id string) (name string, ok bool) {
	for _, name := range [...]string{"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"} {
		if known, _ := TLP(name); strings.EqualFold(known, id) {
			return name, true
		}
	}
	return "", false
}
