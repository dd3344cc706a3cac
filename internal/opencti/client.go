package opencti

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// maxAnswerBytes bounds an answer. The largest we ask for is an entity with its markings and labels.
	maxAnswerBytes = 16 << 20
	// defaultTimeout bounds one request of the default HTTP client, body included.
	defaultTimeout = 60 * time.Second
	// draftHeader puts a request into a draft. It is always sent: absent, it would mean whatever draft the token's user has
	// open in the UI; empty, it means none.
	draftHeader = "opencti-draft-id"
)

// Options is what a [Client] is made of.
type Options struct {
	// URL is OPENCTI_URL: where the platform is, with its base path if it has one, without /graphql.
	URL string
	// Token authenticates the connector's user.
	Token string
	// HTTPClient carries the requests: TLS, proxies, time limits. Nil means one that gives up after a minute.
	// Redirects are never followed: a POST would arrive as something else.
	HTTPClient *http.Client
	// UserAgent names us, such as "ipqs-worker/1.2.3".
	UserAgent string
	// Headers are sent with every request; those that the protocol needs win over them.
	Headers map[string]string
	// Logger is told what the platform refused and we left out. Nil means nobody is.
	Logger *slog.Logger
	// TrackAlways counts works on releases too that lose data by it. It is there for the test that shows that they do.
	TrackAlways bool
}

// Client asks one platform as one user. It is safe for concurrent use. It retries nothing: who calls knows how long there
// is.
type Client struct {
	endpoint  string
	token     string
	http      *http.Client
	userAgent string
	headers   map[string]string
	log       *slog.Logger

	trackAlways bool

	mu           sync.Mutex
	known        bool // the version was answered
	version      Version
	capabilities Capabilities
	dropped      map[string]bool // registration fields that this platform refused
	lacks        []operation     // operations that it refused although its release has them
}

// New returns a client. It contacts nobody. A URL that is none, or a missing token, is a [*FieldError].
func New(o Options) (*Client, error) {
	base, err := url.Parse(strings.TrimSpace(o.URL))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, &FieldError{Field: "OPENCTI_URL", Found: "something else", Want: `a URL such as "https://opencti.example.com"`}
	}
	token := strings.TrimSpace(o.Token)
	if token == "" {
		return nil, &FieldError{Field: "OPENCTI_TOKEN", Found: "nothing", Want: "the token of the connector's user"}
	}
	base.RawQuery, base.Fragment = "", ""
	client := http.Client{Timeout: defaultTimeout}
	if o.HTTPClient != nil {
		client = *o.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := &Client{
		endpoint:  strings.TrimRight(base.String(), "/") + "/graphql",
		token:     token,
		http:      &client,
		userAgent: o.UserAgent,
		headers:   maps.Clone(o.Headers),
		log:       o.Logger,

		trackAlways: o.TrackAlways,
		dropped:     map[string]bool{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// About asks for the platform's version and remembers what that release can do, for every later call. A version that
// cannot be read is logged and counts as the newest. Call it before registering, also when registering again: the platform
// may have been upgraded.
func (c *Client) About(ctx context.Context) (Version, error) {
	var answer struct {
		About *struct {
			Version string `json:"version"`
		} `json:"about"`
	}
	if err := c.do(ctx, opAbout, nil, "", &answer); err != nil {
		return Version{}, err
	}
	if answer.About == nil {
		return Version{}, nothing(opAbout)
	}
	version, err := ParseVersion(answer.About.Version)
	if err != nil {
		c.log.WarnContext(ctx, "OpenCTI's version is unreadable, taking it for the newest", slog.Any("error", err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known && version.Compare(c.version) != 0 { // what another release refused is no word of this one
		c.dropped, c.lacks = map[string]bool{}, nil
	}
	c.known, c.version, c.capabilities = true, version, version.Capabilities()
	for _, op := range c.lacks {
		*op.gate(&c.capabilities) = false
	}
	c.capabilities.Tracked = c.capabilities.Tracked || c.trackAlways
	return version, nil
}

// Capabilities returns what the platform can do, asking it once if [Client.About] was not called yet.
func (c *Client) Capabilities(ctx context.Context) (Capabilities, error) {
	c.mu.Lock()
	known, capabilities := c.known, c.capabilities
	c.mu.Unlock()
	if known {
		return capabilities, nil
	}
	if _, err := c.About(ctx); err != nil {
		return Capabilities{}, err
	}
	return c.Capabilities(ctx)
}

// do sends one operation and decodes its data into answer. draftID is the draft to do it in, or "" for none.
func (c *Client) do(ctx context.Context, op operation, variables map[string]any, draftID string, answer any) error {
	document, err := op.document()
	if err != nil {
		return err
	}
	body, err := encode(map[string]any{"query": document, "variables": variables})
	if err != nil {
		return fmt.Errorf("opencti: %s: encoding variables: %w", op.name, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return wayError(ctx, op.name, err)
	}
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set(draftHeader, draftID)
	if c.userAgent != "" {
		request.Header.Set("User-Agent", c.userAgent)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return wayError(ctx, op.name, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	if err != nil {
		return wayError(ctx, op.name, err)
	}
	if len(text) > maxAnswerBytes {
		return &Error{Operation: op.name, Status: response.StatusCode, Message: fmt.Sprintf("answer is over %d bytes", maxAnswerBytes)}
	}
	return c.read(op, response.StatusCode, text, variables, answer)
}

// read takes an answer apart. The platform says 200 even when it refuses, and in a few cases something else with a
// GraphQL body: the body is asked first.
func (c *Client) read(op operation, status int, text []byte, variables map[string]any, answer any) error {
	var body struct {
		Data   json.RawMessage `json:"data"`
		Errors []graphQLError  `json:"errors"`
	}
	err := json.Unmarshal(text, &body)
	switch {
	case err == nil && len(body.Errors) > 0:
		return c.refusal(op.name, status, body.Errors, variables)
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		return &Error{Operation: op.name, Status: status, Message: "redirected, OPENCTI_URL has to name the final address"}
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return &Error{Operation: op.name, Status: status, Message: "no GraphQL here, is OPENCTI_URL right?"}
	case status != http.StatusOK:
		return &Error{Operation: op.name, Status: status, Message: http.StatusText(status)}
	case err != nil || absent(body.Data):
		return &Error{Operation: op.name, Status: status, Message: "answer is no GraphQL, is OPENCTI_URL right?"}
	}
	if err := json.Unmarshal(body.Data, answer); err != nil {
		return &Error{Operation: op.name, Status: status, Message: "answer has an unexpected shape: " + shapeOf(err)}
	}
	return nil
}

// shapeOf names the field that did not fit, without the value found there.
func shapeOf(err error) string {
	if t, ok := err.(*json.UnmarshalTypeError); ok { //nolint:errorlint // what encoding/json returns, unwrapped
		return fmt.Sprintf("%s is a %s", t.Field, t.Value)
	}
	return "unreadable"
}

// encode writes JSON as a bundle's text must travel: <, > and & as they are.
func encode(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buffer.Bytes(), "\n"), nil
}

// nothing is the error of an answer that is null where an object was asked for.
func nothing(op operation) *Error {
	return &Error{Operation: op.name, Code: codeNull, Status: http.StatusOK, Message: "the answer is empty"}
}
