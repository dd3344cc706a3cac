package health

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheLogLevelCanBeChanged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	level := new(slog.LevelVar)
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))
	mux := debugMux(level, logger)
	ask := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	tests := []struct {
		name, method, path, body string
		wantCode                 int
		want                     string
		wantLevel                slog.Level
	}{
		{"it is told", http.MethodGet, "/log-level", "", 200, "info", slog.LevelInfo},
		{"debug", http.MethodPut, "/log-level", "debug\n", 200, "debug", slog.LevelDebug},
		{"in capitals", http.MethodPut, "/log-level", "WARN", 200, "warn", slog.LevelWarn},
		{"none", http.MethodPut, "/log-level", "loud", 400, "want debug, info, warn or error as the body", slog.LevelWarn},
		{"too long", http.MethodPut, "/log-level", strings.Repeat("x", 1000), 400, "want debug, info, warn or error as the body", slog.LevelWarn},
		{"not by a link", http.MethodPost, "/log-level", "debug", 405, "Method Not Allowed", slog.LevelWarn},
	}
	for _, tt := range tests { // one after the other: each finds what the one before left
		code, text := ask(tt.method, tt.path, tt.body)
		if code != tt.wantCode || text != tt.want || level.Level() != tt.wantLevel {
			t.Errorf("%s: %s %s = %d %q with level %v, want %d %q with %v",
				tt.name, tt.method, tt.path, code, text, level.Level(), tt.wantCode, tt.want, tt.wantLevel)
		}
	}
	if strings.Count(log.String(), "log level changed") != 2 {
		t.Errorf("log = %s, want a line for each of the two changes", log.String())
	}
	if code, text := ask(http.MethodGet, "/debug/pprof/goroutine?debug=1", ""); code != 200 || !strings.Contains(text, "goroutine profile") {
		t.Errorf("the profile of goroutines = %d %.80q", code, text)
	}
}
