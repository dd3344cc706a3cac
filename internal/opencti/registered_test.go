package opencti_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

func TestRegistered(t *testing.T) {
	t.Parallel()
	for _, version := range append([]string{"6.5.7", "6.8.9"}, releases...) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, version)
			full := opencti.Connector{
				ID: connectorID, Name: "A name", Scope: []string{"Url", "IPv4-Addr"}, Auto: true, AutoUpdate: true, OnlyContextual: true,
				PlaybookCompatible: true, ListenCallbackURI: "http://worker.example.com:7070/jobs",
			}
			registration, err := r.client.Register(t.Context(), full)
			r.must(err)
			registration.JWKS, registration.State = "", ""
			want := opencti.Registered{Connector: full, Type: opencti.ConnectorType, Registration: registration, Active: true}
			if r.has.AutoUpdate {
				want.EnrichmentResolution = opencti.EnrichmentResolution
			}
			want.Connector.AutoUpdate = r.has.AutoUpdate
			want.Connector.PlaybookCompatible = r.has.PlaybookCompatible
			if !r.has.ListenCallbackURI {
				want.Connector.ListenCallbackURI = ""
			}
			requests := r.platform.Requests()
			before := r.platform.Registration(connectorID)
			got, err := r.client.Registered(t.Context(), connectorID)
			r.must(err)
			if since := time.Since(got.Updated); since < 0 || since > time.Minute {
				t.Errorf("Updated = %v, want about now", got.Updated)
			}
			got.Updated = time.Time{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Registered() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, r.platform.Registration(connectorID)); diff != "" {
				t.Errorf("Registered() changed the registration (-before +after):\n%s", diff)
			}
			for _, name := range []string{"Register", "RegisterForCallback"} {
				if now := r.platform.Requests()[name]; now != requests[name] {
					t.Errorf("Registered() sent %s", name)
				}
			}
			if _, err := r.client.Registered(t.Context(), "another"); !errors.Is(err, opencti.ErrNotFound) {
				t.Errorf("Registered() of an unknown connector = %v, want ErrNotFound", err)
			}
		})
	}
}

// A field that the platform lacks, although its release has it, is left out of the next request.
func TestRegisteredWithoutField(t *testing.T) {
	t.Parallel()
	platform, err := openctitest.New(openctitest.Options{Version: "6.0.10", Token: token, Broker: openctitest.MemoryBroker()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = platform.Close() })
	server := httptest.NewServer(claiming(t, platform, openctitest.DefaultVersion))
	t.Cleanup(server.Close)
	client, err := opencti.New(opencti.Options{URL: server.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS", Auto: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Registered(t.Context(), connectorID)
	if err != nil || !got.Connector.Auto || got.EnrichmentResolution != "" {
		t.Errorf("Registered() = %+v, %v, want it with what a release of 6.0.10 has", got, err)
	}
}
