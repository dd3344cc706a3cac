package demo

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/telemetry"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// TestServe runs a worker beside the stand-ins until its jobs have made a few trips.
func TestServe(t *testing.T) {
	t.Parallel()
	url := pipelinetest.AMQPURL(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))

	where, served := make(chan []string, 1), make(chan error, 1)
	go func() {
		served <- Serve(ctx, ServeOptions{
			AMQP: url, OpenCTI: "127.0.0.1:0", IPQS: "127.0.0.1:0", Rate: 200, Logger: logger,
			Listening: func(opencti, ipqs string) { where <- []string{opencti, ipqs} },
		})
	}()
	var addresses []string
	select {
	case addresses = <-where:
	case err := <-served:
		t.Fatalf("Serve() = %v before it listened", err)
	}
	c, _, err := config.Load(config.Options{
		Path: t.TempDir() + "/config.yml", Environ: append(Environ(addresses[0], addresses[1]), "CONNECTOR_METRICS_PORT=0"),
	})
	if err != nil {
		t.Fatal(err)
	}
	tracer, _, err := telemetry.Tracing(ctx, telemetry.Options{ServiceName: "test", Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var ended atomic.Int64
	err = app.Run(running, app.Options{
		Config: c, Logger: logger, Tracer: tracer, Version: "test",
		Observe: func(pipeline.Outcome) {
			if ended.Add(1) == 20 {
				stop()
			}
		},
	})
	if n := ended.Load(); err != nil || n < 20 {
		t.Errorf("app.Run() = %v after %d trips, want no error after 20", err, n)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve() = %v, want no error when it is told to end", err)
	}
	if conn, err := net.Dial("tcp", addresses[0]); err == nil {
		_ = conn.Close()
		t.Error("the stand-in OpenCTI is still there")
	}
}

func TestServeOnATakenPort(t *testing.T) {
	t.Parallel()
	err := Serve(t.Context(), ServeOptions{AMQP: "amqp://localhost:1/", OpenCTI: "127.0.0.1:0", IPQS: "no such host:1", Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "listening for a stand-in") {
		t.Errorf("Serve() = %v, want an error about listening", err)
	}
}
