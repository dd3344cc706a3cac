package openctitest

import (
	"slices"
	"strings"
)

// countries are some of the platform's own, with the names and codes that its data set gives them. The names are not always
// those that other sources use.
func countries() map[string][]string {
	return map[string][]string{
		"Russian Federation":        {"RU", "RUS"},
		"United States":             {"US", "USA"},
		"United Kingdom":            {"GB", "GBR"},
		"Netherlands":               {"NL", "NLD"},
		"Germany":                   {"DE", "DEU"},
		"France":                    {"FR", "FRA"},
		"Korea, Republic of":        {"KR", "KOR"},
		"Viet Nam":                  {"VN", "VNM"},
		"Iran, Islamic Republic of": {"IR", "IRN"},
		"Czechia":                   {"CZ", "CZE"},
		"Taiwan, Province of China": {"TW", "TWN"},
		"Moldova, Republic of":      {"MD", "MDA"},
	}
}

// AddCountries puts the platform's own countries into it, as its connector for data sets does, with that one's author.
func (p *Platform) AddCountries() {
	p.set(func() {
		s := Source{UserID: "2a4f6e0a-5a2b-4f0f-9a77-000000000001", MaxConfidence: 100}
		author := map[string]any{
			"type": "identity", "id": standard("identity", map[string]any{"identity_class": "organization", "name": "filigran"}),
			"name": "Filigran", "identity_class": "organization",
		}
		p.mustUpsert(s, author)
		for name, codes := range countries() {
			location := map[string]any{
				"type": "location", "id": standard("location", map[string]any{
					"name": strings.ToLower(name), "x_opencti_location_type": typeCountry,
				}),
				"name": name, "x_opencti_location_type": typeCountry, "x_opencti_aliases": []any{codes[0], codes[1]},
				"created_by_ref": author["id"],
			}
			p.mustUpsert(s, location)
		}
	})
}

func (p *Platform) mustUpsert(s Source, o map[string]any) {
	if problem := p.upsert(s, o); problem != "" {
		p.complain("the platform's own %s: %s", text(o["id"]), problem)
	}
}

// resolveCountries finds countries by search, a part of a name, or by filters on name and x_opencti_aliases.
func (p *Platform) resolveCountries(draft string, a map[string]any) object {
	p.mu.Lock()
	defer p.mu.Unlock()
	search := strings.ToLower(text(a["search"]))
	var found []*node
	for _, n := range p.graphs.all(draft) {
		if n.Type != typeCountry {
			continue
		}
		names := append([]string{n.Name}, n.Aliases...)
		if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(strings.ToLower(name), search) }) && n.passes(a["filters"]) {
			found = append(found, n)
		}
	}
	slices.SortFunc(found, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
	var all []object
	for _, n := range found {
		all = append(all, p.entity(draft, n))
	}
	return connection(all, a["first"])
}

// passes reports whether the country passes filters: a filter group, or the list that releases before it have.
func (n *node) passes(filters any) bool {
	list, _ := filters.([]any)
	any := false
	if group, ok := filters.(map[string]interface{}); ok {
		list, _ = group["filters"].([]interface{})
		any = text(group["mode"]) == "or"
	}
	results := make([]bool, 0, len(list))
	for _, entry := range list {
		filter, _ := entry.(map[string]interface{})
		var values []string
		for _, key := range listOf(filter["key"]) {
			switch key {
			case "name":
				values = append(values, n.Name)
			case "x_opencti_aliases":
				values = append(values, n.Aliases...)
			}
		}
		results = append(results, slices.ContainsFunc(texts(filter["values"]), func(wanted string) bool {
			return slices.ContainsFunc(values, func(value string) bool { return strings.EqualFold(value, wanted) })
		}))
	}
	if any && len(results) > 0 {
		return slices.Contains(results, true)
	}
	return !slices.Contains(results, false)
}
