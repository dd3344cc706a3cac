package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credits says how much may be asked of IPQS, and for how long its answers are kept.
type Credits struct {
	// CacheTTL is for how long answers are kept: "ip", "email", "phone", "url" and "leak"; zero keeps none.
	CacheTTL map[string]time.Duration
	// NegativeTTL is for how long it is kept that IPQS refuses a value for good.
	NegativeTTL time.Duration
	// CacheSize is how many answers this process keeps in memory.
	CacheSize int
	// ReenrichInterval is for how long an enriched entity is not enriched again unless somebody asks; zero is not at all.
	ReenrichInterval time.Duration
	// DailyBudget is how many credits may be spent in a day; zero is without bound.
	DailyBudget int
	// Reserve is how many credits the account is to keep; nil leaves the account unread.
	Reserve *int
	// AccountInterval is how often the account is read, where it is.
	AccountInterval time.Duration
	// SkipOverBudget says that a job that there are no credits for is skipped instead of waiting for them.
	SkipOverBudget bool
	// RateLimit is how many lookups may begin in a second; zero is without bound.
	RateLimit int
	// RateShare is how many processes share that limit, and DailyBudget, where there is no cache that they share. A budget is
	// no less than it.
	RateShare int
}

// Cache says where processes share what they keep.
type Cache struct {
	// URL is the address of a Redis or Valkey, with its password; empty is nowhere.
	URL Secret
}

// creditOptions returns the options about what IPQS is asked, and how often.
func creditOptions() []Option {
	const most = 1_000_000_000
	return []Option{
		{
			Env: "IPQS_CACHE_TTL", Kind: Text, Default: "24h,phone=72h,url=6h", For: ForEnrich,
			Description: "Time for which answers are kept and not asked for again: of all kinds, and of single ones.",
			Accepts:     "durations from 0 to 8760h such as 24h, or 24h,url=6h; the kinds are " + strings.Join(cacheKinds(), ", ") + "; url includes domains, leak means accounts",
			set:         into(func(c *Config) *map[string]time.Duration { return &c.Credits.CacheTTL }, parseTTLs),
		},
		{
			Env: "IPQS_CACHE_NEGATIVE_TTL", Kind: Duration, Default: "10m", For: ForEnrich,
			Description: "Time for which it is kept that IPQualityScore refuses a value for good.",
			Accepts:     "a duration from 0s to 24h, such as 10m",
			set:         into(func(c *Config) *time.Duration { return &c.Credits.NegativeTTL }, parseDuration(0, 24*time.Hour)),
		},
		{
			Env: "IPQS_CACHE_SIZE", Kind: Number, Default: "5000", For: ForEnrich,
			Description: "Answers that each process keeps in memory, some 2 KB each.",
			Accepts:     "a whole number from 1 to 10000000",
			Least:       1, Most: 10_000_000,
			set: into(func(c *Config) *int { return &c.Credits.CacheSize }, parseInt(1, 10_000_000)),
		},
		{
			Env: "IPQS_REENRICH_INTERVAL", Kind: Duration, Default: "0s",
			Description: "Time after an enrichment in which automatic jobs about the same entity are skipped; 0s skips none.",
			Accepts:     "a duration from 0s to 8760h, such as 12h",
			set:         into(func(c *Config) *time.Duration { return &c.Credits.ReenrichInterval }, parseDuration(0, 8760*time.Hour)),
		},
		{
			Env: "IPQS_DAILY_BUDGET", Kind: Number, Default: "0", For: ForEnrich,
			Description: "Credits that may be spent in a day, which turns at midnight in New York; 0 is without bound.",
			Accepts:     "a whole number from 0 to 1000000000",
			Most:        most,
			set:         into(func(c *Config) *int { return &c.Credits.DailyBudget }, parseInt(0, most)),
		},
		{
			Env: "IPQS_CREDIT_RESERVE", Kind: Number, For: ForEnrich,
			Description: "Credits that the account is to keep; 0 only shows how many there are. Not set, the account is not read.",
			Accepts:     "a whole number from 0 to 1000000000",
			Most:        most,
			set:         into(func(c *Config) **int { return &c.Credits.Reserve }, optional(parseInt(0, most))),
		},
		{
			Env: "IPQS_ACCOUNT_INTERVAL", Kind: Duration, Default: "10m",
			Description: "Time between two looks at the account, if IPQS_CREDIT_RESERVE is set.",
			Accepts:     "a duration from 1m to 24h, such as 10m",
			set:         into(func(c *Config) *time.Duration { return &c.Credits.AccountInterval }, parseDuration(time.Minute, 24*time.Hour)),
		},
		{
			Env: "IPQS_OVER_BUDGET", Kind: Text, Default: "wait",
			Description: "What becomes of a job that there are no credits for: it waits for them, or is skipped.",
			Accepts:     "wait or skip",
			Words:       []string{"wait", "skip"},
			set:         into(func(c *Config) *bool { return &c.Credits.SkipOverBudget }, parseEither("wait", "skip")),
		},
		{
			Env: "IPQS_RATE_LIMIT", Kind: Number, Default: "0", For: ForEnrich,
			Description: "Lookups that may begin in a second; 0 is without bound.",
			Accepts:     "a whole number from 0 to 1000",
			Most:        1000,
			set:         into(func(c *Config) *int { return &c.Credits.RateLimit }, parseInt(0, 1000)),
		},
		{
			Env: "IPQS_RATE_SHARE", Kind: Number, Default: "1", For: ForEnrich,
			Description: "Processes that share IPQS_RATE_LIMIT and IPQS_DAILY_BUDGET, each with its part, where they share no CACHE_URL.",
			Accepts:     "a whole number from 1 to 1000",
			Least:       1, Most: 1000,
			set: into(func(c *Config) *int { return &c.Credits.RateShare }, parseInt(1, 1000)),
		},
		{
			Env: "CACHE_URL", Kind: Text, Secret: true, For: ForEnrich,
			Description: "Address of a Redis or Valkey through which processes share answers, budget and rate limit.",
			Accepts:     "an address such as redis://user:password@redis.example.com:6379/0, or rediss:// for TLS",
			set:         into(func(c *Config) *Secret { return &c.Cache.URL }, parseCacheURL),
		},
	}
}

// checkBudget sees that no process' part of the budget is nothing, which would be without bound.
func checkBudget(c Credits, wrong []string) []error {
	const env = "IPQS_DAILY_BUDGET"
	if c.DailyBudget == 0 || c.DailyBudget >= c.RateShare || slices.Contains(wrong, env) || slices.Contains(wrong, "IPQS_RATE_SHARE") {
		return nil
	}
	return []error{&KeyError{
		Env: env, YAML: yamlOf(env), Found: strconv.Itoa(c.DailyBudget),
		Want: fmt.Sprintf("0, or a credit at least for each of the %d processes of IPQS_RATE_SHARE", c.RateShare),
	}}
}

// cacheKinds returns what answers are about, as IPQS_CACHE_TTL calls it.
func cacheKinds() []string { return []string{"ip", "email", "phone", "url", "leak"} }

// parseTTLs takes a duration for all kinds, and kind=duration for single ones, whatever their order.
func parseTTLs(v string) (map[string]time.Duration, error) {
	ttls := make(map[string]time.Duration, len(cacheKinds()))
	single := make(map[string]time.Duration)
	seen := make(map[string]bool)
	var all time.Duration
	for i, entry := range strings.Split(v, ",") {
		kind, text, named := strings.Cut(strings.TrimSpace(entry), "=")
		if !named {
			kind, text = "", kind
		}
		ttl, err := parseDuration(0, 8760*time.Hour)(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("entry %d has no duration from 0 to 8760h", i+1)
		}
		kind = strings.ToLower(strings.TrimSpace(kind))
		if err := checkKind(cacheKinds(), seen, named, kind, i+1); err != nil {
			return nil, err
		}
		if named {
			single[kind] = ttl
		} else {
			all = ttl
		}
	}
	for _, kind := range cacheKinds() {
		ttls[kind] = all
		if ttl, ok := single[kind]; ok {
			ttls[kind] = ttl
		}
	}
	return ttls, nil
}

// checkKind checks the kind of the entry of that number in a list of values for all kinds and for single ones, and adds it to
// those seen. An entry without a kind is for all.
func checkKind(kinds []string, seen map[string]bool, named bool, kind string, entry int) error {
	switch {
	case named && !slices.Contains(kinds, kind):
		return fmt.Errorf("entry %d names an unknown kind", entry)
	case named && seen[kind]:
		return fmt.Errorf("entry %d repeats the kind %s", entry, kind)
	case seen[kind]:
		return fmt.Errorf("entry %d is the second without a kind", entry)
	}
	seen[kind] = true
	return nil
}

// parseCacheURL takes what go-redis takes, and Valkey's own schemes.
func parseCacheURL(v string) (Secret, error) {
	u, err := url.Parse(v)
	if err != nil || !slices.Contains([]string{"redis", "rediss", "valkey", "valkeys"}, u.Scheme) || u.Hostname() == "" {
		return Secret{}, errUnacceptable
	}
	if database := strings.Trim(u.Path, "/"); database != "" {
		if n, err := strconv.Atoi(database); err != nil || n < 0 {
			return Secret{}, errors.New("its path is no number of a database")
		}
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return Secret{}, errors.New("it holds a query or fragment")
	}
	return NewSecret(v), nil
}
