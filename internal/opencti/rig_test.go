package opencti_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

const (
	token       = "d434ce02-58b1-4a8d-8b0f-000000000000"
	connectorID = "0d0c7a2c-2f9e-4f11-8c3e-1f1d7e6d4b10"
)

// releases are one or more of each kind that works have: before works could die, the untracked hole with each of its rules,
// and after.
var releases = []string{
	"5.4.1", "5.12.33", "6.0.0", "6.4.0", "6.8.6", "6.8.7", "6.8.10", "6.9.28", "7.260318.0", "7.260423.0", "7.260428.0", "7.260507.0",
	"7.260510.0", "7.260609.0", "7.260615.0", "7.260817.0",
}

// rig is a registered connector at a stand-in platform.
type rig struct {
	t        *testing.T
	platform *openctitest.Platform
	broker   *openctitest.Memory
	client   *opencti.Client
	works    *opencti.Works
	userID   string
	has      opencti.Capabilities
	log      *bytes.Buffer
}

func newRig(t *testing.T, version string) *rig {
	t.Helper()
	broker := openctitest.MemoryBroker()
	platform, err := openctitest.New(openctitest.Options{Version: version, Token: token, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(platform)
	t.Cleanup(func() {
		server.Close()
		_ = platform.Close()
	})
	r := &rig{t: t, platform: platform, broker: broker, log: &bytes.Buffer{}}
	r.client, err = opencti.New(opencti.Options{
		URL: server.URL, Token: token, HTTPClient: server.Client(), Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	registration, err := r.client.Register(t.Context(), opencti.Connector{
		ID: connectorID, Name: "IPQS", Scope: []string{"IPv4-Addr"}, Auto: true, AutoUpdate: true, PlaybookCompatible: true,
	})
	if err != nil {
		t.Fatalf("Register() failed: %v", err)
	}
	r.userID, r.works = registration.ConnectorUserID, opencti.NewWorks(r.client)
	if r.has, err = r.client.Capabilities(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// onEach runs a test at a platform of each release.
func onEach(t *testing.T, versions []string, test func(t *testing.T, r *rig)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, newRig(t, version))
		})
	}
}

// since reports whether the platform is this release or a newer one.
func (r *rig) since(version string) bool {
	r.t.Helper()
	bound, err := opencti.ParseVersion(version)
	r.must(err)
	return r.platform.Version().Compare(bound) >= 0
}

// entity reads an observable, and nothing that the connector writes about it.
func (r *rig) entity(id, draftID string) (opencti.Entity, error) {
	state, err := r.client.State(r.t.Context(), opencti.StateQuery{EntityID: id, DraftID: draftID})
	return state.Entity, err
}

// job has an observable enriched because somebody asks for it, and returns the request as decoded.
func (r *rig) job(value string) opencti.Request { return r.request(value, openctitest.Manual) }

// workJob is job, as the job's work knows it.
func (r *rig) workJob(value string) opencti.WorkJob {
	r.t.Helper()
	request := r.job(value)
	return opencti.WorkJob{WorkID: request.WorkID, EntityID: request.EntityID}
}

// sharing returns two jobs that share a work.
func (r *rig) sharing(one, other string) (opencti.WorkJob, opencti.WorkJob) {
	r.t.Helper()
	r.platform.ShareWorks(2)
	defer r.platform.ShareWorks(0)
	a, b := r.workJob(one), r.workJob(other)
	if a.WorkID != b.WorkID || a.EntityID == b.EntityID {
		r.t.Fatalf("jobs = %+v and %+v, want two that share a work", a, b)
	}
	return a, b
}

// untracked publishes n objects of a job whose work has ended: nothing is announced, they do not name the work, and the job
// ends.
func (r *rig) untracked(job opencti.WorkJob, value string, n int) {
	r.t.Helper()
	state, err := r.works.Announce(r.t.Context(), job, n)
	r.must(err)
	if state.Tracked {
		r.t.Fatalf("Announce(%+v) = %+v, want it untracked: its work has ended", job, state)
	}
	r.push("", value, n)
	r.must(r.works.Processed(r.t.Context(), job, "done", state))
}

// again is the job when it may have been here before.
func again(job opencti.WorkJob) opencti.WorkJob {
	job.Again = true
	return job
}

func (r *rig) request(value string, trigger openctitest.Trigger) opencti.Request {
	r.t.Helper()
	id := r.platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: value})
	if _, err := r.platform.Enrich(r.t.Context(), id, trigger); err != nil {
		r.t.Fatal(err)
	}
	request, err := opencti.DecodeRequest(<-r.broker.Jobs())
	if err != nil {
		r.t.Fatal(err)
	}
	return request
}

// push publishes objects from to before to of a work, which has to be empty where works are not tracked.
func (r *rig) push(workID, value string, n int) {
	r.t.Helper()
	for i := range n {
		object := fmt.Sprintf(`{"type":"bundle","id":"bundle--0f7b1d4e-6f3c-4d55-9c8e-5b6a7c8d9e0f","spec_version":"2.1","x_opencti_seq":1,`+
			`"objects":[{"type":"note","id":"note--%s-%d","spec_version":"2.1","content":"x"}]}`, value, i)
		message, err := opencti.PushMessage(opencti.PushOptions{
			ApplicantID: r.userID, WorkID: workID, Sequence: i + 1, Capabilities: r.has,
		}, []byte(object))
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.broker.Push(r.t.Context(), message); err != nil {
			r.t.Fatal(err)
		}
	}
}

// pushBundle hands over a whole bundle for a job, up to where it is to be ended.
func (r *rig) pushBundle(job opencti.WorkJob, bundle string) opencti.WorkState {
	r.t.Helper()
	workID := job.WorkID
	r.must(r.works.Received(r.t.Context(), job, "received"))
	job.Again = true
	state, err := r.works.Announce(r.t.Context(), job, 0)
	r.must(err)
	if !state.Tracked {
		workID = ""
	}
	r.must(r.client.PushBundle(r.t.Context(), connectorID, workID, []byte(bundle)))
	return state
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) announce(job opencti.WorkJob, n int) opencti.WorkState {
	r.t.Helper()
	state, err := r.works.Announce(r.t.Context(), job, n)
	r.must(err)
	if state.Tracked != r.has.Tracked {
		r.t.Fatalf("Announce().Tracked = %t, want %t", state.Tracked, r.has.Tracked)
	}
	return state
}

// tracked is the work's id where messages have to carry it.
func (r *rig) tracked(job opencti.WorkJob) string {
	if r.has.Tracked {
		return job.WorkID
	}
	return ""
}

// wait waits for a condition, and shows the works when it does not come.
func (r *rig) wait(what string, done func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.platform.Wait(ctx, done); err != nil {
		r.t.Fatalf("waiting until %s: %v; works: %+v", what, err, r.platform.Works())
	}
}

// ended waits until the work is complete, without the clean-up's help, and n objects were imported.
func (r *rig) ended(job opencti.WorkJob, n int) openctitest.Work {
	r.t.Helper()
	workID := job.WorkID
	r.wait("the work is complete", func() bool {
		w, _ := r.platform.Work(workID)
		return w.Status == "complete" && len(r.platform.Imported()) == n
	})
	w, _ := r.platform.Work(workID)
	if w.Forced || w.Dropped > 0 {
		r.t.Errorf("work %+v was forced or lost objects, want neither", w)
	}
	if complaints := r.platform.Complaints(); len(complaints) > 0 {
		r.t.Errorf("the platform complains: %q", complaints)
	}
	return w
}
