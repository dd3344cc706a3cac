package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/time/rate"

	"opencti-ipqs-worker/internal/callback"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/memory"
)

// A callback is the way that jobs come where CONNECTOR_LISTEN_PROTOCOL is API: OpenCTI's workers post them to us. On
// RabbitMQ they go into a queue of ours for the first hop, and are safe there; within the process they are safe when they
// have ended.

// called is a carrier whose jobs are posted by OpenCTI's workers, instead of consumed from OpenCTI's queue.
type called struct {
	Carrier
	*inbox
	server *callback.Server
	attend func() bool // stops waiting for the end of the session
}

// listen has jobs posted to the carrier from now on. When ctx ends, no more are taken.
func listen(ctx context.Context, o Options, p *presence, carrier Carrier, first string, untilEnd bool) (*called, error) {
	own := callback.Token(o.Config.OpenCTI.Token.Reveal())
	keys := callback.NewKeys(p.jwks, p.renew)
	// A platform that was upgraded a moment ago comes with tokens of another kind.
	seldom := rate.Sometimes{Interval: time.Minute}
	signed := func() bool { has, _ := p.identity(); return has.CallbackJWT }
	if signed() {
		if err := keys.Check(); err != nil {
			return nil, err
		}
	}
	secured, err := callbackTLS(o.Config.Connector.Callback)
	if err != nil {
		return nil, err
	}
	inbox := newInbox(first, carrier.Publish, untilEnd)
	server, err := callback.Listen(ctx, callback.Options{
		Address: net.JoinHostPort("", strconv.Itoa(o.Config.Connector.Callback.Port)),
		Path:    o.Config.Connector.Callback.Path,
		TLS:     secured,
		Authorize: func(token string) error {
			if signed() {
				return keys.Authorize(token)
			}
			err := own(token)
			if err != nil { // anybody can come with a wrong one
				seldom.Do(func() { p.renew("a job came under another token than ours") })
			}
			return err
		},
		Accept:   inbox.take,
		MaxBytes: opencti.MaxRequestBytes,
		Logger:   o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("CONNECTOR_LISTEN_PROTOCOL_API_PORT: %w", err)
	}
	return &called{Carrier: carrier, inbox: inbox, server: server, attend: context.AfterFunc(ctx, server.Drain)}, nil
}

// Declare declares the queues, the first hop's among them, and then accepts jobs.
func (c *called) Declare(ctx context.Context, topics ...pipeline.Topic) error {
	if err := c.Carrier.Declare(ctx, topics...); err != nil {
		return err
	}
	c.begin()
	return nil
}

// SetWindow implements [pipeline.Narrower].
func (c *called) SetWindow(topic string, n int) { narrow(c.Carrier, topic, n) }

// narrow passes on what only some carriers can do.
func narrow(carrier Carrier, topic string, n int) {
	if narrower, ok := carrier.(pipeline.Narrower); ok {
		narrower.SetWindow(topic, n)
	}
}

// Ready returns nil while jobs are taken and carried.
func (c *called) Ready() error { return errors.Join(c.server.Ready(), c.Carrier.Ready()) }

// Close answers the workers that still wait, whose jobs stay with OpenCTI, and closes the carrier.
func (c *called) Close() error {
	c.attend()
	return errors.Join(c.server.Close(), c.Carrier.Close())
}

func callbackTLS(c config.Callback) (*tls.Config, error) {
	if !c.SSL {
		return nil, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.Cert), []byte(c.Key.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("pairing LISTEN_PROTOCOL_API_SSL_CERT and LISTEN_PROTOCOL_API_SSL_KEY: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// embedded carries jobs within the process, for a connector that reaches no RabbitMQ. It is no way into OpenCTI.
type embedded struct {
	*memory.Transport
	poison map[string]bool
}

func newEmbedded(o Options, topics []pipeline.Topic) embedded {
	e := embedded{
		Transport: memory.New(memory.Options{Topics: topics, DrainTimeout: o.Config.Worker.ShutdownTimeout}),
		poison:    make(map[string]bool),
	}
	for _, topic := range topics {
		if topic.Prefetch == 0 && topic.Delay == 0 {
			e.poison[topic.Name] = true
		}
	}
	return e
}

// Publish keeps no dead letters: nobody could read them, and they would pile up until the process ends. What there is to
// know of one is in the log and in the work that it ended; its job can be asked for again in OpenCTI.
func (e embedded) Publish(topic string, messages ...*message.Message) error {
	if e.poison[topic] {
		return nil
	}
	return e.Transport.Publish(topic, messages...)
}

// Push is never called: results go in over the API.
func (embedded) Push(context.Context, [][]byte) error {
	return errors.New("there is no RabbitMQ to push to")
}

// jwks is what the latest registration told of the keys that callbacks are signed with.
func (p *presence) jwks() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest.JWKS
}

// callbackURI is what we register as the callback, "" for none.
func callbackURI(c config.Callback) string {
	if !c.On {
		return ""
	}
	return strings.TrimSuffix(c.URI, "/") + c.Path
}

// observed tells the carrier of every trip too, if it wants to know.
func observed(carrier Carrier, observe func(pipeline.Outcome)) func(pipeline.Outcome) {
	observer, ok := carrier.(interface {
		Observe(outcome pipeline.Outcome)
	})
	switch {
	case !ok:
		return observe
	case observe == nil:
		return observer.Observe
	}
	return func(outcome pipeline.Outcome) {
		observer.Observe(outcome)
		observe(outcome)
	}
}
