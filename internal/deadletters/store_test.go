package deadletters_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

func TestList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		filter deadletters.Filter
		want   string
	}{
		{"all", deadletters.Filter{}, "L1 L2 L3 P1 P2"},
		{"hop", deadletters.Filter{Hops: []string{"publish"}}, "P1 P2"},
		{"two hops", deadletters.Filter{Hops: []string{"publish", "lookup", "score"}}, "L1 L2 L3 P1 P2"},
		{"reason", deadletters.Filter{Reasons: []string{"timeout"}}, "L2 L3 P2"},
		{"either reason", deadletters.Filter{Reasons: []string{"contract", "invalid_value"}}, "L1 P1"},
		{"type in another case", deadletters.Filter{Types: []string{"ipv4-addr"}}, "L1 L3"},
		{"older", deadletters.Filter{Older: 48 * time.Hour}, "L1 P1"},
		{"newer", deadletters.Filter{Newer: 2 * time.Hour}, "L3 P2"},
		{"between", deadletters.Filter{Older: time.Hour, Newer: 72 * time.Hour}, "L2 P1 P2"},
		{"all at once", deadletters.Filter{Hops: []string{"lookup"}, Reasons: []string{"timeout"}, Types: []string{"Url"}}, "L2"},
		{"ids", deadletters.Filter{IDs: []string{"P2", "l1", "X9"}}, "L1 P2"},
		{"none", deadletters.Filter{Reasons: []string{"auth"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, b := newStore()
			before := b.sum()
			if diff := cmp.Diff(tt.want, strings.Join(list(t, s, tt.filter), " ")); diff != "" {
				t.Errorf("List() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, b.sum()); diff != "" {
				t.Errorf("List() changed what there is (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	s, _ := newStore()
	tally, err := s.List(t.Context(), deadletters.Filter{IDs: []string{"L2", "nowhere"}}, func(pipeline.DeadLetter) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%v; %v; %v", tally.Done, tally.Seen, tally.Missing)
	if want := "1 (lookup 1; timeout 1); 5 (lookup 3, publish 2; timeout 3, contract 1, invalid_value 1); [nowhere]"; got != want {
		t.Errorf("Tally = %s, want %s", got, want)
	}
}

// What is in a poison queue need not be a letter of ours.
func TestStrangersInAPoisonQueue(t *testing.T) {
	t.Parallel()
	s, b := newStore()
	stranger := message.NewMessage("S1", []byte("\xff\x00 no JSON"))
	liar := message.NewMessage("S2", nil)
	liar.Metadata.Set(pipeline.DeadLetterHop, "nowhere")
	b.queues["score.poison"] = []*message.Message{stranger, liar}
	if diff := cmp.Diff([]string{"S1", "S2"}, list(t, s, deadletters.Filter{Hops: []string{"score"}})); diff != "" {
		t.Errorf("letters of score (-want +got):\n%s", diff)
	}
	if got := list(t, s, deadletters.Filter{Hops: []string{"score"}, Older: time.Nanosecond}); got != nil {
		t.Errorf("letters of score of an age = %v, want none: they have none", got)
	}
	if _, err := s.Replay(t.Context(), deadletters.Filter{Hops: []string{"score"}}, deadletters.Replay{}); err != nil {
		t.Fatalf("Replay() = %v", err)
	}
	if got := b.replayed("score"); !slices.Equal(got, []string{"S1", "S2"}) {
		t.Errorf("replayed to score: %v, want S1 S2", got)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	s, _ := newStore()
	got, err := s.Find(t.Context(), "P1", deadletters.Filter{})
	if err != nil || got.ID != "P1" || got.Hop != "publish" || got.Reason != stages.ReasonContract {
		t.Errorf("Find(P1) = %+v, %v", got, err)
	}
	for _, f := range []deadletters.Filter{{Hops: []string{"lookup"}}, {Reasons: []string{"timeout"}}} {
		if _, err := s.Find(t.Context(), "P1", f); !errors.Is(err, deadletters.ErrNotFound) {
			t.Errorf("Find(P1) among %+v = %v, want %v", f, err, deadletters.ErrNotFound)
		}
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	s, b := newStore()
	tally, err := s.Drop(t.Context(), deadletters.Filter{Reasons: []string{"timeout"}})
	if err != nil || tally.Done.Total != 3 {
		t.Errorf("Drop() = %v, %v, want 3 done", tally.Done, err)
	}
	if diff := cmp.Diff([]string{"L1", "P1"}, b.sum()); diff != "" {
		t.Errorf("letters left (-want +got):\n%s", diff)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		filter          deadletters.Filter
		replay          deadletters.Replay
		resolve, lookup string
		publish         string
		left            string
	}{
		{"all", deadletters.Filter{}, deadletters.Replay{}, "", "L1 L2 L3", "P1 P2", ""},
		{"some", deadletters.Filter{Reasons: []string{"timeout"}}, deadletters.Replay{}, "", "L2 L3", "P2", "L1 P1"},
		{"at most", deadletters.Filter{}, deadletters.Replay{Limit: 4}, "", "L1 L2 L3", "P1", "P2"},
		{"from the first hop", deadletters.Filter{IDs: []string{"P1", "L1"}}, deadletters.Replay{From: "resolve"}, "L1 P1", "", "", "L2 L3 P2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, b := newStore()
			previewed := 0
			preview, err := s.Preview(t.Context(), tt.filter, tt.replay, func(pipeline.DeadLetter) error { previewed++; return nil })
			if err != nil || len(b.queues["lookup"])+len(b.queues["publish"])+len(b.queues["resolve"]) > 0 {
				t.Fatalf("Preview() = %v, and queues %v", err, b.queues)
			}
			tally, err := s.Replay(t.Context(), tt.filter, tt.replay)
			if err != nil || tally.Done.Total != preview.Done.Total || tally.Done.Total != previewed {
				t.Errorf("Replay() = %v, %v, want as in the preview: %v", tally.Done, err, preview.Done)
			}
			if want := tt.replay.Limit == 0; tally.Whole != want || preview.Whole != want {
				t.Errorf("Whole = %v in the replay, %v in the preview, want %v", tally.Whole, preview.Whole, want)
			}
			left := append(b.ids("lookup.poison"), b.ids("publish.poison")...)
			got := []string{
				strings.Join(b.replayed("resolve"), " "), strings.Join(b.replayed("lookup"), " "),
				strings.Join(b.replayed("publish"), " "), strings.Join(left, " "),
			}
			if diff := cmp.Diff([]string{tt.resolve, tt.lookup, tt.publish, tt.left}, got); diff != "" {
				t.Errorf("resolve, lookup, publish, letters left (-want +got):\n%s", diff)
			}
		})
	}
}

// A letter that can't go where it is to go stays, and does not keep the others.
func TestReplayOfWhatCannotBeReplayed(t *testing.T) {
	t.Parallel()
	s, b := newStore()
	b.queues["lookup.poison"][1].Payload = []byte("not a job")
	tally, err := s.Replay(t.Context(), deadletters.Filter{Hops: []string{"lookup"}}, deadletters.Replay{From: "resolve"})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.replayed("resolve"); !slices.Equal(got, []string{"L1", "L3"}) {
		t.Errorf("replayed %v, want L1 L3", got)
	}
	if len(tally.Refused) != 1 || !strings.Contains(tally.Refused[0].Error(), "L2") {
		t.Errorf("refused: %v, want one error that names L2", tally.Refused)
	}
	if got := b.ids("lookup.poison"); !slices.Equal(got, []string{"L2"}) {
		t.Errorf("letters left %v, want L2", got)
	}
}

// Wherever it is interrupted, the letters and the replays are together what they were.
func TestReplayInterrupted(t *testing.T) {
	t.Parallel()
	for n := range 5 {
		s, b := newStore()
		before := b.sum()
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		_, err := s.Replay(ctx, deadletters.Filter{}, deadletters.Replay{Each: func(pipeline.DeadLetter) {
			if seen++; seen > n {
				cancel()
			}
		}})
		cancel()
		if n < 4 && !errors.Is(err, context.Canceled) {
			t.Errorf("Replay() cancelled after %d = %v, want %v", n, err, context.Canceled)
		}
		if diff := cmp.Diff(before, b.sum()); diff != "" {
			t.Errorf("after %d letters: letters and replays (-want +got):\n%s", n, diff)
		}

		s, b = newStore()
		b.refuse = func(string) error {
			if n--; n < 0 {
				return errBroken
			}
			return nil
		}
		if _, err := s.Replay(t.Context(), deadletters.Filter{}, deadletters.Replay{}); !errors.Is(err, errBroken) {
			t.Errorf("Replay() over a broken connection = %v, want %v", err, errBroken)
		}
		if diff := cmp.Diff(before, b.sum()); diff != "" {
			t.Errorf("letters and replays after a broken connection (-want +got):\n%s", diff)
		}
	}
}

func TestReplayAtARate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newStore()
		began := time.Now()
		var at []time.Duration
		_, err := s.Replay(t.Context(), deadletters.Filter{}, deadletters.Replay{Rate: 2, Each: func(pipeline.DeadLetter) {
			at = append(at, time.Since(began))
		}})
		if err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("letters went at (-want +got):\n%s", diff)
		}
	})
}

// A letter that a dying worker wrote twice is one letter: listed once, replayed once, and gone altogether.
func TestALetterThatIsThereTwice(t *testing.T) {
	t.Parallel()
	twins := func() (deadletters.Store, *box) {
		s, b := newStore()
		second := letter("L2", "lookup", stages.ReasonTimeout, "Url", time.Hour) // of a little later
		second.Payload = append(second.Payload, ' ')
		other := letter("L1", "lookup", stages.ReasonTimeout, "Url", time.Hour) // a stranger's, under an id that is taken
		other.Metadata.Set(pipeline.DeadLetterJob, "another")
		b.queues["lookup.poison"] = append(b.queues["lookup.poison"], second, other)
		return s, b
	}
	s, b := twins()
	if diff := cmp.Diff([]string{"L1", "L2", "L3", "L1", "P1", "P2"}, list(t, s, deadletters.Filter{})); diff != "" {
		t.Errorf("List() (-want +got):\n%s", diff)
	}
	if n := len(b.queues["lookup.poison"]); n != 5 {
		t.Errorf("%d letters are there after a look, want all 5", n)
	}
	if n, err := s.AtMost(t.Context(), deadletters.Filter{Hops: []string{"lookup"}}, deadletters.Replay{}); n != 5 || err != nil {
		t.Errorf("AtMost() = %d, %v, want 5", n, err)
	}
	for _, tt := range []struct {
		name   string
		filter deadletters.Filter
		replay deadletters.Replay
		twins  int
		left   string
		sent   string
	}{
		{"all", deadletters.Filter{}, deadletters.Replay{}, 1, "", "L1 L2 L3 L1"},
		{"it alone", deadletters.Filter{IDs: []string{"L2"}}, deadletters.Replay{}, 1, "L1 L3 L1", "L2"},
		{"up to the first of them", deadletters.Filter{}, deadletters.Replay{Limit: 2}, 0, "L3 L2 L1", "L1 L2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, b := twins()
			tally, err := s.Replay(t.Context(), tt.filter, tt.replay)
			if err != nil || tally.Twins != tt.twins {
				t.Errorf("Replay() = %+v, %v, want %d twins", tally, err, tt.twins)
			}
			left, sent := strings.Join(b.ids("lookup.poison"), " "), strings.Join(b.replayed("lookup"), " ")
			if left != tt.left || sent != tt.sent {
				t.Errorf("left %q and sent %q, want %q and %q", left, sent, tt.left, tt.sent)
			}
		})
	}
	s, b = twins()
	if _, err := s.Drop(t.Context(), deadletters.Filter{IDs: []string{"L2"}}); err != nil || slices.Contains(b.ids("lookup.poison"), "L2") {
		t.Errorf("Drop() = %v and left %q, want both of the letter gone", err, b.ids("lookup.poison"))
	}
}
