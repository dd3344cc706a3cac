package openctitest

import (
	"slices"
	"strings"
)

// countries are some countries of the platform's data set: the codes by name. Other sources use other names for some of them.
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

// resolveCountries returns the countries by name.
func (p *Platform) resolveCountries(draft string, a map[string]any) object {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []*node
	for _, n := range p.graphs.all(draft) {
		if n.Type == typeCountry {
			found = append(found, n)
		}
	}
	slices.SortFunc(found, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
	all := make([]object, 0, len(found))
	for _, n := range found {
		all = append(all, p.entity(draft, n))
	}
	return connection(all, a["first"])
}
