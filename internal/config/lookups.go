package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/egress"
)

// IPLookup are IPQS' options of IP lookups.
type IPLookup struct {
	Strictness              int // 0 to 3
	Fast                    bool
	AllowPublicAccessPoints bool
	LighterPenalties        bool
	Mobile                  bool
}

// EmailLookup are IPQS' options of e-mail lookups.
type EmailLookup struct {
	// Timeout is how long IPQS waits for the mail server, in whole seconds.
	Timeout         time.Duration
	Fast            bool
	SuggestDomain   bool
	Strictness      int // 0 to 2
	AbuseStrictness int // 0 to 2
}

// PhoneLookup are IPQS' options of phone lookups.
type PhoneLookup struct {
	// Countries are those of numbers without a country code, two upper-case letters each; nil leaves that to IPQS.
	Countries         []string
	Strictness        int // 0 to 2
	EnhancedLineCheck bool
	SMSPumping        bool
}

// URLLookup are IPQS' options of URL and domain lookups.
type URLLookup struct {
	// Timeout is how long IPQS waits for the page, in whole seconds.
	Timeout    time.Duration
	Fast       bool
	Strictness int // 0 to 2
}

// Artifact says whether and how files are sent to IPQS to be scanned.
type Artifact struct {
	// Scan says whether they are at all.
	Scan bool
	// MaxSize is the largest file that is sent, in bytes.
	MaxSize int64
	// ScanWait is how long a scan may take before it counts as inconclusive.
	ScanWait time.Duration
}

// mebi is how many bytes the unit of IPQS_ARTIFACT_MAX_SIZE has.
const mebi = 1 << 20

// lookupOptions returns the options of single kinds of lookups. Their defaults are those that IPQS documents.
func lookupOptions() []Option {
	const switches = "true, false, yes or no"
	flag := func(env, description string, to func(*Config) *bool) Option {
		return Option{
			Env: env, Kind: Bool, Default: "false", For: ForEnrich, Description: description, Accepts: switches,
			set: into(to, parseBool),
		}
	}
	strictness := func(env, description string, most int, to func(*Config) *int) Option {
		return Option{
			Env: env, Kind: Number, Default: "0", For: ForEnrich, Description: description,
			Accepts: "a whole number from 0 to " + strconv.Itoa(most), Most: most,
			set: into(to, parseInt(0, most)),
		}
	}
	return []Option{
		strictness("IPQS_IP_STRICTNESS", "Strictness of IP lookups; from 2 on with more false positives, as IPQS says.", 3,
			func(c *Config) *int { return &c.IPQS.IP.Strictness }),
		flag("IPQS_IP_FAST", "Have IP lookups leave out the checks that take time.",
			func(c *Config) *bool { return &c.IPQS.IP.Fast }),
		flag("IPQS_IP_ALLOW_PUBLIC_ACCESS_POINTS", "Be lenient with schools, hotels and offices; IPQS recommends it against false positives.",
			func(c *Config) *bool { return &c.IPQS.IP.AllowPublicAccessPoints }),
		flag("IPQS_IP_LIGHTER_PENALTIES", "Score addresses lower that many people share.",
			func(c *Config) *bool { return &c.IPQS.IP.LighterPenalties }),
		flag("IPQS_IP_MOBILE", "Take addresses for those of mobile devices.",
			func(c *Config) *bool { return &c.IPQS.IP.Mobile }),
		{
			Env: "IPQS_EMAIL_TIMEOUT", Kind: Duration, Default: "7s", For: ForEnrich,
			Description: "Time that IPQS waits for the mail server of an address; 20s finds out more.",
			Accepts:     "whole seconds from 1s to 60s",
			set:         into(func(c *Config) *time.Duration { return &c.IPQS.Email.Timeout }, parseSeconds(60*time.Second)),
		},
		flag("IPQS_EMAIL_FAST", "Have e-mail lookups not ask the mail server at all.",
			func(c *Config) *bool { return &c.IPQS.Email.Fast }),
		flag("IPQS_EMAIL_SUGGEST_DOMAIN", "Look for typing errors in the domain of an address.",
			func(c *Config) *bool { return &c.IPQS.Email.SuggestDomain }),
		strictness("IPQS_EMAIL_STRICTNESS", "Strictness about spam traps in e-mail lookups.", 2,
			func(c *Config) *int { return &c.IPQS.Email.Strictness }),
		strictness("IPQS_EMAIL_ABUSE_STRICTNESS", "Strictness about recent abuse in e-mail lookups.", 2,
			func(c *Config) *int { return &c.IPQS.Email.AbuseStrictness }),
		{
			Env: "IPQS_PHONE_COUNTRY", Kind: List, For: ForEnrich,
			Description: "Countries of phone numbers that come without a country code; not set, such numbers are hardly ever valid.",
			Accepts:     "a comma-separated list of countries, two letters each, such as US,CA",
			set:         into(func(c *Config) *[]string { return &c.IPQS.Phone.Countries }, parseCountries),
		},
		strictness("IPQS_PHONE_STRICTNESS", "Strictness of phone lookups.", 2,
			func(c *Config) *int { return &c.IPQS.Phone.Strictness }),
		flag("IPQS_PHONE_ENHANCED_LINE_CHECK", "Have the network asked whether a line is active; depends on the plan, and may cost more.",
			func(c *Config) *bool { return &c.IPQS.Phone.EnhancedLineCheck }),
		flag("IPQS_PHONE_SMS_PUMPING", "Check phone numbers for fraud by text messages; depends on the plan.",
			func(c *Config) *bool { return &c.IPQS.Phone.SMSPumping }),
		strictness("IPQS_URL_STRICTNESS", "Strictness of URL and domain lookups.", 2,
			func(c *Config) *int { return &c.IPQS.URL.Strictness }),
		flag("IPQS_URL_FAST", "Have URL and domain lookups make lighter checks.",
			func(c *Config) *bool { return &c.IPQS.URL.Fast }),
		{
			Env: "IPQS_URL_TIMEOUT", Kind: Duration, Default: "2s", For: ForEnrich,
			Description: "Time that IPQS waits for the page of a URL or domain; 5s finds out more.",
			Accepts:     "whole seconds from 1s to 10s",
			set:         into(func(c *Config) *time.Duration { return &c.IPQS.URL.Timeout }, parseSeconds(10*time.Second)),
		},
		flag("IPQS_ARTIFACT_SCAN", "Send the files of artifacts to IPQS to be scanned: a disclosure, at 10 credits a scan.",
			func(c *Config) *bool { return &c.IPQS.Artifact.Scan }),
		{
			Env: "IPQS_ARTIFACT_MAX_SIZE", Kind: Number, Default: "32", For: ForEnrich,
			Description: "Largest file that is sent to be scanned, in MiB.",
			Accepts:     "a whole number from 1 to 1024", Least: 1, Most: 1024,
			set: into(func(c *Config) *int64 { return &c.IPQS.Artifact.MaxSize }, func(v string) (int64, error) {
				n, err := parseInt(1, 1024)(v)
				return int64(n) * mebi, err
			}),
		},
		{
			Env: "IPQS_ARTIFACT_SCAN_WAIT", Kind: Duration, Default: "10m", For: ForEnrich,
			Description: "Time that a scan may take; then it is inconclusive, which is not clean.",
			Accepts:     "a duration from 10s to 24h, such as 10m",
			set:         into(func(c *Config) *time.Duration { return &c.IPQS.Artifact.ScanWait }, parseDuration(10*time.Second, 24*time.Hour)),
		},
	}
}

// parseSeconds takes whole seconds, as IPQS does.
func parseSeconds(most time.Duration) func(string) (time.Duration, error) {
	return func(v string) (time.Duration, error) {
		d, err := parseDuration(time.Second, most)(v)
		if err == nil && d%time.Second != 0 {
			return 0, errUnacceptable
		}
		return d, err
	}
}

var country = regexp.MustCompile(`^[A-Z]{2}$`)

func parseCountries(v string) ([]string, error) {
	countries, err := parseList(strings.ToUpper(v))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(countries, func(c string) bool { return !country.MatchString(c) }) {
		return nil, errors.New("an entry is not two letters")
	}
	return countries, nil
}

// parseExclusions takes domains and networks, and files with one of them a line in which # begins a comment. A path is told
// from a domain by its beginning: it is absolute, or relative with ./ or ../.
func parseExclusions(v string) ([]string, error) {
	list, err := parseList(v)
	if err != nil {
		return nil, err
	}
	var entries []string
	for _, entry := range list {
		if !filepath.IsAbs(entry) && !strings.HasPrefix(entry, ".") || !strings.ContainsAny(entry, `/\`) {
			if _, err := egress.ParseExclusions([]string{entry}); err != nil {
				return nil, err
			}
			if info, err := os.Stat(entry); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(entry, ".") {
				return nil, fmt.Errorf("%[1]s is also a file: write \"./%[2]s\" for the file or \".%[2]s\" for the domain", quote(entry), entry)
			}
			entries = append(entries, entry)
			continue
		}
		fromFile, err := readExclusions(entry)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", quote(entry), err)
		}
		entries = append(entries, fromFile...)
	}
	return entries, nil
}

func readExclusions(path string) ([]string, error) {
	text, err := readSmallFile(path)
	if err != nil {
		return nil, err
	}
	var entries []string
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		entry, _, _ := strings.Cut(line, "#")
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		if _, err := egress.ParseExclusions([]string{entry}); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// ownIPQS is IPQualityScore's own address.
const ownIPQS = "https://www.ipqualityscore.com/api/json"

// Elsewhere returns the address that is asked instead of IPQualityScore's own, or "". The key is not in it, even if it was put
// there.
func (c IPQS) Elsewhere() string {
	if c.BaseURL == "" || strings.EqualFold(c.BaseURL, ownIPQS) {
		return ""
	}
	if key := c.PrivateKey.Reveal(); key != "" {
		return strings.ReplaceAll(c.BaseURL, key, "[REDACTED]")
	}
	return c.BaseURL
}
