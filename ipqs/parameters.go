package ipqs

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// Parameters are the options that IPQS takes for each kind of lookup, as documented there. The zero value is IPQS' own
// defaults throughout; only what differs from them is sent.
type Parameters struct {
	IP    IPParameters
	Email EmailParameters
	Phone PhoneParameters
	URL   URLParameters
}

// IPParameters are the options of IP lookups.
type IPParameters struct {
	Strictness              int  // 0 to 3; from 2 on with false positives, as IPQS says
	Fast                    bool // leave out the slow checks
	AllowPublicAccessPoints bool // be lenient with schools, hotels and offices
	LighterPenalties        bool // score addresses of mixed quality lower
	Mobile                  bool // take the address for a mobile device's
}

// EmailParameters are the options of e-mail lookups.
type EmailParameters struct {
	// Timeout is how long IPQS waits for the address' mail server: 1 to 60 s in whole seconds, [DefaultEmailTimeout] if 0.
	Timeout         time.Duration
	Fast            bool // do not ask the mail server at all
	SuggestDomain   bool // look for typing errors in the domain
	Strictness      int  // 0 to 2, of spam traps
	AbuseStrictness int  // 0 to 2, of recent abuse
}

// PhoneParameters are the options of phone lookups.
type PhoneParameters struct {
	// Countries are where a number without a country code may be from, two letters each.
	Countries         []string
	Strictness        int  // 0 to 2
	EnhancedLineCheck bool // ask the network whether the line is active; depends on the plan
	SMSPumping        bool // check for fraud by text messages; depends on the plan
}

// URLParameters are the options of URL and domain lookups.
type URLParameters struct {
	Strictness int  // 0 to 2
	Fast       bool // lighter checks
	// Timeout is how long IPQS waits for the page: 1 to 10 s in whole seconds, [DefaultURLTimeout] if 0.
	Timeout time.Duration
}

// How long IPQS waits for others unless told otherwise.
const (
	DefaultEmailTimeout = 7 * time.Second
	DefaultURLTimeout   = 2 * time.Second
)

var twoLetters = regexp.MustCompile(`^[A-Za-z]{2}$`)

// Validate returns all that is out of range, joined.
func (p Parameters) Validate() error {
	var problems []error
	within := func(name string, found, most int) {
		if found < 0 || found > most {
			problems = append(problems, fmt.Errorf("%s: found %d, want 0 to %d", name, found, most))
		}
	}
	seconds := func(name string, found, most time.Duration) {
		if found != 0 && (found < time.Second || found > most || found%time.Second != 0) {
			problems = append(problems, fmt.Errorf("%s: found %s, want whole seconds from 1s to %s", name, found, most))
		}
	}
	within("strictness of ip", p.IP.Strictness, 3)
	within("strictness of email", p.Email.Strictness, 2)
	within("abuse strictness of email", p.Email.AbuseStrictness, 2)
	within("strictness of phone", p.Phone.Strictness, 2)
	within("strictness of url", p.URL.Strictness, 2)
	seconds("timeout of email", p.Email.Timeout, 60*time.Second)
	seconds("timeout of url", p.URL.Timeout, 10*time.Second)
	for _, country := range p.Phone.Countries {
		if !twoLetters.MatchString(country) {
			problems = append(problems, fmt.Errorf("country of phone: found %q, want two letters such as US", country))
		}
	}
	return errors.Join(problems...)
}

// Of returns what is sent for a kind beside the value. Two clients with the same answer for a kind get the same reports
// for it, so it belongs into the key of whoever keeps reports.
func (p Parameters) Of(kind Kind) url.Values {
	v := make(url.Values)
	number := func(name string, n int) {
		if n != 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	flag := func(name string, on bool) {
		if on {
			v.Set(name, "true")
		}
	}
	switch kind {
	case KindIP:
		number("strictness", p.IP.Strictness)
		flag("fast", p.IP.Fast)
		flag("allow_public_access_points", p.IP.AllowPublicAccessPoints)
		flag("lighter_penalties", p.IP.LighterPenalties)
		flag("mobile", p.IP.Mobile)
	case KindEmail:
		if p.Email.Timeout != DefaultEmailTimeout {
			number("timeout", int(p.Email.Timeout/time.Second))
		}
		flag("fast", p.Email.Fast)
		flag("suggest_domain", p.Email.SuggestDomain)
		number("strictness", p.Email.Strictness)
		number("abuse_strictness", p.Email.AbuseStrictness)
	case KindPhone:
		switch len(p.Phone.Countries) {
		case 0:
		case 1:
			v.Set("country", p.Phone.Countries[0])
		default:
			v["country[]"] = append([]string(nil), p.Phone.Countries...)
		}
		number("strictness", p.Phone.Strictness)
		flag("enhanced_line_check", p.Phone.EnhancedLineCheck)
		flag("sms_pumping", p.Phone.SMSPumping)
	case KindURL:
		number("strictness", p.URL.Strictness)
		flag("fast", p.URL.Fast)
		if p.URL.Timeout != DefaultURLTimeout {
			number("timeout", int(p.URL.Timeout/time.Second))
		}
	case KindLeakEmail, KindLeakUsername, KindLeakPassword, KindFileLookup, KindFileScan, KindFileResult: // have none
	}
	return v
}

// Timeout returns how long one lookup of the kind may take: what IPQS waits for others, and time for its own work. An
// upload takes longer the larger the file, see [UploadTimeout].
func (p Parameters) Timeout(kind Kind) time.Duration {
	const own = 10 * time.Second
	or := func(d, otherwise time.Duration) time.Duration {
		if d == 0 {
			return otherwise
		}
		return d
	}
	switch kind {
	case KindEmail:
		return or(p.Email.Timeout, DefaultEmailTimeout) + own
	case KindURL:
		return or(p.URL.Timeout, DefaultURLTimeout) + own
	case KindPhone, KindLeakEmail, KindLeakUsername, KindLeakPassword:
		return 15 * time.Second
	case KindFileLookup, KindFileScan:
		return 60 * time.Second
	default:
		return own
	}
}

// UploadTimeout returns how much longer the upload of a file of that many bytes may take: a second for each megabyte.
func UploadTimeout(size int64) time.Duration {
	return time.Duration(max(size, 0)/1_000_000) * time.Second
}
