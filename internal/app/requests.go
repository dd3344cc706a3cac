package app

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/telemetry"
)

// telling puts spans, metrics and debug lines around requests.
func telling(o Options, base http.RoundTripper, peer string, call func(*http.Request) telemetry.Call) (http.RoundTripper, error) {
	o = o.withDefaults()
	return telemetry.NewTransport(telemetry.HTTPOptions{
		Base: base, Tracer: o.Tracer, Meter: o.Meter, Logger: o.Logger, Peer: peer, Call: call, Show: shapes(peer).of,
	})
}

// platformCall is what may be told of a request to OpenCTI: the name of the operation, which is one of ours.
func platformCall(r *http.Request) telemetry.Call {
	const graphql, storage = "/graphql", "/storage/get/"
	if strings.Contains(r.URL.Path, storage) {
		return telemetry.Call{Route: storage, Unshown: true} // the path names a file, and the answer is one
	}
	if !strings.HasSuffix(r.URL.Path, graphql) {
		return telemetry.Call{Route: "/other"}
	}
	call := telemetry.Call{Route: graphql}
	if r.GetBody == nil {
		return call
	}
	body, err := r.GetBody()
	if err != nil {
		return call
	}
	defer func() { _ = body.Close() }()
	var head [256]byte
	n, _ := io.ReadFull(body, head[:]) // a shorter one is no error here
	if found := operation.FindSubmatch(head[:n]); found != nil {
		call.Mutation, call.Operation = string(found[1]) == "mutation", string(found[2])
	}
	return call
}

// operation finds the kind and name of an operation in the beginning of a request's body.
var operation = regexp.MustCompile(`^\{"query":"(query|mutation) (\w+)`)

// lookupCall is what may be told of a request to IPQS: which endpoint, in words that are known. Anything else in a path may
// be the key, as it is where the account is asked for.
func lookupCall(c config.IPQS) func(*http.Request) telemetry.Call {
	base := ""
	if u, err := url.Parse(c.BaseURL); err == nil {
		base = strings.TrimRight(u.Path, "/")
	}
	return func(r *http.Request) telemetry.Call {
		parts := strings.Split(strings.TrimPrefix(r.URL.Path, base), "/")
		for i, part := range parts {
			if part != "" && !endpoints[part] {
				parts[i] = "{hidden}"
			}
		}
		return telemetry.Call{Route: strings.Join(parts, "/")}
	}
}

// endpoints are the words in the paths of IPQS' API.
var endpoints = map[string]bool{
	"ip": true, "email": true, "phone": true, "url": true, "leaked": true, "username": true, "password": true,
	"account": true, "malware": true, "scan": true, "lookup": true, "postback": true,
}
