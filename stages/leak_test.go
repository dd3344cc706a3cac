package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// password is one that would break quoting, and is found wherever it leaks.
const password = `P@ss'w\ord-4711`

type fakeCredentials func(id, draftID string) (opencti.Credential, error)

func (f fakeCredentials) Credential(_ context.Context, id, draftID string) (opencti.Credential, error) {
	return f(id, draftID)
}

func accountJob(login string) Job {
	return Job{
		ID: "work_1", Request: &opencti.Request{WorkID: "work_1", DraftID: "draft-1"},
		Entity: &opencti.Entity{
			ID: "a573f277", StandardID: "user-account--1", Type: typeAccount, Value: login, Account: &opencti.Account{Login: login},
		},
	}
}

func TestLookupOfAnAccount(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		credential opencti.Credential
		want       ipqs.Query
	}{
		{"a password, and nothing else", opencti.NewCredential("jdoe@example.com", password), ipqs.Query{Kind: ipqs.KindLeakPassword, Value: password}},
		{"a login that is an e-mail address", opencti.NewCredential("jdoe@example.com", ""), ipqs.Query{Kind: ipqs.KindLeakEmail, Value: "jdoe@example.com"}},
		{"an international domain", opencti.NewCredential("jdoe@example.xn--p1ai", ""), ipqs.Query{Kind: ipqs.KindLeakEmail, Value: "jdoe@example.xn--p1ai"}},
		{"a user name", opencti.NewCredential("jdoe", ""), ipqs.Query{Kind: ipqs.KindLeakUsername, Value: "jdoe"}},
		{"a user name with two @", opencti.NewCredential("a@b@example.com", ""), ipqs.Query{Kind: ipqs.KindLeakUsername, Value: "a@b@example.com"}},
		{"a user name at a host", opencti.NewCredential("root@localhost", ""), ipqs.Query{Kind: ipqs.KindLeakUsername, Value: "root@localhost"}},
		{"spaces as they are", opencti.NewCredential(" j doe ", ""), ipqs.Query{Kind: ipqs.KindLeakUsername, Value: " j doe "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answered := &ipqs.Report{Kind: tt.want.Kind, Leak: &ipqs.Leak{Exposed: ipqs.True}}
			stage := Lookup(fakeRisks(func(q ipqs.Query) (*ipqs.Report, error) {
				if q != tt.want {
					t.Errorf("asked %#v, want %#v", q, tt.want)
				}
				return answered, nil
			}), func() time.Time { return at }, Sources{Credentials: fakeCredentials(func(id, draftID string) (opencti.Credential, error) {
				if id != "a573f277" || draftID != "draft-1" {
					t.Errorf("read the credential of %q in %q, want a573f277 in draft-1", id, draftID)
				}
				return tt.credential, nil
			})})
			job, err := stage.Run(t.Context(), accountJob("jdoe"))
			if err != nil {
				t.Fatalf("Run() = %v, want no error", err)
			}
			if job.Risk.Report != answered || !job.Risk.At.Equal(at) {
				t.Errorf("risk = %+v, want the answer, at %v", job.Risk, at)
			}
		})
	}
}

func TestLookupOfAnAccountWithNothingToAsk(t *testing.T) {
	t.Parallel()
	stage := Lookup(fakeRisks(func(ipqs.Query) (*ipqs.Report, error) {
		t.Error("IPQS was asked")
		return nil, ipqs.ErrItem
	}), time.Now, Sources{Credentials: fakeCredentials(func(string, string) (opencti.Credential, error) { return opencti.Credential{}, nil })})
	_, err := stage.Run(t.Context(), accountJob(""))
	if f := AsFault(err); f == nil || f.Class != Skip || f.Reason != ReasonEmpty {
		t.Errorf("Run() = %v, want it skipped as empty", err)
	}
}

// Whatever IPQS answers, the password is in nothing that leaves the stage: not in the job, which is a message in a broker,
// and not in an error, which goes to logs, spans, headers and works.
func TestThePasswordOfAnAccountStaysInTheLookup(t *testing.T) {
	t.Parallel()
	echoes := []ipqstest.Response{
		{},
		ipqstest.Refusal("Invalid password " + password + ". Please try again."),
		{Status: 500, Body: "no such password: " + password},
		{Status: 302, Header: map[string]string{"Location": "https://elsewhere.example/?password=P%40ss%27w%5Cord-4711"}},
		{Abort: true},
		{Fields: map[string]any{"message": "Looked up " + password, "success": "true"}},
		{Fields: map[string]any{"message": "Looked up " + password, "success": false}},
	}
	for i, echo := range echoes {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			fake := ipqstest.New(ipqstest.Options{})
			fake.Script(ipqs.KindLeakPassword, password, echo)
			client, err := ipqs.NewClient(ipqs.Options{Key: "the-key", BaseURL: ipqstest.BaseURL, HTTPClient: fake.Client()})
			if err != nil {
				t.Fatal(err)
			}
			stage := Lookup(client, time.Now, Sources{Credentials: fakeCredentials(func(string, string) (opencti.Credential, error) {
				return opencti.NewCredential("jdoe", password), nil
			})})
			job, failed := stage.Run(t.Context(), accountJob("jdoe"))
			wire, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			texts := []string{string(wire), fmt.Sprintf("%v %+v %#v", job, job, failed)}
			if f := AsFault(failed); f != nil {
				texts = append(texts, f.Error(), f.sentence(job))
			}
			for _, request := range fake.Log() {
				texts = append(texts, request.Path, request.RawQuery)
				if request.Method != http.MethodPost {
					t.Errorf("method = %s, want POST", request.Method)
				}
			}
			if len(fake.Log()) != 1 {
				t.Errorf("IPQS had %d requests, want 1", len(fake.Log()))
			}
			for _, text := range texts {
				if strings.Contains(strings.ToLower(text), "4711") {
					t.Errorf("the password is in %s", text)
				}
			}
		})
	}
}

// The login of an account that OpenCTI does not show is no secret of the error's either.
func TestLookupOfAnAccountThatCannotBeRead(t *testing.T) {
	t.Parallel()
	stage := Lookup(fakeRisks(func(ipqs.Query) (*ipqs.Report, error) { return nil, ipqs.ErrItem }), time.Now,
		Sources{Credentials: fakeCredentials(func(string, string) (opencti.Credential, error) {
			return opencti.Credential{}, fmt.Errorf("reading: %w", opencti.ErrNotFound)
		})})
	_, err := stage.Run(t.Context(), accountJob("jdoe-4711"))
	if f := AsFault(err); f.Class != Skip || f.Reason != ReasonDeleted || strings.Contains(f.Error(), "4711") {
		t.Errorf("Run() = %v, want it skipped as deleted, without the login", err)
	}
}
