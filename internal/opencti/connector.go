package opencti

import (
	"context"
	"errors"
	"log/slog"
	"strings"
)

// Secret is a text that prints as [REDACTED] wherever it is printed, logged or marshalled.
type Secret string

const redacted = "[REDACTED]"

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler. Unmarshalling takes the text as it is.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// Connector is what we register as. Registering again overwrites all of it.
type Connector struct {
	// ID names the connector and its queues.
	ID string
	// Name is shown to users; it has two characters at least.
	Name string
	// Scope is the entity types that may be enriched. An empty scope means no automatic jobs.
	Scope []string
	// Auto asks for every new entity, AutoUpdate for every changed one.
	Auto, AutoUpdate bool
	// OnlyContextual shows the connector only where its results are used.
	OnlyContextual bool
	// PlaybookCompatible lets playbooks use the connector.
	PlaybookCompatible bool
	// ListenCallbackURI, when set, has the platform's worker post jobs there instead of us consuming them.
	ListenCallbackURI string
}

// Registration is what the platform answers: who we are and where the queues are. It holds the broker's password, which
// never prints; still, do not log it whole.
type Registration struct {
	// ConnectorUserID is the user behind the token, the one to import as.
	ConnectorUserID string
	// JWKS is the set of keys, in JSON, under one of which the platform's worker signs what it posts to
	// [Connector].ListenCallbackURI; "" where there is no callback, and where it is authenticated by our own token
	// ([Capabilities].CallbackJWT).
	JWKS string
	// State is what the platform remembers for the connector, JSON text, "" when nothing.
	State string
	// Connection is the broker as the platform sees it.
	Connection Connection
	// Listen is the queue that jobs come from. Push is the one that objects go to: by exchange and routing key, never
	// directly.
	Listen, ListenExchange, ListenRouting string
	Push, PushExchange, PushRouting       string
}

// Connection is where a RabbitMQ is and who may use it.
type Connection struct {
	Host   string `json:"host"`
	VHost  string `json:"vhost"`
	UseSSL bool   `json:"use_ssl"`
	Port   int    `json:"port"`
	User   string `json:"user"`
	Pass   Secret `json:"pass"`
}

// What every registration of ours has, beside the fields of [Connector].
const (
	// ConnectorType is the kind of connector.
	ConnectorType = "INTERNAL_ENRICHMENT"
	// EnrichmentResolution has the platform send jobs without the entity's objects.
	EnrichmentResolution = "none"
)

// input is the registration as the release wants it. Fields that this platform refused before are left out; the three that
// make a registration cannot be.
func (k Connector) input(has Capabilities, dropped map[string]bool) map[string]any {
	scope := k.Scope
	if scope == nil {
		scope = []string{}
	}
	input := map[string]any{
		"id":              k.ID,
		"name":            k.Name,
		"type":            ConnectorType,
		"scope":           scope,
		"auto":            k.Auto,
		"only_contextual": k.OnlyContextual,
	}
	if has.PlaybookCompatible {
		input["playbook_compatible"] = k.PlaybookCompatible
	}
	if has.ListenCallbackURI && k.ListenCallbackURI != "" {
		input["listen_callback_uri"] = k.ListenCallbackURI
	}
	if has.AutoUpdate {
		input["auto_update"] = k.AutoUpdate
	}
	if has.EnrichmentResolution {
		// The platform takes silence for "stix_bundle" and would send every job with objects that we do not read.
		input["enrichment_resolution"] = EnrichmentResolution
	}
	for field := range dropped {
		delete(input, field)
	}
	return input
}

// Register creates or overwrites the connector and has its queues declared. An optional field that the platform refuses by
// name, whatever its version promises, is left out from then on, logged once, and the registration is tried again.
func (c *Client) Register(ctx context.Context, connector Connector) (Registration, error) {
	for {
		has, err := c.Capabilities(ctx)
		if err != nil {
			return Registration{}, err
		}
		c.mu.Lock()
		input := connector.input(has, c.dropped)
		c.mu.Unlock()
		registration, err := c.register(ctx, input)
		if !c.drop(ctx, input, err) {
			return registration, err
		}
	}
}

// drop notes the fields of the input that the platform refused and that a registration can do without. It reports whether
// there were any.
func (c *Client) drop(ctx context.Context, input map[string]any, err error) bool {
	refusal, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := false
	for _, field := range refusal.refused {
		if !droppable(field, input) {
			continue
		}
		found = true
		if !c.dropped[field] {
			c.dropped[field] = true
			c.log.WarnContext(ctx, "OpenCTI does not know a field of the registration, going on without it", slog.String("field", field))
		}
	}
	return found
}

// droppable reports whether a registration is one without the field: not without what makes it one, and not without the
// callback, or nobody would ever take its jobs.
func droppable(field string, input map[string]any) bool {
	switch field {
	case "", "id", "name", "type", "listen_callback_uri":
		return false
	}
	_, sent := input[field]
	return sent
}

func (c *Client) register(ctx context.Context, input map[string]any) (Registration, error) {
	var answer struct {
		RegisterConnector *struct {
			JWKS   string  `json:"jwks"`
			State  string  `json:"connector_state"`
			UserID string  `json:"connector_user_id"`
			Config *queues `json:"config"`
		} `json:"registerConnector"`
	}
	ways := []operation{opRegisterForCallback, opRegister}
	if input["listen_callback_uri"] == nil {
		ways = ways[1:]
	}
	op, err := c.doFirst(ctx, ways, map[string]any{"input": input}, "", &answer)
	if err != nil {
		return Registration{}, err
	}
	r := answer.RegisterConnector
	if r == nil || r.Config == nil {
		return Registration{}, nothing(op)
	}
	registration := r.Config.registration(r.UserID)
	registration.JWKS, registration.State = r.JWKS, r.State
	return registration, nil
}

// Ping tells the platform that the connector lives; it gives up on one after five minutes of silence. state is what
// [Client.Register] or the last Ping returned, and newState what holds now: when they differ an administrator has reset the
// connector. ErrNotFound means that the platform has forgotten the connector: register again.
func (c *Client) Ping(ctx context.Context, connectorID, state string) (newState string, err error) {
	sent := state
	if sent == "" {
		sent = "null" // the state is JSON text
	}
	variables := map[string]any{
		"id": connectorID, "state": sent,
		"connectorInfo": map[string]any{
			"run_and_terminate": false, "buffering": false, "queue_threshold": 500, "queue_messages_size": 0,
		},
	}
	var answer struct {
		PingConnector *struct {
			State string `json:"connector_state"`
		} `json:"pingConnector"`
	}
	op, err := c.doFirst(ctx, []operation{opPing, opPingLegacy}, variables, "", &answer)
	if err != nil {
		// The platform says so by a functional error without a code of its own.
		if refusal, ok := errors.AsType[*Error](err); ok && strings.Contains(refusal.Message, "No connector found") {
			refusal.Code = codeNull
		}
		return "", err
	}
	if answer.PingConnector == nil {
		return "", nothing(op)
	}
	if newState = answer.PingConnector.State; newState == "null" {
		newState = ""
	}
	return newState, nil
}
