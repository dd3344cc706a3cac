package pipeline_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

func TestReadDeadLetterReadsAnything(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	tests := []struct {
		name     string
		metadata message.Metadata
		want     pipeline.DeadLetter
	}{
		{"a stranger's", message.Metadata{}, pipeline.DeadLetter{Hop: "lookup"}},
		{
			"nonsense",
			message.Metadata{
				pipeline.DeadLetterAttempts: "many", pipeline.DeadLetterFirstAt: "yesterday", "traceparent": "00-1-2-3",
				pipeline.MetadataAnswered: "perhaps", pipeline.DeadLetterTrace: "none",
			},
			pipeline.DeadLetter{Hop: "lookup"},
		},
		{
			"of a worker that traces nothing",
			message.Metadata{pipeline.DeadLetterTrace: "0af7651916cd43dd8448eb211c80319c"},
			pipeline.DeadLetter{Hop: "lookup", TraceID: "0af7651916cd43dd8448eb211c80319c"},
		},
		{
			"ours",
			message.Metadata{
				pipeline.DeadLetterHop: "publish", pipeline.DeadLetterReason: "timeout", pipeline.DeadLetterClass: "transient",
				pipeline.DeadLetterError: "no answer", pipeline.DeadLetterAttempts: "7",
				pipeline.DeadLetterFirstAt: "2026-01-02T03:04:05.678Z", pipeline.DeadLetterAt: "2026-01-02T04:04:05.678+01:00",
				pipeline.DeadLetterJob: "job", pipeline.DeadLetterWorkID: "work", pipeline.DeadLetterEntityID: "entity",
				pipeline.DeadLetterEntityType: "Url", pipeline.DeadLetterVersion: "1.2.3", pipeline.MetadataAnswered: "true",
				"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			},
			pipeline.DeadLetter{
				Hop: "publish", Reason: stages.ReasonTimeout, Class: stages.Transient, Error: "no answer", Attempts: 7,
				FirstAt: at, LastAt: at, JobID: "job", WorkID: "work", EntityID: "entity", EntityType: "Url",
				TraceID: "0af7651916cd43dd8448eb211c80319c", Version: "1.2.3", Answered: true,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			msg := message.NewMessage("id", []byte("body"))
			msg.Metadata = tt.metadata
			tt.want.ID, tt.want.Body, tt.want.Metadata = "id", []byte("body"), tt.metadata
			if diff := cmp.Diff(tt.want, pipeline.ReadDeadLetter("lookup.poison", msg)); diff != "" {
				t.Errorf("ReadDeadLetter() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReplaySaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, at, body, to, want string }{
		{"where it was", "lookup", "anything", "lookup", ""},
		{"the first hop, where it was", "resolve", "\x00", "resolve", ""},
		{"the first hop", "lookup", `{"id":"w","request":{"id":"entity"}}`, "resolve", ""},
		{"a hop in between", "publish", `{"id":"w","request":{"id":"entity"}}`, "lookup", "it can go to publish, where it was given up, or to resolve"},
		{"ahead", "resolve", `{}`, "lookup", "no other hop finds what it needs"},
		{"no job", "lookup", "[1,2]", "resolve", "reading its body, which is to say what was asked"},
		{"a job that says nothing", "lookup", `{"id":"w"}`, "resolve", "field request.id is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			letter := pipeline.ReadDeadLetter(tt.at+".poison", message.NewMessage("id", []byte(tt.body)))
			msg, err := letter.Replay(tt.to)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Replay(%s) error = %v, want none", tt.to, err)
			case tt.want == "" && tt.at == tt.to && string(msg.Payload) != tt.body:
				t.Errorf("Replay(%s) = %s, want the body byte for byte", tt.to, msg.Payload)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Replay(%s) error = %v, want %q", tt.to, err, tt.want)
			}
		})
	}
}

// A replay begins anew: its attempts, and its trace, which says where it comes from.
func TestAReplayBeginsAnew(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"b", "resolve"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				var fault error = &stages.Fault{Class: stages.Transient, Reason: stages.ReasonUnavailable, Err: errors.New("down")}
				var repeated []bool
				first := step("a", 1, pass)
				if to == "resolve" {
					first.Stage.Name = to
				}
				l := start(t, &told{}, first, patient("b", func(_ context.Context, job stages.Job) (stages.Job, error) {
					repeated = append(repeated, job.Repeated)
					return job, fault
				}, 5*time.Second))
				put(t, l.transport, first.Name(), message.NewMessage("m", []byte(
					`{"internal":{"work_id":"work_1","draft_id":"draft"},"event":{"entity_id":"ipv4-addr--1","entity_type":"IPv4-Addr"}}`)))
				if o := l.end(); o.End != pipeline.DeadLettered || o.Attempts != 4 {
					t.Fatalf("end = %+v, want dead-lettered after 4 attempts", o)
				}
				letter := pipeline.ReadDeadLetter("b.poison", l.transport.DeadLetters("b.poison")[0])
				for _, key := range []string{pipeline.MetadataAttempts, pipeline.MetadataLater, pipeline.MetadataFirstAt} {
					if letter.Metadata.Get(key) != "" {
						t.Errorf("the letter has %s, which is of the way there", key)
					}
				}
				l.spans.Reset()
				repeated, fault = nil, nil
				msg, err := letter.Replay(to)
				if err != nil {
					t.Fatal(err)
				}
				put(t, l.transport, to, msg)
				o := l.end()
				if o.End != pipeline.Published || o.Attempts != 1 || o.Job.ID != "work_1/ipv4-addr--1/draft" || o.Job.Request.DraftID != "draft" {
					t.Errorf("end of the replay = %+v, want work_1 published at its first attempt", o)
				}
				if len(repeated) != 1 || !repeated[0] {
					t.Errorf("the replay was told that the job is repeated: %v, want true", repeated)
				}
				if err := l.stop(); err != nil {
					t.Error(err)
				}
				links := 0
				for _, span := range l.spans.GetSpans() {
					if span.SpanContext.TraceID().String() == letter.TraceID {
						t.Errorf("%s is in the letter's trace, want a new one", span.Name)
					}
					for _, link := range span.Links {
						links++
						if link.SpanContext.TraceID().String() != letter.TraceID {
							t.Errorf("%s links to %s, want the letter's trace %s", span.Name, link.SpanContext.TraceID(), letter.TraceID)
						}
					}
				}
				if links != 1 {
					t.Errorf("%d links, want one, of the replay's first span", links)
				}
			})
		})
	}
}

// Wherever a playbook's letter is replayed to, a step that has its answer gets no other.
func TestAReplayFromTheBeginningAnswersNoPlaybookAgain(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{true, false} {
		t.Run(strconv.FormatBool(answered), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				lookup := w.lookup
				w.lookup = func(context.Context) (*ipqs.Report, error) { return nil, ipqs.ErrItem }
				w.hears = func(int) error {
					if answered {
						return nil
					}
					return errors.Join(&stages.Fault{Class: stages.Permanent, Reason: stages.ReasonContract})
				}
				transport := w.memory()
				outcomes, stop := w.run(transport, 0)
				ask(t, transport)
				if o := ending(outcomes); o.End != pipeline.DeadLettered {
					t.Fatalf("end = %+v, want dead-lettered", o)
				}
				letter := pipeline.ReadDeadLetter("lookup.poison", transport.DeadLetters("lookup.poison")[0])
				if letter.Answered != answered {
					t.Errorf("the letter says that the step was answered: %v, want %v", letter.Answered, answered)
				}
				time.Sleep(time.Hour) // until somebody replays it, in a bubble
				w.lookup, w.hears = lookup, func(int) error { return nil }
				msg, err := letter.Replay(pipeline.FirstHop)
				if err != nil {
					t.Fatal(err)
				}
				put(t, transport, pipeline.FirstHop, msg)
				want := map[bool]pipeline.End{true: pipeline.Skipped, false: pipeline.Published}[answered]
				if o := ending(outcomes); o.End != want {
					t.Errorf("end of the replay = %+v, want %s", o, want)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				w.heard(time.Now())
			})
		})
	}
}
