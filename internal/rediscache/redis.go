package rediscache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/sony/gobreaker"

	"opencti-ipqs-worker/internal/credit"
)

const (
	// Far above what Redis takes, and below what a job would notice.
	dialTimeout = 2 * time.Second
	opTimeout   = 2 * time.Second
	// A Redis that failed so many times in a row is left alone for so long.
	failures = 3
	leaveFor = 5 * time.Second
	// How often an idle process looks whether Redis is there, so that it knows before a job wants to.
	watchEvery = 5 * time.Second
)

// away is what the log and [Redis.Ready] say while Redis is.
const away = "Redis does not answer: answers, credits and pace are this process' own until it does"

var errAway = errors.New(away)

// Options say where Redis is and what is kept there.
type Options struct {
	// URL is redis://user:password@host:port/database, rediss:// for TLS, unix:// for a socket; valkey and valkeys are the
	// same as redis and rediss.
	URL string
	// Account is the account's API key: keys in Redis begin with a hash of it.
	Account string
	// Local is where answers are kept in this process.
	Local  credit.Store
	Logger *slog.Logger
}

// Redis is a connection to Redis, and what stands in for it while it is away. Close it.
type Redis struct {
	client  *redis.Client
	breaker *gobreaker.CircuitBreaker
	prefix  string
	local   credit.Store
	log     *slog.Logger

	watchEvery time.Duration
}

// Open makes a Redis. It connects when it is first used, so an error is about the URL. It does not quote that, which may
// hold a password.
func Open(o Options) (*Redis, error) {
	logging.Disable() // the library's own log goes to standard error, in a form of its own
	options, err := redis.ParseURL(scheme(o.URL))
	if err != nil {
		return nil, errors.New("URL of the cache: want redis://user:password@host:port/database, or rediss:// for TLS")
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = dialTimeout, opTimeout, opTimeout, opTimeout
	options.MaxRetries = -1 // there is something better to do
	options.ContextTimeoutEnabled = true
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	r := &Redis{
		client: redis.NewClient(options),
		// In braces: what a script touches is in one place of a cluster.
		prefix: "ipqs-worker:{" + credit.Hide(o.Account, "account")[:16] + "}:",
		local:  o.Local,
		log:    o.Logger,

		watchEvery: watchEvery,
	}
	r.breaker = gobreaker.NewCircuitBreaker(gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     leaveFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
		IsSuccessful: func(err error) bool {
			return err == nil || errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled)
		},
		OnStateChange: r.changed,
	})
	return r, nil
}

func scheme(url string) string {
	if rest, ok := strings.CutPrefix(url, "valkey"); ok {
		return "redis" + rest
	}
	return url
}

// Close closes the connections.
func (r *Redis) Close() error {
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("closing the connections to Redis: %w", err)
	}
	return nil
}

// changed logs that Redis is gone, and that it is back. It runs under the breaker's lock.
func (r *Redis) changed(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed:
		r.log.Warn(away)
	case to == gobreaker.StateClosed:
		r.log.Info("Redis answers again: answers, credits and pace are shared")
	}
}

// Watch asks Redis again and again whether it is there, until ctx ends: a process without jobs would not notice.
func (r *Redis) Watch(ctx context.Context) {
	ticker := time.NewTicker(r.watchEvery)
	defer ticker.Stop()
	for {
		r.do(ctx, func(ctx context.Context) error { return r.client.Ping(ctx).Err() })
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Ready returns nil while Redis is used, else why not. It asks nobody.
func (r *Redis) Ready() error {
	if r.breaker.State() == gobreaker.StateClosed {
		return nil
	}
	return errAway
}

// do runs one operation, and reports whether it could be done. That something is not there is no failure.
func (r *Redis) do(ctx context.Context, operation func(ctx context.Context) error) bool {
	_, err := r.breaker.Execute(func() (any, error) {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		return nil, operation(ctx)
	})
	if err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests) {
		r.log.DebugContext(ctx, "an operation of Redis failed", slog.Any("error", err))
	}
	return err == nil
}

// Ping asks the Redis of a URL whether it is there, and takes who says so. The error does not quote the URL.
func Ping(ctx context.Context, url string) error {
	r, err := Open(Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { _ = r.client.Close() }() // nothing was done over it
	if err := r.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("asking Redis: %w", err)
	}
	return nil
}
