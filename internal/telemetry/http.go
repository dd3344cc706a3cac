package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Call says of a request what may be told of it, without what it asks about.
type Call struct {
	// Route is the path without anything that varies, such as "/ip". It is the span's name together with the method.
	Route string
	// Operation is the GraphQL operation's name, or "" where there is none; Mutation says what kind it is.
	Operation string
	Mutation  bool
	// Unshown says that the path varies, so that Route is told in its place, and that of the answer's body not even the form
	// may be told.
	Unshown bool
}

// HTTPOptions is what a [Transport] is made of.
type HTTPOptions struct {
	// Base does the requests.
	Base   http.RoundTripper
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	// Logger gets a line for each request, at level debug.
	Logger *slog.Logger
	// Peer is what the other side is called: "ipqs", "opencti".
	Peer string
	// Call describes a request, whose body it may read from GetBody.
	Call func(*http.Request) Call
	// Show makes a text for the debug log of the first part of an answer's body. Nothing that is secret or personal may be
	// left in it. Nil shows nothing.
	Show func(body []byte) string
}

// shown is how much of an answer the debug log gets to see.
const shown = 8 << 10

// Transport is a [http.RoundTripper] that tells what it does: a client span for each request that is part of a trace (a ping
// is none), with the names of OpenTelemetry's conventions for HTTP; its duration as http.client.request.duration; and lines in the debug log. None of
// them has the query of the address, a header, or the text of an error, which may quote an answer.
type Transport struct {
	o        HTTPOptions
	tracer   trace.Tracer
	duration metric.Float64Histogram
}

// NewTransport returns a Transport. The error is the meter's.
func NewTransport(o HTTPOptions) (*Transport, error) {
	duration, err := o.Meter.Meter("opencti-ipqs-worker/http").Float64Histogram("http.client.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of requests to IPQS and OpenCTI, answers included."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 60))
	if err != nil {
		return nil, fmt.Errorf("making the metric of requests: %w", err)
	}
	return &Transport{o: o, tracer: o.Tracer.Tracer("opencti-ipqs-worker/http"), duration: duration}, nil
}

// CloseIdleConnections closes those of the transport below.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.o.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip does a request. It is over when the answer's body is read, or closed.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	call := t.o.Call(r)
	labels := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(r.Method),
		semconv.ServerAddress(r.URL.Hostname()),
		semconv.URLTemplate(call.Route),
		semconv.ServicePeerName(t.o.Peer),
	}
	if call.Operation != "" {
		labels = append(labels, semconv.GraphQLOperationName(call.Operation))
	}
	ctx, span := r.Context(), trace.SpanFromContext(context.Background())
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx, span = t.tracer.Start(ctx, r.Method+" "+call.Route, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(labels...))
	}
	x := &exchange{t: t, ctx: ctx, span: span, labels: labels, call: call, began: began, method: r.Method}
	if span.IsRecording() {
		span.SetAttributes(more(r, call)...)
		if j, ok := jobOf(ctx); ok {
			x.sent, x.request = j.sent, r.Method+" "+call.Route+" "+call.Operation
			if resends := j.sent.begin(x.request, j.Attempt); resends > 0 {
				span.SetAttributes(semconv.HTTPRequestResendCount(resends))
			}
		}
	}
	t.o.Logger.LogAttrs(ctx, slog.LevelDebug, "request", x.about()...)
	response, err := t.o.Base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		x.end(err)
		return nil, err
	}
	x.status = response.StatusCode
	x.ReadCloser, response.Body = response.Body, x
	x.showing = t.o.Show != nil && !call.Unshown && t.o.Logger.Enabled(ctx, slog.LevelDebug)
	return response, nil
}

// more are the attributes of a span that are no labels of a metric.
func more(r *http.Request, call Call) []attribute.KeyValue {
	// The convention wants the whole address, without what is secret: that is all but the route, for a key may be anywhere.
	full := r.URL.Scheme + "://" + r.URL.Host + call.Route
	if r.URL.RawQuery != "" {
		full += "?REDACTED"
	}
	set := []attribute.KeyValue{semconv.URLFull(full)}
	if port, err := strconv.Atoi(r.URL.Port()); err == nil {
		set = append(set, semconv.ServerPort(port))
	}
	switch {
	case call.Operation == "":
	case call.Mutation:
		set = append(set, semconv.GraphQLOperationTypeMutation)
	default:
		set = append(set, semconv.GraphQLOperationTypeQuery)
	}
	return set
}

// exchange is one request and its answer's body.
type exchange struct {
	io.ReadCloser
	t      *Transport
	ctx    context.Context //nolint:containedctx // the request's, whose body outlives the call
	span   trace.Span
	labels []attribute.KeyValue
	call   Call
	method string
	began  time.Time
	status int

	sent    *sent // nil where nobody counts
	request string

	showing bool
	seen    bytes.Buffer
	size    int
	once    sync.Once
}

// Read reads the answer's body.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.ReadCloser.Read(p)
	x.size += n
	if x.showing && x.seen.Len() < shown {
		x.seen.Write(p[:min(n, shown-x.seen.Len())])
	}
	switch {
	case errors.Is(err, io.EOF):
		x.end(nil)
	case err != nil:
		x.end(err)
	}
	return n, err
}

// Close closes the answer's body.
func (x *exchange) Close() error {
	err := x.ReadCloser.Close()
	x.end(nil)
	return err
}

func (x *exchange) end(err error) {
	x.once.Do(func() {
		if x.status > 0 {
			x.labels = append(x.labels, semconv.HTTPResponseStatusCode(x.status))
			x.span.SetAttributes(semconv.HTTPResponseStatusCode(x.status))
		}
		if failure := failure(err, x.status); failure != "" {
			x.labels = append(x.labels, semconv.ErrorTypeKey.String(failure))
			x.span.SetAttributes(semconv.ErrorTypeKey.String(failure))
			x.span.SetStatus(codes.Error, "")
			if x.sent != nil {
				x.sent.failed(x.request)
			}
		}
		took := time.Since(x.began)
		x.t.duration.Record(x.ctx, took.Seconds(), metric.WithAttributes(x.labels...))
		x.span.End()
		if !x.t.o.Logger.Enabled(x.ctx, slog.LevelDebug) {
			return
		}
		attrs := append(x.about(), slog.Int("status", x.status), slog.Duration("took", took), slog.Int("bytes", x.size))
		if failure := failure(err, x.status); failure != "" {
			attrs = append(attrs, slog.String("error_type", failure))
		}
		if x.showing {
			attrs = append(attrs, slog.String("body", x.t.o.Show(x.seen.Bytes())))
		}
		x.t.o.Logger.LogAttrs(x.ctx, slog.LevelDebug, "answer", attrs...)
	})
}

func (x *exchange) about() []slog.Attr {
	attrs := []slog.Attr{slog.String("peer", x.t.o.Peer), slog.String("method", x.method), slog.String("route", x.call.Route)}
	if x.call.Operation != "" {
		attrs = append(attrs, slog.String("operation", x.call.Operation))
	}
	return attrs
}

// failure is the value of error.type, one of few, or "" where nothing failed.
func failure(err error, status int) string {
	var network net.Error
	switch {
	case err == nil && status >= http.StatusBadRequest:
		return strconv.Itoa(status)
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &network):
		return "network"
	default:
		return "other"
	}
}
