package doccheck

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
)

// BrokenLinks returns what is wrong with the links of documents under root: files that are not there, and headlines that no
// document has. Links that leave the project are checked for their form alone.
func BrokenLinks(root string, documents []Document) []string {
	anchors := make(map[string]map[string]bool, len(documents))
	for _, d := range documents {
		anchors[d.Path] = d.Anchors
	}
	var problems []string
	for _, d := range documents {
		for _, link := range d.Links {
			if why := broken(root, d, link.Target, anchors); why != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: %s", d.Path, link.Line, link.Target, why))
			}
		}
	}
	return problems
}

func broken(root string, d Document, target string, anchors map[string]map[string]bool) string {
	u, err := url.Parse(target)
	if err != nil {
		return "no link"
	}
	if u.Scheme != "" {
		if u.Scheme != "https" || u.Host == "" {
			return "a link out of the project wants https:// and a host"
		}
		return ""
	}
	file := d.Path
	if u.Path != "" {
		file = path.Join(path.Dir(d.Path), u.Path)
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(file))); err != nil {
		return "no such file"
	}
	if u.Fragment == "" {
		return ""
	}
	if known, ok := anchors[file]; ok && !known[u.Fragment] {
		return "no such headline"
	}
	return ""
}
