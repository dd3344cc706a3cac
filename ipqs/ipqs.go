package ipqs

import "context"

// Kind is what a value is, and so which endpoint of IPQS answers for it.
type Kind string

// The kinds of value that IPQS rates. Their texts are the endpoint's path and its parameter.
const (
	KindIP    Kind = "ip"    // an IPv4 or IPv6 address
	KindEmail Kind = "email" // an e-mail address
	KindPhone Kind = "phone" // a phone number, best in E.164
	KindURL   Kind = "url"   // a URL or a domain name; IPQS fetches the page
)

// Query is one question to IPQS.
type Query struct {
	Kind Kind
	// Value goes out exactly as it stands here; only the encoding of a URL's query is put around it.
	Value string
	// Urgent says that somebody waits for the answer. It changes nothing about the question: only who goes first where
	// questions wait for each other.
	Urgent bool
}

// Lookuper answers a Query. Implementations are safe for concurrent use. The error is an [*APIError], or wraps
// context.Canceled when the caller ended ctx.
type Lookuper interface {
	Lookup(ctx context.Context, q Query) (*Report, error)
}
