package ipqs

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func uploadOf(name, content string) *Upload {
	return &Upload{Name: name, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func TestEngines_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       Engines
	}{
		{
			"list", `[{"name":"A","detected":true,"error":false},{"name":"B","detected":"0","error":1}]`,
			Engines{{"A", True, False}, {"B", False, True}},
		},
		{"by name", `{"B":{"detected":false,"error":false},"A":{"detected":true}}`, Engines{{"A", True, Unknown}, {"B", False, False}}},
		{"an empty text for none", `[""]`, Engines{}},
		{"none", `[]`, Engines{}},
		{"no objects", `[null,7,"x",[]]`, Engines{}},
		{"nothing", `null`, nil},
		{"a text", `"Enterprise plan required"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Engines{{Name: "left over"}}
			if err := json.Unmarshal([]byte(tt.body), &got); err != nil {
				t.Fatalf("Unmarshal() = %v, want no error", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Unmarshal() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScanDate_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       ScanDate
	}{
		{
			"summer in New York", `{"date":"2026-03-29 19:40:02.000000","timezone_type":3,"timezone":"America/New_York"}`,
			ScanDateOf(time.Date(2026, 3, 29, 23, 40, 2, 0, time.UTC)),
		},
		{
			"winter in New York", `{"date":"2025-02-03 04:05:06.000000","timezone_type":3,"timezone":"America/New_York"}`,
			ScanDateOf(time.Date(2025, 2, 3, 9, 5, 6, 0, time.UTC)),
		},
		{"a zone that nobody knows", `{"date":"2025-02-03 04:05:06.000000","timezone":"Mars/Olympus"}`, ScanDate{}},
		{"text", `"2025-02-03T04:05:06+01:00"`, ScanDateOf(time.Date(2025, 2, 3, 3, 5, 6, 0, time.UTC))},
		{"text without zone", `"2025-02-03 04:05:06"`, ScanDateOf(time.Date(2025, 2, 3, 4, 5, 6, 0, time.UTC))},
		{"no date", `"yesterday"`, ScanDate{}},
		{"null", `null`, ScanDate{}},
		{"list", `[]`, ScanDate{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ScanDateOf(time.Unix(1e9, 0))
			if err := json.Unmarshal([]byte(tt.body), &got); err != nil {
				t.Fatalf("Unmarshal() = %v, want no error", err)
			}
			if !got.Equal(tt.want) {
				t.Errorf("Unmarshal() = %v, want %v", got.at, tt.want.at)
			}
		})
	}
}

func TestFile_Pending(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		file File
		want bool
	}{
		{"says so", File{Status: "Pending", TotalScans: NumberOf(3)}, true},
		{"says nothing", File{}, true},
		{"says nothing, and engines have run", File{TotalScans: NumberOf(2)}, false},
		{"says nothing, and detected something", File{Detected: True}, false},
		{"done", File{Status: "done"}, false},
		{"a word nobody has seen", File{Status: "abandoned"}, false},
	}
	for _, tt := range tests {
		if got := tt.file.Pending(); got != tt.want {
			t.Errorf("Pending() of one that %s = %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestFile_SameFile(t *testing.T) {
	t.Parallel()
	a, b := Text(strings.Repeat("a1", 32)), Text(strings.Repeat("b2", 32))
	tests := []struct {
		theirs, ours Text
		want         Bool
	}{
		{a, a, True},
		{Text(strings.ToUpper(string(a))), a, True},
		{b, a, False},
		{"", a, Unknown},
		{"hash123", a, Unknown},
		{a, "", Unknown},
	}
	for _, tt := range tests {
		f := File{SHA256: tt.theirs, OwnSHA256: tt.ours}
		if got := f.SameFile(); got != tt.want {
			t.Errorf("SameFile() of %q and %q = %v, want %v", tt.theirs, tt.ours, got, tt.want)
		}
	}
}
