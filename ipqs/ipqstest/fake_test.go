package ipqstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

const key = "test-key-0123456789"

// client is the real client on the fake, without a network.
func client(t *testing.T, f *ipqstest.Fake) *ipqs.Client {
	t.Helper()
	c, err := ipqs.NewClient(ipqs.Options{Key: key, BaseURL: ipqstest.BaseURL, HTTPClient: f.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lookup(t *testing.T, f *ipqstest.Fake, kind ipqs.Kind, value string) *ipqs.Report {
	t.Helper()
	r, err := client(t, f).Lookup(t.Context(), ipqs.Query{Kind: kind, Value: value})
	if err != nil {
		t.Fatalf("Lookup(%s, %s) = %v, want no error", kind, value, err)
	}
	return r
}

// members asks without the client, for what a client leaves out.
func members(t *testing.T, f *ipqstest.Fake, method, target string, header map[string]string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := f.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s = %d %s, want a JSON object with status 200", method, target, resp.StatusCode, body)
	}
	return m
}

func TestFake_messages(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{Key: key})
	withKey := map[string]string{"IPQS-KEY": key}
	tests := []struct {
		name, method, path string
		header             map[string]string
		success            bool
		message            any
	}{
		{"IP", "GET", "ip?ip=192.0.2.1", withKey, true, "Success"},
		{"IPv6", "GET", "ip?ip=2001%3Adb8%3A%3A1", withKey, true, "Success"},
		{"host name", "GET", "ip?ip=www.example.com", withKey, true, "Success"},
		{"e-mail", "GET", "email?email=jane%40example.com", withKey, true, "Success."},
		{"phone", "GET", "phone?phone=%2B12025550142", withKey, true, "Phone is valid."},
		{"phone that is none", "GET", "phone?phone=123", withKey, true, nil},
		{"URL", "GET", "url?url=https%3A%2F%2Fexample.com%2F", withKey, true, "Success."},
		{"domain", "GET", "url?url=example.com", withKey, true, "Success."},
		{"by POST", "POST", "url?url=example.com", withKey, true, "Success."},
		{"wrong key", "GET", "ip?ip=192.0.2.1", map[string]string{"IPQS-KEY": "other"}, false, ipqstest.MessageInvalidKey},
		{"no key", "GET", "ip?ip=192.0.2.1", nil, false, ipqstest.MessageInvalidKey},
		{"value in the path", "GET", "phone/+12025550142", withKey, false, ipqstest.MessageInvalidKey},
		{"key and value in the path", "GET", "ip/" + key + "/192.0.2.1", nil, false, ipqstest.MessageInvalidKey},
		{"no value", "GET", "ip", withKey, false, ""},
		{"IP that is none", "GET", "ip?ip=192.0.2.300", withKey, false, ipqstest.MessageInvalidIP},
		{"IP with a zone", "GET", "ip?ip=fe80%3A%3A1%25eth0", withKey, false, ipqstest.MessageInvalidIP},
		{"URL that is none", "GET", "url?url=http%3A%2F%2F", withKey, false, ipqstest.MessageInvalidURL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := members(t, f, tt.method, ipqstest.BaseURL+"/"+tt.path, tt.header)
			if got["success"] != tt.success || got["message"] != tt.message {
				t.Errorf("answer = %v %q, want %t %q", got["success"], got["message"], tt.success, tt.message)
			}
		})
	}
}

func TestFake_otherRequests(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{})
	for target, want := range map[string]int{
		"GET http://x/api/json/fax?fax=1":          http.StatusNotFound,
		"GET http://x/":                            http.StatusNotFound,
		"DELETE http://x/api/json/ip?ip=192.0.2.1": http.StatusMethodNotAllowed,
	} {
		method, address, _ := strings.Cut(target, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s = %d, want %d", target, resp.StatusCode, want)
		}
	}
}

// The special values of the package comment.
func TestFake_specialValues(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{})
	type fields []any
	tests := []struct {
		kind  ipqs.Kind
		value string
		got   func(*ipqs.Report) fields
		want  fields
	}{
		{ipqs.KindIP, "198.51.100.7", func(r *ipqs.Report) fields { return fields{r.IP.VPN, r.IP.Proxy, r.IP.TOR} }, fields{ipqs.True, ipqs.True, ipqs.False}},
		{ipqs.KindIP, "2001:db8:f0::9", func(r *ipqs.Report) fields { return fields{r.IP.VPN} }, fields{ipqs.True}},
		{
			ipqs.KindIP, "198.51.100.65",
			func(r *ipqs.Report) fields {
				return fields{r.IP.TOR, r.IP.ActiveTOR, strings.HasPrefix(string(r.IP.Host), "tor-exit-")}
			},
			fields{ipqs.True, ipqs.True, true},
		},
		{ipqs.KindIP, "2001:db8:f1::9", func(r *ipqs.Report) fields { return fields{r.IP.TOR} }, fields{ipqs.True}},
		{
			ipqs.KindIP, "198.51.100.130",
			func(r *ipqs.Report) fields { return fields{r.IP.Proxy, r.IP.VPN, r.IP.ConnectionType} },
			fields{ipqs.True, ipqs.False, ipqs.Text("Residential")},
		},
		{
			ipqs.KindIP, "2001:db8:f3::1",
			func(r *ipqs.Report) fields { return fields{r.IP.ASN, r.IP.ISP, r.IP.Latitude, r.IP.ZipCode} },
			fields{ipqs.Number{}, ipqs.Text(""), ipqs.Number{}, ipqs.Text("")},
		},
		{ipqs.KindEmail, "disposable@example.com", func(r *ipqs.Report) fields { return fields{r.Email.Disposable} }, fields{ipqs.True}},
		{ipqs.KindEmail, "spamtrap@example.com", func(r *ipqs.Report) fields { return fields{r.Email.Honeypot} }, fields{ipqs.True}},
		{ipqs.KindEmail, "x@catchall.example", func(r *ipqs.Report) fields { return fields{r.Email.CatchAll, r.Email.Suspect} }, fields{ipqs.True, ipqs.True}},
		{ipqs.KindEmail, "leaked@example.com", func(r *ipqs.Report) fields { return fields{r.Email.Leaked} }, fields{ipqs.True}},
		{ipqs.KindEmail, "timeout@example.com", func(r *ipqs.Report) fields { return fields{r.Email.Valid, r.Email.TimedOut} }, fields{ipqs.False, ipqs.True}},
		{
			ipqs.KindEmail, "invalid@example.com",
			func(r *ipqs.Report) fields { return fields{r.Email.Valid, r.Email.MXRecords, r.Email.DomainAge} },
			fields{ipqs.False, ipqs.List{}, ipqs.Age{}},
		},
		{ipqs.KindEmail, "nobody", func(r *ipqs.Report) fields { return fields{r.Email.Valid} }, fields{ipqs.False}},
		{ipqs.KindEmail, "noscore@example.com", func(r *ipqs.Report) fields { return fields{r.Email.FraudScore} }, fields{ipqs.Number{}}},
		{
			ipqs.KindPhone, "+12025550100",
			func(r *ipqs.Report) fields { return fields{r.Phone.Valid, r.Phone.Active, r.Phone.Carrier} },
			fields{ipqs.False, ipqs.Unknown, ipqs.Text("")},
		},
		{
			ipqs.KindPhone, "+12025550198",
			func(r *ipqs.Report) fields { return fields{r.Phone.Active, r.Phone.ActiveStatus, r.Phone.Country} },
			fields{ipqs.False, ipqs.Text("Disconnected Line"), ipqs.Text("US")},
		},
		{ipqs.KindPhone, "+447700900199", func(r *ipqs.Report) fields { return fields{r.Phone.Active, r.Phone.DialingCode} }, fields{ipqs.Unknown, ipqs.NumberOf(44)}},
		{ipqs.KindPhone, "+18005550142", func(r *ipqs.Report) fields { return fields{r.Phone.LineType, r.Phone.MNC} }, fields{ipqs.Text("Toll Free"), ipqs.Text("004")}},
		{ipqs.KindURL, "https://example.com/Phishing", func(r *ipqs.Report) fields { return fields{r.URL.Phishing, r.URL.RiskScore} }, fields{ipqs.True, ipqs.NumberOf(100)}},
		{ipqs.KindURL, "malware.example", func(r *ipqs.Report) fields { return fields{r.URL.Malware, r.URL.Unsafe} }, fields{ipqs.True, ipqs.True}},
		{ipqs.KindURL, "spam.example", func(r *ipqs.Report) fields { return fields{r.URL.Spamming, r.URL.Suspicious} }, fields{ipqs.True, ipqs.True}},
		{ipqs.KindURL, "parked.example", func(r *ipqs.Report) fields { return fields{r.URL.Parking} }, fields{ipqs.True}},
		{ipqs.KindURL, "adult.example", func(r *ipqs.Report) fields { return fields{r.URL.Adult} }, fields{ipqs.True}},
		{
			ipqs.KindURL, "redirect.example",
			func(r *ipqs.Report) fields { return fields{r.URL.Redirected, r.URL.Domain, r.URL.ScannedURL} },
			fields{ipqs.True, ipqs.Text("landing.example.net"), ipqs.Text("https://redirect.example")},
		},
		{ipqs.KindURL, "shortlink.example/x", func(r *ipqs.Report) fields { return fields{r.URL.ShortLinkRedirect} }, fields{ipqs.True}},
		{
			ipqs.KindURL, "ipv6.example",
			func(r *ipqs.Report) fields { return fields{netip.MustParseAddr(string(r.URL.IPAddress)).Is6()} },
			fields{true},
		},
		{
			ipqs.KindURL, "unreachable.example",
			func(r *ipqs.Report) fields { return fields{r.URL.DNSValid, r.URL.IPAddress, r.URL.StatusCode} },
			fields{ipqs.False, ipqs.Text(""), ipqs.NumberOf(0)},
		},
		{ipqs.KindURL, "noscore.example", func(r *ipqs.Report) fields { return fields{r.URL.RiskScore} }, fields{ipqs.Number{}}},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.got(lookup(t, f, tt.kind, tt.value))); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
	if score, _ := lookup(t, f, ipqs.KindIP, "198.51.100.70").Score(); score < 76 {
		t.Errorf("score of a TOR exit = %d, want 76 or more", score)
	}
}

// Scores reach all four bands of every kind, and the oddities occur.
func TestFake_variety(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{})
	values := map[ipqs.Kind]string{
		ipqs.KindIP: "203.0.113.%d", ipqs.KindEmail: "user%d@example.com", ipqs.KindPhone: "+120255501%02d", ipqs.KindURL: "site%d.example",
	}
	seen := make(map[string]int)
	for kind, format := range values {
		for i := range 100 {
			r := lookup(t, f, kind, fmt.Sprintf(format, i))
			if score, known := r.Score(); known {
				seen[fmt.Sprintf("%s band %d", kind, min((max(score, 1)-1)/25, 3))]++
			}
			switch {
			case kind == ipqs.KindIP && r.IP.ASN == ipqs.Number{}:
				seen["IP without ASN"]++
			case kind == ipqs.KindIP:
				seen["IP with ASN"]++
			case kind == ipqs.KindURL && r.URL.IPAddress == "":
				seen["domain without address"]++
			case kind == ipqs.KindURL && strings.Contains(string(r.URL.IPAddress), ":"):
				seen["domain with IPv6"]++
			case kind == ipqs.KindURL:
				seen["domain with IPv4"]++
			case kind == ipqs.KindPhone && r.Phone.Prepaid == ipqs.Unknown:
				seen["prepaid unknown"]++
			}
		}
	}
	wants := []string{
		"IP without ASN", "IP with ASN", "domain without address", "domain with IPv6", "domain with IPv4", "prepaid unknown",
	}
	for kind := range values {
		for band := range 4 {
			wants = append(wants, fmt.Sprintf("%s band %d", kind, band))
		}
	}
	for _, want := range wants {
		if seen[want] < 3 {
			t.Errorf("%s: %d times in 100, want at least 3", want, seen[want])
		}
	}
}

// The same value gets the same answer from every fake, but for the request's id.
func TestFake_deterministic(t *testing.T) {
	t.Parallel()
	a, b := ipqstest.New(ipqstest.Options{Seed: 1}), ipqstest.New(ipqstest.Options{Seed: 2})
	for kind, value := range map[ipqs.Kind]string{
		ipqs.KindIP: "192.0.2.9", ipqs.KindEmail: "jane@example.com", ipqs.KindPhone: "+12025550142", ipqs.KindURL: "example.com",
	} {
		first, second, again := lookup(t, a, kind, value), lookup(t, b, kind, value), lookup(t, a, kind, value)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("two fakes on %s (-one +other):\n%s", value, diff)
		}
		if again.RequestID == first.RequestID || again.RequestID == "" {
			t.Errorf("second request id of %s = %q, want another than %q", value, again.RequestID, first.RequestID)
		}
		again.RequestID = first.RequestID
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("asked twice for %s (-first +second):\n%s", value, diff)
		}
	}
}

func TestFake_freePlan(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{FreePlan: true})
	get := func(kind ipqs.Kind, value string) map[string]any {
		target := ipqstest.BaseURL + "/" + string(kind) + "?" + url.Values{string(kind): {value}}.Encode()
		return members(t, f, http.MethodGet, target, map[string]string{"IPQS-KEY": key})
	}
	ip := get(ipqs.KindIP, "192.0.2.1")
	if _, ok := ip["frequent_abuser"]; ok || ip["connection_type"] != "Premium required." {
		t.Errorf("free plan: connection_type = %v, frequent_abuser there: %t, want a text that sells, and none", ip["connection_type"], ok)
	}
	email := get(ipqs.KindEmail, "jane@example.com")
	if email["domain_trust"] != "Upgraded plan required." || email["user_activity"] != "Enterprise L4+ required." {
		t.Errorf("free plan: domain_trust = %v, user_activity = %v, want texts that sell", email["domain_trust"], email["user_activity"])
	}
	// And nothing of that gets through the client.
	for kind, value := range map[ipqs.Kind]string{
		ipqs.KindIP: "192.0.2.1", ipqs.KindEmail: "jane@example.com", ipqs.KindPhone: "+12025550142", ipqs.KindURL: "example.com",
	} {
		wire, err := json.Marshal(lookup(t, f, kind, value))
		if err != nil || strings.Contains(string(wire), "equired") || strings.Contains(string(wire), "N/A") {
			t.Errorf("report of %s = %s, %v, want none that sells a plan", value, wire, err)
		}
	}
}

func TestFake_modes(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{})
	f.Script(ipqs.KindIP, "192.0.2.1", ipqstest.Refusal("scripted"))
	c := client(t, f)
	ask := func() error {
		_, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindIP, Value: "192.0.2.1"})
		return err
	}
	for mode, want := range map[ipqstest.Mode]error{
		ipqstest.Down: ipqs.ErrUnavailable, ipqstest.InvalidKey: ipqs.ErrKey,
		ipqstest.NoCredits: ipqs.ErrCredits, ipqstest.QuotaExceeded: ipqs.ErrQuota,
	} {
		f.SetMode(mode)
		if err := ask(); !errors.Is(err, want) {
			t.Errorf("mode %s: Lookup() = %v, want %v", mode, err, want)
		}
	}
	f.SetMode(ipqstest.Healthy)
	if err := ask(); !errors.Is(err, ipqs.ErrUnknown) {
		t.Errorf("the script after the modes: Lookup() = %v, want %v", err, ipqs.ErrUnknown)
	}
	if err := ask(); err != nil {
		t.Errorf("healthy: Lookup() = %v, want no error", err)
	}
}

func TestFake_Script(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{})
	c := client(t, f)
	const value = "192.0.2.1"
	f.Script(ipqs.KindIP, value,
		ipqstest.Refusal(ipqstest.MessageInvalidIP),
		ipqstest.Response{Status: 429, Header: map[string]string{"Retry-After": "7"}},
		ipqstest.Response{Abort: true},
		ipqstest.Response{Header: map[string]string{"Content-Type": "text/html"}, Body: "<html>"},
		ipqstest.Response{Fields: map[string]any{"fraud_score": "84.5", "ASN": nil, "ISP": ipqstest.Absent}},
	)
	f.Script(ipqs.KindIP, value, ipqstest.Response{Fields: map[string]any{"fraud_score": 101}})
	type outcome struct {
		Class      ipqs.Class
		RetryAfter time.Duration
		Score      int
		ISP        ipqs.Text
	}
	whole := lookup(t, ipqstest.New(ipqstest.Options{}), ipqs.KindIP, value)
	score, _ := whole.Score()
	want := []outcome{
		{Class: ipqs.ClassItem},
		{Class: ipqs.ClassThrottled, RetryAfter: 7 * time.Second},
		{Class: ipqs.ClassUnavailable},
		{Class: ipqs.ClassUnavailable},
		{Score: 84},
		{Class: ipqs.ClassMalformed},
		{Score: score, ISP: whole.IP.ISP},
	}
	var got []outcome
	for range want {
		report, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindIP, Value: value})
		var o outcome
		if e := new(ipqs.APIError); errors.As(err, &e) {
			o.Class, o.RetryAfter = e.Class, e.RetryAfter
		} else {
			o.Score, _ = report.Score()
			o.ISP = report.IP.ISP
		}
		got = append(got, o)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// Faults come at their rates, and the same ones with the same seed, in whatever order values are asked for.
func TestFake_faults(t *testing.T) {
	t.Parallel()
	options := ipqstest.Options{Seed: 7, Faults: ipqstest.FaultRates{
		Status500: 0.1, Throttled429: 0.1, Throttled403: 0.1, Slow: 0.1, Garbage: 0.1, HTML: 0.1,
	}}
	const lookups = 300
	run := func(backwards bool) map[string]string {
		outcomes := make(map[string]string)
		synctest.Test(t, func(t *testing.T) {
			c := client(t, ipqstest.New(options))
			for i := range lookups {
				if backwards {
					i = lookups - 1 - i
				}
				value := fmt.Sprintf("user%d@example.com", i)
				_, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindEmail, Value: value})
				outcomes[value] = "report"
				if e := new(ipqs.APIError); errors.As(err, &e) {
					outcomes[value] = fmt.Sprintf("%s %d", e.Class, e.Status)
				}
			}
		})
		return outcomes
	}
	first := run(false)
	if diff := cmp.Diff(first, run(true)); diff != "" {
		t.Errorf("two runs with one seed (-first +second):\n%s", diff)
	}
	counts := make(map[string]int)
	for _, o := range first {
		counts[o]++
	}
	for outcome, share := range map[string]float64{
		"report": 0.4, "unavailable 500": 0.1, "throttled 429": 0.1, "throttled 403": 0.1, "unavailable 0": 0.1,
		"malformed 200": 0.1, "unavailable 403": 0.1,
	} {
		if got, want := float64(counts[outcome])/lookups, share; got < want*0.6 || got > want*1.4 {
			t.Errorf("share of %q = %.2f, want about %.2f", outcome, got, want)
		}
	}
	options.Seed = 8
	if cmp.Equal(first, run(false)) {
		t.Error("another seed hits the same lookups, want others")
	}
}

func TestFake_latency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := ipqstest.New(ipqstest.Options{Latency: 100 * time.Millisecond, LatencyJitter: 50 * time.Millisecond})
		took := make(map[time.Duration]bool)
		for i := range 20 {
			start := time.Now()
			lookup(t, f, ipqs.KindIP, fmt.Sprintf("192.0.2.%d", i))
			d := time.Since(start)
			if d < 50*time.Millisecond || d > 150*time.Millisecond {
				t.Errorf("lookup took %v, want 50ms to 150ms", d)
			}
			took[d] = true
		}
		if len(took) < 10 {
			t.Errorf("20 lookups took %d different times, want more", len(took))
		}
		f.Script(ipqs.KindIP, "192.0.2.1", ipqstest.Response{Delay: time.Minute})
		_, err := client(t, f).Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindIP, Value: "192.0.2.1"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lookup() of a slow answer = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// Over a real connection: what the fake has seen, faults that cut it, and an end that does not wait for slow answers.
func TestServer(t *testing.T) {
	t.Parallel()
	server := ipqstest.NewServer(ipqstest.Options{Key: key})
	c, err := ipqs.NewClient(ipqs.Options{Key: key, BaseURL: server.BaseURL, UserAgent: "tester/1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	server.Script(ipqs.KindEmail, "cut@example.com", ipqstest.Response{Abort: true})
	if _, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindEmail, Value: "cut@example.com"}); !errors.Is(err, ipqs.ErrUnavailable) {
		t.Errorf("Lookup() with its connection cut = %v, want %v", err, ipqs.ErrUnavailable)
	}
	if _, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindURL, Value: "https://example.com/a?b=c&d"}); err != nil {
		t.Errorf("Lookup() = %v, want no error", err)
	}
	want := []ipqstest.Request{
		{Method: "GET", Path: "/api/json/email", RawQuery: "email=cut%40example.com", UserAgent: "tester/1", HasKey: true},
		{Method: "GET", Path: "/api/json/url", RawQuery: "url=https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc%26d", UserAgent: "tester/1", HasKey: true},
	}
	if diff := cmp.Diff(want, server.Log(), cmpopts.IgnoreFields(ipqstest.Request{}, "At")); diff != "" {
		t.Errorf("Log() (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[ipqs.Kind]int{ipqs.KindEmail: 1, ipqs.KindURL: 1}, server.Requests()); diff != "" {
		t.Errorf("Requests() (-want +got):\n%s", diff)
	}

	server.Script(ipqs.KindIP, "192.0.2.1", ipqstest.Response{Delay: time.Hour})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindIP, Value: "192.0.2.1"})
		if !errors.Is(err, ipqs.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lookup() when the server closes = %v, want %v", err, ipqs.ErrUnavailable)
		}
	})
	for deadline := time.Now().Add(time.Minute); server.Requests()[ipqs.KindIP] == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	server.Close()
	wg.Wait()
}
