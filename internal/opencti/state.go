package opencti

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// StateQuery names what [Client.State] reads.
type StateQuery struct {
	// EntityID is the observable's internal id, standard id or any STIX id.
	EntityID string
	// IndicatorID and NoteID are the STIX ids of the indicator and of the connector's note; "" reads none.
	IndicatorID, NoteID string
	// AuthorID is the STIX id of the connector's own identity; "" reads none.
	AuthorID string
	// DraftID is the draft to read in; "" is the live data.
	DraftID string
}

// State is what the platform has of one observable, and of what the connector writes about it.
type State struct {
	Entity Entity
	// Indicator, Note and Author are nil where they do not exist, or where the connector's user may not see them.
	Indicator *Indicator
	Note      *Note
	Author    *Reference
	// Links are the relationships that start at the observable, of the types that the connector writes, 1,000 of a type at
	// most.
	Links []Link
}

// Indicator is what the platform has of an indicator.
type Indicator struct {
	Reference
	// Author is nil where it has none.
	Author *Reference
	// Score is 0 to 100 and falls as the indicator decays; BaseScore is the one that decay began with, nil where the
	// platform does not apply decay to it.
	Score, BaseScore *int
	// Confidence is 0 to 100, nil where the platform does not say.
	Confidence *int
	Revoked    bool
	ValidUntil time.Time
	Types      []string
	Labels     []Label
	// Description is "" where it has none.
	Description string
	// Decay lists the scores that it has had, the oldest first.
	Decay []DecayStep
	// Linked says that it is based on the observable of the same [State].
	Linked bool
}

// DecayStep is an entry of an indicator's decay history.
type DecayStep struct {
	Score int       `json:"score"`
	At    time.Time `json:"updated_at"`
}

// Note is what the platform has of a note.
type Note struct {
	ID      string `json:"id"`
	Content string `json:"content"`
	Created string `json:"created"` // RFC 3339, as the platform writes it
	// Modified is when the platform last took it in.
	Modified   time.Time `json:"modified"`
	Confidence *int      `json:"confidence"`
}

// Link is a relationship to another object.
type Link struct {
	Type string `json:"type"` // such as "belongs-to"
	// To is the object that it leads to.
	To Reference `json:"to"`
}

// Linked reports whether one of the links of that type leads to the object with that internal id or STIX id.
func (s State) Linked(relationship, id string) bool {
	return slices.ContainsFunc(s.Links, func(l Link) bool {
		return l.Type == relationship && (l.To.StandardID == id || l.To.ID == id)
	})
}

// nobody is a STIX id that no object has: version 4 UUIDs are random, and all of its random bits are zero.
const nobody = "00000000-0000-4000-8000-000000000000"

// State reads, in one query, the observable and what the connector has written about it: the indicator, the note, the
// author, and which relationships exist. ErrNotFound means that the observable does not exist, that the connector's user
// may not see it, or that it is no observable.
func (c *Client) State(ctx context.Context, q StateQuery) (State, error) {
	var answer struct {
		Observable *observableFields `json:"stixCyberObservable"`
		Indicator  *indicatorFields  `json:"indicator"`
		Note       *Note             `json:"note"`
		Author     *referenceFields  `json:"identity"`
	}
	op, err := c.doFirst(ctx, []operation{opState, opStatePlain, opStateLegacy}, map[string]any{
		"id":        q.EntityID,
		"indicator": cmp.Or(q.IndicatorID, "indicator--"+nobody),
		"note":      cmp.Or(q.NoteID, "note--"+nobody),
		"author":    cmp.Or(q.AuthorID, "identity--"+nobody),
	}, q.DraftID, &answer)
	if err != nil {
		return State{}, err
	}
	o := answer.Observable
	if o == nil {
		return State{}, nothing(op)
	}
	state := State{Entity: o.entity(), Note: answer.Note, Author: answer.Author.reference(), Links: o.links()}
	if answer.Indicator != nil {
		state.Indicator = answer.Indicator.indicator()
		state.Indicator.Linked = slices.ContainsFunc(o.Indicators, func(r referenceFields) bool { return r.ID == answer.Indicator.ID })
	}
	return state, nil
}

type referenceFields struct {
	ID         string `json:"id"`
	StandardID string `json:"standard_id"`
}

// reference returns nil for nil.
func (f *referenceFields) reference() *Reference {
	if f == nil {
		return nil
	}
	return new(Reference(*f))
}

type linkFields struct {
	To referenceFields `json:"to"`
}

type observableFields struct {
	referenceFields
	Type      string           `json:"entity_type"`
	Value     string           `json:"observable_value"`
	CreatedAt string           `json:"created_at"`
	Score     *int             `json:"x_opencti_score"`
	Author    *referenceFields `json:"createdBy"`
	Markings  refs[struct {
		ID         string `json:"standard_id"`
		Type       string `json:"definition_type"`
		Definition string `json:"definition"`
		Order      int    `json:"x_opencti_order"`
	}] `json:"objectMarking"`
	Labels        refs[Label] `json:"objectLabel"`
	Organizations refs[struct {
		ID string `json:"standard_id"`
	}] `json:"objectOrganization"`
	Indicators refs[referenceFields] `json:"indicators"`
	BelongsTo  refs[linkFields]      `json:"belongsTo"`
	LocatedAt  refs[linkFields]      `json:"locatedAt"`
	ResolvesTo refs[linkFields]      `json:"resolvesTo"`
	accountFields
	artifactFields
}

func (o *observableFields) entity() Entity {
	entity := Entity{
		ID: o.ID, StandardID: o.StandardID, Type: o.Type, Value: o.Value, Score: o.Score, CreatedAt: o.CreatedAt,
		Author: o.Author.reference(), Account: o.account(o.Type), Artifact: o.artifact(o.Type),
	}
	if entity.Account != nil {
		entity.Value = cmp.Or(entity.Account.Login, entity.Account.UserID)
	}
	for _, m := range o.Markings {
		entity.Markings = append(entity.Markings, Marking(m))
	}
	entity.Labels = append(entity.Labels, o.Labels...)
	for _, g := range o.Organizations {
		entity.Organizations = append(entity.Organizations, g.ID)
	}
	return entity
}

// links returns the relationships that start at the observable. OpenCTI lists those that end at it as well: a domain name
// can be what another one resolves to.
func (o *observableFields) links() []Link {
	var links []Link
	for _, of := range []struct {
		relationship string
		found        refs[linkFields]
	}{{"belongs-to", o.BelongsTo}, {"located-at", o.LocatedAt}, {"resolves-to", o.ResolvesTo}} {
		for _, link := range of.found {
			if link.To.ID != "" && link.To.ID != o.ID {
				links = append(links, Link{Type: of.relationship, To: Reference(link.To)})
			}
		}
	}
	return links
}

type indicatorFields struct {
	referenceFields
	Author     *referenceFields `json:"createdBy"`
	Score      *int             `json:"x_opencti_score"`
	Confidence *int             `json:"confidence"`
	Revoked    bool             `json:"revoked"`
	ValidUntil *time.Time       `json:"valid_until"`
	Types      []string         `json:"indicator_types"`
	Labels     refs[Label]      `json:"objectLabel"`
	Text       string           `json:"description"`
	BaseScore  *int             `json:"decay_base_score"`
	Decay      []DecayStep      `json:"decay_history"`
}

func (f *indicatorFields) indicator() *Indicator {
	i := &Indicator{
		Reference: Reference(f.referenceFields), Author: f.Author.reference(),
		Score: f.Score, BaseScore: f.BaseScore, Confidence: f.Confidence,
		Revoked: f.Revoked, Types: f.Types, Labels: f.Labels, Description: f.Text, Decay: f.Decay,
	}
	if f.ValidUntil != nil {
		i.ValidUntil = *f.ValidUntil
	}
	slices.SortStableFunc(i.Decay, func(a, b DecayStep) int { return a.At.Compare(b.At) })
	return i
}
