package ipqs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// Bodies that a fuzzer starts from: the oddities of all endpoints.
var oddities = []string{
	`{}`, `null`, `[]`, `"x"`, `{"success":true}`, `{"success":"True","fraud_score":"12","risk_score":"12"}`,
	`{"success":1,"message":"Success","fraud_score":99.5,"ASN":"AS64500","host":" a\r\n","abuse_events":["x",{"name":"y"}],"latitude":"N/A","longitude":45,"vpn":null,"tor":"True"}`,
	`{"success":true,"message":"Success.","fraud_score":0,"valid":false,"timed_out":true,"domain_age":{"human":null,"timestamp":null,"iso":null},"first_seen":[],"domain_trust":"Upgraded plan required.","mx_records":[""],"a_records":"192.0.2.1","smtp_score":-1}`,
	`{"success":true,"fraud_score":null,"valid":true,"active":null,"VOIP":0,"mnc":"004","mcc":310,"zip_code":"02128","number_recycling":{"message":"off","ported":null,"recently_recycled":1},"dialing_code":null}`,
	`{"success":true,"risk_score":100,"phishing":"true","ip_address":"n/a","server":"\u0000x\u2028","page_title":"<b>\"\\","technologies":{"name":"PHP"},"domain_age":{"timestamp":1e300,"iso":7},"final_url":"https://example.com/?a=b&c"}`,
	`{"success":true,"fraud_score":-0,"risk_score":1e-400,"ISP":"Enterprise L4+ required.","errors":["a",""]}`,
	`{"success":true,"fraud_score":1,"fraud_score":500,"Fraud_Score":null}`,
	`{"success":true,"exposed":"True","source":"One","first_seen":{"timestamp":1,"iso":"x"},"plain_text_password":null}`,
	`{"success":true,"found":1,"source":[""],"first_seen":[]}`,
	`{"success":true,"status":"done","result":{"B":{"detected":"1"},"A":"","":{}},"detected_scans":"x","file_size":"61049"}`,
	`{"success":true,"status":null,"result":[""],"scan_date":{"date":"2026-03-29 02:30:00.000000","timezone":"Europe/Berlin"}}`,
	`{"success":true,"result":[{"name":"a","detected":true,"error":null},7,[]],"scan_date":"9999-12-31T23:59:59-14:00"}`,
}

func fuzzKind(f *testing.F, kind Kind) {
	f.Helper()
	for _, body := range oddities {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decode(kind, body)
		if err != nil {
			return
		}
		if score, known := r.score().Float64(); known && (score < 0 || score > 100) {
			t.Errorf("score of %q = %v, want 0 to 100 or none", body, score)
		}
		wire := roundTrip(t, r)
		var values any
		if err := json.Unmarshal(wire, &values); err != nil {
			t.Fatalf("Unmarshal(%s) = %v, want no error", wire, err)
		}
		checkTexts(t, values)
	})
}

// roundTrip checks that a report comes back as it went, and returns its JSON.
func roundTrip(t *testing.T, r *Report) []byte {
	t.Helper()
	wire, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("Marshal(%+v) = %v, want no error", r, err)
	}
	back := new(Report)
	if err := json.Unmarshal(wire, back); err != nil {
		t.Fatalf("Unmarshal(%s) = %v, want no error", wire, err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Fatalf("after a round trip as %s (-want +got):\n%s", wire, diff)
	}
	again, err := json.Marshal(back)
	if err != nil || !bytes.Equal(again, wire) {
		t.Fatalf("second Marshal() = %s, %v, want %s", again, err, wire)
	}
	return wire
}

// checkTexts fails on texts that no decoder should let through.
func checkTexts(t *testing.T, value any) {
	t.Helper()
	switch v := value.(type) {
	case string:
		if strings.ContainsFunc(v, unicode.IsControl) || v == "" || strings.EqualFold(v, "N/A") || isPaywall(v) {
			t.Errorf("text = %q, want one that says something on one line", v)
		}
	case []any:
		for _, e := range v {
			checkTexts(t, e)
		}
	case map[string]any:
		for _, e := range v {
			checkTexts(t, e)
		}
	}
}

func FuzzIP(f *testing.F)    { fuzzKind(f, KindIP) }
func FuzzEmail(f *testing.F) { fuzzKind(f, KindEmail) }
func FuzzPhone(f *testing.F) { fuzzKind(f, KindPhone) }
func FuzzURL(f *testing.F)   { fuzzKind(f, KindURL) }

func FuzzLeak(f *testing.F) { fuzzKind(f, KindLeakEmail) }
func FuzzFile(f *testing.F) { fuzzKind(f, KindFileResult) }

// FuzzPersonal decodes what is said of people, which has the deepest nesting.
func FuzzPersonal(f *testing.F) {
	f.Add([]byte(`{"first_name":"Unknown","name":"A B,, C","identity_data":[{"names":[{"first_name":"N/A"}],"age":[]},"",{}]}`))
	f.Add([]byte(`{"associated_names":{"status":"Enterprise Plus or higher required.","names":["Premium required."]},"identity_data":{}}`))
	f.Add([]byte(`{"associated_names":[],"associated_phone_numbers":"","associated_email_addresses":{"emails":"a@example.com"}}`))
	for _, body := range oddities {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range []Kind{KindEmail, KindPhone} {
			p := decodePersonal(kind, body)
			if p == nil {
				continue
			}
			for _, l := range []List{p.Names, p.EmailAddresses, p.PhoneNumbers} {
				if len(l) > maxPersonal {
					t.Errorf("list has %d entries, want at most %d", len(l), maxPersonal)
				}
			}
			if len(p.Identities) > maxPersonal {
				t.Errorf("Identities has %d entries, want at most %d", len(p.Identities), maxPersonal)
			}
			wire := roundTrip(t, &Report{Kind: kind, Personal: p})
			var values any
			if err := json.Unmarshal(wire, &values); err != nil {
				t.Fatalf("Unmarshal(%s) = %v, want no error", wire, err)
			}
			checkTexts(t, values)
		}
	})
}

// FuzzReport reads reports as they arrive from a queue.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"kind":"ip","ip":{"fraud_score":5,"proxy":true,"abuse_events":[]}}`))
	f.Add([]byte(`{"kind":"url","request_id":"N/A","url":{"domain_age":{"iso":"x"}},"ip":null}`))
	for _, body := range oddities {
		f.Add([]byte(`{"kind":"phone","phone":` + body + `,"email":` + body + `}`))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := new(Report)
		if json.Unmarshal(wire, r) != nil {
			return
		}
		roundTrip(t, r)
	})
}
