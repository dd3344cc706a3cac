package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
)

func TestNewLoggerJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		log  func(*slog.Logger)
		want string // without the time stamp
	}{
		{
			name: "nothing but a message",
			log:  func(l *slog.Logger) { l.Info("started") },
			want: `{"level":"INFO","message":"started","name":"ipqs-worker"}`,
		},
		{
			name: "attributes, groups, durations, errors",
			log: func(l *slog.Logger) {
				l.With(slog.String("hop", "lookup")).Warn("slow",
					slog.Duration("wait", 1500*time.Millisecond), slog.Any("error", errors.New("too slow")),
					slog.Group("work", slog.String("id", "w1"), slog.Duration("age", time.Minute)))
			},
			want: `{"level":"WARNING","message":"slow","name":"ipqs-worker","attributes":` +
				`{"hop":"lookup","wait":"1.5s","error":"too slow","work":{"id":"w1","age":"1m0s"}}}`,
		},
		{
			name: "attributes that are called like ours",
			log:  func(l *slog.Logger) { l.Error("e", slog.String("msg", "m"), slog.String("level", "l")) },
			want: `{"level":"ERROR","message":"e","name":"ipqs-worker","attributes":{"msg":"m","level":"l"}}`,
		},
		{
			name: "line breaks stay inside",
			log:  func(l *slog.Logger) { l.Info("a\nb", slog.String("c", "\n{}")) },
			want: `{"level":"INFO","message":"a\nb","name":"ipqs-worker","attributes":{"c":"\n{}"}}`,
		},
		{
			name: "below the level",
			log:  func(l *slog.Logger) { l.Debug("unseen") },
		},
	}
	stamp := regexp.MustCompile(`^{"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			tt.log(NewLogger(&b, slog.LevelInfo, true))
			if b.Len() > 0 && !stamp.Match(b.Bytes()) {
				t.Errorf("NewLogger() wrote %s, want it to begin with a time stamp", b.String())
			}
			got := strings.TrimSuffix(stamp.ReplaceAllString(b.String(), "{"), "\n")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("NewLogger() wrote (-want +got):\n%s", diff)
			}
			if b.Len() > 0 && !json.Valid(b.Bytes()) {
				t.Errorf("NewLogger() wrote %s, want JSON", b.String())
			}
		})
	}
}

func TestNewLoggerText(t *testing.T) {
	t.Parallel()
	var (
		b     bytes.Buffer
		level slog.LevelVar
	)
	l := NewLogger(&b, &level, false)
	l.Debug("unseen")
	level.Set(slog.LevelDebug)
	l.Debug("seen", slog.Duration("wait", time.Second))
	if got, want := b.String(), "level=DEBUG msg=seen wait=1s\n"; !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("NewLogger() wrote %q, want one line that ends in %q", got, want)
	}
}

func TestNewWatermillLogger(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	logger := NewLogger(&b, slog.LevelDebug, true)
	l := NewWatermillLogger(logger).With(watermill.LogFields{"topic": "lookup"})
	l.Info("handler added", nil)
	l.Debug("unseen", nil)
	l.Trace("unseen", nil)
	l.Error("Handler returned error", errors.New("stopping"), nil)
	l.Error("cannot publish", errors.New("closed"), watermill.LogFields{"uuid": "u1"})

	var got []map[string]any
	for line := range strings.Lines(b.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		delete(record, "timestamp")
		got = append(got, record)
	}
	want := []map[string]any{
		{"level": "DEBUG", "name": "ipqs-worker", "message": "handler added", "attributes": map[string]any{"topic": "lookup"}},
		{
			"level": "DEBUG", "name": "ipqs-worker", "message": "Handler returned error",
			"attributes": map[string]any{"topic": "lookup", "error": "stopping"},
		},
		{
			"level": "ERROR", "name": "ipqs-worker", "message": "cannot publish",
			"attributes": map[string]any{"topic": "lookup", "uuid": "u1", "error": "closed"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Watermill logged (-want +got):\n%s", diff)
	}
}

// Without a collector there are no spans, and still the lines of a job have its trace's id.
func TestLinesHaveTheTraceOfTheirJob(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   func(ctx context.Context) context.Context
		want string // empty: none
	}{
		{"of no job", func(ctx context.Context) context.Context { return ctx }, ""},
		{"of a job without a name", func(ctx context.Context) context.Context { return WithJobKey(ctx, "") }, ""},
		{"of a job", func(ctx context.Context) context.Context { return WithJobKey(ctx, "work_4711") }, TraceID("work_4711").String()},
		{
			"of a job whose trace began elsewhere",
			func(ctx context.Context) context.Context { return WithJob(ctx, Job{ID: "work_4711", Hop: "lookup"}) }, TraceID("work_4711").String(),
		},
		{
			"of a job that is traced", func(ctx context.Context) context.Context {
				return trace.ContextWithSpanContext(WithJobKey(ctx, "work_4711"),
					trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
			}, trace.TraceID{1}.String(),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			NewLogger(&b, slog.LevelInfo, true).InfoContext(tt.in(t.Context()), "answer")
			var got struct {
				Attributes struct {
					TraceID string `json:"trace_id"`
				}
			}
			if err := json.Unmarshal(b.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Attributes.TraceID != tt.want {
				t.Errorf("trace_id = %q in %s, want %q", got.Attributes.TraceID, b.String(), tt.want)
			}
		})
	}
}
