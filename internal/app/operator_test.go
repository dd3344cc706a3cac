package app

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

// An operator registers with the very fields that a worker registers with, so that nothing changes for it.
func TestOperatorRegistersAsWorkersDo(t *testing.T) {
	t.Parallel()
	const id = "8f14e45f-ceea-467f-a8ad-7a0c5d2f6b11"
	platform, err := openctitest.New(openctitest.Options{Token: "token", Broker: openctitest.MemoryBroker()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(platform)
	t.Cleanup(func() {
		server.Close()
		if err := platform.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	o := Options{Logger: slog.New(slog.DiscardHandler), Config: config.Config{
		OpenCTI: config.OpenCTI{URL: server.URL, Token: config.NewSecret("token")},
		Connector: config.Connector{
			ID: id, Name: "A name", Scope: []string{"Url", "IPv4-Addr"}, Auto: true, AutoUpdate: true, OnlyContextual: true,
			Callback: config.Callback{On: true, URI: "http://worker.example.com:7070", Path: "/jobs"},
		},
	}}
	client, err := newClient(o)
	if err != nil {
		t.Fatal(err)
	}
	worker := newPresence(client, connector(o.Config.Connector), time.Minute, o.Logger)
	if err := worker.register(t.Context()); err != nil {
		t.Fatalf("registering a worker: %v", err)
	}
	before := platform.Registration(id)
	to, err := registered(t.Context(), o, client)
	if err != nil {
		t.Fatalf("registered() = %v", err)
	}
	if diff := cmp.Diff(before, platform.Registration(id)); diff != "" {
		t.Errorf("the operator's registration differs from the worker's (-worker +operator):\n%s", diff)
	}
	if changed := changes(worker.latest, to); len(changed) > 0 {
		t.Errorf("the operator is led elsewhere: %v differ", changed)
	}
}

func TestOperateSaysWhyNot(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	tests := []struct {
		name   string
		ctx    context.Context //nolint:containedctx // one a case
		config config.Config
		want   string
	}{
		{
			"no RabbitMQ", t.Context(),
			config.Config{Connector: config.Connector{PushByAPI: true, Callback: config.Callback{On: true}}},
			"this connector has no queues: with CONNECTOR_LISTEN_PROTOCOL=API and CONNECTOR_QUEUE_PROTOCOL=api",
		},
		{
			"no OpenCTI", stopped,
			config.Config{OpenCTI: config.OpenCTI{URL: "http://opencti.invalid", Token: config.NewSecret("planted-token")}},
			"asking OpenCTI where the queues are: ",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Operate(tt.ctx, Options{Config: tt.config, Logger: slog.New(slog.DiscardHandler)})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "planted-token") {
				t.Errorf("Operate() = %v, want %s", err, tt.want)
			}
		})
	}
}
