package ipqstest_test

import (
	"errors"
	"strings"
	"testing"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// left reads what the account has left as the worker does.
func left(t *testing.T, f *ipqstest.Fake) int {
	t.Helper()
	account, err := client(t, f).Account(t.Context())
	if err != nil {
		t.Fatalf("Account() = %v, want no error", err)
	}
	n, known := account.Credits.Int()
	if !known {
		t.Fatalf("Account() = %+v, want a number of credits", account)
	}
	return n
}

func TestAccountCountsCredits(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{Key: key, Credits: 2})
	if got := left(t, f); got != 2 {
		t.Errorf("credits = %d before any lookup, want 2", got)
	}
	lookup(t, f, ipqs.KindIP, "192.0.2.1")
	lookup(t, f, ipqs.KindIP, "192.0.2.1")
	if got := left(t, f); got != 0 || f.Credits() != 0 {
		t.Errorf("credits = %d and %d after two lookups, want none", got, f.Credits())
	}
	if _, err := client(t, f).Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindIP, Value: "192.0.2.1"}); !errors.Is(err, ipqs.ErrCredits) {
		t.Errorf("Lookup() without credits = %v, want %v", err, ipqs.ErrCredits)
	}
	f.SetCredits(7)
	lookup(t, f, ipqs.KindIP, "192.0.2.1")
	if got := left(t, f); got != 6 {
		t.Errorf("credits = %d after topping up to 7 and a lookup, want 6", got)
	}
	for _, r := range f.Log() {
		if strings.Contains(r.Path, key) {
			t.Errorf("the log shows the key: %s", r.Path)
		}
	}
}

func TestAccountOfAnotherKey(t *testing.T) {
	t.Parallel()
	for _, f := range []*ipqstest.Fake{
		ipqstest.New(ipqstest.Options{Key: "another", Credits: 2}),
		func() *ipqstest.Fake { f := ipqstest.New(ipqstest.Options{}); f.SetMode(ipqstest.InvalidKey); return f }(),
	} {
		if _, err := client(t, f).Account(t.Context()); !errors.Is(err, ipqs.ErrKey) {
			t.Errorf("Account() = %v, want %v", err, ipqs.ErrKey)
		}
	}
}
