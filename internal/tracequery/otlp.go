package tracequery

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// resourceSpans are the spans of one process in OTLP's JSON, as Tempo answers it. Its ids are hexadecimal in OTLP, and base64 in
// what Tempo makes of it.
type resourceSpans struct {
	Resource struct {
		Attributes []otlpAttribute `json:"attributes"`
	} `json:"resource"`
	ScopeSpans []struct {
		Spans []otlpSpan `json:"spans"`
	} `json:"scopeSpans"`
	// LibrarySpans is what older releases call them.
	LibrarySpans []struct {
		Spans []otlpSpan `json:"spans"`
	} `json:"instrumentationLibrarySpans"`
}

type otlpSpan struct {
	SpanID  string          `json:"spanId"`
	Parent  string          `json:"parentSpanId"`
	Name    string          `json:"name"`
	Start   json.Number     `json:"startTimeUnixNano"`
	End     json.Number     `json:"endTimeUnixNano"`
	Status  otlpStatus      `json:"status"`
	Details []otlpAttribute `json:"attributes"`
	Links   []struct {
		TraceID string `json:"traceId"`
		SpanID  string `json:"spanId"`
	} `json:"links"`
}

type otlpStatus struct {
	Code json.RawMessage `json:"code"` // 2, or "STATUS_CODE_ERROR"
}

type otlpAttribute struct {
	Key   string                     `json:"key"`
	Value map[string]json.RawMessage `json:"value"` // one entry, named for its type
}

func (r resourceSpans) spans() []Span {
	process := attributesOf(r.Resource.Attributes)
	var spans []Span
	for _, scopes := range [][]struct {
		Spans []otlpSpan `json:"spans"`
	}{r.ScopeSpans, r.LibrarySpans} {
		for _, scope := range scopes {
			for _, s := range scope.Spans {
				span := Span{
					ID: hexadecimal(s.SpanID, 8), Parent: hexadecimal(s.Parent, 8), Name: s.Name,
					Service: process["service.name"], Instance: process["service.instance.id"],
					Start: nanoseconds(s.Start), End: nanoseconds(s.End), Attributes: attributesOf(s.Details),
					Failed: strings.Contains(string(s.Status.Code), "ERROR") || string(s.Status.Code) == "2",
				}
				if span.Parent == "0000000000000000" {
					span.Parent = ""
				}
				for _, l := range s.Links {
					span.Links = append(span.Links, Link{hexadecimal(l.TraceID, 16), hexadecimal(l.SpanID, 8)})
				}
				spans = append(spans, span)
			}
		}
	}
	return spans
}

// hexadecimal returns an id of so many bytes as OTLP writes it.
func hexadecimal(id string, size int) string {
	if _, err := hex.DecodeString(id); err == nil && len(id) == 2*size {
		return strings.ToLower(id)
	}
	if raw, err := base64.StdEncoding.DecodeString(id); err == nil && len(raw) == size {
		return hex.EncodeToString(raw)
	}
	return id
}

func nanoseconds(n json.Number) time.Time {
	at, err := strconv.ParseInt(cmp.Or(n.String(), "0"), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, at).UTC()
}

func attributesOf(list []otlpAttribute) map[string]string {
	attributes := make(map[string]string, len(list))
	for _, a := range list {
		for _, value := range a.Value {
			attributes[a.Key] = plain(value)
		}
	}
	return attributes
}
