package openctitest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// Import is a STIX object that came through the push queue.
type Import struct {
	// Object is the last one with this id, Times the number of imports.
	Object json.RawMessage
	Times  int
	// Works lists the works of the messages, each once. ApplicantID, DraftID and Update are those of the last message.
	Works                []string
	ApplicantID, DraftID string
	Update               bool
}

// Imported returns what was imported, by STIX id.
func (p *Platform) Imported() map[string]Import {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]Import, len(p.imported))
	for id, i := range p.imported {
		copied := *i
		copied.Works = slices.Clone(i.Works)
		all[id] = copied
	}
	return all
}

// envelope is a message of the push queue, as the platform's worker reads it.
type envelope struct {
	BundleType     *string         `json:"bundle_type"`
	ApplicantID    string          `json:"applicant_id"`
	ActionSequence *int            `json:"action_sequence"`
	EntitiesTypes  []string        `json:"entities_types"`
	Content        string          `json:"content"`
	Update         *bool           `json:"update"`
	DraftID        *string         `json:"draft_id"`
	NoSplit        bool            `json:"no_split"`
	WorkID         json.RawMessage `json:"work_id"`

	workID string
	object map[string]any
	raw    json.RawMessage
}

// importFor consumes a connector's push queue until ctx ends.
func (p *Platform) importFor(ctx context.Context, connectorID string) {
	running := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.paused && !p.restarting
	}
	err := p.broker.ConsumePush(ctx, connectorID, func(body []byte) error {
		if err := p.Wait(ctx, running); err != nil {
			return err
		}
		p.Import(ctx, body)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		p.log.ErrorContext(ctx, "consuming the push queue", slog.String("connector", connectorID), slog.Any("error", err))
	}
}

// Import imports one message of the push queue now. It is for tests that publish no messages to a broker.
func (p *Platform) Import(ctx context.Context, body []byte) {
	p.set(func() { p.take(body) })
	p.sendDue(ctx)
}

// sendDue sends the automatic jobs that an import caused, if the connector asked for them.
func (p *Platform) sendDue(ctx context.Context) {
	var all []due
	p.set(func() {
		if p.autoJobs {
			all = p.due
		}
		p.due = nil
	})
	for _, d := range all {
		if _, err := p.Enrich(ctx, d.standardID, d.trigger); err != nil {
			p.log.DebugContext(ctx, "not sending the automatic job of an import", slog.Any("error", err))
		}
	}
}

// take imports one message. A malformed message is lost, as on the platform, and noted as a complaint. The lock is held.
func (p *Platform) take(body []byte) {
	if whole, ok := unwrapWhole(body); ok {
		p.takeWhole(whole)
		return
	}
	e, err := unwrap(body)
	if err != nil {
		p.complain("a published message was lost: %v", err)
		return
	}
	if w := p.works[e.workID]; e.workID != "" && p.rules.liveness && (w == nil || !p.alive(w)) {
		if w != nil {
			w.Dropped++
		}
		return // the platform's worker acknowledges it and drops the object
	}
	if missing := p.missing(p.draftOf(e), e.object); missing != "" {
		p.waiting = append(p.waiting, e)
		return
	}
	p.store(e)
	p.retryWaiting()
}

// unwrap decodes and checks a message. The error is what makes the platform's worker lose it, or a mistake of the connector.
func unwrap(body []byte) (envelope, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("the envelope: %w", err)
	}
	switch {
	case e.ApplicantID == "":
		return e, errors.New("the envelope has no applicant_id")
	case e.ActionSequence == nil || *e.ActionSequence < 1:
		return e, errors.New("the envelope has no action_sequence from 1 on")
	case e.EntitiesTypes == nil:
		return e, errors.New("the envelope has no entities_types")
	case e.Update == nil:
		return e, errors.New("the envelope has no update")
	case e.BundleType != nil && *e.BundleType != "QUEUE_BUNDLE":
		return e, fmt.Errorf("bundle_type is %q", *e.BundleType)
	}
	if e.WorkID != nil {
		if err := json.Unmarshal(e.WorkID, &e.workID); err != nil || e.workID == "" {
			return e, errors.New("work_id is there and is no id: it has to be left out")
		}
	}
	content, err := base64.StdEncoding.DecodeString(e.Content)
	if err != nil {
		return e, fmt.Errorf("content is no base64: %w", err)
	}
	var bundle struct {
		Type    string            `json:"type"`
		ID      string            `json:"id"`
		Seq     *int              `json:"x_opencti_seq"`
		Spec    string            `json:"spec_version"`
		Objects []json.RawMessage `json:"objects"`
	}
	if err := json.Unmarshal(content, &bundle); err != nil {
		return e, fmt.Errorf("content is no bundle: %w", err)
	}
	switch {
	case bundle.Type != "bundle" || !strings.HasPrefix(bundle.ID, "bundle--") || bundle.Spec != "2.1":
		return e, errors.New("content is no bundle of STIX 2.1")
	case len(bundle.Objects) != 1:
		return e, fmt.Errorf("the bundle has %d objects, one is expected", len(bundle.Objects))
	case bundle.Seq == nil || *bundle.Seq < 1:
		return e, errors.New("the bundle has no x_opencti_seq")
	}
	e.raw = bundle.Objects[0]
	if err := json.Unmarshal(e.raw, &e.object); err != nil {
		return e, fmt.Errorf("the object: %w", err)
	}
	if text(e.object["id"]) == "" || text(e.object["type"]) == "" {
		return e, errors.New("the object has no id or no type")
	}
	return e, nil
}

// missing returns the first reference of the object that the platform does not know, or "".
func (p *Platform) missing(draft string, o map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		var refs []any
		switch {
		case strings.HasSuffix(key, "_refs"):
			refs, _ = o[key].([]any)
		case strings.HasSuffix(key, "_ref"):
			refs = []any{o[key]}
		}
		for _, ref := range refs {
			if id := text(ref); id != "" && !p.knows(draft, id) {
				return id
			}
		}
	}
	return ""
}

func (p *Platform) knows(draft, id string) bool {
	return p.graphs.lookup(draft, id) != nil || p.markings[id] != "" || p.organizations[id]
}

// retryWaiting imports what waited for an object that has come now. The platform's worker tries again after seconds.
func (p *Platform) retryWaiting() {
	for again := true; again; {
		again = false
		for i, e := range p.waiting {
			if p.missing(p.draftOf(e), e.object) == "" {
				p.waiting = slices.Delete(p.waiting, i, i+1)
				p.store(e)
				again = true
				break
			}
		}
	}
}

// giveUp reports what still waits as an error.
func (p *Platform) giveUp() {
	for _, e := range p.waiting {
		p.done(e, "Element not found: missing reference "+p.missing(p.draftOf(e), e.object))
	}
	p.waiting = nil
}

// store keeps the object and applies it to what the platform shows.
func (p *Platform) store(e envelope) {
	if problem := p.upsert(Source{UserID: e.ApplicantID, MaxConfidence: p.maxConfidence(e.ApplicantID), DraftID: p.draftOf(e)}, e.object); problem != "" {
		p.done(e, problem)
		return
	}
	id := text(e.object["id"])
	i := p.imported[id]
	if i == nil {
		i = &Import{}
		p.imported[id] = i
	}
	i.Object, i.ApplicantID, i.DraftID, i.Update = e.raw, e.ApplicantID, "", *e.Update
	if e.DraftID != nil {
		i.DraftID = *e.DraftID
	}
	i.Times++
	p.importedTimes++
	if e.workID != "" && !slices.Contains(i.Works, e.workID) {
		i.Works = append(i.Works, e.workID)
	}
	p.done(e, "")
}

// done reports the object to its work.
func (p *Platform) done(e envelope, problem string) {
	w := p.works[e.workID]
	if w == nil {
		return
	}
	var line *WorkMessage
	if problem == "" {
		w.Imported++
	} else {
		line = &WorkMessage{problem, string(e.raw)}
	}
	p.report(w, line)
}

// draftOf is the draft that a message is for, or "".
func (p *Platform) draftOf(e envelope) string {
	if e.DraftID == nil {
		return ""
	}
	return p.draft(*e.DraftID)
}

// maxConfidence is the highest confidence that what a user writes has.
func (p *Platform) maxConfidence(userID string) int {
	if userID == UserID && p.user.MaxConfidence != nil {
		return *p.user.MaxConfidence
	}
	return 100
}

// first looks a property up as the worker does: at the top by its names in turn, the observable extension between them.
func first(o map[string]any, names ...string) (any, bool) {
	if value, ok := o[names[0]]; ok && value != nil {
		return value, true
	}
	if extensions, ok := o["extensions"].(map[string]any); ok {
		if extension, ok := extensions[extensionObservable].(map[string]any); ok {
			if value, ok := extension[strings.TrimPrefix(names[0], "x_opencti_")]; ok && value != nil {
				return value, true
			}
		}
	}
	for _, name := range names[1:] {
		if value, ok := o[name]; ok && value != nil {
			return value, true
		}
	}
	return nil, false
}

// due is an automatic job that an import caused.
type due struct {
	standardID string
	trigger    Trigger
}
