package ipqs

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBool_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		json string
		want Bool
	}{
		{`true`, True},
		{`"true"`, True},
		{`"True"`, True},
		{`" TRUE "`, True},
		{`1`, True},
		{`"1"`, True},
		{`false`, False},
		{`"False"`, False},
		{`0`, False},
		{`"0"`, False},
		{`null`, Unknown},
		{`""`, Unknown},
		{`"N/A"`, Unknown},
		{`"Premium required."`, Unknown},
		{`"maybe"`, Unknown},
		{`2`, Unknown},
		{`[]`, Unknown},
		{`{"value":true}`, Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.json, func(t *testing.T) {
			t.Parallel()
			got := True + False // neither, so that a value left alone shows
			if err := json.Unmarshal([]byte(tt.json), &got); err != nil || got != tt.want {
				t.Errorf("Unmarshal(%s) = %v, %v, want %v", tt.json, got, err, tt.want)
			}
		})
	}
}

func TestNumber_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		json string
		want Number
	}{
		{`0`, NumberOf(0)},
		{`85`, NumberOf(85)},
		{`-118.23999786`, NumberOf(-118.23999786)},
		{`"85"`, NumberOf(85)},
		{`" 87.5 "`, NumberOf(87.5)},
		{`1e2`, NumberOf(100)},
		{`"AS64500"`, NumberOf(64500)},
		{`"as64500"`, NumberOf(64500)},
		{`null`, Number{}},
		{`"N/A"`, Number{}},
		{`"n/a"`, Number{}},
		{`""`, Number{}},
		{`"Premium required."`, Number{}},
		{`"high"`, Number{}},
		{`"NaN"`, Number{}},
		{`"0x10"`, Number{}},
		{`"1_000"`, Number{}},
		{`"\"5\""`, Number{}},
		{`"null"`, Number{}},
		{`"[1]"`, Number{}},
		{`1e999`, Number{}},
		{`true`, Number{}},
		{`[5]`, Number{}},
		{`{}`, Number{}},
	}
	for _, tt := range tests {
		t.Run(tt.json, func(t *testing.T) {
			t.Parallel()
			got := NumberOf(-1)
			if err := json.Unmarshal([]byte(tt.json), &got); err != nil || got != tt.want {
				t.Errorf("Unmarshal(%s) = %q, %v, want %q", tt.json, got, err, tt.want)
			}
		})
	}
}

func TestNumber_Int(t *testing.T) {
	t.Parallel()
	tests := []struct {
		number Number
		want   int
		known  bool
	}{
		{NumberOf(84.9), 84, true},
		{NumberOf(-0.5), -1, true},
		{NumberOf(4294967295), 4294967295, true},
		{NumberOf(0), 0, true},
		{Number{}, 0, false},
		{NumberOf(1e300), 0, false},
		{NumberOf(-1e300), 0, false},
		{NumberOf(math.NaN()), 0, false},
		{NumberOf(math.Inf(1)), 0, false},
	}
	for _, tt := range tests {
		if got, known := tt.number.Int(); got != tt.want || known != tt.known {
			t.Errorf("NumberOf(%s).Int() = %d, %t, want %d, %t", tt.number, got, known, tt.want, tt.known)
		}
	}
}

func TestText_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		json string
		want Text
	}{
		{`"Sample Fibre"`, "Sample Fibre"},
		{`" sample-httpd\r\n"`, "sample-httpd"},
		{`"line1\nline2\u2028x"`, "line1 line2 x"},
		{`"\u0000\u0007"`, ""},
		{`"02128"`, "02128"},
		{`75488`, "75488"},
		{`1e+22`, "1e+22"},
		{`"N/A"`, ""},
		{`" n/a"`, ""},
		{`"N/A\r\n"`, ""},
		{`""`, ""},
		{`null`, ""},
		{`true`, ""},
		{`["a"]`, ""},
		{`{"k":"v"}`, ""},
		{`"Premium required."`, ""},
		{`"premium REQUIRED"`, ""},
		{`"Upgraded plan required."`, ""},
		{`"Enterprise Mini or higher required."`, ""},
		{`"Enterprise L4+ required."`, ""},
		{`"\tEnterprise Plus or higher\nrequired."`, ""},
		{`"Disabled for performance. Contact support for further assistance."`, ""},
		{`"Enterprise Networks Ltd"`, "Enterprise Networks Ltd"},
		{`"Premiumhost, no password required"`, "Premiumhost, no password required"},
		{`"<b>x</b> & | y"`, "<b>x</b> & | y"},
	}
	for _, tt := range tests {
		t.Run(tt.json, func(t *testing.T) {
			t.Parallel()
			got := Text("left alone")
			if err := json.Unmarshal([]byte(tt.json), &got); err != nil || got != tt.want {
				t.Errorf("Unmarshal(%s) = %q, %v, want %q", tt.json, got, err, tt.want)
			}
		})
	}
}

func TestList_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		json string
		want List
	}{
		{`["a","b"]`, List{"a", "b"}},
		{`"a"`, List{"a"}},
		{`["", " a ", "N/A", null, 5]`, List{"a", "5"}},
		{`[]`, List{}},
		{`[""]`, List{}},
		{`null`, nil},
		{`""`, nil},
		{`"N/A"`, nil},
		{`{}`, nil},
		{`true`, nil},
		{`["Enterprise plan required to view abuse events and active proxy networks"]`, nil},
		{`"Enterprise plan required to view abuse events and active proxy networks"`, nil},
		{`["Premium required.", "Open Proxies"]`, List{"Open Proxies"}},
		{`[{"name":"Bot Attacks","last_seen":"2024-01-01"},{"last_seen":"2024-01-01"},"Open Proxies",[["x"]]]`, List{"Bot Attacks", "Open Proxies"}},
		{`{"name":"Bot Attacks"}`, List{"Bot Attacks"}},
	}
	for _, tt := range tests {
		t.Run(tt.json, func(t *testing.T) {
			t.Parallel()
			got := List{"left alone"}
			if err := json.Unmarshal([]byte(tt.json), &got); err != nil {
				t.Fatalf("Unmarshal(%s) = %v, want no error", tt.json, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Unmarshal(%s) (-want +got):\n%s", tt.json, diff)
			}
		})
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	day := time.Date(1995, 8, 14, 4, 0, 0, 0, time.UTC)
	tests := []struct {
		json  string
		want  Age
		time  time.Time
		known bool
	}{
		{`{"human":"30 years ago","timestamp":808372800,"iso":"1995-08-14T00:00:00-04:00"}`, Age{NumberOf(808372800), "1995-08-14T00:00:00-04:00"}, day, true},
		{`{"human":null,"timestamp":"808372800","iso":null}`, Age{Timestamp: NumberOf(808372800)}, day, true},
		{`{"iso":"1995-08-14T00:00:00-04:00"}`, Age{ISO: "1995-08-14T00:00:00-04:00"}, day, true},
		{`{"timestamp":-319057200}`, Age{Timestamp: NumberOf(-319057200)}, time.Unix(-319057200, 0).UTC(), true},
		{`{"human":null,"timestamp":null,"iso":null}`, Age{}, time.Time{}, false},
		{`{"iso":"yesterday"}`, Age{ISO: "yesterday"}, time.Time{}, false},
		{`null`, Age{}, time.Time{}, false},
		{`[]`, Age{}, time.Time{}, false},
		{`"30 years ago"`, Age{}, time.Time{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.json, func(t *testing.T) {
			t.Parallel()
			got := Age{ISO: "left alone"}
			if err := json.Unmarshal([]byte(tt.json), &got); err != nil || got != tt.want {
				t.Fatalf("Unmarshal(%s) = %v, %v, want %v", tt.json, got, err, tt.want)
			}
			if at, known := got.Time(); !at.Equal(tt.time) || known != tt.known {
				t.Errorf("Time() of %s = %v, %t, want %v, %t", tt.json, at, known, tt.time, tt.known)
			}
		})
	}
}
