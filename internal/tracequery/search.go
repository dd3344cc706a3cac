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

// The attributes that say which job a span is for, and the service that the worker's spans are of by default.
const (
	attributeJob   = "ipqs_worker.job.id"
	defaultService = "ipqs-worker"
)

// Job returns the id of the job that the spans are about, and the name of their service; "" where they do not say.
func Job(spans []Span) (id, service string) {
	for _, s := range spans {
		if id = s.Attributes[attributeJob]; id != "" {
			return id, s.Service
		}
	}
	return "", ""
}

// OfJob looks for all traces of a job of a service, "" for the usual one: the first one, and one for each replay of its dead
// letter. How far back it looks, and how soon it finds what is new, is the query API's own choice.
func (c Client) OfJob(ctx context.Context, service, job string) ([]string, error) {
	if service == "" {
		service = defaultService
	}
	tags, err := json.Marshal(map[string]string{attributeJob: job})
	if err != nil {
		return nil, fmt.Errorf("looking for the job's traces: %w", err)
	}
	jaeger := c.Base.JoinPath("api", "traces")
	jaeger.RawQuery = url.Values{"service": {service}, "tags": {string(tags)}, "limit": {"20"}, "lookback": {"30d"}}.Encode()
	tempo := c.Base.JoinPath("api", "search")
	tempo.RawQuery = url.Values{"tags": {fmt.Sprintf("%s=%q", attributeJob, job)}, "limit": {"20"}}.Encode()
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
		return nil, fmt.Errorf("looking for the job's traces: %w", err)
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
