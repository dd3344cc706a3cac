package ipqs

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Account is what IPQS says about the account of a key.
type Account struct {
	// Credits is how many are left. IPQS' documentation can be read as if it were how many there were to begin with; those
	// who use it take it for the rest. Plans without a count may say 0.
	Credits Number `json:"credits"`
	// Usage is how many were used, as far as IPQS counts: URLs and phone numbers are not in it, leaks and files nowhere.
	Usage      Number `json:"usage"`
	ProxyUsage Number `json:"proxy_usage"`
	EmailUsage Number `json:"email_usage"`
	PhoneUsage Number `json:"phone_usage"`
	URLUsage   Number `json:"url_usage"`
}

const (
	account        = "account" // the endpoint's path, and in errors; no Kind that somebody could ask about
	accountTimeout = 10 * time.Second
)

// Account reads the account of the client's key. It costs no credit. This is the one question whose key IPQS wants in the
// path: whatever records the addresses of requests records the key. Errors are those of [Client.Lookup].
func (c *Client) Account(ctx context.Context) (Account, error) {
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	q := Query{Kind: account}
	got, err := c.readAccount(ctx)
	if err != nil {
		return Account{}, c.noAnswer(ctx, q, got.status, err)
	}
	if isMarkup(got.header.Get("Content-Type"), got.body) {
		return Account{}, c.refusal(got.header, answer{query: q, status: got.status, markup: true}, "")
	}
	e, object := decodeEnvelope(got.body)
	if !object || e.Success != True || got.status/100 != 2 {
		return Account{}, c.refusal(got.header, answer{query: q, status: got.status, object: object, success: e.Success}, e.sentence())
	}
	var read Account
	if json.Unmarshal(got.body, &read) != nil {
		return Account{}, &APIError{Class: ClassMalformed, Kind: account, Status: got.status, Message: "the answer is no JSON object"}
	}
	return read, nil
}

func (c *Client) readAccount(ctx context.Context) (response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/"+account+"/"+url.PathEscape(c.key), nil)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json")
	return c.do(req)
}
