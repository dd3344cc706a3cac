package ipqs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// decode reads an answer as Client does, where it is a report.
func decode(kind Kind, body []byte) (*Report, error) {
	e, object := decodeEnvelope(body)
	if !object || e.Success != True {
		return nil, ErrUnknown
	}
	return decodeReport(kind, e, body)
}

func TestReport_Score(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		kind  Kind
		json  string // members beside success
		want  int
		known bool
		err   string
	}{
		{name: "whole", kind: KindIP, json: `"fraud_score":85`, want: 85, known: true},
		{name: "zero", kind: KindIP, json: `"fraud_score":0`, want: 0, known: true},
		{name: "hundred", kind: KindIP, json: `"fraud_score":100.0`, want: 100, known: true},
		{name: "fraction belongs to the number below", kind: KindEmail, json: `"fraud_score":75.99`, want: 75, known: true},
		{name: "text", kind: KindPhone, json: `"fraud_score":"85"`, want: 85, known: true},
		{name: "absent", kind: KindIP, json: `"message":"Success"`},
		{name: "null", kind: KindEmail, json: `"fraud_score":null`},
		{name: "not applicable", kind: KindIP, json: `"fraud_score":"N/A"`},
		{name: "not in the plan", kind: KindIP, json: `"fraud_score":"Premium required."`},
		{name: "of a URL", kind: KindURL, json: `"risk_score":78,"fraud_score":3`, want: 78, known: true},
		{name: "URL without its own", kind: KindURL, json: `"fraud_score":78`},
		{name: "not of a URL", kind: KindIP, json: `"risk_score":78`},
		{name: "above", kind: KindPhone, json: `"fraud_score":101`, err: "fraud_score: found 101, want"},
		{name: "just above", kind: KindURL, json: `"risk_score":"100.5"`, err: "risk_score: found 100.5, want"},
		{name: "below", kind: KindIP, json: `"fraud_score":-1`, err: "fraud_score: found -1, want"},
		{name: "word", kind: KindIP, json: `"fraud_score":"high"`, err: "fraud_score: found something else"},
		{name: "truth", kind: KindIP, json: `"fraud_score":true`, err: "fraud_score: found something else"},
		{name: "list", kind: KindIP, json: `"fraud_score":[85]`, err: "fraud_score: found something else"},
		{name: "other spelling", kind: KindIP, json: `"FRAUD_SCORE":101`, err: "fraud_score: found 101"},
		{name: "twice", kind: KindIP, json: `"fraud_score":5,"fraud_score":101`, err: "fraud_score: found 101"},
		{name: "unknown kind", kind: "fax", json: `"fraud_score":5`, err: `kind: found "fax"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := decode(tt.kind, []byte(`{"success":true,`+tt.json+`}`))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("decode() = %v, %v, want an error with %q", r, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("decode() = %v, want no error", err)
			}
			if got, known := r.Score(); got != tt.want || known != tt.known {
				t.Errorf("Score() = %d, %t, want %d, %t", got, known, tt.want, tt.known)
			}
		})
	}
	for _, r := range []*Report{nil, {}} {
		if score, known := r.Score(); known {
			t.Errorf("Score() of %v = %d, want none", r, score)
		}
	}
}

func TestReport_JSON(t *testing.T) {
	t.Parallel()
	report := Report{
		Kind: KindURL, RequestID: "abc123", Message: "Success.",
		URL: &URL{
			RiskScore: NumberOf(0), Phishing: False, Malware: True, DomainAge: Age{Timestamp: NumberOf(5)},
			PageTitle: "<a href=\"x\">", Technologies: List{}, MXRecords: List{"mx.example.com"},
		},
	}
	want := `{"kind":"url","request_id":"abc123","message":"Success.","url":{"risk_score":0,"phishing":false,` +
		`"malware":true,"page_title":"\u003ca href=\"x\"\u003e","domain_age":{"timestamp":5},"technologies":[],` +
		`"mx_records":["mx.example.com"]}}`
	got, err := json.Marshal(report)
	if err != nil || string(got) != want {
		t.Fatalf("Marshal() = %s, %v, want %s", got, err, want)
	}
	var back Report
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatalf("Unmarshal() = %v, want no error", err)
	}
	if diff := cmp.Diff(report, back); diff != "" {
		t.Errorf("after a round trip (-want +got):\n%s", diff)
	}
}

// What is unknown is written as null where it is not left out.
func TestUnknown_MarshalJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal([]any{Unknown, Number{}, List(nil), Bool(7)})
	if want := `[null,null,null,null]`; err != nil || string(got) != want {
		t.Errorf("Marshal() = %s, %v, want %s", got, err, want)
	}
}

func TestReport_withoutPersonalData(t *testing.T) {
	t.Parallel()
	const secret = "SPECIMEN"
	body := `{"success":true,"fraud_score":5,"name":"JANE SPECIMEN","first_name":"SPECIMEN","sms_email":"SPECIMEN@x.example",
		"identity_data":[{"names":[{"last_name":"SPECIMEN"}]}],"associated_names":{"status":"found","names":["SPECIMEN"]},
		"associated_phone_numbers":{"phone_numbers":["SPECIMEN"]},"associated_email_addresses":{"emails":["SPECIMEN"]}}`
	for _, kind := range []Kind{KindIP, KindEmail, KindPhone, KindURL} {
		r, err := decode(kind, []byte(body))
		if err != nil {
			t.Fatalf("decode(%s) = %v, want no error", kind, err)
		}
		got, err := json.Marshal(r)
		if err != nil || strings.Contains(string(got), secret) {
			t.Errorf("report of %s = %s, %v, want none with %q", kind, got, err, secret)
		}
	}
}
