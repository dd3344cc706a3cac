package opencti

// Capabilities says what a release of the platform accepts and does, as far as we do something else for it. What merely
// differs (what jobs say of themselves, how the platform's worker splits and counts) is read as it comes, or never asked
// for. The zero value is the baseline that every release since 5.4 has.
type Capabilities struct {
	// PlaybookCompatible: playbooks exist: the registration's playbook_compatible, internal.playbook in jobs,
	// playbookStepExecution.
	PlaybookCompatible bool
	// ListMarkings: markings, labels and organizations are plain lists; before, they are connections (edges, node).
	ListMarkings bool
	// IndicatorDecay: indicators have a decay history and a score that decay began with.
	IndicatorDecay bool
	// IndicatorFieldPatch: indicators are edited with indicatorFieldPatch; before, with indicatorEdit.
	IndicatorFieldPatch bool
	// ForceUpdate: an existing observable only takes our score when the message says update (before 6.0).
	ForceUpdate bool
	// MaxConfidence: users have a highest confidence, and without one nothing is created for them.
	MaxConfidence bool
	// BundleType: the push envelope has bundle_type.
	BundleType bool
	// EventID: playbookStepExecution requires event_id; before, it refuses it.
	EventID bool
	// BundlePush: stixBundlePush exists. BundlePushWork: it takes a work_id.
	BundlePush, BundlePushWork bool
	// ConnectorInfo: pingConnector takes connectorInfo.
	ConnectorInfo bool
	// Drafts: jobs, headers and envelopes carry a draft.
	Drafts bool
	// ListenCallbackURI: jobs can be had by an HTTP callback. CallbackJWT: it is authenticated by a JWT and the
	// registration's jwks; before, by the connector's own token.
	ListenCallbackURI, CallbackJWT bool
	// NoSplit: the push envelope's no_split is understood.
	NoSplit bool
	// Tracked: works may be counted. It is false where the platform deletes the counters of an older work as soon as a
	// younger one finishes and its worker then drops the older one's objects: there, messages must carry no work_id and
	// nothing may be announced.
	Tracked bool
	// AutoUpdate, EnrichmentResolution: accepted by the registration.
	AutoUpdate, EnrichmentResolution bool
	// AtLeast: a work is complete when as many objects as announced, or more, are imported; before, when exactly as many are.
	AtLeast bool
	// CloseByReport: toProcessed does not end a work that expects nothing; one expectation, reported, does.
	CloseByReport bool
}

// gate is one line of the table: a capability that the releases in [since, before) have. An empty bound is open.
type gate struct {
	since, before string
	set           func(*Capabilities) *bool
}

// gates is the whole table. Every line is a fact about a release; nothing else in this package compares versions.
func gates() []gate {
	return []gate{
		{"5.11.0", "", func(c *Capabilities) *bool { return &c.PlaybookCompatible }},
		{"5.12.24", "", func(c *Capabilities) *bool { return &c.ListMarkings }},
		// 5.5.0 has neither, 5.12.33 has both. In between a release that refuses them is asked in the older way.
		{"5.12.24", "", func(c *Capabilities) *bool { return &c.IndicatorDecay }},
		{"5.6.0", "", func(c *Capabilities) *bool { return &c.IndicatorFieldPatch }},
		{"", "6.0.0", func(c *Capabilities) *bool { return &c.ForceUpdate }},
		{"6.0.0", "", func(c *Capabilities) *bool { return &c.MaxConfidence }},
		{"6.0.10", "", func(c *Capabilities) *bool { return &c.BundleType }},
		{"6.1.0", "", func(c *Capabilities) *bool { return &c.EventID }},
		{"6.2.6", "", func(c *Capabilities) *bool { return &c.BundlePush }},
		{"6.2.12", "", func(c *Capabilities) *bool { return &c.ConnectorInfo }},
		{"6.4.0", "", func(c *Capabilities) *bool { return &c.Drafts }},
		{"6.5.7", "", func(c *Capabilities) *bool { return &c.ListenCallbackURI }},
		{"6.5.7", "", func(c *Capabilities) *bool { return &c.BundlePushWork }},
		{"6.7.0", "", func(c *Capabilities) *bool { return &c.NoSplit }},
		{"", "6.8.7", func(c *Capabilities) *bool { return &c.Tracked }},
		{"7.260510", "", func(c *Capabilities) *bool { return &c.Tracked }},
		{"6.8.9", "", func(c *Capabilities) *bool { return &c.AutoUpdate }},
		{"6.8.9", "", func(c *Capabilities) *bool { return &c.EnrichmentResolution }},
		{"7.260224", "", func(c *Capabilities) *bool { return &c.CallbackJWT }},
		{"7.260422", "", func(c *Capabilities) *bool { return &c.AtLeast }},
		{"7.260428", "7.260615", func(c *Capabilities) *bool { return &c.CloseByReport }},
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
