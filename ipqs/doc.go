// Package ipqs is a client of the IPQualityScore risk API: it asks about one IP address, e-mail address, phone number,
// URL, domain, account or file, and gives back a typed [Report] or an [*APIError].
//
// IPQS answers most refusals with HTTP 200 and a sentence, puts advertisements for bigger plans where data should be, and
// says null, "N/A" or nothing at all where it does not know. This package is where that ends:
//
//   - The types of a Report tell unknown from false and from zero: [Bool], [Number], [Text], [List], [Age], [ScanDate].
//   - Every refusal becomes one [Class] of a closed list, by the one table in classify.go; errors.Is finds it by the
//     sentinels ([ErrKey], [ErrItem], [ErrUnavailable] …).
//   - The key travels in a header and the value in the query, or in the body if it is a secret; none is ever in an error's
//     text.
//   - What IPQS knows about people (names, addresses, linked accounts) is decoded on demand only: [Personal].
//
// A [Lookuper] is one way to look up a value; they stack. [Client] makes the HTTP request, once: who retries is the
// caller. [Breaker] stops asking while IPQS is down:
//
//	client, err := ipqs.NewClient(ipqs.Options{Key: key})
//	…
//	risks := ipqs.NewBreaker(client, ipqs.BreakerOptions{})
//	report, err := risks.Lookup(ctx, ipqs.Query{Kind: ipqs.KindIP, Value: "192.0.2.7"})
//
// A Report marshals to JSON and back without loss, so it can travel. Package ipqstest is an IPQS to test against.
package ipqs
