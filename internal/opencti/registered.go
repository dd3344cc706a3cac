package opencti

import (
	"context"
	"time"
)

// Registered is a connector as the platform has it registered.
type Registered struct {
	// Connector is what was registered. What the release does not have is zero.
	Connector Connector
	// Type is the kind of connector, such as "INTERNAL_ENRICHMENT".
	Type string
	// EnrichmentResolution is what jobs carry beside the entity, such as "none" or "stix_bundle"; "" before 6.8.9.
	EnrichmentResolution string
	// Registration is what [Client.Register] returned, without State and JWKS.
	Registration Registration
	// Active reports whether the connector has pinged within the last five minutes.
	Active bool
	// Updated is when it last pinged or registered; zero if the platform does not say.
	Updated time.Time
}

// Registered returns the registration of a connector and changes nothing. ErrNotFound means that the connector is not
// registered.
func (c *Client) Registered(ctx context.Context, connectorID string) (Registered, error) {
	var answer struct {
		Connector *struct {
			ID         string     `json:"id"`
			Name       string     `json:"name"`
			Active     bool       `json:"active"`
			Auto       bool       `json:"auto"`
			AutoUpdate bool       `json:"auto_update"`
			Resolution string     `json:"enrichment_resolution"`
			Contextual bool       `json:"only_contextual"`
			Playbooks  bool       `json:"playbook_compatible"`
			Type       string     `json:"connector_type"`
			Scope      []string   `json:"connector_scope"`
			UserID     string     `json:"connector_user_id"`
			UpdatedAt  *time.Time `json:"updated_at"`
			Config     *struct {
				queues
				CallbackURI string `json:"listen_callback_uri"`
			} `json:"config"`
		} `json:"connector"`
	}
	ways := []operation{opRegistered, opRegisteredCallback, opRegisteredPlaybook, opRegisteredLegacy}
	op, err := c.doFirst(ctx, ways, map[string]any{"id": connectorID}, "", &answer)
	if err != nil {
		return Registered{}, err
	}
	k := answer.Connector
	if k == nil || k.Config == nil {
		return Registered{}, nothing(op)
	}
	r := Registered{
		Connector: Connector{
			ID: k.ID, Name: k.Name, Scope: k.Scope, Auto: k.Auto, AutoUpdate: k.AutoUpdate, OnlyContextual: k.Contextual,
			PlaybookCompatible: k.Playbooks, ListenCallbackURI: k.Config.CallbackURI,
		},
		Type:                 k.Type,
		EnrichmentResolution: k.Resolution,
		Registration:         k.Config.registration(k.UserID),
		Active:               k.Active,
	}
	if k.UpdatedAt != nil {
		r.Updated = *k.UpdatedAt
	}
	return r, nil
}

// queues is the config of a connector as the platform answers it.
type queues struct {
	Connection     Connection `json:"connection"`
	Listen         string     `json:"listen"`
	ListenRouting  string     `json:"listen_routing"`
	ListenExchange string     `json:"listen_exchange"`
	Push           string     `json:"push"`
	PushRouting    string     `json:"push_routing"`
	PushExchange   string     `json:"push_exchange"`
}

func (q queues) registration(userID string) Registration {
	return Registration{
		ConnectorUserID: userID,
		Connection:      q.Connection,
		Listen:          q.Listen,
		ListenExchange:  q.ListenExchange,
		ListenRouting:   q.ListenRouting,
		Push:            q.Push,
		PushExchange:    q.PushExchange,
		PushRouting:     q.PushRouting,
	}
}
