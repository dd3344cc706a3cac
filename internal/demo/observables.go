package demo

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// outOfScope is a type that the connector was not made for; people ask it about such things all the same.
const outOfScope = "Hostname"

// observables makes n observables of all types, with what real ones come with: markings, private addresses, nonsense.
func observables(n int) []openctitest.Observable {
	makers := []func(i int) openctitest.Observable{
		func(i int) openctitest.Observable { return of("IPv4-Addr", "198.51.100.%d", i%256) },
		func(i int) openctitest.Observable { return of("Domain-Name", "host-%d.example.com", i) },
		func(i int) openctitest.Observable { return of("Email-Addr", "user-%d@example.org", i) },
		func(i int) openctitest.Observable { return of("Url", "https://example.net/page?id=%d&lang=de", i) },
		func(i int) openctitest.Observable { return of("Phone-Number", "+1800555%04d", i%10000) },
		func(i int) openctitest.Observable { return of("IPv6-Addr", "2001:db8::%x", i+1) },
		func(i int) openctitest.Observable { return of("IPv4-Addr", "203.0.113.%d", i%256) },
		func(i int) openctitest.Observable { return of("Domain-Name", "phishing-%d.example", i) },
		func(i int) openctitest.Observable { return of("Email-Addr", "disposable-%d@example.com", i) },
		func(i int) openctitest.Observable { return of("Url", "https://malware-%d.example/a'b\"c", i) },
	}
	list := make([]openctitest.Observable, n)
	for i := range list {
		list[i] = makers[i%len(makers)](i)
		switch {
		case i%40 == 7:
			list[i].Markings = []string{"TLP:RED"}
		case i%40 == 17:
			list[i] = of("IPv4-Addr", "10.0.%d.1", i%256)
		case i%40 == 27:
			list[i] = of(outOfScope, "server-%d", i)
		case i%40 == 37:
			list[i] = of("IPv4-Addr", "unknown-to-ipqs-%d.example", i)
		case i%5 == 1:
			list[i].Markings = []string{"TLP:GREEN"}
		}
	}
	return list
}

func of(kind, format string, i int) openctitest.Observable {
	return openctitest.Observable{Type: kind, Value: fmt.Sprintf(format, i), CreatedAt: "2026-01-02T03:04:05.678Z"}
}

// script gives some values a fate of their own: those that IPQS fails for three times, slow ones, and those that it
// refuses, in known words and in others.
func script(fake *ipqstest.Fake, list []openctitest.Observable) {
	for i, o := range list {
		kind := ipqs.KindURL
		switch o.Type {
		case "IPv4-Addr", "IPv6-Addr":
			kind = ipqs.KindIP
		case "Email-Addr":
			kind = ipqs.KindEmail
		case "Phone-Number":
			kind = ipqs.KindPhone
		}
		switch {
		case strings.HasPrefix(o.Value, "unknown-to-ipqs"):
			fake.Script(kind, o.Value, ipqstest.Refusal(ipqstest.MessageInvalidIP))
		case i%100 == 31:
			fails := ipqstest.Response{Status: http.StatusInternalServerError}
			fake.Script(kind, o.Value, fails, fails, fails)
		case i%100 == 61:
			fake.Script(kind, o.Value, ipqstest.Refusal("This request could not be completed."))
		case i%50 == 13:
			fake.Script(kind, o.Value, ipqstest.Response{Delay: 1500 * time.Millisecond})
		}
	}
}
