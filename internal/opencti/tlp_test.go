package opencti

import (
	"errors"
	"testing"
)

func TestParseTLP(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want TLP
	}{
		{"TLP:CLEAR", TLPClear},
		{"TLP:WHITE", TLPClear},
		{"white", TLPClear},
		{"tlp:green", TLPGreen},
		{" Amber ", TLPAmber},
		{"TLP:AMBER+STRICT", TLPAmberStrict},
		{"amber+strict", TLPAmberStrict},
		{"TLP:RED", TLPRed},
	}
	for _, tt := range tests {
		if got, err := ParseTLP(tt.text); err != nil || got != tt.want {
			t.Errorf("ParseTLP(%q) = %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "TLP:", "TLP:BLACK", "TLP:TLP:RED", "PAP:RED"} {
		got, err := ParseTLP(text)
		var field *FieldError
		if got != TLPUnknown || !errors.As(err, &field) {
			t.Errorf("ParseTLP(%q) = %v, %v, want TLPUnknown and a FieldError", text, got, err)
		}
	}
}

func TestTLPAllowed(t *testing.T) {
	t.Parallel()
	levels := []TLP{TLPClear, TLPGreen, TLPAmber, TLPAmberStrict, TLPRed}
	for i, level := range levels {
		for j, ceiling := range levels {
			if got, want := level.Allowed(ceiling), i <= j; got != want {
				t.Errorf("%v.Allowed(%v) = %t, want %t", level, ceiling, got, want)
			}
		}
		if again, err := ParseTLP(level.String()); err != nil || again != level {
			t.Errorf("ParseTLP(%q) = %v, %v, want %v", level.String(), again, err, level)
		}
	}
	if TLPUnknown.Allowed(TLPRed) || TLPUnknown.Allowed(TLPUnknown) {
		t.Error("an unknown TLP marking is allowed, want refused under every ceiling")
	}
}

func TestStrictestTLP(t *testing.T) {
	t.Parallel()
	mark := func(definitions ...string) []Marking {
		markings := []Marking{{Type: "PAP", Definition: "PAP:RED"}, {Type: "statement", Definition: "TLP:RED"}}
		for _, d := range definitions {
			markings = append(markings, Marking{Type: "TLP", Definition: d})
		}
		return markings
	}
	tests := []struct {
		name      string
		markings  []Marking
		want      TLP
		wantFound bool
	}{
		{"none", nil, TLPClear, false},
		{"others only", mark(), TLPClear, false},
		{"one", mark("TLP:GREEN"), TLPGreen, true},
		{"the strictest, not the last", mark("TLP:RED", "TLP:AMBER"), TLPRed, true},
		{"an unknown one is the strictest", mark("TLP:BLACK", "TLP:RED"), TLPUnknown, true},
	}
	for _, tt := range tests {
		if got, found := StrictestTLP(tt.markings); got != tt.want || found != tt.wantFound {
			t.Errorf("%s: StrictestTLP() = %v, %t, want %v, %t", tt.name, got, found, tt.want, tt.wantFound)
		}
	}
}
