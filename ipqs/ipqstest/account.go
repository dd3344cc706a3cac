package ipqstest

import (
	"net/http"
	"net/url"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// accountPath is followed by the key.
const accountPath = apiPath + "account/"

// kindAccount is what requests for the account count as in [Fake.Requests].
const kindAccount ipqs.Kind = "account"

// Credits returns how many credits the account has left of [Options].Credits.
func (f *Fake) Credits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.options.Credits - f.spent
}

// SetCredits tops the account up, or empties it. It has no effect on an account that counts none.
func (f *Fake) SetCredits(credits int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spent = f.options.Credits - credits
}

// pay takes a credit from an account that counts them, and reports whether there was one.
func (f *Fake) pay() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.options.Credits > 0 && f.spent >= f.options.Credits {
		return false
	}
	f.spent++
	return true
}

// account answers /api/json/account/{key}, the one endpoint that wants its key in the path. The log does not show it.
func (f *Fake) account(w http.ResponseWriter, r *http.Request) {
	escaped, _ := strings.CutPrefix(r.URL.EscapedPath(), accountPath)
	key, err := url.PathUnescape(escaped)
	f.mu.Lock()
	f.requests[kindAccount]++
	if len(f.log) < maxLog {
		f.log = append(f.log, Request{
			Method: r.Method, Path: accountPath + "[key]", UserAgent: r.UserAgent(), HasKey: r.Header.Get("IPQS-KEY") != "",
		})
	}
	mode, spent := f.mode, f.spent
	f.mu.Unlock()
	switch {
	case mode == Down:
		page(w, http.StatusServiceUnavailable, "Service Unavailable")
	case mode == InvalidKey, err != nil, f.options.Key != "" && key != f.options.Key:
		send(w, refusal(MessageInvalidKey))
	default:
		left := f.options.Credits - spent
		if mode == NoCredits || f.options.Credits == 0 {
			left = 0
		}
		send(w, map[string]any{
			"success": true, "message": "Success", "credits": left, "usage": spent, "proxy_usage": spent, "email_usage": 0,
			"request_id": "account",
		})
	}
}
