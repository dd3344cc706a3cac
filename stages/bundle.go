package stages

import (
	"cmp"
	"context"
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

// Enrichment is what the operator wants a bundle to hold.
type Enrichment struct {
	// DefaultTLP marks new objects about an observable that has no marking of its own.
	DefaultTLP opencti.TLP
	// Confidence of what we assert, 0 to 100; nil leaves it to OpenCTI.
	Confidence *int
	// IPRelationships adds the autonomous system of an address, DomainRelationships the address of a domain, Countries the
	// country of an address.
	IPRelationships, DomainRelationships, Countries bool
	// IndicatorFrom is the least score that an indicator is made of: 0 is every score. DetectFrom is the least score that
	// sensors shall look for; nil leaves the decision to whoever made it in OpenCTI.
	IndicatorFrom int
	DetectFrom    *int
	// Personal says whether the note tells what IPQS knows of people.
	Personal bool
}

// The author of everything we assert: the name, and so the id, that IPQS' other OpenCTI connector uses.
const (
	authorName  = "IPQS"
	authorClass = "organization"
)

// authorSince is when the author came to be, as far as its bundles say: it is one identity for every job, so no job's
// clock can be its own.
var authorSince = time.Date(2022, time.January, 1, 0, 0, 0, 0, time.UTC)

// Bundle makes the STIX 2.1 bundle of a job, a function of the job alone: the same job, the same bytes. A playbook's is the
// one that its step was given, with ours in it.
func Bundle(e Enrichment) Stage {
	return Stage{
		Name:    "bundle",
		Needs:   []Section{SectionRequest, SectionEntity, SectionRisk, SectionVerdict},
		Fills:   []Section{SectionBundle},
		Timeout: 5 * time.Second,
		Run: func(_ context.Context, job Job) (Job, error) {
			bundle, err := newBuilder(e, job).build()
			if err != nil {
				return job, fault(Permanent, ReasonMalformed, "making the bundle: %w", err)
			}
			job.Bundle = bundle
			return job, nil
		},
	}
}

// builder makes the objects of one bundle.
type builder struct {
	job     Job
	options Enrichment
	author  stix.Identity
	own     []string // the observable's own markings
	sharing stix.Sharing
	at      time.Time
	objects []stix.Object
}

func newBuilder(e Enrichment, job Job) *builder {
	b := &builder{job: job, options: e, at: job.Risk.At}
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
		// Everybody may know who IPQS is: the author would else gather the markings of every observable ever enriched.
		b.author.ObjectMarkingRefs = []string{defaultTLP}
	}
	b.author.GrantedRefs = job.Entity.Organizations
	return b
}

func (b *builder) build() ([]byte, error) {
	entity, verdict, report := b.job.Entity, b.job.Verdict, b.job.Risk.Report
	b.add(b.author)
	if err := b.observable(); err != nil {
		return nil, err
	}
	if verdict.Score != nil && *verdict.Score >= b.options.IndicatorFrom {
		if err := b.indicator(); err != nil {
			return nil, err
		}
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
	b.note()
	if playbook := b.job.Playbook(); playbook != nil {
		return stix.Merge(playbook.Bundle, b.objects, b.job.Verdict.outdates)
	}
	return stix.Bundle{ID: stix.BundleID(b.job.ID), Objects: b.objects}.Encode()
}

func (b *builder) add(o stix.Object) { b.objects = append(b.objects, o) }

// observable is the entity itself, with its new score and labels. It keeps its author and its markings.
func (b *builder) observable() error {
	entity := b.job.Entity
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
	o.Score = b.job.Verdict.Score
	o.Labels = b.labels()
	o.ObjectMarkingRefs, o.GrantedRefs = b.own, entity.Organizations
	b.add(o)
	return nil
}

// indicator is what sensors recognise the observable by. What has no pattern has none. Nor has an account: that it is in a
// leak makes it a victim's, so nobody should look for it, and its password stands in no pattern whatever the model. Only the
// model that does as the connector in Python makes one of a login.
func (b *builder) indicator() error {
	entity, verdict, report := b.job.Entity, b.job.Verdict, b.job.Risk.Report
	value := identifying(entity)
	if report.Leak != nil && (verdict.Model != Connector || report.Kind == ipqs.KindLeakPassword) {
		return nil
	}
	if report.File != nil {
		value = b.sha256()
	}
	if value == "" {
		return nil
	}
	pattern, err := stix.Pattern(entity.Type, value)
	if err != nil {
		return fmt.Errorf("of the indicator: %w", err)
	}
	i := stix.NewIndicator(pattern, b.at)
	i.Name = value
	i.CreatedByRef, i.Confidence, i.Sharing = b.author.ID, b.options.Confidence, b.sharing
	i.Score, i.Labels, i.MainObservableType = verdict.Score, b.labels(), entity.Type
	i.IndicatorTypes = indicatorTypes(verdict, report)
	switch from := b.options.DetectFrom; {
	case from != nil:
		i.Detection = new(*i.Score >= *from)
	case report.File != nil:
		// A file's hash matches that file alone, and an engine has called it malware or has not.
		i.Detection = new(detected(report.File) == ipqs.True)
	}
	b.add(i)
	b.relate(stix.BasedOn, i.ID, entity.StandardID)
	return nil
}

// sha256 is the hash of what was scanned, as it was computed here; else the one that OpenCTI has. What IPQS sends is not
// asked.
func (b *builder) sha256() string {
	if file := b.job.Risk.Report.File; file != nil && file.OwnSHA256 != "" {
		return string(file.OwnSHA256)
	}
	return identifying(b.job.Entity)
}

// identifying is what a pattern compares: the login of an account, the SHA-256 of an artifact, the value of all else. It is ""
// where there is none.
func identifying(e *opencti.Entity) string {
	switch {
	case e.Account != nil:
		return e.Account.Login
	case e.Artifact != nil:
		return e.Artifact.Hashes["SHA-256"]
	default:
		return e.Value
	}
}

// network is the autonomous system that an address belongs to, if IPQS names one by a number that can be one.
func (b *builder) network(ip *ipqs.IP) {
	number, ok := asn(ip)
	if !ok {
		return
	}
	system := stix.NewAutonomousSystem(number, cmp.Or(string(ip.ISP), string(ip.Organization), fmt.Sprintf("AS%d", number)))
	system.CreatedByRef, system.Sharing = b.author.ID, b.sharing
	b.add(system)
	b.relate(stix.BelongsTo, b.job.Entity.StandardID, system.ID)
}

// asn is the number of the autonomous system, if it is one that a system can have: IPQS also sends 0, null and text.
func asn(ip *ipqs.IP) (number int, ok bool) {
	number, ok = ip.ASN.Int()
	return number, ok && number >= 1 && number <= math.MaxUint32
}

// country is where an address is, under the English name that OpenCTI's own countries and other connectors go by: the id
// follows from the name. Like the author it is everybody's, and gathers no markings; that the address is there is marked.
func (b *builder) country(ip *ipqs.IP) {
	code := strings.ToUpper(string(ip.CountryCode))
	region, err := language.ParseRegion(code)
	if len(code) != 2 || err != nil || !region.IsCountry() {
		return
	}
	name := display.English.Regions().Name(region)
	if name == "" {
		return
	}
	country := stix.NewCountry(name, region.Canonicalize().String(), authorSince)
	country.CreatedByRef, country.Sharing = b.author.ID, b.author.Sharing
	b.add(country)
	b.relate(stix.LocatedAt, b.job.Entity.StandardID, country.ID)
}

// address is what a domain resolves to, IPv4 or IPv6.
func (b *builder) address(url *ipqs.URL) error {
	addr, err := netip.ParseAddr(string(url.IPAddress))
	if err != nil || addr.Zone() != "" {
		return nil //nolint:nilerr // "N/A", or a stranger's text: there is no address to tell of
	}
	kind := "IPv6-Addr"
	if addr.Is4() {
		kind = "IPv4-Addr"
	}
	o, err := stix.NewObservable(kind, "", addr.String())
	if err != nil {
		return fmt.Errorf("of the resolved address: %w", err)
	}
	o.CreatedByRef, o.Sharing = b.author.ID, b.sharing
	b.add(o)
	b.relate(stix.ResolvesTo, b.job.Entity.StandardID, o.ID)
	return nil
}

func (b *builder) note() {
	content := noteText(b.job.Entity, b.job.Verdict, b.job.Risk.Report, b.options.Personal)
	n := stix.NewNote(content, b.job.Entity.CreatedAt, b.at, b.job.Entity.StandardID)
	n.Abstract = "IPQS risk report"
	n.CreatedByRef, n.Confidence, n.Sharing = b.author.ID, b.options.Confidence, b.sharing
	b.add(n)
}

func (b *builder) relate(relationship, source, target string) {
	r := stix.NewRelationship(relationship, source, target, b.at)
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

// indicatorTypes returns the types of a verdict's indicator: what the level means, and whether IPQS sees the address hide its
// user. A value that IPQS reports findings about is never benign, however low its score.
func indicatorTypes(v *Verdict, report *ipqs.Report) []string {
	types := []string{v.Model.grade(v.Level).IndicatorType}
	if types[0] == typeBenign && len(v.Factors) > 0 {
		types[0] = typeUnknown
	}
	if report.Leak != nil && leaked(report.Leak) == ipqs.True {
		types = []string{typeCompromised}
	}
	if ip := report.IP; ip != nil && (ip.TOR == ipqs.True || ip.VPN == ipqs.True || ip.Proxy == ipqs.True) {
		types = append(types, typeAnonymization)
	}
	return types
}
