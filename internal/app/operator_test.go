package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

const operatedID = "8f14e45f-ceea-467f-a8ad-7a0c5d2f6b11"

// operated is a platform and the options of a connector there.
func operated(t *testing.T) (*openctitest.Platform, Options) {
	t.Helper()
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
	return platform, Options{Logger: slog.New(slog.DiscardHandler), Config: config.Config{
		OpenCTI: config.OpenCTI{URL: server.URL, Token: config.NewSecret("token")},
		Connector: config.Connector{
			ID: operatedID, Name: "A name", Scope: []string{"Url", "IPv4-Addr"}, Auto: true, AutoUpdate: true, OnlyContextual: true,
			Callback: config.Callback{On: true, URI: "http://worker.example.com:7070", Path: "/jobs"},
		},
	}}
}

func TestOperatorReadsTheRegistration(t *testing.T) {
	t.Parallel()
	platform, o := operated(t)
	if _, err := registration(t.Context(), o); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("registration() before a worker ran = %v, want %v", err, ErrNotRegistered)
	}
	client, err := newClient(o)
	if err != nil {
		t.Fatal(err)
	}
	worker := newPresence(client, connector(o.Config.Connector), time.Minute, o.Logger)
	if err := worker.register(t.Context()); err != nil {
		t.Fatalf("registering a worker: %v", err)
	}
	before, sent := platform.Registration(operatedID), platform.Requests()["RegisterForCallback"]
	o.Config.Connector = config.Connector{ID: operatedID, Name: "Another name", Scope: []string{"Artifact"}}
	to, err := registration(t.Context(), o)
	if err != nil {
		t.Fatalf("registration() = %v", err)
	}
	if diff := cmp.Diff(before, platform.Registration(operatedID)); diff != "" {
		t.Errorf("registration() changed the registration (-before +after):\n%s", diff)
	}
	if requests := platform.Requests(); requests["RegisterForCallback"] != sent || requests["Register"] != 0 {
		t.Errorf("registration() registered: requests are %v", requests)
	}
	if changed := changes(worker.latest, to); len(changed) > 0 {
		t.Errorf("the operator is led elsewhere: %v differ", changed)
	}
}

// OpenCTI is not asked for what the options name.
func TestOperateWithBrokerOptions(t *testing.T) {
	t.Parallel()
	platform, o := operated(t)
	at, err := amqp.ParseURI(pipelinetest.AMQPURL(t))
	if err != nil {
		t.Fatal(err)
	}
	plain := false
	o.Config.MQ = config.MQ{
		Host: at.Host, Port: at.Port, VHost: at.Vhost, User: at.Username, Pass: config.NewSecret(at.Password), UseSSL: &plain,
	}
	operator, err := Operate(t.Context(), o)
	if err != nil {
		t.Fatalf("Operate() = %v", err)
	}
	defer func() { _ = operator.Close() }()
	if requests := platform.Requests(); len(requests) > 0 {
		t.Errorf("Operate() asked OpenCTI %v, want nothing", requests)
	}
	for _, topic := range pipeline.Topics(operator.Hops) {
		if _, _, err := operator.Depth(t.Context(), topic.Name); !errors.Is(err, rabbitmq.ErrNoQueue) {
			t.Errorf("Depth(%s) = %v, want %v: Operate() declares no queue", topic.Name, err, rabbitmq.ErrNoQueue)
		}
	}
	o.Config.MQ.Pass = config.Secret{}
	if _, err := Operate(t.Context(), o); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("Operate() without MQ_PASS = %v, want %v", err, ErrNotRegistered)
	}
}

func TestOperator_NamesTheMissingCapability(t *testing.T) {
	t.Parallel()
	platform, o := operated(t)
	platform.FailNext("Registered", 1, "FORBIDDEN_ACCESS")
	if _, err := Look(t.Context(), o); !errors.Is(err, opencti.ErrForbidden) || !strings.Contains(err.Error(), "the capability MODULES") {
		t.Errorf("Look() = %v, want %v with the capability MODULES", err, opencti.ErrForbidden)
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
