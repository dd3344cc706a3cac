package app

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
	"opencti-ipqs-worker/stix"
)

// pushed is what a platform was given.
type pushed struct {
	connectorID, workID string
	bundle              []byte
	err                 error
}

func (p *pushed) PushBundle(_ context.Context, connectorID, workID string, bundle []byte) error {
	p.connectorID, p.workID, p.bundle = connectorID, workID, bundle
	return p.err
}

// TestPushJoins: what the publish stage has split arrives as one bundle, with every object and all of its text.
func TestPushJoins(t *testing.T) {
	t.Parallel()
	const bundle = `{"type":"bundle","id":"bundle--0f7b1d4e-6f3c-4d55-9c8e-5b6a7c8d9e0f","objects":[` +
		`{"type":"note","id":"note--6f0e1f4d-6f0e-4f6f-9d2b-1d3b8b2a5c11","content":"<a> & ü","object_refs":["url--3d2a1c9b-6f0e-4b57-8a44-5d1f0c7e9b21"]},` +
		`{"type":"url","id":"url--3d2a1c9b-6f0e-4b57-8a44-5d1f0c7e9b21","value":"https://example.org/?a=1&b=<2>"}]}`
	split, err := stix.Split([]byte(bundle), stix.SplitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for _, one := range split.Parts {
		message, err := wrapPart(opencti.PushOptions{WorkID: "work_1"}, one)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	to := &pushed{}
	if err := (pushing{client: to, connectorID: "connector"}).Push(t.Context(), messages); err != nil {
		t.Fatalf("Push() = %v", err)
	}
	if to.connectorID != "connector" || to.workID != "work_1" {
		t.Errorf("pushed for %q, %q, want the connector and the work", to.connectorID, to.workID)
	}
	var got struct {
		Type, ID string
		Objects  []map[string]any
	}
	if err := json.Unmarshal(to.bundle, &got); err != nil {
		t.Fatal(err)
	}
	var texts []any
	for _, object := range got.Objects {
		texts = append(texts, object["type"], object["value"], object["content"])
	}
	want := []any{"url", "https://example.org/?a=1&b=<2>", nil, "note", nil, "<a> & ü"}
	if diff := cmp.Diff(want, texts); diff != "" || got.Type != "bundle" || got.ID != "bundle--0f7b1d4e-6f3c-4d55-9c8e-5b6a7c8d9e0f" {
		t.Errorf("pushed %s (-want +got):\n%s", to.bundle, diff)
	}
}

// What comes from a draft is not put into the live data.
func TestPushKeepsADraftOut(t *testing.T) {
	t.Parallel()
	message, err := wrapPart(opencti.PushOptions{DraftID: "draft"}, []byte(`{"type":"bundle","id":"bundle--1","objects":[{}]}`))
	if err != nil {
		t.Fatal(err)
	}
	to := &pushed{}
	err = pushing{client: to}.Push(t.Context(), [][]byte{message})
	if fault := stages.AsFault(err); err == nil || fault.Class != stages.Permanent || fault.Reason != stages.ReasonCapability || to.bundle != nil {
		t.Errorf("Push() = %v, and %s is pushed, want a permanent fault for the lack of a capability", err, to.bundle)
	}
	for _, environ := range [][]string{nil, {"CONNECTOR_QUEUE_PROTOCOL=api"}} {
		chosen, err := choices(load(t, environ...))
		if err != nil || chosen.policy.LiveOnly != (environ != nil) {
			t.Errorf("LiveOnly with %q = %t, %v, want it with the API alone", environ, chosen.policy.LiveOnly, err)
		}
	}
}

func TestPushFails(t *testing.T) {
	t.Parallel()
	refused := pushing{client: &pushed{err: opencti.ErrRefused}}
	message, err := wrapPart(opencti.PushOptions{}, []byte(`{"type":"bundle","id":"bundle--1","objects":[{}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := refused.Push(t.Context(), [][]byte{message}); !errors.Is(err, opencti.ErrRefused) {
		t.Errorf("Push() = %v, want what OpenCTI said", err)
	}
	for _, messages := range [][][]byte{nil, {[]byte("{")}, {[]byte(`{"bundle":[]}`)}, {[]byte(`{"bundle":{"objects":[]}}`)}} {
		err := refused.Push(t.Context(), messages)
		if fault := stages.AsFault(err); err == nil || fault.Class != stages.Permanent {
			t.Errorf("Push(%q) = %v, want a permanent fault", messages, err)
		}
	}
}

// announced is what a platform was told of a work.
type announced struct {
	pipeline.Works
	objects int
	again   bool
}

func (a *announced) Announce(_ context.Context, job opencti.WorkJob, objects int) (opencti.WorkState, error) {
	a.objects, a.again = objects, job.Again
	return opencti.WorkState{Tracked: true}, nil
}

func TestAnnouncing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		uncounted, wary bool
		again           bool
		objects         int
		asked           bool
	}{
		{name: "RabbitMQ both ways", objects: 5},
		{name: "RabbitMQ, redelivered", again: true, objects: 5, asked: true},
		{name: "posted", wary: true, objects: 5, asked: true},
		{name: "pushed whole", uncounted: true},
		{name: "posted and pushed whole", uncounted: true, wary: true, asked: true},
	}
	for _, tt := range tests {
		var to announced
		state, err := (&announcing{Works: &to, uncounted: tt.uncounted, wary: tt.wary}).Announce(t.Context(), opencti.WorkJob{WorkID: "work_1", Again: tt.again}, 5)
		if err != nil || !state.Tracked || to.objects != tt.objects || to.again != tt.asked {
			t.Errorf("%s: Announce() = %+v, %v, told %d objects, again %t, want %d and %t", tt.name, state, err, to.objects, to.again, tt.objects, tt.asked)
		}
	}
}

// counter is a work whose expectations are read and added to, with time in between.
type counter struct {
	pipeline.Works
	expected atomic.Int64
}

func (c *counter) Announce(_ context.Context, job opencti.WorkJob, objects int) (opencti.WorkState, error) {
	missing := int64(objects)
	if job.Again {
		missing -= c.expected.Load()
	}
	time.Sleep(time.Millisecond) // of the bubble
	c.expected.Add(max(missing, 0))
	return opencti.WorkState{Tracked: true}, nil
}

// TestAnnouncedOnce: a job that is here twice at once is announced once.
func TestAnnouncedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var platform counter
		posted := works(config.Connector{Callback: config.Callback{On: true}}, &platform)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if state, err := posted.Announce(t.Context(), opencti.WorkJob{WorkID: "work_1"}, 5); err != nil || !state.Tracked {
					t.Errorf("Announce() = %v, %v, want it tracked", state, err)
				}
			})
		}
		both.Wait()
		if _, err := posted.Announce(t.Context(), opencti.WorkJob{WorkID: "work_1"}, 5); err != nil {
			t.Errorf("Announce() = %v", err)
		}
		if n := platform.expected.Load(); n != 5 {
			t.Errorf("%d objects are expected, want 5", n)
		}
	})
}
