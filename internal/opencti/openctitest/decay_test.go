package openctitest

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDecay: an indicator that no score keeps valid.
func TestDecay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		score   int
		after   time.Duration
		want    int
		revoked bool
	}{
		{0, time.Minute, 20, true},
		{19, time.Minute, 20, true},
		{21, time.Minute, 21, false},
		{21, 4 * time.Hour, 20, true},
		{25, 2 * 24 * time.Hour, 25, false},
		{25, 3 * 24 * time.Hour, 20, true},
		{90, 13 * time.Hour, 80, false},
		{90, 366 * 24 * time.Hour, 20, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d after %s", tt.score, tt.after), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, _ := platform(t, "7.260817.0")
				write(t, p, own(), identity(ownID, "IPQS"), indicator(ownID, stixObject{"x_opencti_score": tt.score}))
				p.Decay(time.Now().Add(tt.after))
				o := p.Graph()[indicatorKey]
				if *o.Score != tt.want || o.Revoked != tt.revoked {
					t.Errorf("score %d, revoked %t, want %d and %t", *o.Score, o.Revoked, tt.want, tt.revoked)
				}
				if tt.score < revokeScore && !o.ValidUntil.Equal(o.ValidFrom) {
					t.Errorf("valid from %s until %s, want no time between", o.ValidFrom, o.ValidUntil)
				}
				if last := o.Decay.History[len(o.Decay.History)-1].At; tt.revoked && !last.After(o.ValidUntil) {
					t.Errorf("the last entry of the history is of %s, want one after %s", last, o.ValidUntil)
				}
			})
		})
	}
}

// TestDecay_SameScore: a source's score counts once; another one revives.
func TestDecay_SameScore(t *testing.T) {
	t.Parallel()
	decay := func(_ *testing.T, p *Platform) { p.Decay(time.Now().Add(400 * 24 * time.Hour)) }
	person := func(t *testing.T, p *Platform) {
		t.Helper()
		if !p.RevokeIndicator(indicatorID, "person") {
			t.Error("no indicator was revoked")
		}
	}
	patch := func(edit string) func(*testing.T, *Platform) {
		return func(t *testing.T, p *Platform) {
			t.Helper()
			if _, code, text := ask(t, p, `mutation { indicatorFieldPatch(id: "`+indicatorID+`", input: [`+edit+`]) { id } }`, nil); code != "" {
				t.Fatalf("refused: %s %s", code, text)
			}
		}
	}
	send := func(score int) func(*testing.T, *Platform) {
		return func(t *testing.T, p *Platform) {
			t.Helper()
			write(t, p, own(), indicator(ownID, stixObject{"x_opencti_score": score}))
		}
	}
	tests := []struct {
		name    string
		steps   []func(*testing.T, *Platform)
		score   int
		revoked bool
	}{
		{"the same score after decay", []func(*testing.T, *Platform){decay, send(77)}, 20, true},
		{"the same score after a person", []func(*testing.T, *Platform){person, send(77)}, 20, true},
		{"another score after decay", []func(*testing.T, *Platform){decay, send(81)}, 81, false},
		{"another score after a person", []func(*testing.T, *Platform){person, send(81)}, 81, false},
		{"an older score of ours", []func(*testing.T, *Platform){send(81), send(77)}, 81, false},
		{"revoked false", []func(*testing.T, *Platform){decay, patch(`{key: "revoked", value: ["false"]}`)}, 77, false},
		{"a patched score", []func(*testing.T, *Platform){decay, patch(`{key: "x_opencti_score", value: ["77"]}`)}, 20, true},
		{
			"a patched score with revoked false",
			[]func(*testing.T, *Platform){decay, patch(`{key: "x_opencti_score", value: ["77"]}, {key: "revoked", value: ["false"]}`)},
			20, false,
		},
		{"a patched score of a valid one", []func(*testing.T, *Platform){patch(`{key: "x_opencti_score", value: ["81"]}`)}, 81, false},
		{"revoked true", []func(*testing.T, *Platform){patch(`{key: "revoked", value: ["true"]}`)}, 20, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, _ := platform(t, "7.260817.0")
				write(t, p, own(), identity(ownID, "IPQS"))
				send(77)(t, p)
				time.Sleep(time.Hour) // the clock of synctest
				for _, step := range tt.steps {
					step(t, p)
				}
				o := p.Graph()[indicatorKey]
				if *o.Score != tt.score || o.Revoked != tt.revoked {
					t.Errorf("score %d, revoked %t, want %d and %t; history %+v", *o.Score, o.Revoked, tt.score, tt.revoked, o.Decay.History)
				}
				if last := o.Decay.History[len(o.Decay.History)-1].At; strings.Contains(tt.name, "person") && tt.revoked && !last.Equal(o.ValidUntil) {
					t.Errorf("the last entry of the history is of %s, want the time of valid_until, %s", last, o.ValidUntil)
				}
			})
		})
	}
}

// TestUpsert_RevokedIsComputed: revoked follows from valid_until; sent alone, it ends the validity after one second.
func TestUpsert_RevokedIsComputed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := platform(t, "7.260817.0")
		write(t, p, own(), identity(ownID, "IPQS"), indicator(ownID, stixObject{"x_opencti_score": 77}))
		now := time.Now().UTC()
		for _, tt := range []struct {
			change  stixObject
			revoked bool
		}{
			{stixObject{"x_opencti_score": 10, "revoked": true, "valid_from": now.Format(time.RFC3339)}, false},
			{stixObject{"x_opencti_score": 11, "revoked": true, "valid_from": now.Add(-time.Minute).Format(time.RFC3339)}, true},
			{stixObject{"x_opencti_score": 12}, false},
			{stixObject{"x_opencti_score": 13, "valid_from": now.Add(-time.Minute).Format(time.RFC3339), "valid_until": now.Format(time.RFC3339)}, true},
			{stixObject{"x_opencti_score": 12}, true},
		} {
			write(t, p, own(), indicator(ownID, tt.change))
			if o := p.Graph()[indicatorKey]; o.Revoked != tt.revoked {
				t.Errorf("after %v: revoked %t, want %t", tt.change, o.Revoked, tt.revoked)
			}
		}
	})
}
