// Package standin puts stand-ins for OpenCTI and IPQS around the connector's own code, all in one process: what the demo
// shows, and what tests of the whole connector run in.
package standin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
)

// What a connector in this world is called and knows.
const (
	ConnectorID = "d3a0d3a0-0000-4000-8000-000000000001"
	Token       = "stand-in-token"
	Key         = "stand-in-key"
)

// Options says what the world is like.
type Options struct {
	// Version of OpenCTI; empty is the newest that the stand-in knows.
	Version string
	// IPQS is how IPQS behaves. Its key is [Key].
	IPQS   ipqstest.Options
	Logger *slog.Logger
}

// World is OpenCTI, IPQS, and an embedded transport between them. Close it.
type World struct {
	Platform *openctitest.Platform
	IPQS     *ipqstest.Server

	broker  *openctitest.Memory
	server  *http.Server
	address string
}

// New makes a world. Its servers listen on free ports of the loopback interface.
func New(ctx context.Context, o Options) (*World, error) {
	broker := openctitest.MemoryBroker()
	platform, err := openctitest.New(openctitest.Options{Version: o.Version, Token: Token, Broker: broker, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("making a stand-in for OpenCTI: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for OpenCTI's stand-in: %w", err)
	}
	o.IPQS.Key = Key
	w := &World{
		Platform: platform,
		IPQS:     ipqstest.NewServer(o.IPQS),
		broker:   broker,
		server:   &http.Server{Handler: platform, ReadHeaderTimeout: 10 * time.Second},
		address:  "http://" + listener.Addr().String(),
	}
	go func() { _ = w.server.Serve(listener) }() // ends with Close
	return w, nil
}

// Close ends the world.
func (w *World) Close() {
	_ = w.server.Close()
	_ = w.Platform.Close()
	w.IPQS.Close()
}

// Environ is the configuration of a connector in this world, as environment variables.
func (w *World) Environ() []string {
	return []string{
		"OPENCTI_URL=" + w.address, "OPENCTI_TOKEN=" + Token, "CONNECTOR_ID=" + ConnectorID, "CONNECTOR_AUTO=true",
		"IPQS_PRIVATE_KEY=" + Key, "IPQS_BASE_URL=" + w.IPQS.BaseURL,
	}
}

// Connect carries jobs in this process, from the platform's listen queue to its push queue. It is made to be
// app.Options.Connect.
func (w *World) Connect(ctx context.Context, _ opencti.Registration, topics []pipeline.Topic) (app.Carrier, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &carrier{Transport: memory.New(memory.Options{Topics: topics}), broker: w.broker, cancel: cancel}
	c.listening.Go(func() { c.listen(ctx, pipeline.ListenTopic) })
	return c, nil
}

// Send puts a message on the connector's listen queue as it is: the platform would not send just anything, others might.
func (w *World) Send(ctx context.Context, body []byte) error {
	return w.broker.PublishJob(ctx, ConnectorID, body)
}

// Registered waits until the connector has registered.
func (w *World) Registered(ctx context.Context) error {
	return w.Platform.Wait(ctx, func() bool { return w.Platform.Registration(ConnectorID) != nil })
}

// carrier is a memory transport that knows the way to the platform.
type carrier struct {
	*memory.Transport
	broker    *openctitest.Memory
	cancel    context.CancelFunc
	listening sync.WaitGroup
}

func (c *carrier) listen(ctx context.Context, topic string) {
	for {
		select {
		case <-ctx.Done():
			return
		case body := <-c.broker.Jobs():
			msg := message.NewMessage(watermill.NewULID(), body)
			msg.SetContext(ctx)
			if c.Publish(topic, msg) != nil {
				return // closed
			}
		}
	}
}

// Push hands each message to the platform's importer.
func (c *carrier) Push(ctx context.Context, messages [][]byte) error {
	for _, m := range messages {
		if err := c.broker.Push(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Close stops listening and closes the transport.
func (c *carrier) Close() error {
	c.cancel()
	err := c.Transport.Close()
	c.listening.Wait()
	return err
}
