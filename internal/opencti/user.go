package opencti

import (
	"context"
	"slices"
	"strings"
)

// User is whom a token belongs to, and what they may do.
type User struct {
	// ID is the platform's own.
	ID string
	// Name is shown in the platform.
	Name string
	// Capabilities are the names of what they may do, such as "CONNECTORAPI"; one that is within another has the other's name
	// before its own, "KNOWLEDGE_KNUPDATE", and includes it. "BYPASS" is everything.
	Capabilities []string
	// Markings are those that they may see, such as "TLP:AMBER".
	Markings []string
	// MaxConfidence is the highest confidence of what they create, 0 to 100. Nil is none, with which the platform creates
	// nothing for them; unless ConfidenceKnown is false: a release before 6.0 has no such bound.
	MaxConfidence   *int
	ConfidenceKnown bool
}

// May reports whether the user may do something, by the whole name of the capability.
func (u User) May(capability string) bool {
	return slices.ContainsFunc(u.Capabilities, func(has string) bool {
		return has == "BYPASS" || has == capability || strings.HasPrefix(has, capability+"_")
	})
}

// Me asks whom the token belongs to. It changes nothing.
func (c *Client) Me(ctx context.Context) (User, error) {
	var answer struct {
		Me *struct {
			ID           string `json:"id"`
			Name         string `json:"name"`
			Capabilities []struct {
				Name string `json:"name"`
			} `json:"capabilities"`
			Markings []struct {
				Definition string `json:"definition"`
			} `json:"allowed_marking"`
			Confidence *struct {
				Max *int `json:"max_confidence"`
			} `json:"effective_confidence_level"`
		} `json:"me"`
	}
	op, err := c.doFirst(ctx, []operation{opMe, opMeLegacy}, nil, "", &answer)
	if err != nil {
		return User{}, err
	}
	if answer.Me == nil {
		return User{}, nothing(op)
	}
	u := User{ID: answer.Me.ID, Name: answer.Me.Name, ConfidenceKnown: op.name == opMe.name}
	for _, capability := range answer.Me.Capabilities {
		u.Capabilities = append(u.Capabilities, capability.Name)
	}
	for _, marking := range answer.Me.Markings {
		u.Markings = append(u.Markings, marking.Definition)
	}
	if level := answer.Me.Confidence; level != nil {
		u.MaxConfidence = level.Max
	}
	return u, nil
}
