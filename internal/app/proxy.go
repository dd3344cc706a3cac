package app

import (
	"errors"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// proxies looks at the environment of this process.
func proxies() error { return usableProxies(*httpproxy.FromEnvironment()) }

// usableProxies looks at the proxies that the environment names. The HTTP client goes without one, and without a word,
// where it cannot read its address.
func usableProxies(from httpproxy.Config) error {
	from.NoProxy = "" // it may excuse the hosts asked for here
	proxy := from.ProxyFunc()
	var problems []error
	for _, of := range []struct{ name, scheme, address string }{
		{"HTTP_PROXY", "http", from.HTTPProxy},
		{"HTTPS_PROXY", "https", from.HTTPSProxy},
	} {
		at, err := proxy(&url.URL{Scheme: of.scheme, Host: "host.invalid"})
		// An address that it cannot read it reads once more with http:// before it, so that "http:" becomes the host.
		if of.address != "" && (err != nil || at == nil || at.Hostname() == "" || strings.HasSuffix(at.Host, ":")) {
			// Not what was found: it may hold a password.
			problems = append(problems, errors.New(of.name+": found [REDACTED], want the address of a proxy, such as http://user:password@host:port"))
		}
	}
	return errors.Join(problems...)
}
