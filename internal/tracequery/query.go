package tracequery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxAnswer bounds an answer. A job's trace has some sixty spans of a kilobyte each; one that was retried for long, more.
const maxAnswer = 32 << 20

// ErrNotFound says that there is no such trace: it was not sampled, is not there yet, or was deleted.
var ErrNotFound = errors.New("no such trace")

// Span is one span of a trace.
type Span struct {
	ID string `json:"span_id"`
	// Parent is empty for a root.
	Parent  string `json:"parent_span_id,omitempty"`
	Name    string `json:"name"`
	Service string `json:"service,omitempty"`
	// Instance tells the processes of a service apart.
	Instance   string            `json:"instance,omitempty"`
	Start      time.Time         `json:"start"`
	End        time.Time         `json:"end"`
	Failed     bool              `json:"failed"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Links      []Link            `json:"links,omitempty"`
}

// Link is from a span to another one that came before it without being its parent.
type Link struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

var traceID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// IsTraceID reports whether text is a trace's id: 32 hexadecimal digits.
func IsTraceID(text string) bool { return traceID.MatchString(text) }

// Address reads where the query API is. Grafana's and a proxy's base paths are kept; it may hold credentials.
func Address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("want the address of Jaeger's or Tempo's query API, such as http://jaeger:16686 or http://tempo:3200")
	}
	u.RawQuery, u.Fragment = "", ""
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/traces")
	return u, nil
}

// Client asks one query API.
type Client struct {
	Base *url.URL
	HTTP *http.Client
}

// Trace returns the spans of a trace in the order they began. The error is [ErrNotFound] if there is no such trace.
func (c Client) Trace(ctx context.Context, id string) ([]Span, error) {
	if !IsTraceID(id) {
		return nil, fmt.Errorf("%q is no trace id: want 32 hexadecimal digits", id)
	}
	address := c.Base.JoinPath("api", "traces", id)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking for trace %s: %w", id, err)
	}
	request.Header.Set("Accept", "application/json") // Tempo answers in protobuf else
	response, err := c.HTTP.Do(request)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok { // it quotes the address
			err = u.Err
		}
		return nil, fmt.Errorf("asking for trace %s: %w", id, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading trace %s: %w", id, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("reading trace %s: it has more than %d bytes", id, maxAnswer)
	case response.StatusCode == http.StatusNotFound && !strings.Contains(response.Header.Get("Content-Type"), "html"):
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("asking for trace %s: HTTP %d", id, response.StatusCode)
	}
	spans, err := Decode(body)
	if err != nil {
		return nil, fmt.Errorf("reading trace %s: %w", id, err)
	}
	if len(spans) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	return spans, nil
}

// Decode reads an answer, Jaeger's or Tempo's, and returns the spans in the order they began.
func Decode(body []byte) ([]Span, error) {
	var shape struct {
		Data          []jaegerTrace   `json:"data"`
		Batches       []resourceSpans `json:"batches"`       // Tempo
		ResourceSpans []resourceSpans `json:"resourceSpans"` // OTLP as it is
		Trace         struct {        // Tempo's second version
			ResourceSpans []resourceSpans `json:"resourceSpans"`
		} `json:"trace"`
	}
	if err := json.Unmarshal(body, &shape); err != nil {
		return nil, errors.New("the answer is neither Jaeger's nor Tempo's JSON")
	}
	var spans []Span
	for _, trace := range shape.Data {
		spans = append(spans, trace.spans()...)
	}
	for _, batches := range [][]resourceSpans{shape.Batches, shape.ResourceSpans, shape.Trace.ResourceSpans} {
		for _, batch := range batches {
			spans = append(spans, batch.spans()...)
		}
	}
	slices.SortStableFunc(spans, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return spans, nil
}
