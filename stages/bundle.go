package stages

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

// Enrichment is the operator's choice of what a bundle holds.
type Enrichment struct {
	// DefaultTLP marks new objects about an observable that has no marking of its own.
	DefaultTLP opencti.TLP
	// Confidence of what the worker asserts, 0 to 100; nil leaves it to OpenCTI. An object that exists with a higher one keeps
	// that: OpenCTI ignores an update with a lower one.
	Confidence *int
	// IPRelationships adds the autonomous system of an address, DomainRelationships the address of a domain, Countries the
	// country of an address.
	IPRelationships, DomainRelationships, Countries bool
	// Score says when the score of IPQS replaces the observable's.
	Score ScorePolicy
	// IndicatorFrom are the least scores that an indicator is made of. DetectFrom is the least score whose indicators are marked
	// for detection; nil does not set the mark.
	IndicatorFrom MinScores
	DetectFrom    *int
	// Revive says which revoked indicators become valid again.
	Revive RevivePolicy
	// Personal includes what IPQS knows about people in the note.
	Personal bool
}

// The author of the worker's objects. Its id follows from the name and class, which are those of IPQS' connector in Python.
const (
	authorName  = "IPQS"
	authorClass = "organization"
)

// authorSince is the creation time of the author and of countries: all jobs send the same object, so it is not the time of a job.
var authorSince = time.Date(2022, time.January, 1, 0, 0, 0, 0, time.UTC)

// Bundle makes the STIX 2.1 bundle of a job from what OpenCTI has (State) and what the worker concludes: objects of the
// worker's own that are missing or have changed, and no others. It is a function of the job alone: the same job, the same
// bytes. A playbook's bundle is the one that its step was given, with ours in it.
func Bundle(e Enrichment) Stage {
	return Stage{
		Name:    "bundle",
		Needs:   []Section{SectionRequest, SectionEntity, SectionRisk, SectionVerdict},
		Uses:    []Section{SectionState},
		Fills:   []Section{SectionChanges, SectionBundle},
		Timeout: 5 * time.Second,
		Run: func(_ context.Context, job Job) (Job, error) {
			return compose(e, job)
		},
	}
}

// Changes is what a job changes in OpenCTI beside the bundle: an import can take nothing off an object.
type Changes struct {
	// Labels lists the labels of earlier verdicts, to be taken off.
	Labels []LabelOn `json:"labels,omitempty"`
	// Patch is for the worker's own indicator, with that STIX id.
	Indicator string                 `json:"indicator,omitempty"`
	Patch     opencti.IndicatorPatch `json:"patch,omitzero"`
}

// LabelOn is a label on an object.
type LabelOn struct {
	// Object is the STIX id of the object.
	Object string        `json:"on"`
	Label  opencti.Label `json:"label"`
}

// compose returns the job with its bundle and its changes, made from the job alone.
func compose(e Enrichment, job Job) (Job, error) {
	b, err := newBuilder(e, job)
	if err == nil {
		job.Bundle, err = b.build()
	}
	if err != nil {
		return job, fault(Permanent, ReasonMalformed, "making the bundle: %w", err)
	}
	job.Changes = nil
	if job.Playbook() == nil { // the later steps of a playbook decide what is imported
		job.Changes = &b.changes
	}
	return job, nil
}

// builder makes the objects of one bundle.
type builder struct {
	job     Job
	state   State
	options Enrichment
	author  stix.Identity
	own     []string // the observable's own markings
	sharing stix.Sharing
	at      time.Time
	objects []stix.Object
	changes Changes
	// given and givenIndicator are what a playbook's bundle has of the observable and of its indicator, nil where it has none.
	given, givenIndicator *stix.Sketch
}

func newBuilder(e Enrichment, job Job) (*builder, error) {
	b := &builder{job: job, options: e, at: job.Risk.At}
	if job.State != nil {
		b.state = *job.State
	}
	if b.state.NoteID == "" {
		b.state.NoteID = stix.NoteID(job.Entity.StandardID)
	}
	for _, m := range job.Entity.Markings {
		b.own = append(b.own, m.ID)
	}
	b.sharing = stix.Sharing{ObjectMarkingRefs: b.own, GrantedRefs: job.Entity.Organizations}
	defaultTLP, ok := stix.TLP(e.DefaultTLP.String())
	if len(b.own) == 0 && ok {
		b.sharing.ObjectMarkingRefs = []string{defaultTLP}
	}
	b.author = stix.NewIdentity(authorName, authorClass, authorSince)
	if ok {
		// Not the markings of the observable: the author would collect those of every observable that is enriched.
		b.author.ObjectMarkingRefs = []string{defaultTLP}
	}
	b.author.GrantedRefs = job.Entity.Organizations
	var err error
	if b.given, err = b.find(job.Entity.StandardID); err != nil {
		return nil, err
	}
	b.givenIndicator, err = b.find(hintOf(job.Entity, job.Risk).IndicatorID)
	return b, err
}

// find returns what a playbook's bundle has of an object, nil where it has nothing.
func (b *builder) find(id string) (*stix.Sketch, error) {
	playbook := b.job.Playbook()
	if playbook == nil || id == "" {
		return nil, nil
	}
	sketch, err := stix.Find(playbook.Bundle, id)
	if errors.Is(err, stix.ErrNoObject) {
		return nil, nil
	}
	return &sketch, err
}

func (b *builder) build() ([]byte, error) {
	entity, report := b.job.Entity, b.job.Risk.Report
	if b.state.Author == nil {
		b.add(b.author)
	}
	if err := b.observable(); err != nil {
		return nil, err
	}
	indicator, err := b.indicator()
	if err != nil {
		return nil, err
	}
	if b.options.IPRelationships && report.IP != nil {
		b.network(report.IP)
	}
	if b.options.Countries && report.IP != nil {
		b.country(report.IP)
	}
	if b.options.DomainRelationships && report.URL != nil && entity.Type == "Domain-Name" {
		if err := b.address(report.URL); err != nil {
			return nil, err
		}
	}
	b.note(indicator)
	if playbook := b.job.Playbook(); playbook != nil {
		return stix.Merge(playbook.Bundle, b.objects, b.job.Verdict.outdates)
	}
	return stix.Bundle{ID: stix.BundleID(b.job.ID), Objects: b.objects}.Encode()
}

func (b *builder) add(o stix.Object) { b.objects = append(b.objects, o) }

// observable adds the entity itself where its score or its labels change. It keeps its author and its markings.
func (b *builder) observable() error {
	entity := b.job.Entity
	for _, label := range entity.Labels {
		if b.job.Verdict.outdates(label.Value) {
			b.changes.Labels = append(b.changes.Labels, LabelOn{entity.StandardID, label})
		}
	}
	score := b.score()
	if score == nil && len(missing(b.job.Verdict.Labels, entity.Labels)) == 0 && b.given == nil {
		return nil
	}
	o, err := stix.NewObservable(entity.Type, entity.StandardID, entity.Value)
	if err != nil {
		return fmt.Errorf("of the observable: %w", err)
	}
	if account := entity.Account; account != nil {
		o.AccountLogin, o.AccountType, o.UserID = account.Login, account.Type, account.UserID
	}
	if artifact := entity.Artifact; artifact != nil {
		o.Hashes, o.URL, o.MIMEType = artifact.Hashes, artifact.URL, artifact.MIMEType
		if len(o.Hashes) == 0 && o.URL == "" {
			o.Hashes = stix.Hashes{"SHA-256": b.sha256()}
		}
	}
	o.Score = score
	o.Labels = b.labels()
	o.ExternalReferences = b.references()
	o.ObjectMarkingRefs, o.GrantedRefs = b.own, entity.Organizations
	b.add(o)
	return nil
}

// score is what the observable's score becomes, nil where it stays. A playbook's bundle can be ahead of what OpenCTI has, or
// behind: the policy has to allow the score against both.
func (b *builder) score() *int {
	entity, score := b.job.Entity, b.job.Verdict.Score
	if score == nil {
		return nil
	}
	another := foreign(entity, b.state)
	if !b.options.Score.replaces(entity.Score, another, *score) {
		return nil
	}
	if b.given == nil {
		if entity.Score != nil && *entity.Score == *score {
			return nil
		}
		return score
	}
	another = another || b.given.CreatedByRef != "" && !b.ours(b.given.CreatedByRef)
	if !b.options.Score.replaces(b.given.Score, another, *score) {
		return nil
	}
	return score
}

// ours reports whether a STIX id is that of the worker's identity.
func (b *builder) ours(id string) bool {
	return id == authorID || b.state.Author != nil && id == b.state.Author.StandardID
}

// references is the link to the page of IPQS about the value, none where there is no such page.
func (b *builder) references() []stix.ExternalReference {
	page, description, ok := reference(b.job.Entity, b.job.Verdict, b.job.Risk)
	if !ok {
		return nil
	}
	return []stix.ExternalReference{{SourceName: referenceSource, Description: description, URL: page}}
}

// network adds the autonomous system that an address belongs to, if IPQS names one by a number that can be one.
func (b *builder) network(ip *ipqs.IP) {
	number, ok := asn(ip)
	if !ok {
		return
	}
	system := stix.NewAutonomousSystem(number)
	if b.linked(stix.BelongsTo, system.ID) {
		return
	}
	b.add(system)
	var names []string
	if ip.ISP != "" {
		names = append(names, "ISP: "+escape(string(ip.ISP)))
	}
	if ip.Organization != "" {
		names = append(names, "organization: "+escape(string(ip.Organization)))
	}
	b.relate(stix.BelongsTo, b.job.Entity.StandardID, system.ID, strings.Join(names, ", "))
}

// asn is the number of the autonomous system, if it is one that a system can have: IPQS also sends 0, null and text.
func asn(ip *ipqs.IP) (number int, ok bool) {
	number, ok = ip.ASN.Int()
	return number, ok && number >= 1 && number <= math.MaxUint32
}

// country adds where an address is. The country is OpenCTI's own one for the code, which keeps its name. Where OpenCTI has
// none, it is made under its English name, from which its id follows.
func (b *builder) country(ip *ipqs.IP) {
	id := ""
	var made *stix.Location
	if b.state.Country != nil {
		id = b.state.Country.StandardID
	} else {
		name, code, ok := countryOf(ip)
		if !ok {
			return
		}
		made = new(stix.NewCountry(name, code, authorSince))
		id = made.ID
	}
	if b.linked(stix.LocatedAt, id) {
		return
	}
	if made != nil {
		b.add(*made)
	}
	b.relate(stix.LocatedAt, b.job.Entity.StandardID, id, "")
}

// countryOf is the country of an address, its English name and its code of two letters, if IPQS names one that exists.
func countryOf(ip *ipqs.IP) (name, code string, ok bool) {
	code = strings.ToUpper(string(ip.CountryCode))
	region, err := language.ParseRegion(code)
	if len(code) != 2 || err != nil || !region.IsCountry() {
		return "", "", false
	}
	name = display.English.Regions().Name(region)
	return name, region.Canonicalize().String(), name != ""
}

// address adds what a domain resolves to, IPv4 or IPv6.
func (b *builder) address(url *ipqs.URL) error {
	addr, err := netip.ParseAddr(string(url.IPAddress))
	if err != nil || addr.Zone() != "" {
		return nil //nolint:nilerr // "N/A" or other text: there is no address
	}
	kind := "IPv6-Addr"
	if addr.Is4() {
		kind = "IPv4-Addr"
	}
	o, err := stix.NewObservable(kind, "", addr.String())
	if err != nil {
		return fmt.Errorf("of the resolved address: %w", err)
	}
	if b.linked(stix.ResolvesTo, o.ID) {
		return nil
	}
	b.add(o)
	b.relate(stix.ResolvesTo, b.job.Entity.StandardID, o.ID, "")
	return nil
}

// linked reports whether OpenCTI has the relationship from the entity to another object.
func (b *builder) linked(relationship, id string) bool {
	return opencti.State{Links: b.state.Links}.Linked(relationship, id)
}

// note adds the worker's note on the observable and its indicator, if it has one. There is one note per observable: it keeps
// its id and the time when it was created.
func (b *builder) note(indicator indicatorPlan) {
	refs := []string{b.job.Entity.StandardID}
	if indicator.id != "" {
		refs = append(refs, indicator.id)
	}
	known := KnownNote{}
	if b.state.Note != nil {
		known = *b.state.Note
	}
	content := noteContent(noteFacts{
		Entity: b.job.Entity, Verdict: b.job.Verdict, Risk: b.job.Risk, Indicator: indicator.explained, Personal: b.options.Personal,
		History: mergeHistory(known.History, historyRow(b.job.Verdict, b.job.Risk)),
	})
	n := stix.NewNote(b.state.NoteID, content, known.Created, b.at, refs...)
	n.Abstract = noteAbstract(b.job.Verdict, b.job.Risk)
	n.NoteTypes = []string{"external"}
	n.CreatedByRef, n.Confidence, n.Sharing = b.author.ID, b.confidence(known.Confidence), b.sharing
	b.add(n)
}

// confidence is that of an object that exists with the given one, or nil: never less, or OpenCTI ignores the object.
func (b *builder) confidence(existing *int) *int {
	if b.options.Confidence == nil || existing == nil {
		return b.options.Confidence
	}
	return new(max(*b.options.Confidence, *existing))
}

func (b *builder) relate(relationship, source, target, description string) {
	r := stix.NewRelationship(relationship, source, target, b.at)
	r.Description = description
	r.CreatedByRef, r.Confidence, r.Sharing = b.author.ID, b.options.Confidence, b.sharing
	b.add(r)
}

func (b *builder) labels() []string {
	var values []string
	for _, label := range b.job.Verdict.Labels {
		values = append(values, label.Value)
	}
	return values
}
