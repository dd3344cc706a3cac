package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/cenkalti/backoff/v4"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// dialTimeout bounds a connection's start: TCP, TLS and AMQP handshakes.
	dialTimeout = 30 * time.Second
	// writeTimeout bounds one write to the socket. Without it a dead network holds a writer, and with it amqp091-go's lock
	// of the channel, which the library needs to give up the connection.
	writeTimeout = 30 * time.Second
	// closeTimeout bounds the goodbye to the broker.
	closeTimeout = 3 * time.Second
)

// link is a connection that comes back: it dials, watches, and dials again after a pause.
type link struct {
	name     string // what the connection is for, "consume" or "publish"
	config   wamqp.ConnectionConfig
	password string
	log      *slog.Logger

	mu sync.Mutex
	// conn is nil while there is no connection; then err says why and down since when.
	conn *amqp.Connection
	err  error
	down time.Time
	// blocked is closed when the broker takes publications again; nil while it does. reason is the broker's.
	blocked chan struct{}
	reason  string
	// changed is closed, and replaced, whenever conn or blocked changes.
	changed chan struct{}
}

func newLink(name string, config wamqp.ConnectionConfig, password string, log *slog.Logger) *link {
	return &link{
		name:     name,
		config:   config,
		password: password,
		log:      log.With(slog.String("connection", name)),
		err:      errors.New("connecting"),
		down:     time.Now(),
		changed:  make(chan struct{}),
	}
}

// run keeps the connection up until ctx ends, and closes it.
func (l *link) run(ctx context.Context) {
	pauses := newBackOff(l.config.Reconnect)
	for ctx.Err() == nil {
		conn, raw, err := l.dial(ctx)
		if err != nil {
			if ctx.Err() != nil { // Whatever the broker made of the interruption.
				err = ErrClosed
			}
			l.lost(redact(err, l.password))
			pause(ctx, pauses.NextBackOff())
			continue
		}
		pauses.Reset()
		l.watch(ctx, conn, raw)
		pause(ctx, pauses.NextBackOff()) // Also if the broker takes connections and drops them at once.
	}
}

// dial makes one attempt, which ends with ctx. raw is the socket.
func (l *link) dial(ctx context.Context) (conn *amqp.Connection, raw net.Conn, err error) {
	var config amqp.Config
	if l.config.AmqpConfig != nil {
		config = *l.config.AmqpConfig
	}
	if l.config.TLSConfig != nil {
		config.TLSClientConfig = l.config.TLSConfig
	}
	if config.TLSClientConfig != nil {
		config.TLSClientConfig = config.TLSClientConfig.Clone() // amqp091-go writes the server's name into it.
	}
	if config.Properties == nil {
		config.Properties = amqp.NewConnectionProperties()
		config.Properties.SetClientConnectionName("ipqs-worker " + l.name)
	}
	dial := config.Dial
	if dial == nil {
		dial = func(network, addr string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: dialTimeout}
			socket, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			// For the handshakes; amqp091-go lifts it after them.
			return socket, socket.SetDeadline(time.Now().Add(dialTimeout))
		}
	}
	stop := func() bool { return true }
	config.Dial = func(network, addr string) (net.Conn, error) {
		socket, err := dial(network, addr)
		if err != nil {
			return nil, err
		}
		raw = socket
		stop = context.AfterFunc(ctx, func() { _ = socket.Close() }) // It can only be closed already.
		return newSocket(socket, writeTimeout), nil
	}
	conn, err = amqp.DialConfig(l.config.AmqpURI, config)
	if !stop() && err == nil {
		err = errors.Join(context.Cause(ctx), conn.CloseDeadline(time.Now()))
	}
	if err != nil && raw != nil {
		_ = raw.Close() // It can only be closed already.
	}
	return conn, raw, err
}

// watch follows the connection until it is lost or ctx ends.
func (l *link) watch(ctx context.Context, conn *amqp.Connection, raw net.Conn) {
	closes := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	l.connected(conn)
	for {
		select {
		case err := <-closes:
			if err == nil {
				l.lost(errors.New("the connection was closed"))
				return
			}
			l.lost(redact(err, l.password))
			return
		case b, ok := <-blocks:
			if !ok {
				blocks = nil
				continue
			}
			l.setBlocked(b.Active, b.Reason)
		case <-ctx.Done():
			l.lost(ErrClosed)
			kill := time.AfterFunc(closeTimeout, func() { _ = raw.Close() })
			// An error means that the broker did not answer in time; the connection is over all the same.
			_ = conn.CloseDeadline(time.Now().Add(closeTimeout))
			kill.Stop()
			_ = raw.Close()
			return
		}
	}
}

func (l *link) connected(conn *amqp.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.err = conn, nil
	l.notify()
	l.log.Info("connected to RabbitMQ")
}

func (l *link) lost(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.err != nil && l.err.Error() == err.Error()
	switch {
	case errors.Is(err, ErrClosed):
	case l.conn != nil:
		l.down = time.Now()
		l.log.Warn("lost the connection to RabbitMQ", slog.Any("error", err))
	case !known:
		l.log.Warn("no connection to RabbitMQ", slog.Any("error", err))
	}
	l.conn, l.err = nil, err
	l.unblock()
	l.notify()
}

func (l *link) setBlocked(active bool, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if active {
		if l.blocked == nil {
			l.blocked = make(chan struct{})
		}
		l.reason = reason
		l.log.Warn("RabbitMQ blocks publishing", slog.String("reason", reason))
	} else {
		l.unblock()
		l.log.Info("RabbitMQ takes publications again")
	}
	l.notify()
}

// unblock and notify want the lock held.
func (l *link) unblock() {
	if l.blocked != nil {
		close(l.blocked)
		l.blocked, l.reason = nil, ""
	}
}

func (l *link) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// state returns nil while the connection is up and not blocked.
func (l *link) state() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.conn == nil:
		return fmt.Errorf("%w (%s): %w", ErrNotConnected, l.name, l.err)
	case l.blocked != nil:
		return fmt.Errorf("%w: %s", ErrBlocked, l.reason)
	}
	return nil
}

// unblocked returns a channel that is closed when the broker takes publications again; nil while it does.
func (l *link) unblocked() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocked
}

// connection returns the connection, waiting for one until ctx ends.
func (l *link) connection(ctx context.Context) (*amqp.Connection, error) {
	for {
		l.mu.Lock()
		conn, err, changed := l.conn, l.err, l.changed
		l.mu.Unlock()
		if conn != nil && !conn.IsClosed() { // Else watch is about to say so.
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%s): %w", ErrNotConnected, l.name, err)
		}
	}
}

// connectionWithin returns the connection, waiting for one until it has been lost for so long. While it is blocked, it
// waits as long as that lasts.
func (l *link) connectionWithin(ctx context.Context, wait time.Duration) (*amqp.Connection, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.mu.Lock()
		conn, err, down, blocked, changed := l.conn, l.err, l.down, l.blocked, l.changed
		l.mu.Unlock()
		if conn != nil && !conn.IsClosed() && blocked == nil {
			return conn, nil
		}
		var expired <-chan time.Time
		if conn == nil {
			timer.Reset(time.Until(down.Add(wait)))
			expired = timer.C
		}
		select {
		case <-changed:
		case <-expired:
			return nil, fmt.Errorf("%w (%s): %w", ErrNotConnected, l.name, err)
		case <-ctx.Done():
			return nil, ErrClosed
		}
	}
}

// newBackOff returns growing pauses with jitter, without end: those of config, or 200 ms to 10 s.
func newBackOff(config *wamqp.ReconnectConfig) backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 200 * time.Millisecond
	b.Multiplier = 2
	b.MaxInterval = 10 * time.Second / 3 * 2 // The jitter adds up to half of it.
	if config != nil && config.BackoffInitialInterval > 0 && config.BackoffMultiplier >= 1 {
		b.InitialInterval = config.BackoffInitialInterval
		b.RandomizationFactor = config.BackoffRandomizationFactor
		b.Multiplier = config.BackoffMultiplier
		b.MaxInterval = config.BackoffMaxInterval
	}
	b.MaxElapsedTime = 0
	b.Reset()
	return b
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
