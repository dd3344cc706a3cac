package config

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMinScores(t *testing.T) {
	t.Parallel()
	scores := func(all int, single map[string]int) map[string]int {
		scores := map[string]int{"ip": all, "email": all, "phone": all, "url": all, "leak": all, "file": all}
		maps.Copy(scores, single)
		return scores
	}
	for value, want := range map[string]map[string]int{
		"0":                    scores(0, nil),
		"26":                   scores(26, nil),
		" 30 , URL = 75 ":      scores(30, map[string]int{"url": 75}),
		"url=75,30":            scores(30, map[string]int{"url": 75}),
		"file=100":             scores(26, map[string]int{"file": 100}),
		"":                     nil,
		"101":                  nil,
		"-1":                   nil,
		"26.5":                 nil,
		"26,domain=3":          nil,
		"26,":                  nil,
		"url=":                 nil,
		"99999999999999999999": nil,
	} {
		got, err := parseMinScores(value)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
			t.Errorf("parseMinScores(%q) error = %v (-want +got):\n%s", value, err, diff)
		}
	}
}
