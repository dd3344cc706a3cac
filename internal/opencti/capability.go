package opencti

// Capabilities says what a release of the platform accepts, sends and does, as far as a connector has to care. The zero
// value is the baseline that every release since 5.4 has.
type Capabilities struct {
	// ListMarkings: markings, labels and organizations are plain lists; before, they are connections (edges, node).
	ListMarkings bool
	// RefRelationshipInput: relationAdd takes a StixRefRelationshipAddInput; before, a StixMetaRelationshipAddInput.
	RefRelationshipInput bool
	// PlaybookCompatible: playbooks exist: the registration's playbook_compatible, internal.playbook in jobs,
	// playbookStepExecution.
	PlaybookCompatible bool
	// EventID: playbookStepExecution requires event_id; before, it refuses it.
	EventID bool
	// PlaybookMerged: a playbook's answer is merged into the bundle it had; before, it replaces it.
	PlaybookMerged bool
	// PlaybookEntityType: playbook jobs name the entity's type.
	PlaybookEntityType bool
	// EntityType: jobs other than a playbook's name event_type and entity_type.
	EntityType bool
	// ForceUpdate: an existing observable only takes our score when the message says update (before 6.0).
	ForceUpdate bool
	// BundleType: the push envelope has bundle_type.
	BundleType bool
	// TriggerFilters: filters set by an administrator replace the registration's auto.
	TriggerFilters bool
	// LowercaseValues: the platform lower-cases the values of Domain-Name and Email-Addr.
	LowercaseValues bool
	// BundlePush: stixBundlePush exists. BundlePushWork: it takes a work_id. PlatformSplits: the platform splits what it
	// is given that way.
	BundlePush, BundlePushWork, PlatformSplits bool
	// ConnectorInfo: pingConnector takes connectorInfo.
	ConnectorInfo bool
	// WorkerSplits: the platform's worker splits a message of several objects. WorkerExpects: and announces them itself.
	WorkerSplits, WorkerExpects bool
	// NoSplit: the push envelope's no_split is understood.
	NoSplit bool
	// Drafts: jobs, headers and envelopes carry a draft. DraftContext: a work can be given one.
	Drafts, DraftContext bool
	// ListenCallbackURI: jobs can be had by an HTTP callback. CallbackJWT: it is authenticated by a JWT and the
	// registration's jwks; before, by the connector's own token.
	ListenCallbackURI, CallbackJWT bool
	// IsWorkAlive: isWorkAlive exists, and the worker drops what belongs to a work that is not. WorkNotAlive: the API
	// refuses it by that name.
	IsWorkAlive, WorkNotAlive bool
	// Tracked: works may be counted. It is false where the platform deletes the counters of an older work as soon as a
	// younger one finishes and its worker then drops the older one's objects: there, messages must carry no work_id and
	// nothing may be announced.
	Tracked bool
	// AutoUpdate, EnrichmentResolution: accepted by the registration.
	AutoUpdate, EnrichmentResolution bool
	// JobContext: jobs carry mode, trigger, stix_entity and stix_objects.
	JobContext bool
	// AtLeast: a work is complete when processed >= expected; before, when they are equal.
	AtLeast bool
	// CloseByReport: toProcessed does not end a work that expects nothing; one expectation, reported, does.
	CloseByReport bool
	// XTMOneIntent: accepted by the registration.
	XTMOneIntent bool
	// AccessChecked: auto jobs are only sent for elements that the connector's user may see.
	AccessChecked bool
	// LabelKept: labelAdd leaves the colour of an existing label alone; before, it replaces it.
	LabelKept bool
}

// gate is one line of the table: a capability that the releases in [since, before) have. An empty bound is open.
type gate struct {
	since, before string
	set           func(*Capabilities) *bool
}

// gates is the whole table. Every line is a fact about a release; nothing else in this package compares versions.
func gates() []gate {
	return []gate{
		{"5.7.0", "", func(c *Capabilities) *bool { return &c.RefRelationshipInput }},
		{"5.11.0", "", func(c *Capabilities) *bool { return &c.PlaybookCompatible }},
		{"5.12.24", "", func(c *Capabilities) *bool { return &c.ListMarkings }},
		{"6.0.0", "", func(c *Capabilities) *bool { return &c.EntityType }},
		{"", "6.0.0", func(c *Capabilities) *bool { return &c.ForceUpdate }},
		{"6.0.10", "", func(c *Capabilities) *bool { return &c.BundleType }},
		{"6.1.0", "", func(c *Capabilities) *bool { return &c.EventID }},
		{"6.2.0", "", func(c *Capabilities) *bool { return &c.TriggerFilters }},
		{"6.2.5", "", func(c *Capabilities) *bool { return &c.LowercaseValues }},
		{"6.2.6", "", func(c *Capabilities) *bool { return &c.BundlePush }},
		{"6.2.12", "", func(c *Capabilities) *bool { return &c.ConnectorInfo }},
		{"6.2.14", "", func(c *Capabilities) *bool { return &c.WorkerSplits }},
		{"6.3.0", "", func(c *Capabilities) *bool { return &c.WorkerExpects }},
		{"6.4.0", "", func(c *Capabilities) *bool { return &c.Drafts }},
		{"6.5.0", "", func(c *Capabilities) *bool { return &c.DraftContext }},
		{"6.5.7", "", func(c *Capabilities) *bool { return &c.ListenCallbackURI }},
		{"6.5.7", "", func(c *Capabilities) *bool { return &c.BundlePushWork }},
		{"6.7.0", "", func(c *Capabilities) *bool { return &c.NoSplit }},
		{"6.8.7", "", func(c *Capabilities) *bool { return &c.IsWorkAlive }},
		{"", "6.8.7", func(c *Capabilities) *bool { return &c.Tracked }},
		{"7.260510", "", func(c *Capabilities) *bool { return &c.Tracked }},
		{"6.8.9", "", func(c *Capabilities) *bool { return &c.AutoUpdate }},
		{"6.8.9", "", func(c *Capabilities) *bool { return &c.EnrichmentResolution }},
		{"6.8.9", "", func(c *Capabilities) *bool { return &c.JobContext }},
		{"6.9.6", "", func(c *Capabilities) *bool { return &c.PlaybookMerged }},
		{"6.9.19", "", func(c *Capabilities) *bool { return &c.WorkNotAlive }},
		{"7.260224", "", func(c *Capabilities) *bool { return &c.CallbackJWT }},
		{"7.260422", "", func(c *Capabilities) *bool { return &c.AtLeast }},
		{"7.260428", "7.260615", func(c *Capabilities) *bool { return &c.CloseByReport }},
		{"7.260527", "", func(c *Capabilities) *bool { return &c.XTMOneIntent }},
		{"7.260529", "", func(c *Capabilities) *bool { return &c.AccessChecked }},
		{"7.260615", "", func(c *Capabilities) *bool { return &c.PlaybookEntityType }},
		{"7.260807", "", func(c *Capabilities) *bool { return &c.LabelKept }},
		{"7.260818", "", func(c *Capabilities) *bool { return &c.PlatformSplits }},
	}
}

// Capabilities returns what the release has.
func (v Version) Capabilities() Capabilities {
	var c Capabilities
	for _, g := range gates() {
		if v.within(g.since, g.before) {
			*g.set(&c) = true
		}
	}
	return c
}
