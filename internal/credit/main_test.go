package credit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"opencti-ipqs-worker/ipqs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "test-key-0123456789"

// fake is an IPQS that counts what it is asked, and answers as it is told.
type fake struct {
	answer func(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) // nil answers well

	mu     sync.Mutex
	asked  []ipqs.Query
	atOnce int
	most   int // at once
}

func (f *fake) Lookup(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
	f.mu.Lock()
	f.asked = append(f.asked, q)
	f.atOnce++
	f.most = max(f.most, f.atOnce)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.atOnce--
		f.mu.Unlock()
	}()
	if f.answer == nil {
		return report(q), nil
	}
	return f.answer(ctx, q)
}

func (f *fake) times() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func report(q ipqs.Query) *ipqs.Report {
	return &ipqs.Report{Kind: q.Kind, RequestID: "r", IP: &ipqs.IP{FraudScore: ipqs.NumberOf(7)}}
}

// after answers when so much time has passed.
func after(d time.Duration) func(context.Context, ipqs.Query) (*ipqs.Report, error) {
	return func(ctx context.Context, q ipqs.Query) (*ipqs.Report, error) {
		select {
		case <-time.After(d):
			return report(q), nil
		case <-ctx.Done():
			return nil, &ipqs.APIError{Class: ipqs.ClassUnavailable, Kind: q.Kind}
		}
	}
}

func fails(class ipqs.Class, status int) func(context.Context, ipqs.Query) (*ipqs.Report, error) {
	return func(_ context.Context, q ipqs.Query) (*ipqs.Report, error) {
		return nil, &ipqs.APIError{Class: class, Kind: q.Kind, Status: status, Message: "Invalid IP."}
	}
}

func ip(value string) ipqs.Query { return ipqs.Query{Kind: ipqs.KindIP, Value: value} }

// keeper is one with defaults for what a test does not care about.
func keeper(t *testing.T, next ipqs.Lookuper, o Options) *Keeper {
	t.Helper()
	o.Key = key
	if o.Store == nil {
		o.Store = NewMemory(1000)
	}
	if o.Life == nil {
		o.Life = map[ipqs.Kind]time.Duration{ipqs.KindIP: time.Hour, ipqs.KindLeakPassword: time.Hour}
	}
	if o.Concurrency == 0 {
		o.Concurrency = 16
	}
	k := New(next, o)
	t.Cleanup(k.Close)
	return k
}

// must asks, and wants an answer.
func must(t *testing.T, k ipqs.Lookuper, q ipqs.Query) *ipqs.Report {
	t.Helper()
	r, err := k.Lookup(t.Context(), q)
	if err != nil || r == nil {
		t.Fatalf("Lookup(%s) = %v, %v, want a report", q.Value, r, err)
	}
	return r
}

// refused asks, and wants that error.
func refused(t *testing.T, k ipqs.Lookuper, q ipqs.Query, want error) *ipqs.APIError {
	t.Helper()
	_, err := k.Lookup(t.Context(), q)
	api, _ := errors.AsType[*ipqs.APIError](err)
	if !errors.Is(err, want) || api == nil {
		t.Fatalf("Lookup(%s) = %v, want an APIError that is %v", q.Value, err, want)
	}
	return api
}
