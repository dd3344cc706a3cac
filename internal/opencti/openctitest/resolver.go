package openctitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// root is what a document's first fields resolve to.
func (p *Platform) root(ctx context.Context, draft string) object {
	return object{
		"about":               object{"version": p.version.String()},
		"me":                  resolver(func(map[string]any) (any, error) { return p.me(), nil }),
		"work":                resolver(p.resolveWork),
		"isWorkAlive":         resolver(p.resolveAlive),
		"stixCyberObservable": resolver(func(a map[string]any) (any, error) { return p.resolveEntity(draft, text(a["id"]), isObservable) }),
		"connector":           resolver(func(a map[string]any) (any, error) { return p.resolveConnector(text(a["id"])), nil }),
		"registerConnector": resolver(func(a map[string]any) (any, error) {
			input, _ := a["input"].(map[string]any)
			return p.register(ctx, input)
		}),
		"pingConnector": resolver(func(a map[string]any) (any, error) {
			return p.ping(ctx, text(a["id"]), a["state"])
		}),
		"workEdit":       resolver(p.resolveWorkEdit),
		"stixBundlePush": resolver(func(a map[string]any) (any, error) { return p.pushBundle(ctx, a) }),
		"labelAdd":       resolver(p.addLabel),
		"indicator":      resolver(func(a map[string]any) (any, error) { return p.resolveEntity(draft, text(a["id"]), isIndicator) }),
		"note":           resolver(func(a map[string]any) (any, error) { return p.resolveEntity(draft, text(a["id"]), isNote) }),
		"identity":       resolver(func(a map[string]any) (any, error) { return p.resolveEntity(draft, text(a["id"]), isIdentity) }),
		"countries":      resolver(func(a map[string]any) (any, error) { return p.resolveCountries(draft, a), nil }),
		"indicatorFieldPatch": resolver(func(a map[string]any) (any, error) {
			return p.patchIndicator(draft, text(a["id"]), a["input"])
		}),
		"indicatorEdit": resolver(func(a map[string]any) (any, error) {
			return object{"fieldPatch": resolver(func(b map[string]any) (any, error) {
				return p.patchIndicator(draft, text(a["id"]), b["input"])
			})}, nil
		}),
		"stixCoreObjectEdit": resolver(func(a map[string]any) (any, error) {
			return object{"relationDelete": resolver(func(b map[string]any) (any, error) {
				return p.removeLabel(text(a["id"]), text(b["toId"]), text(b["relationship_type"]), draft)
			})}, nil
		}),
		"playbookStepExecution": resolver(p.answerPlaybook),
	}
}

func text(value any) string {
	s, _ := value.(string)
	return s
}

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func (p *Platform) register(ctx context.Context, input map[string]any) (any, error) {
	id, name := text(input["id"]), text(input["name"])
	if len(strings.TrimSpace(name)) < 2 {
		return nil, &refusal{"VALIDATION_ERROR", "Connector name is too short"}
	}
	c := &connector{
		id: id, name: name, input: input, pingedAt: time.Now(),
		auto: input["auto"] == true, autoUpdate: input["auto_update"] == true, playbooks: input["playbook_compatible"] == true,
	}
	scope, _ := input["scope"].([]any)
	for _, entry := range scope {
		c.scope = append(c.scope, text(entry))
	}
	if err := p.broker.Declare(ctx, id, c.scope); err != nil {
		return nil, &refusal{"DATABASE_ERROR", "RabbitMQ is away: " + err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.connectors[id]; known != nil {
		c.state, c.stateReset, c.lastReported, c.filter = known.state, known.stateReset, known.lastReported, known.filter
	}
	p.connectors[id] = c
	if p.importers[id] == nil && !p.closed {
		importing, stop := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the request that starts it
		p.importers[id] = stop
		p.wg.Go(func() { p.importFor(importing, id) })
	}
	p.callBack(ctx, c)
	p.notify()
	return p.describe(c), nil
}

// activeFor is how long a connector counts as active after a ping.
const activeFor = 5 * time.Minute

// resolveConnector is the registration of a connector, nil when there is none.
func (p *Platform) resolveConnector(id string) object {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.connectors[id]; c != nil {
		return p.describe(c)
	}
	return nil
}

func (p *Platform) describe(c *connector) object {
	to := p.broker.Coordinates(c.id)
	var state any
	if c.state != nil {
		state = *c.state
	}
	return object{
		"id": c.id, "name": c.name, "connector_state": state, "connector_user_id": UserID,
		"jwks": p.jwks(), "connector_type": c.input["type"], "connector_scope": c.scope,
		"active": time.Since(c.pingedAt) < activeFor, "updated_at": stamp(c.pingedAt),
		"auto": c.auto, "auto_update": c.autoUpdate, "enrichment_resolution": c.input["enrichment_resolution"],
		"only_contextual": c.input["only_contextual"], "playbook_compatible": c.playbooks,
		"config": object{
			"connection": object{
				"host": to.Host, "vhost": to.VHost, "use_ssl": to.UseSSL, "port": to.Port, "user": to.User, "pass": to.Pass,
			},
			"listen": to.Listen, "listen_routing": to.ListenRouting, "listen_exchange": to.ListenExchange,
			"listen_callback_uri": c.input["listen_callback_uri"],
			"push":                to.Push, "push_routing": to.PushRouting, "push_exchange": to.PushExchange,
		},
	}
}

func (p *Platform) ping(ctx context.Context, id string, state any) (any, error) {
	p.mu.Lock()
	c := p.connectors[id]
	var scope []string
	if c != nil {
		scope = c.scope
	}
	p.mu.Unlock()
	if c == nil {
		return nil, &refusal{"FUNCTIONAL_ERROR", "No connector found with the specified ID"}
	}
	if err := p.broker.Declare(ctx, id, scope); err != nil {
		return nil, &refusal{"DATABASE_ERROR", "RabbitMQ is away: " + err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.pingedAt = time.Now()
	if c.stateReset {
		c.stateReset = false
	} else if sent, ok := state.(string); ok {
		if !json.Valid([]byte(sent)) {
			p.complain("pingConnector got a state that is no JSON")
		}
		c.state = &sent
	}
	p.notify()
	return p.describe(c), nil
}

// refs shapes references as the release does: a list, or a connection.
func (p *Platform) refs(list []object) any {
	if p.schema.Types["LabelConnection"] == nil {
		if list == nil {
			return []object{}
		}
		return list
	}
	edges := make([]object, 0, len(list))
	for _, node := range list {
		edges = append(edges, object{"node": node})
	}
	return object{"edges": edges}
}

// PlaybookAnswer is what a playbook's step was given back.
type PlaybookAnswer struct {
	ExecutionID, EventID, PlaybookID, DataInstanceID, StepID, PreviousStepID string
	// Previous is the bundle that the connector says it was given, Bundle its own, and Result what the playbook goes on
	// with.
	Previous, Bundle, Result json.RawMessage
}

// PlaybookAnswers returns the answers in the order they came.
func (p *Platform) PlaybookAnswers() []PlaybookAnswer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]PlaybookAnswer(nil), p.answers...)
}

func (p *Platform) answerPlaybook(a map[string]any) (any, error) {
	answer := PlaybookAnswer{
		ExecutionID: text(a["execution_id"]), EventID: text(a["event_id"]), PlaybookID: text(a["playbook_id"]),
		DataInstanceID: text(a["data_instance_id"]), StepID: text(a["step_id"]), PreviousStepID: text(a["previous_step_id"]),
		Previous: json.RawMessage(text(a["previous_bundle"])), Bundle: json.RawMessage(text(a["bundle"])),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := time.Parse(time.RFC3339, text(a["execution_start"])); err != nil {
		p.complain("playbook answer: execution_start is no date")
	}
	e := p.executions[answer.ExecutionID]
	if e == nil || e.stepID != answer.StepID {
		return false, nil
	}
	if e.answered++; e.answered > 1 {
		p.complain("playbook execution %s was answered %d times: each answer continues the playbook", answer.ExecutionID, e.answered)
	}
	if e.dataInstanceID != answer.DataInstanceID || e.playbookID != answer.PlaybookID || e.eventID != answer.EventID {
		p.complain("playbook execution %s was answered for something else", answer.ExecutionID)
	}
	result, err := p.merge(answer.Previous, answer.Bundle)
	if err != nil {
		p.complain("playbook execution %s: %v", answer.ExecutionID, err)
		return nil, &refusal{"FUNCTIONAL_ERROR", "Invalid bundle"}
	}
	answer.Result = result
	p.answers = append(p.answers, answer)
	p.notify()
	return true, nil
}

// merge is what the playbook goes on with: the answer, and from 6.9.6 on also what the answer left out.
func (p *Platform) merge(previous, answered json.RawMessage) (json.RawMessage, error) {
	type bundle struct {
		ID      string            `json:"id"`
		Type    string            `json:"type"`
		Objects []json.RawMessage `json:"objects"`
	}
	var before, now bundle
	if err := json.Unmarshal(previous, &before); err != nil {
		return nil, fmt.Errorf("previous_bundle is no bundle: %w", err)
	}
	if err := json.Unmarshal(answered, &now); err != nil || now.Type != "bundle" || len(now.Objects) == 0 {
		return nil, errors.New("bundle is none, or has no objects")
	}
	if !p.rules.merges {
		return answered, nil
	}
	have := map[string]bool{}
	for _, o := range now.Objects {
		have[idOf(o)] = true
	}
	for _, o := range before.Objects {
		if !have[idOf(o)] {
			now.Objects = append(now.Objects, o)
		}
	}
	return json.Marshal(now)
}

func idOf(raw json.RawMessage) string {
	var o struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return ""
	}
	return o.ID
}
