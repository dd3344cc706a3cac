package stages

import (
	"context"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/egress"
	"opencti-ipqs-worker/internal/egress/egresstest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

func testGuard(t *testing.T, form egress.URLForm) egress.Guard {
	t.Helper()
	exclusions, err := egress.ParseExclusions(egresstest.Exclude())
	if err != nil {
		t.Fatal(err)
	}
	return egress.New(exclusions, form)
}

// Whatever brought a message to the lookup, a value that must not be sent ends there.
func TestLookup_RefusesInternalValues(t *testing.T) {
	t.Parallel()
	stage := Lookup(fakeRisks(func(q ipqs.Query) (*ipqs.Report, error) {
		t.Errorf("IPQS was asked %s", q)
		return &ipqs.Report{Kind: q.Kind}, nil
	}), time.Now, Sources{Guard: testGuard(t, egress.FullURL)})
	for _, v := range egresstest.Refused() {
		entity := opencti.Entity{Type: v.Type, Value: v.Value}
		_, err := stage.Run(context.Background(), Job{Entity: &entity})
		want := Fault{Class: Skip, Reason: Reason(v.Cause)}
		if kinds[v.Type] == "" {
			want = Fault{Class: Permanent, Reason: ReasonUnsupported}
		}
		if f := AsFault(err); f == nil || f.Class != want.Class || f.Reason != want.Reason {
			t.Errorf("Run(%s %q) = %+v, want class %s, reason %s", v.Type, v.Value, f, want.Class, want.Reason)
		}
	}
}

// The job states what was sent where that is not the value.
func TestLookup_StatesWhatWasSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, typeName, value string
		form                  egress.URLForm
		asked, sent           string
	}{
		{"the value", "Url", "https://example.com/a?b#c", egress.FullURL, "https://example.com/a?b#c", ""},
		{"without credentials", "Url", "https://user:secret@example.com/", egress.FullURL, "https://example.com/", "https://example.com/"},
		{"without query", "Url", "https://example.com/a?b#c", egress.WithoutQuery, "https://example.com/a", "https://example.com/a"},
		{"host", "Url", "https://example.com/a?b#c", egress.HostOnly, "example.com", "example.com"},
		{"domain", "Domain-Name", "example.com", egress.HostOnly, "example.com", ""},
		{"network of one address", "IPv4-Addr", "198.51.100.7/32", egress.FullURL, "198.51.100.7", "198.51.100.7"},
		{"phone number", "Phone-Number", "+1 800 555 0100", egress.HostOnly, "+1 800 555 0100", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stage := Lookup(fakeRisks(func(q ipqs.Query) (*ipqs.Report, error) {
				if q.Value != tt.asked {
					t.Errorf("IPQS was asked about %q, want %q", q.Value, tt.asked)
				}
				return &ipqs.Report{Kind: q.Kind}, nil
			}), time.Now, Sources{Guard: testGuard(t, tt.form)})
			job, err := stage.Run(context.Background(), Job{Entity: &opencti.Entity{Type: tt.typeName, Value: tt.value}})
			if err != nil || job.Risk.Sent != tt.sent {
				t.Errorf("Run() = %+v, %v, want Sent %q", job.Risk, err, tt.sent)
			}
		})
	}
}

// An account has no value that is sent, so nothing is stated about it.
func TestLookup_StatesNothingSentOfAccounts(t *testing.T) {
	t.Parallel()
	stage := Lookup(fakeRisks(func(q ipqs.Query) (*ipqs.Report, error) { return &ipqs.Report{Kind: q.Kind}, nil }), time.Now,
		Sources{Credentials: fakeCredentials(func(string, string) (opencti.Credential, error) {
			return opencti.NewCredential("root@host.local", ""), nil
		})})
	job, err := stage.Run(context.Background(), Job{Request: &opencti.Request{}, Entity: &opencti.Entity{Type: typeAccount, Value: "root"}})
	if err != nil || job.Risk.Sent != "" {
		t.Errorf("Run() = %+v, %v, want nothing stated", job.Risk, err)
	}
}

// Every type whose value names a host passes the guard: its zero value refuses an internal one.
func TestGuard_CoversEveryTypeWithAnEndpoint(t *testing.T) {
	t.Parallel()
	for typeName := range kinds {
		value := map[string]string{"Email-Addr": "joe@localhost"}[typeName]
		if value == "" {
			value = "localhost"
		}
		_, err := sendable(egress.Guard{}, &opencti.Entity{Type: typeName, Value: value})
		if refused := err != nil; refused != (typeName != "Phone-Number") {
			t.Errorf("%s: %v, want it refused unless it names no host", typeName, err)
		}
	}
}
