package tracequery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
)

// Attributes of the worker's spans to search for.
const (
	AttributeJob    = "ipqs_worker.job.id"
	AttributeWork   = "opencti.work.id"
	AttributeEntity = "opencti.entity.id"
)

// defaultService is the service of the worker's spans unless it is configured otherwise.
const defaultService = "ipqs-worker"

// Job returns the id of the job that the spans are about, and the name of their service; "" where they do not say.
func Job(spans []Span) (id, service string) {
	for _, s := range spans {
		if id = s.Attributes[AttributeJob]; id != "" {
			return id, s.Service
		}
	}
	return "", ""
}

// OfJob returns the ids of all traces of a job: the first one, and one for each replay of its dead letter. See [Client.Search].
func (c Client) OfJob(ctx context.Context, service, job string) ([]string, error) {
	return c.Search(ctx, service, AttributeJob, job)
}

// Search returns the ids of the traces, at most 20, that have a span of the service with this value of an attribute. An empty
// service is "ipqs-worker". The query API determines how far back it looks and how soon it finds new traces.
func (c Client) Search(ctx context.Context, service, attribute, value string) ([]string, error) {
	if service == "" {
		service = defaultService
	}
	tags, err := json.Marshal(map[string]string{attribute: value})
	if err != nil {
		return nil, fmt.Errorf("searching for traces with %s: %w", attribute, err)
	}
	jaeger := c.Base.JoinPath("api", "traces")
	jaeger.RawQuery = url.Values{"service": {service}, "tags": {string(tags)}, "limit": {"20"}, "lookback": {"30d"}}.Encode()
	tempo := c.Base.JoinPath("api", "search")
	tempo.RawQuery = url.Values{"tags": {fmt.Sprintf("%s=%q", attribute, value)}, "limit": {"20"}}.Encode()
	var found struct {
		Data []struct {
			TraceID string `json:"traceID"`
		} `json:"data"`
		Traces []struct {
			TraceID string `json:"traceID"`
		} `json:"traces"`
	}
	err = c.read(ctx, jaeger, &found)
	if err != nil {
		err = c.read(ctx, tempo, &found)
	}
	if err != nil {
		return nil, fmt.Errorf("searching for traces with %s: %w", attribute, err)
	}
	var ids []string
	for _, list := range [][]struct {
		TraceID string `json:"traceID"`
	}{found.Data, found.Traces} {
		for _, trace := range list {
			if IsTraceID(trace.TraceID) && !slices.Contains(ids, trace.TraceID) {
				ids = append(ids, trace.TraceID)
			}
		}
	}
	return ids, nil
}

func (c Client) read(ctx context.Context, address *url.URL, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := c.HTTP.Do(request)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", response.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(answer)
}
