package opencti_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

// A connector's life with one job in it, at a stand-in platform.
func Example() {
	ctx := context.Background()
	broker := openctitest.MemoryBroker()
	platform, err := openctitest.New(openctitest.Options{Broker: broker})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer platform.Close()
	server := httptest.NewServer(platform)
	defer server.Close()

	client, err := opencti.New(opencti.Options{URL: server.URL, Token: "a-token", HTTPClient: server.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	version, _ := client.About(ctx)
	fmt.Println("OpenCTI", version)
	registration, _ := client.Register(ctx, opencti.Connector{ID: "c1", Name: "IPQS", Scope: []string{"IPv4-Addr"}, Auto: true})
	fmt.Println("jobs come from", registration.Listen)

	// Somebody creates an observable, and the platform asks for it.
	_, _ = platform.Enrich(ctx, platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.7"}), openctitest.Auto)
	request, _ := opencti.DecodeRequest(<-broker.Jobs())
	found, _ := client.State(ctx, opencti.StateQuery{EntityID: request.EntityID, DraftID: request.DraftID})
	entity := found.Entity
	fmt.Println("asked for", entity.Type, entity.Value)

	works := opencti.NewWorks(client)
	job := opencti.WorkJob{WorkID: request.WorkID, EntityID: request.EntityID}
	_ = works.Received(ctx, job, "In hand")
	state, _ := works.Announce(ctx, job, 1)
	capabilities, _ := client.Capabilities(ctx)
	options := opencti.PushOptions{ApplicantID: registration.ConnectorUserID, Sequence: 1, Capabilities: capabilities}
	if state.Tracked {
		options.WorkID = request.WorkID
	}
	message, _ := opencti.PushMessage(options, []byte(`{"type":"bundle","id":"bundle--1","spec_version":"2.1","x_opencti_seq":1,
		"objects":[{"type":"ipv4-addr","id":"`+entity.StandardID+`","value":"198.51.100.7","x_opencti_score":88}]}`))
	_ = broker.Push(ctx, message)
	_ = works.Processed(ctx, job, "Risk CRITICAL", state)

	_ = platform.WaitWorks(ctx, 1)
	found, _ = client.State(ctx, opencti.StateQuery{EntityID: request.EntityID})
	fmt.Println("score", *found.Entity.Score)
	// Output:
	// OpenCTI 7.260817.0
	// jobs come from listen_c1
	// asked for IPv4-Addr 198.51.100.7
	// score 88
}
