package ipqs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// samples returns the folder of collected answers. It is not part of the repository.
func samples(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "ipqs-samples")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the reference material beside the repository (../shared) is not there")
	}
	return dir
}

// every checks that each file in the folder has an expectation, and runs test on it.
func every[T any](t *testing.T, folder string, wants map[string]T, test func(t *testing.T, body []byte, want T)) {
	t.Helper()
	dir := filepath.Join(samples(t), folder)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < len(wants) {
		t.Errorf("%s has %d files, want at least %d", dir, len(files), len(wants))
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			t.Parallel()
			want, ok := wants[f.Name()]
			if !ok {
				t.Fatalf("no expectation for %s", f.Name())
			}
			body, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			test(t, body, want)
		})
	}
}

// expectation is what a sample shows: its score, and what is odd about it.
type expectation struct {
	score int
	got   func(*Report) []any
	want  []any
}

func checkSample(kind Kind) func(*testing.T, []byte, expectation) {
	return func(t *testing.T, body []byte, want expectation) {
		t.Helper()
		r, err := decode(kind, body)
		if err != nil {
			t.Fatalf("decode() = %v, want no error", err)
		}
		if score, known := r.Score(); score != want.score || !known {
			t.Errorf("Score() = %d, %t, want %d, true", score, known, want.score)
		}
		if r.RequestID == "" {
			t.Error("RequestID is empty, want one")
		}
		if diff := cmp.Diff(want.want, want.got(r)); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		roundTrip(t, r)
	}
}

func TestSamples_IP(t *testing.T) {
	t.Parallel()
	every(t, "ip", map[string]expectation{
		"bot_status_true_score_0_rapid7.json": {
			0, func(r *Report) []any { return []any{r.IP.BotStatus, r.IP.AbuseVelocity, r.IP.ZipCode} },
			[]any{True, Text("none"), Text("")},
		},
		"clean_trusted_openapi.json": {
			0, func(r *Report) []any { return []any{r.IP.TrustedNetwork, r.IP.AbuseEvents, r.IP.ASN, r.IP.Latitude} },
			[]any{True, List{}, NumberOf(13335), NumberOf(-33.86000061)},
		},
		"derived_all_unknown.json": {
			0, func(r *Report) []any {
				return []any{r.IP.ASN, r.IP.Latitude, r.IP.ISP, r.IP.CountryCode, r.IP.Host, r.IP.ConnectionType}
			},
			[]any{Number{}, Number{}, Text(""), Text(""), Text("2001:db8::1"), Text("Residential")},
		},
		"free_plan_datacenter_94.json": {
			94, func(r *Report) []any {
				return []any{r.IP.ConnectionType, r.IP.AbuseVelocity, r.IP.AbuseEvents, r.IP.VPN}
			},
			[]any{Text(""), Text(""), List(nil), True},
		},
		"free_plan_enterprise_placeholder_0.json": {
			0, func(r *Report) []any { return []any{r.IP.AbuseEvents, r.IP.FrequentAbuser, r.IP.Proxy} },
			[]any{List(nil), Unknown, False},
		},
		"free_plan_integer_longitude_100.json": {
			100, func(r *Report) []any { return []any{r.IP.Longitude, r.IP.Region, r.IP.ZipCode} },
			[]any{NumberOf(45), Text("Penzenskaya Oblast'"), Text("")},
		},
		"free_plan_tor_exit_100.json": {
			100, func(r *Report) []any { return []any{r.IP.TOR, r.IP.ActiveTOR, r.IP.ActiveVPN, r.IP.Host} },
			[]any{True, True, False, Text("tor-exit.node")},
		},
		"high_risk_100_xsoar.json": {
			100, func(r *Report) []any { return []any{r.IP.AbuseEvents, r.IP.HighRiskAttacks, r.IP.ConnectionType} },
			[]any{
				List{"Open Proxies", "Abusive Users", "IPQS Honeypots", "Malware & Phishing", "Bot Attacks", "BrightData"},
				True, Text("Corporate"),
			},
		},
		"mid_plan_residential_proxy_73.json": {
			73, func(r *Report) []any { return []any{r.IP.ConnectionType, r.IP.AbuseEvents, r.IP.Organization} },
			[]any{Text("Residential"), List(nil), Text("AT&T Internet")},
		},
		"suspicious_78_legacy_geocoder.json": {
			78, func(r *Report) []any { return []any{r.IP.Host, r.IP.AbuseEvents, r.IP.SharedConnection} },
			[]any{Text("74.200.247.59"), List(nil), Unknown},
		},
	}, checkSample(KindIP))
}

func TestSamples_Email(t *testing.T) {
	t.Parallel()
	every(t, "email", map[string]expectation{
		"abusive_100_identity_data_xsoar.json": {
			100, func(r *Report) []any {
				return []any{r.Email.Valid, r.Email.Leaked, r.Email.UserActivity, r.Email.FirstSeen.ISO, r.Email.ResultType}
			},
			[]any{False, True, Text("high"), Text("2017-01-01T01:01:01-05:00"), Text("live")},
		},
		"catch_all_abusive_100_openapi.json": {
			100, func(r *Report) []any {
				return []any{r.Email.CatchAll, r.Email.UserActivity, r.Email.SuggestedDomain, len(r.Email.MXRecords), r.Email.SMTPScore}
			},
			[]any{True, Text(""), Text(""), 3, NumberOf(2)},
		},
		"derived_disposable_no_domain_age.json": {
			90, func(r *Report) []any {
				return []any{r.Email.Disposable, r.Email.DomainAge, r.Email.SMTPScore, r.Email.OverallScore, r.Email.MXRecords}
			},
			[]any{True, Age{}, NumberOf(-1), NumberOf(0), List{}},
		},
		"derived_timed_out.json": {
			0, func(r *Report) []any { return []any{r.Email.Valid, r.Email.TimedOut} },
			[]any{False, True},
		},
		"leaked_suspect_80_rapid7.json": {
			80, func(r *Report) []any {
				return []any{r.Email.Suspect, r.Email.Leaked, r.Email.MXRecords, r.Email.DomainTrust}
			},
			[]any{True, True, List(nil), Text("")},
		},
		"plan_limited_catch_all_0.json": {
			0, func(r *Report) []any {
				return []any{r.Email.DomainTrust, r.Email.DomainVelocity, r.Email.UserActivity, r.Email.DMARCRecord}
			},
			[]any{Text(""), Text(""), Text(""), False},
		},
	}, checkSample(KindEmail))
}

func TestSamples_Phone(t *testing.T) {
	t.Parallel()
	every(t, "phone", map[string]expectation{
		"derived_invalid_nulls.json": {
			0, func(r *Report) []any {
				return []any{r.Phone.Valid, r.Phone.Active, r.Phone.VOIP, r.Phone.DialingCode, r.Phone.Formatted, r.Message}
			},
			[]any{False, Unknown, Unknown, Number{}, Text(""), Text("")},
		},
		"inactive_risky_100_rapid7.json": {
			100, func(r *Report) []any { return []any{r.Phone.Active, r.Phone.Risky, r.Phone.Leaked, r.Phone.Carrier} },
			[]any{False, True, True, Text("Sistema Shyam TeleServices Ltd (MTS)")},
		},
		"plan_limited_voip_65.json": {
			65, func(r *Report) []any { return []any{r.Phone.VOIP, r.Phone.Prepaid, r.Phone.UserActivity, r.Message} },
			[]any{True, Unknown, Text(""), Text("Phone is valid.")},
		},
		"plan_limited_wireless_dnc_0.json": {
			0, func(r *Report) []any {
				return []any{r.Phone.MNC, r.Phone.ZipCode, r.Phone.DoNotCall, r.Phone.SMSDomain}
			},
			[]any{Text("004"), Text("02128"), True, Text("vtext.com")},
		},
		"toll_free_abusive_100_openapi.json": {
			100, func(r *Report) []any {
				return []any{r.Phone.LineType, r.Phone.Prepaid, r.Phone.DialingCode, r.Phone.ActiveStatus}
			},
			[]any{Text("Toll Free"), Unknown, NumberOf(1), Text("")},
		},
		"valid_clean_0_xsoar.json": {
			0, func(r *Report) []any {
				return []any{r.Phone.TCPABlacklist, r.Phone.NumberRecycling, r.Phone.UserActivity}
			},
			[]any{False, NumberRecycling{}, Text("none")},
		},
	}, checkSample(KindPhone))
}

func TestSamples_URL(t *testing.T) {
	t.Parallel()
	every(t, "url", map[string]expectation{
		"clean_0_rapid7.json": {
			0, func(r *Report) []any {
				return []any{r.URL.Server, r.URL.FinalURL, r.URL.ARecords, r.URL.RiskyTLD, r.URL.DomainRank}
			},
			[]any{Text(""), Text(""), List(nil), Unknown, NumberOf(3624)},
		},
		"derived_phishing_100.json": {
			100, func(r *Report) []any { return []any{r.URL.Phishing, r.URL.Domain, r.URL.ScannedURL, r.URL.DomainTrust} },
			[]any{True, Text("login.example.net"), Text("https://example.com"), Text("malicious")},
		},
		"derived_unreachable_plan_limited.json": {
			0, func(r *Report) []any {
				return []any{r.URL.IPAddress, r.URL.StatusCode, r.URL.DomainTrust, r.URL.PageTitle, r.URL.DomainAge, r.URL.DNSValid}
			},
			[]any{Text(""), NumberOf(0), Text(""), Text(""), Age{}, False},
		},
		"legacy_crlf_server_xsoar.json": {
			0, func(r *Report) []any { return []any{r.URL.Server, r.URL.Adult, r.URL.DomainAge} },
			[]any{Text("gws"), Unknown, Age{}},
		},
		"suspicious_78_openapi.json": {
			78, func(r *Report) []any {
				return []any{r.URL.Suspicious, r.URL.MXRecords, len(r.URL.ARecords), r.URL.DomainAge.Timestamp}
			},
			[]any{True, List{}, 8, NumberOf(808372800)},
		},
	}, checkSample(KindURL))
}

// checkFact is checkSample for what has no score.
func checkFact(kind Kind) func(*testing.T, []byte, expectation) {
	return func(t *testing.T, body []byte, want expectation) {
		t.Helper()
		client := newClient(t, Options{HTTPClient: canned(200, "application/json", string(body))})
		q := Query{Kind: kind, Value: "jdoe"}
		if kind.Upload() {
			q.Upload = uploadOf("sample.bin", "content")
		}
		r, err := client.Lookup(t.Context(), q)
		if err != nil {
			t.Fatalf("Lookup() = %v, want no error", err)
		}
		if score, known := r.Score(); known {
			t.Errorf("Score() = %d, want none", score)
		}
		if diff := cmp.Diff(want.want, want.got(r)); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		if wire := roundTrip(t, r); bytes.Contains(wire, []byte("update_url")) || bytes.Contains(wire, []byte("apiKey")) {
			t.Errorf("report = %s, want it without the URL that holds the key", wire)
		}
	}
}

func TestSamples_leaked(t *testing.T) {
	t.Parallel()
	fields := func(r *Report) []any {
		at, _ := r.Leak.FirstSeen.Time()
		return []any{r.Leak.Exposed, r.Leak.PlainTextPassword, len(r.Leak.Sources), at.Year()}
	}
	every(t, "leaked", map[string]expectation{
		"derived_source_as_string.json":                {0, fields, []any{True, Unknown, 1, 2023}},
		"email_exposed_no_plaintext_xsoar_readme.json": {0, fields, []any{True, False, 1, 2020}},
		"email_exposed_plaintext_xsoar.json":           {0, fields, []any{True, True, 15, 2024}},
		"password_exposed_openapi.json":                {0, fields, []any{True, Unknown, 1, 2023}},
		"password_exposed_xsoar.json":                  {0, fields, []any{True, Unknown, 2, 2023}},
		"username_not_exposed_xsoar.json":              {0, fields, []any{False, Unknown, 0, 1}}, // no date: it is the request's
	}, checkFact(KindLeakEmail))
}

func TestSamples_malware(t *testing.T) {
	t.Parallel()
	fields := func(r *Report) []any {
		positive, failed := 0, 0
		for _, e := range r.File.Engines {
			if e.Detected == True {
				positive++
			}
			if e.Error == True {
				failed++
			}
		}
		total, _ := r.File.TotalScans.Int()
		at, _ := r.File.ScanDate.Time()
		return []any{r.File.Cached(), r.File.Pending(), r.File.Detected, total, len(r.File.Engines), positive, failed, at.Format("Jan 2 15:04")}
	}
	every(t, "malware", map[string]expectation{
		"derived_lookup_cached_clean.json":             {0, fields, []any{true, false, False, 7, 7, 0, 0, "Mar 29 23:40"}},
		"derived_lookup_cached_engine_map.json":        {0, fields, []any{true, false, False, 7, 7, 0, 0, "Mar 29 23:40"}},
		"derived_postback_done_detected.json":          {0, fields, []any{false, false, True, 7, 7, 2, 1, "Mar 29 23:40"}},
		"lookup_cached_xsoar_mock.json":                {0, fields, []any{true, false, Unknown, 0, 0, 0, 0, "Jan 1 00:00"}},
		"lookup_miss_openapi.json":                     {0, fields, []any{false, true, False, 0, 0, 0, 0, "Jan 1 00:00"}},
		"lookup_not_found_mock.json":                   {0, fields, []any{false, false, Unknown, 0, 0, 0, 0, "Jan 1 00:00"}},
		"postback_completed_empty_mock.json":           {0, fields, []any{false, false, Unknown, 0, 0, 0, 0, "Jan 1 00:00"}},
		"postback_done_clean_strings_xsoar.json":       {0, fields, []any{false, false, False, 7, 7, 0, 0, "Mar 29 23:40"}},
		"postback_finished_empty_result_intelowl.json": {0, fields, []any{false, false, False, 0, 0, 0, 0, "Jan 1 00:00"}},
		"scan_ack_no_status_intelowl.json":             {0, fields, []any{false, true, Unknown, 0, 0, 0, 0, "Jan 1 00:00"}},
		"scan_pending_intelowl.json":                   {0, fields, []any{false, true, False, 0, 0, 0, 0, "Jan 1 00:00"}},
		"scan_pending_minimal_mock.json":               {0, fields, []any{false, true, Unknown, 0, 0, 0, 0, "Jan 1 00:00"}},
	}, checkFact(KindFileLookup))
}

func TestSamples_errors(t *testing.T) {
	t.Parallel()
	every(t, "errors", map[string]Class{
		"derived_success_as_string.json":      ClassKey,
		"empty_message.json":                  ClassUnknown, // of a value that is not empty
		"insufficient_credits.json":           ClassCredits,
		"invalid_ip_legacy.json":              ClassItem,
		"invalid_ip_or_hostname.json":         ClassItem,
		"invalid_key.json":                    ClassKey,
		"quota_200_per_day.json":              ClassQuota,
		"quota_200_per_day_error_prefix.json": ClassQuota,
		"quota_20_per_day.json":               ClassQuota,
		"stats_no_records.json":               ClassItem,
	}, func(t *testing.T, body []byte, want Class) {
		t.Helper()
		e, object := decodeEnvelope(body)
		if !object || e.Success != False {
			t.Fatalf("decodeEnvelope() = %+v, %t, want a refusal", e, object)
		}
		client, err := NewClient(Options{Key: "0123456789abcdef", HTTPClient: canned(200, "application/json", string(body))})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"})
		if apiErr, ok := err.(*APIError); !ok || apiErr.Class != want { //nolint:errorlint // not wrapped
			t.Errorf("Lookup() = %v, want an error of class %s", err, want)
		}
	})
}
