package health

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
)

// ServeDebug serves what only those who run the worker should reach, until ctx ends: Go's profiles under /debug/pprof/, and
// /log-level, which answers GET with the least level that is logged and takes another one by PUT:
//
//	curl -X PUT -d debug http://127.0.0.1:9096/log-level
//
// A nil level cannot be changed. Where the address is taken, that is a warning.
func ServeDebug(ctx context.Context, address string, level *slog.LevelVar, log *slog.Logger) {
	listen(ctx, address, debugMux(level, log), "profiles and the log level", log)
}

func debugMux(level *slog.LevelVar, log *slog.Logger) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if level == nil {
		return mux
	}
	mux.HandleFunc("GET /log-level", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, strings.ToLower(level.Level().String())) // they are gone otherwise
	})
	mux.HandleFunc("PUT /log-level", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
		wanted, ok := levels()[strings.ToLower(strings.TrimSpace(string(body)))]
		if err != nil || !ok {
			http.Error(w, "want debug, info, warn or error as the body", http.StatusBadRequest)
			return
		}
		was := level.Level()
		level.Set(wanted)
		log.WarnContext(r.Context(), "log level changed", slog.String("from", was.String()), slog.String("to", wanted.String()))
		_, _ = fmt.Fprintln(w, strings.ToLower(wanted.String()))
	})
	return mux
}

func levels() map[string]slog.Level {
	return map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
}
