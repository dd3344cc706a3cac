package stages

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// Model is a way to make a verdict of what IPQS said. docs/scoring.md shows the tables of all of them.
type Model string

// The models.
const (
	// Bands is the default: the score alone decides, in the four ranges that IPQS' OpenCTI connector documents.
	Bands Model = "bands"
	// Guidance follows the thresholds and flags that IPQS publishes for each of its products.
	Guidance Model = "guidance"
	// Connector gives the labels that IPQS' OpenCTI connector in Python gives, oddities included, for those who come from it.
	Connector Model = "connector"
)

// named is the model's name; "" is the default's.
func (m Model) named() Model { return cmp.Or(m, Bands) }

// Models returns the models, the default first.
func Models() []Model { return []Model{Bands, Guidance, Connector} }

// Product is a sort of thing that IPQS judges by rules of its own.
type Product string

// The products.
const (
	ProductIP    Product = "IP address"
	ProductEmail Product = "E-mail address"
	ProductURL   Product = "URL, domain"
	ProductPhone Product = "Phone number"
	ProductLeak  Product = "User account (leak)"
	ProductFile  Product = "File"
)

// Products returns the products in the order of the documentation.
func Products() []Product {
	return []Product{ProductIP, ProductEmail, ProductURL, ProductPhone, ProductLeak, ProductFile}
}

func productOf(r *ipqs.Report) Product {
	switch {
	case r.IP != nil:
		return ProductIP
	case r.Email != nil:
		return ProductEmail
	case r.URL != nil:
		return ProductURL
	case r.Phone != nil:
		return ProductPhone
	case r.Leak != nil:
		return ProductLeak
	case r.File != nil:
		return ProductFile
	default:
		return ""
	}
}

// Rule is a line of a model's table. It holds for a score of From and more, and where AnyOf names facts, if one of them is
// stated. The first rule of a table that holds decides; the last one always does.
type Rule struct {
	AnyOf []string // names of facts, see [Facts]
	From  int
	Level Level
}

// Rules returns the table of the model for a product: a score is a whole number here, what is behind its point cut off, so
// that no score falls between two lines.
func (m Model) Rules(p Product) []Rule {
	switch m {
	case Guidance:
		return guidanceRules(p)
	case Connector:
		return connectorRules(p)
	default:
		return []Rule{
			{From: 76, Level: Critical},
			{From: 51, Level: High},
			{From: 26, Level: Medium},
			{From: 0, Level: Low},
		}
	}
}

// guidanceRules are the thresholds that IPQS publishes. Where it asks to weigh flags, they lift a suspicious score by one
// level; alone they decide nothing where they are known to be raised too easily.
func guidanceRules(p Product) []Rule {
	switch p {
	case ProductIP:
		return []Rule{
			{From: 90, Level: VeryHighRisk},
			{From: 85, Level: HighRisk},
			{AnyOf: []string{highRiskAttacks, frequentAbuser, recentAbuse, botActivity, abuseVelocity}, From: 75, Level: HighRisk},
			{From: 75, Level: Suspicious},
			{From: 0, Level: LowRisk},
		}
	case ProductEmail:
		return []Rule{
			{From: 90, Level: VeryHighRisk},
			{From: 85, Level: HighRisk},
			{From: 75, Level: Suspicious},
			{AnyOf: []string{honeypot, spamTrap, disposable, invalidAddress}, From: 0, Level: Suspicious},
			{From: 0, Level: LowRisk},
		}
	case ProductURL:
		return []Rule{
			{AnyOf: []string{malware, phishing}, From: 100, Level: VeryHighRisk},
			{AnyOf: []string{malware, phishing}, From: 0, Level: HighRisk},
			{From: 85, Level: HighRisk},
			{AnyOf: []string{suspicious}, From: 0, Level: Suspicious},
			{From: 75, Level: Suspicious},
			{From: 0, Level: LowRisk},
		}
	case ProductLeak:
		return []Rule{
			{AnyOf: []string{plainPassword}, From: 0, Level: VeryHighRisk},
			{From: 100, Level: HighRisk},
			{From: 0, Level: LowRisk},
		}
	case ProductFile:
		return []Rule{
			{From: 100, Level: HighRisk},
			{From: 0, Level: LowRisk},
		}
	default:
		return []Rule{
			{From: 90, Level: VeryHighRisk},
			{From: 85, Level: HighRisk},
			{AnyOf: []string{invalidNumber, inactiveNumber}, From: 0, Level: HighRisk},
			{From: 75, Level: Suspicious},
			{From: 0, Level: LowRisk},
		}
	}
}

// connectorRules are what the connector in Python was seen to do. That an unconfirmed number is a moderate risk at any score,
// and that the steps differ from product to product, is its own; nothing here is to be put right.
func connectorRules(p Product) []Rule {
	switch p {
	case ProductIP:
		return []Rule{
			{From: 100, Level: Critical},
			{From: 85, Level: HighRisk},
			{From: 75, Level: ModerateRisk},
			{From: 60, Level: Suspicious},
			{From: 0, Level: Clean},
		}
	case ProductEmail:
		return []Rule{
			{AnyOf: []string{disposable}, From: 0, Level: Critical},
			{AnyOf: []string{notConfirmedValid}, From: 0, Level: Invalid},
			{From: 100, Level: HighRisk},
			{From: 88, Level: ModerateRisk},
			{From: 80, Level: LowRisk},
			{From: 0, Level: Clean},
		}
	case ProductURL:
		return []Rule{
			{AnyOf: []string{malware, phishing}, From: 0, Level: Critical},
			{From: 90, Level: HighRisk},
			{From: 80, Level: ModerateRisk},
			{From: 70, Level: LowRisk},
			{From: 55, Level: Suspicious},
			{From: 0, Level: Clean},
		}
	case ProductLeak:
		return []Rule{
			{From: 100, Level: Critical},
			{From: 0, Level: Clean},
		}
	case ProductFile:
		return []Rule{
			{From: 100, Level: MaliciousFile},
			{From: 0, Level: CleanFile},
		}
	default:
		return []Rule{
			{AnyOf: []string{notConfirmedValid, notConfirmedActive}, From: 0, Level: ModerateRisk},
			{From: 90, Level: HighRisk},
			{From: 80, Level: LowRisk},
			{From: 50, Level: Suspicious},
			{From: 0, Level: Clean},
		}
	}
}

// Score returns the score of a report from 0 to 100, and whether there is one. IPQS gives leaks and files none: what is known
// from a leak, or detected as malware, counts as 100, and what is known not to be as 0. A scan without a result has none.
func (m Model) Score(r *ipqs.Report) (score int, known bool) {
	const cleanFile = 50 // of the connector in Python
	switch {
	case r.Leak != nil && leaked(r.Leak) != ipqs.Unknown:
		if leaked(r.Leak) == ipqs.True {
			return 100, true
		}
		return 0, true
	case r.File != nil && detected(r.File) != ipqs.Unknown:
		switch {
		case detected(r.File) == ipqs.True:
			return 100, true
		case m == Connector:
			return cleanFile, true
		}
		return 0, true
	default:
		return r.Score()
	}
}

// leaked reports whether somebody has the secret: a password in clear can only have come from a leak.
func leaked(l *ipqs.Leak) ipqs.Bool {
	if l.PlainTextPassword == ipqs.True {
		return ipqs.True
	}
	return l.Exposed
}

// detected says what came of a scan: malware if anything says so, none only if it has ended and an engine that ran had an
// opinion, unknown otherwise. What was scanned must be what was sent.
func detected(f *ipqs.File) ipqs.Bool {
	if f.SameFile() == ipqs.False {
		return ipqs.Unknown
	}
	scans, _ := f.DetectedScans.Int()
	positive, ran := f.Detected == ipqs.True || scans > 0, 0
	for _, engine := range f.Engines {
		if engine.Error == ipqs.True {
			continue
		}
		ran++
		positive = positive || engine.Detected == ipqs.True
	}
	if len(f.Engines) == 0 {
		ran, _ = f.TotalScans.Int()
	}
	switch {
	case f.Pending():
		return ipqs.Unknown
	case positive:
		return ipqs.True
	case ran > 0:
		return ipqs.False
	default:
		return ipqs.Unknown
	}
}

// decide returns the level of a score, the deciding rule in words, and the facts of the rule that the report states.
func (m Model) decide(report *ipqs.Report, score int) (level Level, rule string, facts []string) {
	product := productOf(report)
	rules := m.Rules(product)
	for i, rule := range rules {
		stated := rule.stated(report, product)
		if score >= rule.From && (len(rule.AnyOf) == 0 || len(stated) > 0) {
			return rule.Level, condition(rules, i, stated), stated
		}
	}
	return "", "", nil
}

// stated returns those of the rule's facts that the report states.
func (r Rule) stated(report *ipqs.Report, p Product) []string {
	var stated []string
	for _, f := range Facts(p) {
		if slices.Contains(r.AnyOf, f.Name) && f.holds(report) {
			stated = append(stated, f.Name)
		}
	}
	return stated
}

// Condition says in words when the i-th rule of a table decides.
func Condition(rules []Rule, i int) string { return condition(rules, i, rules[i].AnyOf) }

func condition(rules []Rule, i int, facts []string) string {
	rule := rules[i]
	upTo := 100
	for _, above := range rules[:i] {
		if len(above.AnyOf) == 0 {
			upTo = min(upTo, above.From-1)
		}
	}
	scores := fmt.Sprintf("score %d to %d", rule.From, upTo)
	if rule.From == upTo {
		scores = fmt.Sprintf("score %d", upTo)
	}
	switch {
	case len(facts) == 0:
		return scores
	case rule.From == 0:
		return strings.Join(facts, " or ")
	default:
		return strings.Join(facts, " or ") + ", " + scores
	}
}
