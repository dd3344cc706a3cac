// Package secrettest looks for secrets that a test has planted in whatever a program wrote: its log, spans, metrics,
// messages and their headers. A secret counts in every form in which it may have been passed on.
package secrettest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Find returns a line for each secret in each place, none if all is well. Places are texts by the name of where they were
// found. An empty place is reported too: nothing is shown by looking there.
func Find(places map[string]string, secrets ...string) []string {
	var found []string
	for _, place := range slices.Sorted(maps.Keys(places)) {
		text := places[place]
		if text == "" {
			found = append(found, place+" is empty: nothing is shown by looking there")
		}
		for _, secret := range secrets {
			for name, form := range forms(secret) {
				if at := strings.Index(text, form); at >= 0 {
					found = append(found, fmt.Sprintf("%s has %q (%s) in …%s…", place, secret, name,
						text[max(0, at-100):min(len(text), at+len(form)+50)]))
					break
				}
			}
		}
	}
	return found
}

// forms are the texts in which a secret may stand somewhere, by what they are called.
func forms(secret string) map[string]string {
	forms := map[string]string{
		"as it is": secret, "in a query": url.QueryEscape(secret), "in a path": url.PathEscape(secret), "in JSON": quoted(secret),
		"in JSON in JSON": quoted(quoted(secret)), "in hexadecimal": hex.EncodeToString([]byte(secret)),
	}
	// In base64 what surrounds it decides about its first and last characters: these are left out.
	for before := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", before) + secret))
		from, to := (before*8+5)/6, (before+len(secret))*8/6
		if to-from >= 8 { // else it may be there by chance
			forms[fmt.Sprintf("in base64 after %d bytes", before)] = text[from:to]
		}
	}
	return forms
}

func quoted(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		return text // not of a string
	}
	return string(out[1 : len(out)-1])
}
