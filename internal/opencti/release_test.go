package opencti_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

// TestBaselineOfEveryRelease: what is the same since 5.4: registration and ping, the works' mutations, the envelope, the
// names of exchanges and queues, ids that are the platform's.
func TestBaselineOfEveryRelease(t *testing.T) {
	t.Parallel()
	onEach(t, releases, func(t *testing.T, r *rig) {
		registration, err := r.client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS", Scope: []string{"IPv4-Addr"}})
		r.must(err)
		names := []string{
			registration.Listen, registration.ListenExchange, registration.ListenRouting,
			registration.Push, registration.PushExchange, registration.PushRouting,
		}
		want := []string{
			"listen_" + connectorID, "amqp.connector.exchange", "listen_routing_" + connectorID,
			"push_" + connectorID, "amqp.worker.exchange", "push_routing_" + connectorID,
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
		_, err = r.client.Ping(t.Context(), connectorID, "")
		r.must(err)
		request := r.job("198.51.100.7")
		if want := "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db"; request.EntityID != want {
			t.Errorf("the job is about %s, want %s", request.EntityID, want)
		}
		job := opencti.WorkJob{WorkID: request.WorkID, EntityID: request.EntityID}
		r.must(r.works.Received(t.Context(), job, "received"))
		state := r.announce(job, 2)
		r.push(r.tracked(job), "a", 2)
		r.must(r.works.Processed(t.Context(), job, "done", state))
		w := r.ended(job, 2)
		said := []openctitest.WorkMessage{{Message: "received"}, {Message: "done (" + job.EntityID + ")"}}
		if r.has.Tracked {
			said = []openctitest.WorkMessage{
				{Message: "received"}, {Message: "Publishing 2 objects for " + job.EntityID + "."}, {Message: "done (" + job.EntityID + ", 2 announced)"},
			}
		}
		if diff := cmp.Diff(said, w.Messages); diff != "" {
			t.Errorf("messages of the work (-want +got):\n%s", diff)
		}
	})
}

// TestValuesAreAsThePlatformHasThem: from 6.2.5 on it lower-cases some. Both are read as they are, and the id is the
// platform's, never computed from the value.
func TestValuesAreAsThePlatformHasThem(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"6.2.4": "MiXed.Example", "6.2.5": "mixed.example", "7.260817.0": "mixed.example"} {
		r := newRig(t, version)
		id := r.platform.AddObservable(openctitest.Observable{Type: "Domain-Name", Value: "MiXed.Example"})
		entity, err := r.entity(id, "")
		if err != nil || entity.Value != want || entity.StandardID != id {
			t.Errorf("%s: State() = %q, %s, %v, want %q, %s", version, entity.Value, entity.StandardID, err, want, id)
		}
	}
}

// TestEveryMessageHasOneObject: then it does not matter which releases' workers split a message of several, announce what
// they split, or honour no_split.
func TestEveryMessageHasOneObject(t *testing.T) {
	t.Parallel()
	const two = `{"type":"bundle","id":"bundle--1","objects":[{"type":"note","id":"note--1"},{"type":"note","id":"note--2"}]}`
	for _, version := range releases {
		v, err := opencti.ParseVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		o := opencti.PushOptions{ApplicantID: "u", Sequence: 1, Capabilities: v.Capabilities()}
		if body, err := opencti.PushMessage(o, []byte(two)); err == nil {
			t.Errorf("%s: PushMessage() of two objects = %s, want an error", version, body)
		}
	}
}
