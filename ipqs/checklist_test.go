package ipqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a client of IPQS must get right, one test for each. Those that are about verdicts, notes and bundles are in package
// stages, those about pace, credits and caches in internal/credit (TestChecklist07 to 09).
//
//	 1 typed decoders that survive odd values, and no advertisement as data   TestChecklist01
//	 2 bodies are bounded, and what is not known in them is dropped            TestChecklist02
//	 3 the key in the header, the value in query or body                       TestChecklist03
//	 4 no redirect is followed, our own User-Agent, gzip                       TestChecklist04
//	 5 a web page is no answer                                                 TestChecklist05
//	 6 the table of refusals                                                   TestChecklist06, TestSamples_errors
//	10 an upload is made anew for each request, and streamed                   TestChecklist10
//	11 the date of a scan has a zone's name for an offset                      TestChecklist11, TestScanDate_UnmarshalJSON
//	12 values go out encoded, and as they are                                  TestChecklist12

// recorded is a server that answers everything with one body and keeps the requests.
type recorded struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   [][]byte
}

func record(t *testing.T, answer string) *recorded {
	t.Helper()
	r := new(recorded)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests, r.bodies = append(r.requests, req), append(r.bodies, body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorded) client(t *testing.T, o Options) *Client {
	t.Helper()
	o.BaseURL, o.HTTPClient = r.URL+"/api/json", r.Client()
	return newClient(t, o)
}

const fine = `{"success":true,"message":"Success","fraud_score":7,"risk_score":7,"exposed":true,"status":"done","request_id":"r1"}`

func TestChecklist01_DecodersSurviveOddValues(t *testing.T) {
	t.Parallel()
	const odd = `{"success":"True","fraud_score":"85","proxy":"true","vpn":null,"tor":0,"ASN":"AS15169","ISP":"N/A",
		"connection_type":"Premium required.","abuse_events":["Enterprise plan required to view abuse events and active proxy networks"],
		"organization":"Disabled for performance. Contact support for further assistance.","latitude":"N/A","host":["x"],"is_crawler":{}}`
	r, err := decode(KindIP, []byte(odd))
	if err != nil {
		t.Fatalf("decode() = %v, want no error", err)
	}
	score, known := r.Score()
	ip := r.IP
	got := fmt.Sprint(score, known, ip.Proxy, ip.VPN, ip.TOR, ip.IsCrawler, ip.ASN, ip.ISP == "", ip.ConnectionType == "", ip.AbuseEvents == nil, ip.Organization == "", ip.Latitude.IsZero(), ip.Host == "")
	if want := "85 true true unknown false unknown 15169 true true true true true true"; got != want {
		t.Errorf("decode() = %s, want %s", got, want)
	}
}

func TestChecklist02_BodiesAreBoundedAndUnknownFieldsDropped(t *testing.T) {
	t.Parallel()
	const secret = "unknown-field-4711"
	client := newClient(t, Options{HTTPClient: canned(200, "application/json", `{"success":true,"fraud_score":1,"new_field":{"a":["`+secret+`"]}}`)})
	r, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"})
	if err != nil {
		t.Fatalf("Lookup() = %v, want no error", err)
	}
	if wire, err := json.Marshal(r); err != nil || bytes.Contains(wire, []byte(secret)) {
		t.Errorf("report = %s, %v, want it without what nobody knows", wire, err)
	}
	for _, tt := range []struct {
		size int
		want error
	}{{maxBody, nil}, {maxBody + 1, ErrMalformed}} {
		body := `{"success":true,"fraud_score":1,"pad":"`
		body += strings.Repeat("x", tt.size-len(body)-2) + `"}`
		client := newClient(t, Options{HTTPClient: canned(200, "application/json", body)})
		if _, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"}); !errors.Is(err, tt.want) {
			t.Errorf("Lookup() with %d bytes = %v, want %v", tt.size, err, tt.want)
		}
	}
}

func TestChecklist03_KeyInTheHeaderAndSecretsInTheBody(t *testing.T) {
	t.Parallel()
	const value = "P@ss'w\\ord 4711+&"
	for _, kind := range Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := record(t, fine)
			q := Query{Kind: kind, Value: value}
			if kind.Upload() {
				q.Value, q.Upload = "", uploadOf("a.bin", "content")
			}
			if _, err := server.client(t, Options{}).Lookup(t.Context(), q); err != nil {
				t.Fatalf("Lookup() = %v, want no error", err)
			}
			req, body := server.requests[0], string(server.bodies[0])
			if req.Header.Get("IPQS-KEY") != testKey || strings.Contains(req.URL.String()+body, "0123/456789") {
				t.Errorf("%s %s with body %q, want the key in its header only", req.Method, req.URL, body)
			}
			if req.URL.Path != "/api/json/"+string(kind) {
				t.Errorf("path = %s, want that of %s", req.URL.Path, kind)
			}
			switch {
			case kind.Secret():
				_, field, _ := strings.Cut(string(kind), "/")
				var got map[string]string
				if err := json.Unmarshal([]byte(body), &got); err != nil || len(got) != 1 || got[field] != value {
					t.Errorf("body = %s, want %s alone in it", body, field)
				}
				if req.Method != http.MethodPost || req.URL.RawQuery != "" || req.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s, want a POST of JSON without a query", req.Method, req.URL)
				}
			case kind.Upload():
				if req.Method != http.MethodPost || req.URL.RawQuery != "" {
					t.Errorf("%s %s, want a POST without a query", req.Method, req.URL)
				}
			default:
				parameter := string(kind)
				if kind == KindFileResult {
					parameter = "request_id"
				}
				if req.Method != http.MethodGet || req.URL.Query().Get(parameter) != value || len(req.URL.Query()) != 1 {
					t.Errorf("%s %s, want a GET with %s alone", req.Method, req.URL, parameter)
				}
			}
		})
	}
}

func TestChecklist04_RedirectsAreRefusedAndTheUserAgentIsOurs(t *testing.T) {
	t.Parallel()
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	t.Cleanup(other.Close)
	var agent, encoding string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent, encoding = r.UserAgent(), r.Header.Get("Accept-Encoding")
		http.Redirect(w, r, other.URL+"/api/json/ip?ip=x", http.StatusMovedPermanently)
	}))
	t.Cleanup(server.Close)
	client := newClient(t, Options{BaseURL: server.URL, UserAgent: "ipqs-worker/9", HTTPClient: server.Client()})
	for _, q := range []Query{{Kind: KindIP, Value: "192.0.2.1"}, {Kind: KindLeakPassword, Value: "hunter2"}} {
		if _, err := client.Lookup(t.Context(), q); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Lookup() = %v, want %v", err, ErrUnavailable)
		}
	}
	if elsewhere != 0 || agent != "ipqs-worker/9" || encoding != "gzip" {
		t.Errorf("%d requests went elsewhere, user agent %q, encoding %q", elsewhere, agent, encoding)
	}
}

func TestChecklist05_AWebPageIsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"text/html; charset=utf-8", "application/json"} {
		for _, status := range []int{200, 403} {
			client := newClient(t, Options{HTTPClient: canned(status, contentType, "<!DOCTYPE html><title>Just a moment…</title>")})
			if _, err := client.Lookup(t.Context(), Query{Kind: KindIP, Value: "192.0.2.1"}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Lookup() of %s with HTTP %d = %v, want %v", contentType, status, err, ErrUnavailable)
			}
		}
	}
}

func TestChecklist06_RefusalsOfLeaksAndFiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind   Kind
		status int
		body   string
		want   error
	}{
		{KindLeakUsername, 401, `{"success":false,"message":"Unauthorized"}`, ErrCapability},
		{KindFileLookup, 401, `not json`, ErrCapability},
		{KindFileScan, 401, `{"success":false,"message":"Invalid or unauthorized key. Please check the API key and try again."}`, ErrKey},
		{KindLeakEmail, 200, `{"success":false,"message":"Your subscription is not valid for this API."}`, ErrCapability},
		{KindIP, 200, `{"success":false,"message":"Your subscription is not valid for this IP API."}`, ErrUnknown},
		{KindLeakEmail, 200, `{"success":false,"message":"You have exceeded your request quota of 35 per day. Please upgrade to increase your request quota."}`, ErrQuota},
		{KindLeakUsername, 200, `{"success":false,"message":"Insufficient credits"}`, ErrCredits},
		{KindFileScan, 200, `{"success":false,"message":"Insufficient Credits"}`, ErrCredits},
		{KindFileScan, 200, `{"success":false,"message":"Could not download the file."}`, ErrItem},
		{KindFileScan, 200, `{"success":false,"message":"Invalid file type."}`, ErrItem},
		{KindFileLookup, 413, `<html>too large</html>`, ErrItem},
		{KindFileLookup, 403, `{"success":false,"message":"nope"}`, ErrThrottled},
		{KindFileLookup, 503, `{"success":false,"message":"nope"}`, ErrUnavailable},
		{KindFileScan, 200, `{"success":false,"message":"not found","status":"not_found"}`, ErrUnknown},
		{KindFileLookup, 200, `{"success":false,"message":"not found","status":"not_found"}`, nil},
		{KindFileLookup, 200, `{"success":false,"message":"File not found."}`, nil},
		{KindFileLookup, 200, `{"success":"False","status":"cached"}`, ErrUnknown},
		{KindFileResult, 200, `{"success":false,"message":"Unable to locate records matching your request."}`, ErrItem},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind)+" "+tt.body, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, Options{HTTPClient: canned(tt.status, "application/json", tt.body)})
			_, err := client.Lookup(t.Context(), Query{Kind: tt.kind, Value: "jdoe", Upload: uploadOf("a.bin", "content")})
			if !errors.Is(err, tt.want) {
				t.Errorf("Lookup() = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestChecklist10_UploadsAreMadeAnewAndStreamed(t *testing.T) {
	t.Parallel()
	const name = `naïve "file" ` + "\r\nX: y" + ` 😀.exe`
	content := strings.Repeat("0123456789", 500_000) // 5 MB: more than any buffer
	server := record(t, fine)
	client := server.client(t, Options{})
	opened, closed := 0, 0
	upload := &Upload{Name: name, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		opened++
		return body{strings.NewReader(content), closer(func() { closed++ })}, nil
	}}
	for _, kind := range []Kind{KindFileLookup, KindFileScan} {
		if _, err := client.Lookup(t.Context(), Query{Kind: kind, Upload: upload}); err != nil {
			t.Fatalf("Lookup() = %v, want no error", err)
		}
	}
	if opened != 2 || closed != 2 {
		t.Errorf("the file was opened %d times and closed %d times, want 2 of each", opened, closed)
	}
	for i, req := range server.requests {
		if req.ContentLength != int64(len(server.bodies[i])) || slices.Contains(req.TransferEncoding, "chunked") {
			t.Errorf("length = %d, encoding %v, want the %d bytes announced", req.ContentLength, req.TransferEncoding, len(server.bodies[i]))
		}
		_, parameters, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		part, err := multipart.NewReader(bytes.NewReader(server.bodies[i]), parameters["boundary"]).NextPart()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(part)
		if err != nil || string(got) != content || part.FormName() != "file" || len(part.Header) != 2 {
			t.Errorf("part %q with headers %v has %d bytes, %v, want the file", part.FormName(), part.Header, len(got), err)
		}
	}
}

type closer func()

func (c closer) Close() error { c(); return nil }

// A file that changes while it is sent is not sent as something else.
func TestClient_Lookup_uploadOfAnotherLength(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, fine)
	}))
	t.Cleanup(server.Close)
	client := newClient(t, Options{BaseURL: server.URL, HTTPClient: server.Client()})
	for _, size := range []int64{3, 10} {
		upload := uploadOf("a.bin", "content")
		upload.Size = size
		_, err := client.Lookup(t.Context(), Query{Kind: KindFileScan, Upload: upload})
		if _, ok := errors.AsType[*APIError](err); !errors.Is(err, ErrUpload) || ok {
			t.Errorf("Lookup() of 7 bytes announced as %d = %v, want %v, which is no word of IPQS", size, err, ErrUpload)
		}
		if outcomeOf(err) != neither {
			t.Errorf("outcomeOf(%v) = %v, want neither", err, outcomeOf(err))
		}
	}
}

func TestChecklist11_AScanDateHasAZonesName(t *testing.T) {
	t.Parallel()
	client := newClient(t, Options{HTTPClient: canned(200, "application/json",
		`{"success":true,"status":"done","scan_date":{"date":"2026-01-29 19:40:02.000000","timezone_type":3,"timezone":"America/New_York"}}`)})
	r, err := client.Lookup(t.Context(), Query{Kind: KindFileResult, Value: "r1"})
	if err != nil {
		t.Fatalf("Lookup() = %v, want no error", err)
	}
	if at, known := r.File.ScanDate.Time(); !known || at.Format(time.RFC3339) != "2026-01-30T00:40:02Z" {
		t.Errorf("ScanDate = %v, %t, want 2026-01-30T00:40:02Z", at, known)
	}
}

func TestChecklist12_ValuesGoOutAsTheyAre(t *testing.T) {
	t.Parallel()
	for kind, values := range map[Kind][]string{
		KindURL:   {"https://example.com/?a=b&c=d#e%20f+g", "https://example.com/ü 😀"},
		KindEmail: {`"o'brien & co"@example.com`, "user+tag@example.com"},
		KindPhone: {"+1 (202) 555-0142"},
		KindIP:    {"2001:db8::7", "::ffff:192.0.2.1"},
	} {
		server := record(t, fine)
		client := server.client(t, Options{})
		for i, value := range values {
			if _, err := client.Lookup(t.Context(), Query{Kind: kind, Value: value}); err != nil {
				t.Fatalf("Lookup(%s) = %v, want no error", value, err)
			}
			if got := server.requests[i].URL.Query(); len(got) != 1 || got.Get(string(kind)) != value {
				t.Errorf("query = %v, want %s = %q alone", got, kind, value)
			}
		}
	}
}

// Defects that other integrations of IPQS have. Those about verdicts and bundles are in package stages.
//
//	null folded into false                                   TestDefect01
//	an absent score                                          TestDefect02
//	"False" as a text counts as true where files are asked   TestDefect08
//	neither the HTTP status nor a time limit is heeded       TestDefect09
//	a domain is asked about as an address                    TestDefect11
//	passwords and the key in the URL and the log             TestDefect13
//	an & in the value cuts it short                          TestDefect14

func TestDefect01_NullIsNotFalse(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"success":true,"active":null}`, `{"success":true}`, `{"success":true,"active":"N/A"}`} {
		if r, err := decode(KindPhone, []byte(body)); err != nil || r.Phone.Active != Unknown {
			t.Errorf("decode(%s) = %+v, %v, want active unknown", body, r, err)
		}
	}
}

func TestDefect02_AnAbsentScoreIsNoScore(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"success":true}`, `{"success":true,"fraud_score":null}`, `{"success":true,"fraud_score":"N/A"}`} {
		r, err := decode(KindEmail, []byte(body))
		if err != nil {
			t.Fatalf("decode(%s) = %v, want no error", body, err)
		}
		if score, known := r.Score(); known {
			t.Errorf("Score() of %s = %d, want none", body, score)
		}
	}
}

func TestDefect08_FalseAsATextIsFalse(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{KindFileLookup, KindFileScan, KindFileResult} {
		client := newClient(t, Options{HTTPClient: canned(200, "application/json", `{"success":"False","message":"nope","request_id":"r1"}`)})
		if r, err := client.Lookup(t.Context(), Query{Kind: kind, Value: "r1", Upload: uploadOf("a", "b")}); err == nil {
			t.Errorf("Lookup(%s) = %+v, want a refusal", kind, r)
		}
	}
	r, err := decode(KindFileResult, []byte(`{"success":true,"detected":"True","result":[{"name":"A","detected":"False"}]}`))
	if err != nil || r.File.Detected != True || r.File.Engines[0].Detected != False {
		t.Errorf("decode() = %+v, %v, want the texts read", r, err)
	}
}

func TestDefect09_StatusAndTimeLimitAreHeeded(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		q := Query{Kind: kind, Value: "jdoe", Upload: uploadOf("a", "b")}
		client := newClient(t, Options{HTTPClient: canned(500, "application/json", fine)})
		if _, err := client.Lookup(t.Context(), q); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Lookup(%s) of an answer with HTTP 500 = %v, want %v", kind, err, ErrUnavailable)
		}
		limited := newClient(t, Options{HTTPClient: hanging(), Timeouts: map[Kind]time.Duration{kind: time.Millisecond}})
		if _, err := limited.Lookup(t.Context(), q); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Lookup(%s) that hangs = %v, want %v", kind, err, ErrUnavailable)
		}
	}
}

func TestDefect11_ADomainIsAskedAboutAsADomain(t *testing.T) {
	t.Parallel()
	server := record(t, fine)
	r, err := server.client(t, Options{}).Lookup(t.Context(), Query{Kind: KindURL, Value: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if got := server.requests[0].URL.Path; got != "/api/json/url" || r.URL == nil || r.IP != nil {
		t.Errorf("path = %s, report %+v, want one about the domain itself", got, r)
	}
}

func TestDefect13_NoSecretInURLOrError(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"hunter2-4711", "x", "a b", "Ünïcödé", `q"\`} {
		for _, answer := range []string{
			`{"success":false,"message":"Invalid password ` + "%s" + `, key ` + testKey + `"}`,
			`{"success":true,"message":"%s","exposed":true}`,
			`%s`,
		} {
			quoted, err := json.Marshal(secret)
			if err != nil {
				t.Fatal(err)
			}
			server := record(t, strings.ReplaceAll(answer, "%s", string(quoted[1:len(quoted)-1])))
			r, err := server.client(t, Options{}).Lookup(t.Context(), Query{Kind: KindLeakPassword, Value: secret})
			texts := []string{server.requests[0].URL.String(), fmt.Sprint(Query{Kind: KindLeakPassword, Value: secret})}
			if err != nil {
				texts = append(texts, strings.TrimPrefix(err.Error(), "looking up leaked/password"))
			} else if r.Message != "" {
				t.Errorf("message = %q, want none of a secret", r.Message)
			}
			for _, text := range texts {
				text = strings.NewReplacer(server.URL, "", "/api/json/leaked/password", "", "leaked/password", "").Replace(text)
				if strings.Contains(text, testKey) || len(secret) > 1 && (strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret))) {
					t.Errorf("the secret %q or the key is in %q", secret, text)
				}
			}
		}
	}
}

func TestDefect14_AnAmpersandDoesNotCutAValue(t *testing.T) {
	t.Parallel()
	server := record(t, fine)
	const value = "https://example.com/?a=1&key=stolen&strictness=3"
	if _, err := server.client(t, Options{}).Lookup(t.Context(), Query{Kind: KindURL, Value: value}); err != nil {
		t.Fatal(err)
	}
	if got := server.requests[0].URL.Query(); got.Get("url") != value || got.Has("key") || got.Has("strictness") {
		t.Errorf("query = %v, want the URL alone", got)
	}
}
