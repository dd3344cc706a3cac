//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	tests := []struct {
		runs []float64
		want float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3},
	}
	for _, tt := range tests {
		if got := median(tt.runs); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.runs, got, tt.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for i := range 200 {
		times = append(times, time.Duration(200-i)*time.Millisecond)
	}
	for percent, want := range map[float64]float64{50: 100, 99: 198, 100: 200} {
		if got := percentile(times, percent); got != want {
			t.Errorf("percentile(%v) = %v ms, want %v", percent, got, want)
		}
	}
}

// What is compared takes turns, and begins at either end as often.
func TestTurns(t *testing.T) {
	t.Parallel()
	var order []string
	b := New(Options{Rounds: 3})
	if err := b.turns(t.Context(), 2, func(i int) error { order = append(order, "ab"[i:i+1]); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, ""); got != "abbaab" {
		t.Errorf("turns = %s, want abbaab", got)
	}
	broken := errors.New("broken")
	if err := b.turns(t.Context(), 2, func(int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("turns() = %v, want %v", err, broken)
	}
}

// A row that fails is in the report; what it should have reached is no error.
func TestReport(t *testing.T) {
	t.Parallel()
	b := New(Options{Only: []string{"whole"}, Logger: slog.New(slog.DiscardHandler)})
	report, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	row := Row{Name: "a figure", Target: "≥ 2"}
	row.add("ours", "jobs/s", 1)
	row.add("ours", "jobs/s", 3)
	row.add("ours", "jobs/s", 2)
	row.reach(row.of("ours", "jobs/s") >= 3, "%.0f", row.of("ours", "jobs/s"))
	report.Rows = append(report.Rows, row)
	var markdown, encoded bytes.Buffer
	if err := errors.Join(report.WriteMarkdown(&markdown), report.WriteJSON(&encoded)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| whole worker | ≥ 500 jobs/s, ≤ 2 ms CPU per job |  | failed |", "No figure: " + errNoWorker.Error(),
		"| a figure | ≥ 2 | 2 | **no** |", "| ours | jobs/s | 2 | 1, 3, 2 |",
	} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &markdown)
		}
	}
	var again Report
	if err := json.Unmarshal(encoded.Bytes(), &again); err != nil || len(again.Rows) != 2 || *again.Rows[1].Met {
		t.Errorf("the report in JSON = %s, %v, want both rows, the second short of its target", &encoded, err)
	}
	if _, err := New(Options{Only: []string{"hole"}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "hops-classic") {
		t.Errorf("Run() of an unknown row = %v, want an error that names those there are", err)
	}
}

// The real clients understand the stand-ins, and are counted.
func TestStandins(t *testing.T) {
	t.Parallel()
	s, err := NewStandins(map[string]any{"listen": "listen_1", "connection": map[string]any{"host": "127.0.0.1", "port": 5672}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	client, err := opencti.New(opencti.Options{URL: server.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	registration, err := client.Register(ctx, opencti.Connector{ID: connectorID, Name: "bench"})
	if err != nil || registration.Listen != "listen_1" {
		t.Errorf("Register() = %+v, %v, want the queue given", registration, err)
	}
	for n := range kinds {
		request, err := opencti.DecodeRequest(job(n, false, time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		state, err := client.State(ctx, opencti.StateQuery{EntityID: request.EntityID})
		if entity := state.Entity; err != nil || entity.StandardID != request.EntityID || entity.Type != request.EntityType || entity.Value == "" {
			t.Errorf("State(%s) = %+v, %v, want a %s", request.EntityID, state, err, request.EntityType)
		}
		if err := opencti.NewWorks(client).Processed(ctx, opencti.WorkJob{WorkID: request.WorkID}, "done", opencti.WorkState{}); err != nil {
			t.Errorf("Processed() = %v", err)
		}
	}
	response, err := http.Get(server.URL + "/control/state?times=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var state State
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	if state.Processed != len(kinds) || len(state.Took) != len(kinds) || state.First.Before(state.Registered) {
		t.Errorf("state = %+v, want %d works, begun after the registration", state, len(kinds))
	}
}
