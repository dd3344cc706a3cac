package stix

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Merge returns a bundle that others made, with objects of ours in it: all that it has, in its order and with its bytes,
// then what is new, with OpenCTI's additions in the platform's own form.
//
// An object of ours that the bundle has already, by its id, stays as it is, its author, markings and texts included. Only an
// [Observable] or [Indicator] passes its score and labels on to it, where the platform reads them: the score replaces another,
// the labels are added to those that are there. Of those, the ones that outdated reports go; nil reports none. An indicator
// takes the types of ours, too. So ours must not have an indicator of another author.
//
// Equal arguments give equal bytes. Merge returns an error that says where and what for anything but a bundle, and for an
// object that cannot be given a score or labels because something else stands in their place.
func Merge(bundle []byte, objects []Object, outdated func(label string) bool) ([]byte, error) {
	top, merged, err := openBundle(bundle)
	if err != nil {
		return nil, fmt.Errorf("reading bundle: %w", err)
	}
	known := make(map[string]bool, len(merged)+len(objects))
	for i, text := range merged {
		id := idOf(text)
		known[id] = true
		for _, o := range objects {
			if id == "" || id != o.header().ID {
				continue
			}
			if merged[i], err = assessed(text, o, outdated); err != nil {
				return nil, fmt.Errorf("merging into object %d of the bundle: %w", i, err)
			}
		}
	}
	for _, o := range objects {
		if id := o.header().ID; known[id] {
			continue
		} else {
			known[id] = true
		}
		text, err := extended(o)
		if err != nil {
			return nil, err
		}
		merged = append(merged, text)
	}
	top.set("objects", "["+strings.Join(merged, ",")+"]")
	return []byte(top.text()), nil
}

// openBundle takes a bundle apart: its members, and the texts of its objects.
func openBundle(bundle []byte) (top fields, objects []string, err error) {
	if !json.Valid(bundle) {
		return nil, nil, errors.New("not JSON")
	}
	text := strings.Trim(string(bundle), " \t\r\n")
	if text[0] != '{' {
		return nil, nil, fmt.Errorf("found %s, expected an object", kindOf(text))
	}
	top = readMembers(text)
	list := top.get("objects")
	switch {
	case list == "":
		return nil, nil, errors.New("objects: missing")
	case list[0] != '[':
		return nil, nil, fmt.Errorf("objects: found %s, expected an array", kindOf(list))
	}
	for value := range elements(list) {
		objects = append(objects, value)
	}
	return top, objects, nil
}

func idOf(object string) string {
	id, _ := unquote(property(object, "id"))
	return id
}

// assessed returns the text of an object with the score and the labels of ours, without those that are outdated.
func assessed(text string, ours Object, outdated func(string) bool) (string, error) {
	var score *int
	var labels, types []string
	var scoreHome, labelHome string // the extensions that they belong in, "" for the top
	switch o := ours.(type) {
	case Indicator:
		score, labels, types = o.Score, o.Labels, o.IndicatorTypes
		scoreHome = openCTIExtension
	case Observable:
		score, labels = o.Score, o.Labels
		if kind, _ := TypeBySTIX(o.Type); !kind.OpenCTIOnly {
			scoreHome, labelHome = observableExtension, observableExtension
		}
	}
	if score == nil && len(labels) == 0 && len(types) == 0 {
		return text, nil
	}
	object := fields(readMembers(text))
	if len(types) > 0 {
		list := make([]string, len(types))
		for i, value := range types {
			list[i] = quoted(value)
		}
		object.set("indicator_types", "["+strings.Join(list, ",")+"]")
	}
	if score != nil {
		if err := object.setScore(strconv.Itoa(*score), scoreHome); err != nil {
			return "", err
		}
	}
	if len(labels) > 0 {
		if err := object.addLabels(labels, labelHome, outdated); err != nil {
			return "", err
		}
	}
	return object.text(), nil
}

// setScore puts the score where it belongs, and wherever another one stands: which of them wins depends on who reads.
func (f *fields) setScore(score, home string) error {
	belongs := place{home, "score"}
	for _, p := range []place{belongs, {"", "score"}, {"", customPrefix + "score"}, {openCTIExtension, "score"}, {observableExtension, "score"}} {
		if p != belongs && f.at(p) == "" {
			continue
		}
		if err := f.put(score, p); err != nil {
			return err
		}
	}
	return nil
}

// addLabels adds labels to every list of them that is there, of which OpenCTI reads the first in the order below and no
// other. Where they belong, a list that is missing begins with the one that was read so far. A list under the property is
// given up: it would be read no more.
func (f *fields) addLabels(labels []string, home string, outdated func(string) bool) error {
	belongs, property := place{home, "labels"}, place{"", customPrefix + "labels"}
	places := []place{{"", "labels"}, {openCTIExtension, "labels"}, {observableExtension, "labels"}, property}
	read := "[]"
	for _, p := range slices.Backward(places) {
		if list := f.at(p); list != "" {
			read = list
		}
	}
	for _, p := range places {
		list := f.at(p)
		if p == belongs && list == "" {
			list = read
		}
		if list == "" {
			continue
		}
		longer, err := withLabels(list, labels, outdated)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if err := f.put(longer, p); err != nil {
			return err
		}
	}
	f.drop(property.name)
	return nil
}

// withLabels adds labels to a list and takes the outdated ones from it. OpenCTI tells labels apart by neither case nor the space around them.
func withLabels(list string, labels []string, outdated func(string) bool) (string, error) {
	if list[0] != '[' {
		return "", fmt.Errorf("found %s, expected an array", kindOf(list))
	}
	var texts []string
	known := map[string]bool{}
	for text := range elements(list) {
		label, isText := unquote(text)
		if isText && outdated != nil && outdated(label) {
			continue
		}
		known[lower(strip(label))] = true
		texts = append(texts, text)
	}
	for _, label := range labels {
		if key := lower(strip(label)); !known[key] {
			known[key] = true
			texts = append(texts, quoted(label))
		}
	}
	return "[" + strings.Join(texts, ",") + "]", nil
}
