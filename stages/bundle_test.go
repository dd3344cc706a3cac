package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func entity(kind, value string) opencti.Entity {
	t, _ := stix.TypeByName(kind)
	return opencti.Entity{
		ID: "6f0c2a1e-5a0b-4c5d-9e8f-001122334455", StandardID: stix.ObservableID(t.STIX, value),
		Type: kind, Value: value, CreatedAt: "2026-01-02T03:04:05.678Z",
	}
}

func TestBundleGolden(t *testing.T) {
	t.Parallel()
	both := Enrichment{IPRelationships: true, DomainRelationships: true}
	tests := []struct {
		name    string
		entity  opencti.Entity
		report  *ipqs.Report
		options Enrichment
	}{
		{"ipv4", entity("IPv4-Addr", "198.51.100.7"), report(ipqs.KindIP, `{"fraud_score":87,"proxy":true,"vpn":true,"tor":false,
			"recent_abuse":true,"ASN":64500,"ISP":"Example Telecom","organization":"Example Hosting","country_code":"CH",
			"city":"Bern","host":"host-7.example.net","connection_type":"Data Center","abuse_events":["Open Proxies"]}`), both},
		{"ipv6_without_asn", entity("IPv6-Addr", "2001:db8::7"), report(ipqs.KindIP, `{"fraud_score":0,"proxy":false,"vpn":false,
			"tor":false,"ASN":null,"ISP":"N/A"}`), both},
		{"ip_relationships_off", entity("IPv4-Addr", "198.51.100.8"), report(ipqs.KindIP, `{"fraud_score":26,"ASN":64500}`), Enrichment{}},
		{"email", entity("Email-Addr", "user@example.com"), report(ipqs.KindEmail, `{"fraud_score":60,"valid":true,"disposable":true,
			"deliverability":"low","smtp_score":-1,"overall_score":1,"leaked":true,"domain_age":{"iso":"1995-08-14T00:00:00-04:00",
			"timestamp":808372800,"human":"31 years ago"},"mx_records":["mx1.example.com","mx2.example.com"]}`), both},
		{"email_timed_out", entity("Email-Addr", "slow@example.com"), report(ipqs.KindEmail, `{"fraud_score":40,"valid":false,"timed_out":true}`), both},
		{"url", entity("Url", `https://example.com/a?b=c&d='e'\"<f>`), report(ipqs.KindURL, `{"risk_score":100,"malware":true,
			"phishing":true,"suspicious":true,"ip_address":"203.0.113.9","page_title":"<b>|Free [money](http://evil.example)|</b>",
			"server":"nginx\r\nX: y","final_url":"https://www.example.com/"}`), both},
		{"domain", entity("Domain-Name", "example.com"), report(ipqs.KindURL, `{"risk_score":78,"suspicious":true,
			"malware":false,"phishing":false,"ip_address":"203.0.113.9","domain_rank":0,"category":"Search Engines"}`), both},
		{"domain_resolves_to_ipv6", entity("Domain-Name", "bücher.example"), report(ipqs.KindURL, `{"risk_score":51,"ip_address":"2001:DB8::9"}`), both},
		{"domain_resolves_to_nothing", entity("Domain-Name", "gone.example"), report(ipqs.KindURL, `{"risk_score":50,"ip_address":"N/A"}`), both},
		{"phone", entity("Phone-Number", "+18005550100"), report(ipqs.KindPhone, `{"fraud_score":75,"valid":true,"active":null,
			"carrier":"Example Mobile","line_type":"Wireless","VOIP":false,"country":"US","mnc":"004"}`), both},
		{"score_unknown", entity("IPv4-Addr", "198.51.100.9"), report(ipqs.KindIP, `{"proxy":true}`), both},
		{"marked_and_shared", func() opencti.Entity {
			e := entity("IPv4-Addr", "198.51.100.10")
			e.Markings = []opencti.Marking{
				{ID: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", Type: "TLP", Definition: "TLP:GREEN"},
				{ID: "marking-definition--11111111-1111-4111-8111-111111111111", Type: "PAP", Definition: "PAP:AMBER"},
			}
			e.Organizations = []string{"identity--22222222-2222-4222-8222-222222222222"}
			return e
		}(), report(ipqs.KindIP, `{"fraud_score":25,"ASN":64501,"organization":"Example"}`), Enrichment{IPRelationships: true, Confidence: new(60)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := bundleOf(t, tt.entity, tt.report, tt.options)
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, got, "", "  "); err != nil {
				t.Fatalf("the bundle is no JSON: %v", err)
			}
			pretty.WriteByte('\n')
			golden(t, tt.name, pretty.Bytes())
			if again := bundleOf(t, tt.entity, tt.report, tt.options); !bytes.Equal(got, again) {
				t.Errorf("the same job made other bytes")
			}
		})
	}
}

func bundleOf(t *testing.T, e opencti.Entity, r *ipqs.Report, options Enrichment) []byte {
	t.Helper()
	job := Job{ID: "work_1", Entity: &e, Risk: &Risk{At: at, Report: r}}
	for _, stage := range []Stage{Score(), Bundle(options)} {
		var err error
		if job, err = stage.Run(context.Background(), job); err != nil {
			t.Fatalf("%s error = %v", stage.Name, err)
		}
	}
	return job.Bundle
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "bundle_"+name+".golden.json")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", path, diff)
	}
}

func TestBundleSurvivesHardValues(t *testing.T) {
	t.Parallel()
	values := []string{
		`o'brien`, `back\slash`, `"quoted"`, "ünï 😀 \u2028", strings.Repeat("x", 50_000), `a'\' OR '`,
	}
	for _, value := range values {
		b := bundleOf(t, entity("Url", value), report(ipqs.KindURL, `{"risk_score":1}`), Enrichment{})
		var decoded struct {
			Objects []struct{ Type, Value, Pattern string }
		}
		if err := json.Unmarshal(b, &decoded); err != nil {
			t.Fatal(err)
		}
		want, _ := stix.Pattern("Url", value)
		seen := map[string]string{}
		for _, o := range decoded.Objects {
			seen[o.Type] = o.Value + o.Pattern
		}
		if seen["url"] != value || seen["indicator"] != want {
			t.Errorf("value of %d bytes came out as %.40q, pattern %.40q", len(value), seen["url"], seen["indicator"])
		}
	}
}

func TestNoteSaysTheSameOfTheSameVerdict(t *testing.T) {
	t.Parallel()
	one := report(ipqs.KindEmail, `{"fraud_score":1,"request_id":"A1","first_seen":{"human":"3 days ago","iso":"2026-03-01T01:02:03Z","timestamp":1772326923}}`)
	other := report(ipqs.KindEmail, `{"fraud_score":1,"request_id":"B2","first_seen":{"human":"4 days ago","iso":"2026-03-01T01:02:03Z","timestamp":1772326923}}`)
	v := verdict(one)
	e := entity("Email-Addr", "user@example.com")
	if a, b := noteText(&e, v, one), noteText(&e, v, other); a != b {
		t.Errorf("notes differ:\n%s", cmp.Diff(a, b))
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"plain text, 1.5 - ok", "plain text, 1.5 - ok"},
		{"a|b", `a\|b`},
		{"<script>", `\<script\>`},
		{"[x](http://e.example)", `\[x\](http\://e.example)`},
		{"www.e.example", `www\.e.example`},
		{"gpj\u202e.exe", "gpj.exe"},
		{"line\r\nbreak\u2028", "line  break "},
		{"`code` *b* _i_ \\", "\\`code\\` \\*b\\* \\_i\\_ \\\\"},
	}
	for _, tt := range tests {
		if got := escape(tt.in); got != tt.want {
			t.Errorf("escape(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestNotesOfTwoObservablesDiffer(t *testing.T) {
	t.Parallel()
	same := report(ipqs.KindURL, `{"risk_score":1}`)
	long := strings.Repeat("x", 300)
	for _, values := range [][2]string{{"https://example.com/1", "https://example.com/2"}, {long + "1", long + "2"}} {
		one, other := entity("Url", values[0]), entity("Url", values[1])
		if noteText(&one, verdict(same), same) == noteText(&other, verdict(same), same) {
			t.Errorf("%.30q and %.30q share a note", values[0], values[1])
		}
	}
}
