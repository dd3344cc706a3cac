package ipqs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultBaseURL is where the API lives. The host without "www." redirects, and redirects are refused.
	DefaultBaseURL = "https://www.ipqualityscore.com/api/json"
	// DefaultMaxIdleConns is how many connections are kept open for the next lookup.
	DefaultMaxIdleConns = 32

	defaultUserAgent = "opencti-ipqs-worker"
	keyHeader        = "IPQS-KEY"
	maxBody          = 1 << 20 // bytes; the largest answer known has 97 KB
	maxRetryAfter    = 24 * time.Hour
)

// DefaultTimeout returns how long one lookup of that kind may take with the default [Parameters]. IPQS itself waits up to
// 7 s for a mail server and up to 2 s for a web page before it answers.
func DefaultTimeout(kind Kind) time.Duration { return Parameters{}.Timeout(kind) }

// Options are what a [Client] is made of. Only Key has no default.
type Options struct {
	// Key is the account's API key.
	Key string
	// BaseURL is everything before "/ip", "/email" …, default [DefaultBaseURL].
	BaseURL string
	// UserAgent is the header of that name. IPQS' edge is known to refuse those of stock HTTP libraries.
	UserAgent string
	// Parameters are IPQS' own options of each kind of lookup.
	Parameters Parameters
	// PersonalData has reports say what IPQS knows about people: [Report].Personal.
	PersonalData bool
	// Timeouts replaces what follows from the Parameters ([Parameters.Timeout]) for the kinds in it.
	Timeouts map[Kind]time.Duration
	// MaxIdleConns is how many connections are kept open between lookups, best as many as there are lookups at once.
	// Default [DefaultMaxIdleConns]. It is not used with an HTTPClient of your own.
	MaxIdleConns int
	// HTTPClient makes the requests, default one with proxies from the environment. Its CheckRedirect is not used.
	HTTPClient *http.Client
}

// Client asks the IPQS API. Each lookup is one request: nothing is retried, cached or limited here, but for what net/http
// does by itself when a connection that it reuses turns out to be closed. It is safe for concurrent use.
type Client struct {
	base      string
	key       string
	userAgent string
	timeouts  map[Kind]time.Duration
	http      *http.Client

	parameters Parameters
	personal   bool
}

var _ Lookuper = (*Client)(nil)

// NewClient makes a Client. The error names the option that is wrong, and does not quote the key.
func NewClient(o Options) (*Client, error) {
	if o.Key == "" || strings.ContainsFunc(o.Key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("key: want the account's API key, printable ASCII without spaces")
	}
	base, err := checkBaseURL(cmp.Or(o.BaseURL, DefaultBaseURL))
	if err != nil {
		return nil, err
	}
	c := &Client{
		base:      base,
		key:       o.Key,
		userAgent: cmp.Or(o.UserAgent, defaultUserAgent),
		timeouts:  make(map[Kind]time.Duration),

		parameters: o.Parameters,
		personal:   o.PersonalData,
	}
	if err := o.Parameters.Validate(); err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	for _, kind := range Kinds() {
		c.timeouts[kind] = o.Parameters.Timeout(kind)
	}
	for kind, timeout := range o.Timeouts {
		if c.timeouts[kind] == 0 {
			return nil, fmt.Errorf("timeouts: %w", unknownKind(kind))
		}
		if timeout <= 0 {
			return nil, fmt.Errorf("timeout of %q: found %s, want more than 0", kind, timeout)
		}
		c.timeouts[kind] = timeout
	}

	var h http.Client
	if o.HTTPClient != nil {
		h = *o.HTTPClient
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = cmp.Or(o.MaxIdleConns, DefaultMaxIdleConns)
		t.MaxIdleConns = t.MaxIdleConnsPerHost
		h.Transport = t
	}
	// net/http would send the key to wherever a redirect points.
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &h
	return c, nil
}

func checkBaseURL(s string) (string, error) {
	// The errors of net/url quote the whole text, in which a key may stand by mistake.
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", errors.New("base URL: found something else, want a URL such as " + DefaultBaseURL)
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return "", errors.New("base URL: want http:// or https://, and a host, such as " + DefaultBaseURL)
	case u.User != nil:
		return "", errors.New("base URL: found credentials, want none")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", errors.New("base URL: found a query or a fragment, want none")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// CloseIdleConnections closes the connections that no lookup is using. The Client can still be used.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Lookup asks IPQS about one value, within the time limit of its kind and of ctx. A time limit that ends it is an
// [ErrUnavailable] that wraps context.DeadlineExceeded; if the caller cancels ctx, the error wraps context.Canceled and
// is no [*APIError].
func (c *Client) Lookup(ctx context.Context, q Query) (*Report, error) {
	timeout, ok := c.timeouts[q.Kind]
	switch {
	case !ok:
		return nil, &APIError{Class: ClassItem, Kind: q.Kind, Message: unknownKind(q.Kind).Error()}
	case q.Kind.Upload():
		if q.Upload == nil || q.Upload.Open == nil || q.Upload.Size < 1 {
			return nil, &APIError{Class: ClassItem, Kind: q.Kind, Message: "the file is missing or empty"}
		}
		timeout += UploadTimeout(q.Upload.Size)
	case q.Value == "":
		return nil, &APIError{Class: ClassItem, Kind: q.Kind, Message: "the value is empty"}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	got, err := c.send(ctx, q)
	if err != nil {
		return nil, c.noAnswer(ctx, q, got.status, err)
	}
	if isMarkup(got.header.Get("Content-Type"), got.body) {
		return nil, c.refusal(got.header, answer{query: q, status: got.status, markup: true}, "")
	}
	e, object := decodeEnvelope(got.body)
	if !object || !e.answers(q.Kind) || got.status/100 != 2 {
		return nil, c.refusal(got.header, answer{query: q, status: got.status, object: object, success: e.Success}, e.sentence())
	}
	report, err := decodeReport(q.Kind, e, got.body)
	if err != nil {
		return nil, &APIError{Class: ClassMalformed, Kind: q.Kind, Status: got.status, Message: err.Error()}
	}
	if q.Kind.Secret() {
		report.Message = "" // it may repeat the question, and says no more than "Success"
	}
	if c.personal {
		report.Personal = decodePersonal(q.Kind, bytes.TrimSpace(got.body))
	}
	return report, nil
}

// response is what came back, or as much of it as did.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (c *Client) send(ctx context.Context, q Query) (response, error) {
	req, err := c.request(ctx, q)
	if err != nil {
		return response{}, err
	}
	return c.do(req)
}

// do sends a request and reads the answer, as much of it as an answer may have.
func (c *Client) do(req *http.Request) (response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLong
	}
	return response{resp.StatusCode, resp.Header, body}, err
}

var errTooLong = fmt.Errorf("the answer has more than %d bytes", maxBody)

// noAnswer is the error of a request whose answer did not come, or not as a whole.
func (c *Client) noAnswer(ctx context.Context, q Query, status int, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("looking up %s: %w", q.Kind, context.Canceled)
	}
	if errors.Is(err, errTooLong) {
		return &APIError{Class: ClassMalformed, Kind: q.Kind, Status: status, Message: err.Error()}
	}
	if errors.Is(err, ErrUpload) {
		// Whatever reads files names them, and where they are.
		return fmt.Errorf("asking %s: %w", q.Kind, ErrUpload)
	}
	class, _ := classify(answer{query: q})
	e := &APIError{Class: class, Kind: q.Kind, Status: status, ground: quote(c.scrub(networkGround(err), q))}
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		e.cause = context.DeadlineExceeded
		e.Message = "no answer in time"
		e.ground = cmp.Or(e.ground, e.Message)
		return e
	}
	// A url.Error is the method and the whole URL in front of the reason. The reason may quote the answer.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	e.Message = quote(c.scrub(err.Error(), q))
	return e
}

// networkGround is why there was no answer, where the error is one that quotes neither a request nor an answer, else "".
func networkGround(err error) string {
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return failed.Error()
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return untrusted.Error()
	}
	for _, known := range []error{http.ErrSchemeMismatch, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return ""
}

// refusal is the error of an answer that is no report. The sentence is what IPQS said in it.
func (c *Client) refusal(header http.Header, a answer, sentence string) error {
	sentence = scrub(sentence, c.key, a.query.Value)
	a.message = strings.ToLower(sentence)
	class, ours := classify(a)
	ground := ours
	sentence = c.scrub(sentence, a.query)
	if to, err := url.Parse(header.Get("Location")); err == nil && to.Host != "" {
		// The path and the query of the new place may repeat the question.
		ours = c.scrub("redirected to "+to.Scheme+"://"+to.Host+"; the base URL should name the host that answers", a.query)
	}
	return &APIError{
		Class:      class,
		Kind:       a.query.Kind,
		Status:     a.status,
		Message:    quote(cmp.Or(sentence, ours)),
		RetryAfter: retryAfter(header.Get("Retry-After"), time.Now()),
		ground:     ground,
	}
}

// scrub is [scrub], which leaves out a text as a whole that holds a secret which is too short to be taken out of it.
func (c *Client) scrub(text string, q Query) string {
	text = scrub(text, c.key, q.Value)
	if !q.Kind.Secret() || len(q.Value) >= minValue {
		return text
	}
	for _, form := range encodings(q.Value) {
		if form != "" && strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return ""
		}
	}
	return text
}

// isMarkup reports whether an answer is HTML or XML. Content types that say neither that nor JSON are left to the body:
// some servers call JSON plain text.
func isMarkup(contentType string, body []byte) bool {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	return strings.HasSuffix(mediaType, "html") || strings.HasSuffix(mediaType, "xml") ||
		strings.HasPrefix(strings.TrimSpace(string(body)), "<")
}

// retryAfter reads the header in both of its forms, seconds and date. IPQS documents none; the edge before it may set one.
func retryAfter(header string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(strings.TrimSpace(header), 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
