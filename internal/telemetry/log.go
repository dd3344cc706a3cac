package telemetry

import (
	"io"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
)

// NewLogger returns a logger that writes one record a line to w, from level on.
//
// With asJSON, a record is what OpenCTI's Python helper writes, so that what operators built on it goes on working:
// timestamp (UTC), level (DEBUG, INFO, WARNING, ERROR), name, message, and everything else under attributes. Durations
// are texts such as 1.5s. Without asJSON it is slog's text form. In both a line that is about a job says so: [WithJob].
func NewLogger(w io.Writer, level slog.Leveler, asJSON bool) *slog.Logger {
	if !asJSON {
		return slog.New(jobHandler{slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})})
	}
	handler := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: asHelper})
	return slog.New(jobHandler{handler}.
		WithAttrs([]slog.Attr{slog.String("name", "ipqs-worker")}).
		WithGroup("attributes"))
}

// asHelper gives slog's own attributes the names and forms that OpenCTI's helper has for them.
func asHelper(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("timestamp", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z"))
	case slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok && level == slog.LevelWarn {
			return slog.String(a.Key, "WARNING") // as Python calls it
		}
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// NewWatermillLogger returns a logger for Watermill that writes to l. What Watermill calls information is about its own
// insides (a handler added, a subscriber started), so all but its errors goes one level down. So does that a handler
// returned an error: the hop has logged it already, with what becomes of the job, and at a stop it is no error at all.
func NewWatermillLogger(l *slog.Logger) watermill.LoggerAdapter {
	return told{watermill.NewSlogLoggerWithLevelMapping(l, map[slog.Level]slog.Level{
		slog.LevelInfo:  slog.LevelDebug,
		slog.LevelDebug: watermill.LevelTrace,
	})}
}

// told knows what the hops log themselves.
type told struct{ watermill.LoggerAdapter }

func (t told) Error(msg string, err error, fields watermill.LogFields) {
	if msg == "Handler returned error" {
		t.Info(msg, fields.Add(watermill.LogFields{"error": err}))
		return
	}
	t.LoggerAdapter.Error(msg, err, fields)
}

func (t told) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return told{t.LoggerAdapter.With(fields)}
}
