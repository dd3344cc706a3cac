package openctitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Observable is what the platform has before the connector comes.
type Observable struct {
	// Type is the platform's name, such as "IPv4-Addr", and Value what it displays.
	Type, Value string
	// Markings are definitions such as "TLP:AMBER", Labels values, Organizations STIX ids.
	Markings, Labels, Organizations []string
	// Score is 0 to 100, nil when it has none.
	Score *int
	// CreatedAt is RFC 3339; now when empty.
	CreatedAt string
	// DraftID, when set, is the draft that alone has it.
	DraftID string
	// Hidden: the connector's user may not see it.
	Hidden bool
	// Account is what a User-Account has besides; its Value is then what the platform makes of it.
	Account *Account
	// Artifact is what an Artifact has besides.
	Artifact *Artifact

	standardID, internalID string
	updatedAt              time.Time
}

// Trigger is why a job is sent.
type Trigger string

// The triggers. AutoUpdate exists from 6.8.9 on, Playbook from 5.11.0.
const (
	Manual     Trigger = "manual"
	Auto       Trigger = "auto"
	AutoUpdate Trigger = "auto update"
	ByPlaybook Trigger = "playbook"
)

const (
	extensionOpenCTI    = "extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba"
	extensionObservable = "extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82"
	automationUser      = "c49fe040-2dad-412d-af07-ce639204ad55"
	manualUser          = "4e7c1f0a-6f0e-4f6f-9d2b-1d3b8b2a5c11"
)

// stixNamespace is the one of STIX 2.1's deterministic ids.
var stixNamespace = uuid.MustParse("00abedb4-aa42-466c-9c01-fed23315a9b7")

// execution is a playbook's step that waits for its answer.
type execution struct {
	eventID, playbookID, stepID, previousStepID, dataInstanceID string
	answered                                                    int
}

// standard makes a deterministic id the way STIX does.
func standard(kind string, contributing map[string]any) string {
	var name bytes.Buffer
	encoder := json.NewEncoder(&name)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(contributing) != nil {
		return ""
	}
	canonical := bytes.TrimSpace(name.Bytes())
	for _, escaped := range []string{"\u2028", "\u2029"} { // the two that encoding/json escapes and STIX does not
		canonical = bytes.ReplaceAll(canonical, fmt.Appendf(nil, `\u%04x`, []rune(escaped)[0]), []byte(escaped))
	}
	return kind + "--" + uuid.NewSHA1(stixNamespace, canonical).String()
}

func labelID(value string) string { return standard("label", map[string]any{"value": labelKey(value)}) }

// markingID is a marking definition's STIX id; those of TLP are fixed.
func markingID(definition string) string {
	fixed := map[string]string{
		"TLP:CLEAR":        "613f2e26-407d-48c7-9eca-b8e91df99dc9",
		"TLP:WHITE":        "613f2e26-407d-48c7-9eca-b8e91df99dc9",
		"TLP:GREEN":        "34098fce-860f-48ae-8e50-ebd3cc5e41da",
		"TLP:AMBER":        "f88d31f6-486f-44da-b317-01333bde0b82",
		"TLP:AMBER+STRICT": "826578e1-40ad-459f-bc73-ede076f81f37",
		"TLP:RED":          "5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
	}
	if id, ok := fixed[strings.ToUpper(definition)]; ok {
		return "marking-definition--" + id
	}
	family, _, _ := strings.Cut(definition, ":")
	return standard("marking-definition", map[string]any{"definition": definition, "definition_type": family})
}

// AddObservable puts an observable into the platform and returns its standard id.
func (p *Platform) AddObservable(o Observable) string {
	if p.rules.lowercases && (o.Type == "Domain-Name" || o.Type == "Email-Addr") {
		o.Value = strings.ToLower(o.Value)
	}
	kind := strings.ToLower(o.Type)
	if o.Type == "StixFile" {
		kind = "file"
	}
	contributing := map[string]any{"value": o.Value}
	if o.Account != nil {
		o.Value, contributing = o.Account.identity()
	} else if o.Artifact != nil && o.Artifact.SHA256 != "" {
		contributing = map[string]any{"hashes": map[string]any{"SHA-256": o.Artifact.SHA256}}
	}
	o.standardID = standard(kind, contributing)
	if o.CreatedAt == "" {
		o.CreatedAt = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	p.set(func() { p.addObservable(o) })
	return o.standardID
}

// Observable returns the observable as it stands, imported score and labels included.
func (p *Platform) Observable(standardID string) (Observable, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.find("", standardID); o != nil {
		return *o, true
	}
	for draft := range p.graphs {
		if o := p.find(draft, standardID); o != nil {
			return *o, true
		}
	}
	return Observable{}, false
}

// find returns an observable, as a draft shows it, by any of its ids. The lock is held.
func (p *Platform) find(draft, id string) *Observable { return p.graphs.lookup(draft, id).observable() }

// Enrich has the observable enriched by the registered connector: it makes the work and publishes the job. It returns the
// work's id, and for a playbook, which has no work, the execution's. It refuses what the platform would not do: a job
// for a connector that did not ask for it, a trigger that the release does not know.
func (p *Platform) Enrich(ctx context.Context, standardID string, trigger Trigger) (string, error) {
	return p.EnrichInDraft(ctx, standardID, trigger, "")
}

// EnrichInDraft is Enrich from within a draft (6.4.0).
func (p *Platform) EnrichInDraft(ctx context.Context, standardID string, trigger Trigger, draftID string) (string, error) {
	connectorID, id, body, err := p.job(standardID, trigger, draftID)
	if err != nil {
		return "", fmt.Errorf("enriching %s: %w", standardID, err)
	}
	if err := p.broker.PublishJob(ctx, connectorID, body); err != nil {
		return "", fmt.Errorf("enriching %s: %w", standardID, err)
	}
	return id, nil
}

func (p *Platform) job(standardID string, trigger Trigger, draftID string) (connectorID, id string, body []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.find(draftID, standardID)
	if o == nil {
		return "", "", nil, errors.New("there is no such observable")
	}
	if len(p.connectors) != 1 {
		return "", "", nil, fmt.Errorf("%d connectors are registered, one is expected", len(p.connectors))
	}
	var c *connector
	for _, c = range p.connectors {
		connectorID = c.id
	}
	if err := p.wanted(c, o, trigger, draftID); err != nil {
		return "", "", nil, err
	}
	var message map[string]any
	if trigger == ByPlaybook {
		id, message = p.playbookJob(o)
	} else {
		w := p.jobWork(connectorID, standardID)
		id, message = w.ID, p.workJob(w.ID, o, trigger, draftID)
	}
	p.notify()
	body, err = json.Marshal(message)
	return connectorID, id, body, err
}

// wanted says why the platform would not send such a job.
func (p *Platform) wanted(c *connector, o *Observable, trigger Trigger, draftID string) error {
	inScope := slices.ContainsFunc(c.scope, func(entry string) bool { return strings.EqualFold(entry, o.Type) })
	switch {
	case draftID != "" && !p.rules.drafts:
		return errors.New("this release has no drafts")
	case trigger == ByPlaybook && (!p.rules.playbooks || !c.playbooks):
		return errors.New("the release has no playbooks, or the connector is not made for them")
	case (trigger == Auto || trigger == AutoUpdate) && p.rules.accessChecked && o.Hidden:
		return errors.New("the connector's user may not see it")
	case trigger == Auto && p.rules.filters && c.filter != nil && inScope && c.filter(*o):
		return nil
	case trigger == Auto && p.rules.filters && c.filter != nil:
		return errors.New("the administrator's filters leave it out")
	case trigger == Auto && (!c.auto || !inScope):
		return errors.New("the connector did not ask for new entities of this type")
	case trigger == AutoUpdate && (!p.rules.jobContext || !c.autoUpdate || !inScope):
		return errors.New("the connector did not ask for changed entities of this type")
	}
	return nil
}

// workJob is a manual or automatic job's message.
func (p *Platform) workJob(workID string, o *Observable, trigger Trigger, draftID string) map[string]any {
	internal := map[string]any{"work_id": workID, "applicant_id": nil}
	event := map[string]any{"entity_id": o.standardID}
	if p.rules.entityType {
		event["event_type"], event["entity_type"] = "INTERNAL_ENRICHMENT", o.Type
	} else if trigger == Manual {
		internal["applicant_id"] = manualUser
	}
	if p.rules.drafts {
		internal["draft_id"] = nil
		if draftID != "" {
			internal["draft_id"] = draftID
		}
	}
	if p.rules.jobContext {
		internal["mode"], internal["trigger"] = "auto", "update"
		switch trigger {
		case Manual:
			internal["mode"] = "manual"
		case Auto:
			internal["trigger"] = "create"
		default: // an update, told automatically
		}
		event["stix_entity"] = compact(p.stix(o))
		event["stix_objects"] = nil
	}
	return map[string]any{"internal": internal, "event": event}
}

// playbookJob is a playbook's message: no work, no event_type, the bundle as an object.
func (p *Platform) playbookJob(o *Observable) (executionID string, message map[string]any) {
	executionID = uuid.NewString()
	e := &execution{
		playbookID: uuid.NewString(), stepID: uuid.NewString(), previousStepID: uuid.NewString(), dataInstanceID: o.standardID,
	}
	step := map[string]any{
		"execution_id": executionID, "playbook_id": e.playbookID, "data_instance_id": o.standardID,
		"step_id": e.stepID, "previous_step_id": e.previousStepID,
	}
	if p.rules.eventID {
		e.eventID = fmt.Sprintf("%d-0", time.Now().UnixMilli())
		step["event_id"] = e.eventID
	}
	p.executions[executionID] = e
	internal := map[string]any{"work_id": nil, "playbook": step, "applicant_id": automationUser}
	if p.rules.jobContext {
		internal["mode"], internal["trigger"] = "auto", "create"
	}
	event := map[string]any{
		"entity_id": o.standardID,
		"bundle": map[string]any{
			"id": "bundle--" + executionID, "type": "bundle", "spec_version": "2.1", "objects": []any{p.stix(o)},
		},
	}
	if p.rules.playbookType {
		event["entity_type"] = o.Type
	}
	return executionID, map[string]any{"internal": internal, "event": event}
}

// stix is the observable as the platform's own converter writes it: what STIX does not know is in two extensions, and for
// types that only OpenCTI has at the top.
func (p *Platform) stix(o *Observable) map[string]any {
	kind, _, _ := strings.Cut(o.standardID, "--")
	converted := map[string]any{"id": o.standardID, "spec_version": "2.1", "type": kind, "value": o.Value}
	if o.Account != nil {
		delete(converted, "value")
		for key, text := range map[string]string{
			"account_login": o.Account.Login, "user_id": o.Account.UserID, "credential": o.Account.Credential,
		} {
			if text != "" {
				converted[key] = text
			}
		}
	}
	extra := map[string]any{"extension_type": "property-extension"}
	target := extra
	if slices.Contains([]string{"Phone-Number", "Hostname", "Text", "User-Agent", "Bank-Account", "Payment-Card"}, o.Type) {
		extra["extension_type"], target = "new-sco", converted
	}
	if o.Score != nil {
		target["score"] = *o.Score
	}
	if len(o.Labels) > 0 {
		target["labels"] = o.Labels
	}
	own := map[string]any{
		"extension_type": "property-extension", "id": o.internalID, "type": o.Type, "created_at": o.CreatedAt,
		"updated_at": o.CreatedAt, "is_inferred": false, "creator_ids": []string{UserID},
	}
	if len(o.Organizations) > 0 {
		own["granted_refs"] = o.Organizations
	}
	converted["extensions"] = map[string]any{extensionOpenCTI: own, extensionObservable: extra}
	if len(o.Markings) > 0 {
		ids := make([]string, len(o.Markings))
		for i, definition := range o.Markings {
			ids[i] = markingID(definition)
		}
		converted["object_marking_refs"] = ids
	}
	return converted
}

func compact(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}
