//go:build unix

package redisnode_test

import (
	"errors"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"opencti-ipqs-worker/internal/redisnode"
)

func TestKillAndStart(t *testing.T) {
	t.Parallel()
	server, err := redisnode.Start(t.Context())
	if errors.Is(err, redisnode.ErrNotInstalled) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("Ping() after Kill() = nil, want an error")
	}
	for range 2 { // the second finds it running
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// What was connected to the first finds out now.
	again := redis.NewClient(options)
	t.Cleanup(func() { _ = again.Close() })
	if err := again.Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("Get() after Start() = %v, want nothing there", err)
	}
}
