package config

// egressOptions returns the options about what may be sent to IPQS.
func egressOptions() []Option {
	const (
		switches = "true, false, yes or no"
		tlps     = "one of TLP:CLEAR, TLP:GREEN, TLP:AMBER, TLP:AMBER+STRICT, TLP:RED"
	)
	return []Option{
		{
			Env: "IPQS_DEFAULT_TLP", Kind: Text, Default: "TLP:CLEAR", For: ForEnrich,
			Description: "Marking that an observable without one counts as.",
			Accepts:     tlps,
			Words:       levelsOfTLP(),
			set:         into(func(c *Config) *string { return &c.IPQS.DefaultTLP }, parseTLP),
		},
		{
			Env: "IPQS_MAX_TLP", Kind: Text, Default: "TLP:AMBER", For: ForEnrich,
			Description: "Strictest marking whose observables are sent to IPQualityScore.",
			Accepts:     tlps,
			Words:       levelsOfTLP(),
			set:         into(func(c *Config) *string { return &c.IPQS.MaxTLP }, parseTLP),
		},
		{
			Env: "IPQS_SKIP_PRIVATE", Kind: Bool, Default: "true", For: ForEnrich,
			Description: "Deprecated and without effect: private addresses and names of internal networks are never sent.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.IPQS.SkipPrivate }, parseBool),
		},
		{
			Env: "IPQS_EXCLUDE", Kind: List, For: ForEnrich,
			Description: "Domains (with the names below them), addresses and networks that are never sent to IPQualityScore.",
			Accepts:     "a comma-separated list of domains, addresses, networks such as 203.0.113.0/24, and files with one entry a line, whose paths begin with /, ./ or ../",
			set:         into(func(c *Config) *[]string { return &c.IPQS.Exclude }, parseExclusions),
		},
		{
			Env: "IPQS_URL_SEND", Kind: Text, Default: "full", For: ForEnrich,
			Description: "How much of a URL is sent to IPQualityScore, which opens it: all, all but query and fragment, or the host; user name and password never.",
			Accepts:     "one of full, without-query, host",
			Words:       []string{"full", "without-query", "host"},
			set:         into(func(c *Config) *string { return &c.IPQS.URLSend }, parseOneOf("full", "without-query", "host")),
		},
	}
}
