package openctitest

// User is whom the connector's token belongs to, as far as it is asked for.
type User struct {
	Name                   string
	Capabilities, Markings []string
	// MaxConfidence is nil for a user who has none, and so creates nothing.
	MaxConfidence *int
}

// ConnectorUser is a user with what the platform's own role for connectors has, as far as it matters here.
func ConnectorUser() User {
	most := 100
	return User{
		Name: "IPQS",
		Capabilities: []string{
			"APIACCESS_USETOKEN", "KNOWLEDGE_KNUPDATE_KNDELETE", "KNOWLEDGE_KNENRICHMENT", "CONNECTORAPI", "MODULES_MODMANAGE",
			"SETTINGS_SETMARKINGS", "SETTINGS_SETLABELS",
		},
		Markings:      []string{"TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED", "PAP:CLEAR"},
		MaxConfidence: &most,
	}
}

// SetUser changes what the user of the token may do, as an administrator can. The platform only tells it, and refuses nothing
// for it.
func (p *Platform) SetUser(u User) { p.set(func() { p.user = u }) }

func (p *Platform) me() object {
	p.mu.Lock()
	defer p.mu.Unlock()
	var confidence object
	if p.user.MaxConfidence != nil {
		confidence = object{"max_confidence": *p.user.MaxConfidence}
	}
	named := func(field string, names []string) []object {
		list := make([]object, 0, len(names))
		for _, name := range names {
			list = append(list, object{field: name})
		}
		return list
	}
	return object{
		"id": UserID, "name": p.user.Name, "capabilities": named("name", p.user.Capabilities),
		"allowed_marking": named("definition", p.user.Markings), "effective_confidence_level": confidence,
	}
}
