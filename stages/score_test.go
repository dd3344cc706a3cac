package stages

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/ipqs"
)

func TestScore(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		report *ipqs.Report
		want   *Verdict
	}{
		{
			"address", report(ipqs.KindIP, `{"fraud_score":78,"proxy":true,"tor":true,"vpn":null,"recent_abuse":false}`),
			&Verdict{
				Score: new(78), Level: Critical, Rule: "score 76 to 100",
				Labels: []Label{{`IPQS:RISK="CRITICAL"`, "#D10028"}, {`IPQS:FLAG="tor"`, "#546E7A"}, {`IPQS:FLAG="proxy"`, "#546E7A"}}, Factors: []string{"TOR", "proxy"},
			},
		},
		{
			"e-mail", report(ipqs.KindEmail, `{"fraud_score":"51","disposable":"true","valid":false}`),
			&Verdict{
				Score: new(51), Level: High, Rule: "score 51 to 75",
				Labels:  []Label{{`IPQS:RISK="HIGH"`, "#F57C00"}, {`IPQS:FLAG="disposable"`, "#546E7A"}, {`IPQS:FLAG="invalid"`, "#546E7A"}},
				Factors: []string{"disposable address", "invalid address"},
			},
		},
		{
			"phone", report(ipqs.KindPhone, `{"fraud_score":26,"active":null,"VOIP":true}`),
			&Verdict{
				Score: new(26), Level: Medium, Rule: "score 26 to 50",
				Labels: []Label{{`IPQS:RISK="MEDIUM"`, "#FFCF00"}, {`IPQS:FLAG="voip"`, "#546E7A"}}, Factors: []string{"VoIP line"},
			},
		},
		{
			"URL scores in risk_score", report(ipqs.KindURL, `{"risk_score":100,"fraud_score":0,"phishing":true,"malware":true}`),
			&Verdict{
				Score: new(100), Level: Critical, Rule: "score 76 to 100",
				Labels:  []Label{{`IPQS:RISK="CRITICAL"`, "#D10028"}, {`IPQS:FLAG="malware"`, "#546E7A"}, {`IPQS:FLAG="phishing"`, "#546E7A"}},
				Factors: []string{"malware", "phishing"},
			},
		},
		{
			"a fraction belongs to the band below", report(ipqs.KindIP, `{"fraud_score":25.9}`),
			&Verdict{Score: new(25), Level: Low, Rule: "score 0 to 25", Labels: []Label{{`IPQS:RISK="LOW"`, "#2E7D32"}}},
		},
		{"no score is no verdict", report(ipqs.KindIP, `{"proxy":true}`), &Verdict{Factors: []string{"proxy"}}},
		{"null is no zero", report(ipqs.KindURL, `{"risk_score":null}`), &Verdict{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job, err := Score(Scoring{FlagLabels: true}).Run(context.Background(), Job{Risk: &Risk{At: at, Report: tt.report}})
			if err != nil {
				t.Fatalf("Run() error = %v", err)
			}
			if diff := cmp.Diff(tt.want, job.Verdict); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	zoned := at.In(time.FixedZone("", 3600)).Add(999 * time.Microsecond)
	tests := []struct {
		typeName string
		want     ipqs.Kind
	}{
		{"IPv4-Addr", ipqs.KindIP},
		{"IPv6-Addr", ipqs.KindIP},
		{"Email-Addr", ipqs.KindEmail},
		{"Phone-Number", ipqs.KindPhone},
		{"Url", ipqs.KindURL},
		{"Domain-Name", ipqs.KindURL},
	}
	for _, tt := range tests {
		t.Run(tt.typeName, func(t *testing.T) {
			t.Parallel()
			entity := ipv4()
			entity.Type, entity.Value = tt.typeName, ` as 'given.example\ `
			answered := &ipqs.Report{Kind: tt.want}
			stage := Lookup(fakeRisks(func(q ipqs.Query) (*ipqs.Report, error) {
				if want := (ipqs.Query{Kind: tt.want, Value: ` as 'given.example\ `}); q != want {
					t.Errorf("asked %+v, want %+v", q, want)
				}
				return answered, nil
			}), func() time.Time { return zoned }, Sources{})
			job, err := stage.Run(context.Background(), Job{Entity: &entity})
			if err != nil {
				t.Fatalf("Run() error = %v", err)
			}
			if job.Risk.Report != answered || job.Risk.At != at {
				t.Errorf("risk = %+v, want the answer, at %v", job.Risk, at)
			}
		})
	}
}

func TestLookupOfATypeWithoutEndpoint(t *testing.T) {
	t.Parallel()
	entity := ipv4()
	entity.Type = "Mutex"
	stage := Lookup(fakeRisks(func(ipqs.Query) (*ipqs.Report, error) { return nil, errors.New("asked") }), time.Now, Sources{})
	_, err := stage.Run(context.Background(), Job{Entity: &entity})
	if f := AsFault(err); f == nil || f.Class != Permanent || f.Reason != ReasonUnsupported {
		t.Errorf("Run() error = %+v, want a permanent fault, unsupported", f)
	}
}
