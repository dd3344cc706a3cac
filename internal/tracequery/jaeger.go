package tracequery

import (
	"encoding/json"
	"strings"
	"time"
)

// jaegerTrace is a trace as Jaeger's query API has it, https://www.jaegertracing.io/docs/latest/apis/ (the JSON that its own
// user interface reads).
type jaegerTrace struct {
	TraceID   string       `json:"traceID"`
	Spans     []jaegerSpan `json:"spans"`
	Processes map[string]struct {
		ServiceName string      `json:"serviceName"`
		Tags        []jaegerTag `json:"tags"`
	} `json:"processes"`
}

type jaegerSpan struct {
	SpanID     string `json:"spanID"`
	Name       string `json:"operationName"`
	References []struct {
		Type    string `json:"refType"`
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	} `json:"references"`
	Start    int64       `json:"startTime"` // microseconds since 1970
	Duration int64       `json:"duration"`  // microseconds
	Tags     []jaegerTag `json:"tags"`
	Process  string      `json:"processID"`
}

type jaegerTag struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

func (t jaegerTrace) spans() []Span {
	spans := make([]Span, 0, len(t.Spans))
	for _, s := range t.Spans {
		process := t.Processes[s.Process]
		start := time.UnixMicro(s.Start).UTC()
		span := Span{
			ID: s.SpanID, Name: s.Name, Service: process.ServiceName, Instance: tagsOf(process.Tags)["service.instance.id"],
			Start: start, End: start.Add(time.Duration(max(s.Duration, 0)) * time.Microsecond), Attributes: tagsOf(s.Tags),
		}
		span.Failed = span.Attributes["error"] == "true"
		for _, r := range s.References {
			if r.Type == "CHILD_OF" && r.TraceID == t.TraceID && span.Parent == "" {
				span.Parent = r.SpanID
				continue
			}
			span.Links = append(span.Links, Link{r.TraceID, r.SpanID})
		}
		spans = append(spans, span)
	}
	return spans
}

func tagsOf(tags []jaegerTag) map[string]string {
	attributes := make(map[string]string, len(tags))
	for _, tag := range tags {
		attributes[tag.Key] = plain(tag.Value)
	}
	return attributes
}

// plain is a JSON value as text: a string without its quotes.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return strings.TrimSpace(string(value))
}
