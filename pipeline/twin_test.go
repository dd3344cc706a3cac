package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
	"opencti-ipqs-worker/stages"
)

// A message that comes again after its letter was written, as after a crash, makes the same letter again: whoever looks
// through the poison queue can tell. Another message makes another one.
func TestALetterThatIsWrittenTwiceHasOneID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		hop   string
		first *message.Message
		again *message.Message
		same  bool
	}{
		{"the same job of OpenCTI's, whose messages have no ids", "a", asked("m1", "work_1"), asked("m2", "work_1"), true},
		{"another job", "a", asked("m1", "work_1"), asked("m1", "work_2"), false},
		{"a replay of the job", "a", asked("m1", "work_1"), with(asked("m2", "work_1"), pipeline.DeadLetterAt, "2026-01-02T03:04:05.678Z"), false},
		{"another job of the same work", "a", asked("m1", "work_1"), message.NewMessage("m1", []byte(`{"internal":{"work_id":"work_1"},"event":{"entity_id":"y"}}`)), false},
		{"an unreadable message of OpenCTI's", "a", message.NewMessage("m1", []byte("{")), message.NewMessage("m2", []byte("{")), true},
		{"another unreadable message of OpenCTI's", "a", message.NewMessage("m1", []byte("{")), message.NewMessage("m1", []byte("{ ")), false},
		{"the same message between hops", "b", passed("m1", "work_1"), passed("m1", "work_1"), true},
		{"two copies of a job, which a crash has left", "b", passed("m1", "work_1"), passed("m2", "work_1"), true},
		{"another job between hops", "b", passed("m1", "work_1"), passed("m2", "work_2"), false},
		{"an unreadable message between hops", "b", message.NewMessage("m1", []byte("{")), message.NewMessage("m2", []byte("{")), true},
		{"another unreadable message between hops", "b", message.NewMessage("m1", []byte("{")), message.NewMessage("m1", []byte("[")), false},
		{"a job between hops that lacks a section, and another one", "b", message.NewMessage("m1", []byte(`{"id":"x"}`)), message.NewMessage("m1", []byte(`{"id":"x","y":1}`)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				fail := func(_ context.Context, job stages.Job) (stages.Job, error) {
					return job, &stages.Fault{Class: stages.Permanent, Reason: stages.ReasonInvalidValue}
				}
				l := start(t, &told{}, step("a", 1, fail), step("b", 1, fail))
				var letters []string
				for _, msg := range []*message.Message{tt.first, tt.again} {
					put(t, l.transport, tt.hop, msg)
					letters = append(letters, l.end().Letter)
				}
				if same := letters[0] == letters[1]; same != tt.same || len(letters[0]) != 26 {
					t.Errorf("letters are %q, want them the same: %t, in the form of ULIDs", letters, tt.same)
				}
			})
		})
	}
}

func asked(id, work string) *message.Message {
	return message.NewMessage(id, fmt.Appendf(nil, `{"internal":{"work_id":%q},"event":{"entity_id":"x"}}`, work))
}

func passed(id, work string) *message.Message {
	return with(message.NewMessage(id, fmt.Appendf(nil, `{"id":%q}`, work)), pipeline.MetadataVersion, "1")
}

func with(msg *message.Message, key, value string) *message.Message {
	msg.Metadata.Set(key, value)
	return msg
}

// What a stage has done is published again when that failed, and may have arrived both times: the next hop is told.
func TestAJobThatWasPublishedAgainIsRepeated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		failures int
		repeated bool
	}{{0, false}, {1, true}} {
		t.Run(fmt.Sprintf("after %d failures", tt.failures), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				runs := 0
				hops := []pipeline.Hop{
					step("a", 1, func(_ context.Context, job stages.Job) (stages.Job, error) { runs++; return job, nil }),
					step("b", 1, pass),
				}
				carrier := &refusing{Transport: memory.New(memory.Options{Topics: pipeline.Topics(hops)}), topic: "b", times: tt.failures}
				var repeated bool
				hops[1].Stage.Run = func(_ context.Context, job stages.Job) (stages.Job, error) {
					repeated = job.Repeated
					return job, nil
				}
				outcomes, stop := carry(t, pipeline.Options{Hops: hops, Transport: carrier})
				put(t, carrier, "a", asked("m", "work_1"))
				if o := ending(outcomes); o.End != pipeline.Published || runs != 1 || repeated != tt.repeated {
					t.Errorf("end = %+v after %d runs of the first stage, repeated: %v, want published, one run, repeated: %v", o, runs, repeated, tt.repeated)
				}
				if err := errors.Join(stop(), carrier.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
