package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/internal/tracequery"
	"opencti-ipqs-worker/internal/tracetree"
)

// traceQueryURL is the variable that names the query API where no flag does.
const traceQueryURL = "TRACE_QUERY_URL"

// serviceName is OpenTelemetry's variable with the name of the worker's service, which a search requires.
const serviceName = "OTEL_SERVICE_NAME"

// traceFlags are traceCommand's options.
type traceFlags struct {
	address, output string
	follow          bool
	timeout         time.Duration
}

// tracePage is one trace as it is shown.
type tracePage struct {
	TraceID string            `json:"trace_id"`
	JobID   string            `json:"job_id,omitempty"`
	Spans   []tracequery.Span `json:"spans"`
	// Others are traces of the same job, and those that this one follows: of a dead letter, of its replays.
	Others []string `json:"other_traces"`
	// Unsearched says why other traces of the job may be missing.
	Unsearched string `json:"not_searched,omitempty"`
}

func (p *program) traceCommand() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace WORK_ID|ENTITY_ID|WORK_ID/ENTITY_ID|TRACE_ID",
		Short: "Show the hops of a job as a waterfall, from Jaeger or Tempo",
		Long: `trace reads the trace of a job from the query API of Jaeger (port 16686) or Tempo (port 3200) and draws it: each span below
the one that began it, with what came of it and a bar for its time. "wait" is time in a queue, "hop" a trip through a hop,
"attempt" one run of its stage, "send" what goes to the next queue, the rest are requests.

Several jobs can share a work. With the id of a work or of an entity, the command searches for the traces of all its jobs and
draws them. The id of a job is WORK_ID/ENTITY_ID, or what the log shows for a playbook's job, and determines the id of its trace,
which needs no search. Dead letters and lines of the log have the trace's own id. A replay has a trace of its own: it is listed,
and drawn with --follow.`,
		Example: `  ipqs-worker trace work_d3a0d3a0-0000-4000-8000-000000000001_2026-01-02T03:04:05.678Z
  ipqs-worker trace ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db
  ipqs-worker trace --url http://tempo:3200 --follow 4bf92f3577b34da6a3ce929d0e0e4736`,
		Args: one("the id of a work, an entity, a job or a trace"),
		RunE: func(cmd *cobra.Command, args []string) error { return p.trace(cmd.Context(), f, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.address, "url", "", "address of Jaeger's or Tempo's query API (default: "+traceQueryURL+", or http://localhost:16686)")
	flags.BoolVar(&f.follow, "follow", false, "draw the job's other traces too: of a dead letter, of its replays")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the answers")
	addOutput(cmd, &f.output)
	return cmd
}

func (p *program) trace(ctx context.Context, f traceFlags, which string) error {
	if err := knownOutput(f.output); err != nil {
		return err
	}
	if strings.TrimSpace(which) == "" {
		return usage(errors.New("the id is empty: want that of a work, an entity, a job or a trace"))
	}
	base, err := tracequery.Address(cmp.Or(f.address, p.variable(traceQueryURL), "http://localhost:16686"))
	if err != nil {
		return usage(fmt.Errorf("--url or %s: %w", traceQueryURL, err))
	}
	client := tracequery.Client{Base: base, HTTP: &http.Client{}}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	pages, err := readTraces(ctx, client, which, p.variable(serviceName), f.follow)
	if err != nil {
		return &statusError{exitFailure, explained(err, which, base)}
	}
	if f.output == "json" {
		if err := writeJSON(p.out, pages...); err != nil {
			return &statusError{exitFailure, err}
		}
		return nil
	}
	for i, page := range pages {
		if i > 0 {
			_, _ = fmt.Fprintln(p.out)
		}
		if err := p.drawTrace(page); err != nil {
			return &statusError{exitFailure, err}
		}
	}
	return nil
}

// variable returns the value of an environment variable, the last one if there are several.
func (p *program) variable(name string) string {
	found := ""
	for _, variable := range p.environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			found = value
		}
	}
	return found
}

// readTraces reads the traces that an id stands for, the oldest first: that of a trace or a job, or those of all jobs of a work
// or an entity. follow adds the other traces of their jobs.
func readTraces(ctx context.Context, client tracequery.Client, which, service string, follow bool) ([]tracePage, error) {
	ids, err := tracesOf(ctx, client, which, service)
	if err != nil {
		return nil, err
	}
	var pages []tracePage
	for i := 0; i < len(ids); i++ {
		page, err := readTrace(ctx, client, ids[i])
		if err != nil {
			return nil, err
		}
		pages = append(pages, page)
		for _, other := range page.Others {
			if follow && !slices.Contains(ids, other) {
				ids = append(ids, other)
			}
		}
	}
	slices.SortStableFunc(pages, func(a, b tracePage) int { return a.Spans[0].Start.Compare(b.Spans[0].Start) })
	return pages, nil
}

// tracesOf returns the ids of the traces that an id stands for.
func tracesOf(ctx context.Context, client tracequery.Client, which, service string) ([]string, error) {
	id := strings.ToLower(which)
	switch {
	case tracequery.IsTraceID(id):
		return []string{id}, nil
	case strings.Contains(which, "/"), strings.HasPrefix(which, "request-"): // a job's
		return []string{telemetry.TraceID(which).String()}, nil
	}
	attribute := tracequery.AttributeWork
	if !strings.HasPrefix(which, "work_") {
		attribute = tracequery.AttributeEntity
	}
	ids, err := client.Search(ctx, service, attribute, which)
	if err == nil && len(ids) == 0 {
		err = tracequery.ErrNotFound
	}
	return ids, err
}

// explained adds what may be the reason that a trace is not there.
func explained(err error, which string, base *url.URL) error {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%w: is Jaeger or Tempo at %s? Name it with --url or %s", err, base.Redacted(), traceQueryURL)
	}
	if !errors.Is(err, tracequery.ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w of %s at %s: has the job begun, is it sampled (OTEL_TRACES_SAMPLER), are traces sent there (OTEL_EXPORTER_OTLP_ENDPOINT)?",
		err, which, base.Redacted())
}

// readTrace reads a trace and looks for the others of its job.
func readTrace(ctx context.Context, client tracequery.Client, id string) (tracePage, error) {
	spans, err := client.Trace(ctx, id)
	if err != nil {
		return tracePage{}, err
	}
	page := tracePage{TraceID: id, Spans: spans, Others: []string{}}
	job, service := tracequery.Job(spans)
	page.JobID = job
	add := func(other string) {
		if other != id && !slices.Contains(page.Others, other) {
			page.Others = append(page.Others, other)
		}
	}
	for _, span := range spans {
		for _, link := range span.Links {
			add(link.TraceID)
		}
	}
	if job == "" {
		return page, nil
	}
	found, err := client.OfJob(ctx, service, job)
	if err != nil {
		page.Unsearched = err.Error()
	}
	for _, other := range found {
		add(other)
	}
	return page, nil
}

// told are the attributes that stand behind a span's name, in this order.
var told = []string{
	"ipqs_worker.outcome", "ipqs_worker.reason", "ipqs_worker.delivery", "ipqs_worker.cache", "graphql.operation.name",
	"http.response.status_code", "ipqs_worker.level", "ipqs_worker.score", "ipqs_worker.dead_letter.id",
}

// untold are values that go without saying.
var untold = map[string]bool{"ok": true, "first": true, "passed_on": true, "200": true, "miss": true}

func (p *program) drawTrace(page tracePage) error {
	begin, end, failed := page.Spans[0].Start, page.Spans[0].End, 0
	processes, origin := map[string]bool{}, map[string]string{}
	drawn := make([]tracetree.Span, 0, len(page.Spans))
	for _, s := range page.Spans {
		if s.End.After(end) {
			end = s.End
		}
		if s.Failed {
			failed++
		}
		processes[s.Service+s.Instance] = true
		for _, key := range []string{"opencti.entity.type", "opencti.mode", "opencti.trigger", "opencti.playbook.id"} {
			if value := s.Attributes[key]; value != "" {
				origin[key] = value
			}
		}
		var note []string
		for _, key := range told {
			value := s.Attributes[key]
			if value == "" || untold[value] || key == "ipqs_worker.delivery" && !strings.HasPrefix(s.Name, "wait ") {
				continue
			}
			note = append(note, value)
		}
		drawn = append(drawn, tracetree.Span{
			ID: s.ID, Parent: s.Parent, Name: s.Name, Note: strings.Join(note, " "), Start: s.Start, End: s.End, Failed: s.Failed,
		})
	}
	_, _ = fmt.Fprintf(p.out, "trace %s  job %s\n", page.TraceID, orDash(page.JobID))
	facts := []string{fmt.Sprintf("%s  spans %d, failed %d, processes %d, took %v",
		begin.Format(time.RFC3339), len(page.Spans), failed, len(processes), end.Sub(begin).Round(time.Millisecond))}
	for _, key := range []string{"opencti.entity.type", "opencti.mode", "opencti.trigger", "opencti.playbook.id"} {
		if origin[key] != "" {
			facts = append(facts, origin[key])
		}
	}
	_, _ = fmt.Fprintf(p.out, "%s\n\n", strings.Join(facts, "  "))
	if err := tracetree.Render(p.out, drawn); err != nil {
		return err
	}
	for _, s := range page.Spans {
		for _, link := range s.Links {
			if link.TraceID == page.TraceID {
				_, _ = fmt.Fprintf(p.out, "\n%s at +%v comes again after %s", s.Name, s.Start.Sub(begin).Round(time.Millisecond), page.named(link.SpanID, begin))
			} else {
				_, _ = fmt.Fprintf(p.out, "\n%s replays what ended in trace %s", s.Name, link.TraceID)
			}
		}
	}
	for _, other := range page.Others {
		_, _ = fmt.Fprintf(p.out, "\nanother trace of this job: %s", other)
	}
	if page.Unsearched != "" {
		_, _ = fmt.Fprintf(p.out, "\nother traces of this job are not known: %s", page.Unsearched)
	}
	_, err := fmt.Fprintln(p.out)
	return err
}

// named says which span of the trace has an id.
func (t tracePage) named(id string, begin time.Time) string {
	for _, s := range t.Spans {
		if s.ID == id {
			return fmt.Sprintf("%s at +%v", s.Name, s.Start.Sub(begin).Round(time.Millisecond))
		}
	}
	return "span " + id
}
