package ipqstest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

func upload(name, content string) *ipqs.Upload {
	return &ipqs.Upload{Name: name, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func TestFake_scan(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{Key: key, ScanPolls: 2})
	c := client(t, f)
	ask := func(q ipqs.Query) *ipqs.File {
		t.Helper()
		r, err := c.Lookup(t.Context(), q)
		if err != nil {
			t.Fatalf("Lookup(%v) = %v, want no error", q, err)
		}
		if q.Kind != ipqs.KindFileResult && r.RequestID == "" {
			t.Errorf("Lookup(%v) has no request id", q)
		}
		return r.File
	}
	bad := upload("bad.bin", "an EICAR sample")
	if got := ask(ipqs.Query{Kind: ipqs.KindFileLookup, Upload: bad}); got.Cached() || got.Detected != ipqs.False || got.TotalScans != ipqs.NumberOf(0) {
		t.Errorf("first lookup = %+v, want a miss, which looks like a clean file", got)
	}
	r, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindFileScan, Upload: bad})
	if err != nil || !r.File.Pending() {
		t.Fatalf("scan = %+v, %v, want it pending", r, err)
	}
	result := ipqs.Query{Kind: ipqs.KindFileResult, Value: string(r.RequestID)}
	for i, pending := range []bool{true, true, false, false} {
		if got := ask(result); got.Pending() != pending {
			t.Errorf("result %d = %+v, want pending %t", i, got, pending)
		}
	}
	got := ask(ipqs.Query{Kind: ipqs.KindFileLookup, Upload: bad})
	if !got.Cached() || got.Detected != ipqs.True || len(got.Engines) != 3 || got.DetectedScans != ipqs.NumberOf(2) {
		t.Errorf("last lookup = %+v, want what the scan found", got)
	}
	if _, err := c.Lookup(t.Context(), ipqs.Query{Kind: ipqs.KindFileResult, Value: "nowhere"}); !errors.Is(err, ipqs.ErrItem) {
		t.Errorf("result of no scan = %v, want %v", err, ipqs.ErrItem)
	}
}

func TestFake_leaks(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{Key: key})
	for _, kind := range []ipqs.Kind{ipqs.KindLeakEmail, ipqs.KindLeakUsername, ipqs.KindLeakPassword} {
		exposed := lookup(t, f, kind, "exposed-one").Leak
		if _, known := exposed.FirstSeen.Time(); exposed.Exposed != ipqs.True || len(exposed.Sources) == 0 || !known {
			t.Errorf("%s = %+v, want it exposed, with sources and a date", kind, exposed)
		}
		if says := exposed.PlainTextPassword != ipqs.Unknown; says != (kind == ipqs.KindLeakEmail) {
			t.Errorf("%s says %v of a plain password, want a word of e-mail addresses only", kind, exposed.PlainTextPassword)
		}
		if safe := lookup(t, f, kind, "safe-one").Leak; safe.Exposed != ipqs.False || len(safe.Sources) != 0 {
			t.Errorf("%s = %+v, want it in no leak", kind, safe)
		}
	}
}

// Who puts a secret or a file into a URL gets no answer here.
func TestFake_secretsAndFilesArePosted(t *testing.T) {
	t.Parallel()
	f := ipqstest.New(ipqstest.Options{})
	for _, path := range []string{"leaked/password?password=hunter2", "leaked/email/key/jdoe@example.com", "malware/scan?url=x"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ipqstest.BaseURL+"/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET %s = %d, want it refused", path, resp.StatusCode)
		}
	}
}
