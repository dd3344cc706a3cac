package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/pipeline"
)

// A letter of a worker that traces nothing leads to the lines of its job all the same.
func TestRowsHaveATrace(t *testing.T) {
	t.Parallel()
	traced := "0af7651916cd43dd8448eb211c80319c"
	tests := []struct {
		name   string
		letter pipeline.DeadLetter
		want   string
	}{
		{"traced", pipeline.DeadLetter{ID: "l", JobID: "work_1", TraceID: traced}, traced},
		{"not traced", pipeline.DeadLetter{ID: "l", JobID: "work_1"}, telemetry.TraceID("work_1").String()},
		{"of no job", pipeline.DeadLetter{ID: "l"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			row, flush, err := (&deadLetters{program: &program{stdio: stdio{out: &out}}}).rows("json")
			if err != nil {
				t.Fatal(err)
			}
			if err := row(tt.letter); err != nil {
				t.Fatal(err)
			}
			if err := flush(); err != nil {
				t.Fatal(err)
			}
			var got struct {
				TraceID string `json:"trace_id"`
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.TraceID != tt.want {
				t.Errorf("rows(json) wrote trace_id %q in %s, want %q", got.TraceID, out.String(), tt.want)
			}
		})
	}
}
