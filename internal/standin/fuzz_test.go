package standin_test

import (
	"context"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

// FuzzJobMessage gives the whole connector a message of a stranger's on its listen queue: it must not panic, and the
// message must end in one way and once.
func FuzzJobMessage(f *testing.F) {
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	ends := make(chan pipeline.Outcome, 100)
	world := connector(ctx, f, standin.Options{}, func(o pipeline.Outcome) {
		if o.End != "" {
			ends <- o
		}
	})
	known := world.Platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.18.0.1"})
	for _, seed := range []string{
		"", "null", "{}", "[]", `"text"`, "\xff\x00", `{"internal":null,"event":null}`,
		`{"internal":{"work_id":"work_1"},"event":{"entity_id":"` + known + `"}}`,
		`{"internal":{"work_id":"work_1","draft_id":"d","applicant_id":"a"},"event":{"entity_id":"` + known + `","entity_type":"Url"}}`,
		`{"internal":{"work_id":1},"event":{"entity_id":["x"]}}`,
		`{"internal":{"work_id":"work_1"},"event":{"entity_id":"ipv4-addr--gone"}}`,
		`{"internal":{"playbook":{"execution_id":"e","playbook_id":"p","data_instance_id":"` + known + `","step_id":"s"}},` +
			`"event":{"entity_id":"` + known + `","bundle":{"type":"bundle","id":"bundle--1","objects":[]}}}`,
		`{"internal":{"playbook":{"execution_id":"e","playbook_id":"p","data_instance_id":"` + known + `","step_id":"s"}},` +
			`"event":{"bundle":{"type":"bundle","id":"bundle--1","objects":[{"type":"ipv4-addr","id":"` + known + `","value":"198.18.0.1"}]}}}`,
		`{"internal":{"playbook":{}},"event":{"bundle":{"objects":[null,1,"x",{"id":{}}]}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		end(ctx, t, world, ends, body)
		// Whatever came of the message is over: the next one to end is the next one sent.
		if o := end(ctx, t, world, ends, []byte("the next one")); o.End != pipeline.DeadLettered || o.Hop != "resolve" {
			t.Errorf("%q ended twice, or something else did: %+v", body, o)
		}
	})
}

func end(ctx context.Context, t *testing.T, world *standin.World, ends <-chan pipeline.Outcome, body []byte) pipeline.Outcome {
	t.Helper()
	if err := world.Send(ctx, body); err != nil {
		t.Fatal(err)
	}
	select {
	case o := <-ends:
		if o.Fault != nil && o.Fault.Reason == stages.ReasonPanic {
			t.Errorf("%q made a stage panic", body)
		}
		return o
	case <-ctx.Done():
		t.Fatalf("%q did not end", body)
		return pipeline.Outcome{}
	}
}
