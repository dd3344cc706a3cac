package config

import (
	"fmt"
	"strconv"
	"strings"
)

// scoreKinds returns what answers are about, as IPQS_INDICATOR_MIN_SCORE calls it. A domain is a url.
func scoreKinds() []string { return append(cacheKinds(), "file") }

// minScore is the default of IPQS_INDICATOR_MIN_SCORE: OpenCTI's default decay rule revokes an indicator with a score up to 20 at
// once, and IPQS calls values up to 25 likely legitimate.
const minScore = 26

// graphOptions returns the options about what is written to OpenCTI and what is left as it is.
func graphOptions() []Option {
	const switches = "true, false, yes or no"
	return []Option{
		{
			Env: "IPQS_IP_ADD_RELATIONSHIPS", Kind: Bool, Default: "true", For: ForEnrich,
			Description: "Add the autonomous system of an IP address and the relationship to it.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.IPQS.IPAddRelationships }, parseBool),
		},
		{
			Env: "IPQS_DOMAIN_ADD_RELATIONSHIPS", Kind: Bool, Default: "true", For: ForEnrich,
			Description: "Add the addresses that a domain resolves to and the relationships to them.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.IPQS.DomainAddRelationships }, parseBool),
		},
		{
			Env: "IPQS_IP_ADD_COUNTRY", Kind: Bool, Default: "false", For: ForEnrich,
			Description: "Add the country of an IP address and the relationship to it.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.IPQS.IPAddCountry }, parseBool),
		},
		{
			Env: "IPQS_RISK_MODEL", Kind: Text, Default: "bands", For: ForEnrich,
			Description: "Way to a verdict: four ranges of the score, IPQS' own guidance, or as its connector in Python.",
			Accepts:     "one of bands, guidance, connector",
			Words:       []string{"bands", "guidance", "connector"},
			set:         into(func(c *Config) *string { return &c.IPQS.RiskModel }, parseOneOf("bands", "guidance", "connector")),
		},
		{
			Env: "IPQS_FLAG_LABELS", Kind: Bool, For: ForEnrich,
			Description: "Label flags such as tor or disposable too; not set, yes, but not in the model connector.",
			Accepts:     switches,
			set:         into(func(c *Config) **bool { return &c.IPQS.FlagLabels }, optional(parseBool)),
		},
		{
			Env: "IPQS_SCORE_POLICY", Kind: Text, Default: "respect",
			Description: "When the IPQS score replaces an observable's: unless another author gave a higher one (respect), always " +
				"(replace), if it is higher (raise), never (keep).",
			Accepts: "one of respect, replace, raise, keep",
			Words:   []string{"respect", "replace", "raise", "keep"},
			set:     into(func(c *Config) *string { return &c.IPQS.ScorePolicy }, parseOneOf("respect", "replace", "raise", "keep")),
		},
		{
			Env: "IPQS_INDICATOR_MIN_SCORE", Kind: Scores, Default: strconv.Itoa(minScore), For: ForEnrich,
			Description: "Least score to make an indicator of: of all kinds, and of single ones; 0 makes one of every score.",
			Accepts: "scores from 0 to 100 such as 26, or 26,url=75; the kinds are " + strings.Join(scoreKinds(), ", ") +
				"; url includes domains, leak means accounts; a kind that is not named has the score without a kind, or 26",
			set: into(func(c *Config) *map[string]int { return &c.IPQS.IndicatorMinScore }, parseMinScores),
		},
		{
			Env: "IPQS_INDICATOR_REVIVE", Kind: Text, Default: "expired",
			Description: "Revoked indicators of ours that become valid again when IPQS confirms them: those that expired or that we " +
				"revoked (expired), those that a person revoked as well (always), or none (never).",
			Accepts: "one of expired, always, never",
			Words:   []string{"expired", "always", "never"},
			set:     into(func(c *Config) *string { return &c.IPQS.IndicatorRevive }, parseOneOf("expired", "always", "never")),
		},
		{
			Env: "IPQS_DETECTION_MIN_SCORE", Kind: Number, For: ForEnrich,
			Description: "Least score whose indicators are marked for detection; not set, that is left to OpenCTI's users.",
			Accepts:     "a whole number from 0 to 100",
			Most:        100,
			set:         into(func(c *Config) **int { return &c.IPQS.DetectionMinScore }, optional(parseInt(0, 100))),
		},
		{
			Env: "IPQS_INCLUDE_PERSONAL_DATA", Kind: Bool, Default: "false", For: ForEnrich,
			Description: "Tell in the note which names, addresses and numbers of people IPQS connects with the observable.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.IPQS.IncludePersonalData }, parseBool),
		},
	}
}

// parseMinScores takes a score for all kinds, and kind=score for single ones, in any order. Without one for all it is minScore.
func parseMinScores(v string) (map[string]int, error) {
	single := make(map[string]int)
	seen := make(map[string]bool)
	all := minScore
	for i, entry := range strings.Split(v, ",") {
		kind, text, named := strings.Cut(strings.TrimSpace(entry), "=")
		if !named {
			kind, text = "", kind
		}
		score, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || score < 0 || score > 100 {
			return nil, fmt.Errorf("entry %d has no whole number from 0 to 100", i+1)
		}
		kind = strings.ToLower(strings.TrimSpace(kind))
		if err := checkKind(scoreKinds(), seen, named, kind, i+1); err != nil {
			return nil, err
		}
		if named {
			single[kind] = score
		} else {
			all = score
		}
	}
	scores := make(map[string]int, len(scoreKinds()))
	for _, kind := range scoreKinds() {
		scores[kind] = all
		if score, ok := single[kind]; ok {
			scores[kind] = score
		}
	}
	return scores, nil
}
