package ipqs

import (
	"net/http"
	"regexp"
	"strings"
)

// answer is what a class is judged by: what came back for a query when it was no report.
type answer struct {
	query   Query
	status  int    // 0: no whole answer came back
	markup  bool   // a web page instead of an answer of IPQS
	object  bool   // a JSON object
	success Bool   // its member of that name
	message string // its message, in lower case, without the key and the value
}

func (a answer) says(phrases ...string) bool {
	for _, p := range phrases {
		if strings.Contains(a.message, p) {
			return true
		}
	}
	return false
}

// extra reports whether the question is of a kind that not every plan includes.
func (a answer) extra() bool {
	k := a.query.Kind
	return k.Secret() || k.Upload() || k == KindFileResult
}

var (
	planWords = regexp.MustCompile(`\b(plans?|subscriptions?|upgrade|permission|not enabled)\b`)
	wordKey   = regexp.MustCompile(`\bkey\b`)
	overQuota = regexp.MustCompile(`exceeded your .*quota`)
)

// rules is the one table from answers to classes; the first match wins. IPQS has no error codes: its sentence is the
// signal, the HTTP status comes second. The order matters. Two permanent refusals end in "and try again", so the
// sentences about key and value come before everything that sounds temporary, and the one about the key comes first, as
// both begin with "Invalid".
//
// A plan without leak or malware lookups answers 401, or with words about plans: that is a refusal of one kind only. The
// words come after those about credits and quota, which tell to upgrade too.
var rules = []struct {
	class   Class
	when    func(a answer) bool
	message string // for an answer without one
}{
	{ClassKey, func(a answer) bool {
		return a.says("unauthorized key") || a.says("invalid") && wordKey.MatchString(a.message) ||
			a.status == http.StatusUnauthorized && !a.extra()
	}, "the key was refused"},

	{ClassCredits, func(a answer) bool {
		return a.says("insufficient credits") || a.status == http.StatusPaymentRequired
	}, "the account has no credits left"},

	{ClassQuota, func(a answer) bool {
		return overQuota.MatchString(a.message)
	}, ""},

	{ClassCapability, func(a answer) bool {
		return a.extra() && (a.status == http.StatusUnauthorized || a.success == False && planWords.MatchString(a.message))
	}, "the plan does not include this kind of lookup"},

	{ClassItem, func(a answer) bool {
		return a.success == False && a.query.Kind.Upload() &&
			(a.says("invalid", "unsupported") && a.says("file") || a.says("could not download", "too large", "too big")) ||
			a.status == http.StatusRequestEntityTooLarge && a.query.Kind.Upload()
	}, "the file was refused"},

	{ClassItem, func(a answer) bool {
		return a.says("invalid") && a.says("address", "hostname", "email", "e-mail", "phone", "url", "domain") ||
			a.says("unable to locate records") ||
			a.success == False && a.message == "" && strings.TrimSpace(a.query.Value) == "" ||
			a.status == http.StatusRequestURITooLong
	}, "the value was refused"},

	{ClassThrottled, func(a answer) bool {
		return a.status == http.StatusTooManyRequests || a.status == 509 || // 509: bandwidth limit, seen by others
			a.status == http.StatusForbidden && a.object || // 403 is the documented one; without JSON it is the edge's
			a.says("rate limit", "too many requests")
	}, "too many requests"},

	{ClassUnavailable, func(a answer) bool { return a.status == 0 }, "no answer"},

	{ClassUnavailable, func(a answer) bool {
		return a.status >= 300 && a.status < 400
	}, "redirected"},

	{ClassUnavailable, func(a answer) bool {
		return a.markup
	}, "a web page instead of an answer, as a block at the edge or a proxy sends"},

	{ClassUnavailable, func(a answer) bool {
		return a.status >= 500 || a.status == http.StatusRequestTimeout || a.status >= 400 && !a.object
	}, "the server is in trouble"},

	{ClassMalformed, func(a answer) bool {
		return a.success == Unknown
	}, "the answer is no JSON object with a success member"},

	{ClassUnknown, func(answer) bool { return true }, "refused without a reason"},
}

// classify returns the class of an answer that is no report, and our words for it.
func classify(a answer) (Class, string) {
	for _, r := range rules {
		if r.when(a) {
			return r.class, r.message
		}
	}
	return ClassUnknown, ""
}
