//go:build unix

// Package rabbitnodetest gives a test RabbitMQ nodes of its own. Tests that can share one take that of pipelinetest.AMQPURL.
package rabbitnodetest

import (
	"context"
	"os"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/rabbitnode"
)

// startTimeout is what a machine under load may need for three nodes.
const startTimeout = 5 * time.Minute

// Need skips a test that starts nodes where only short tests are wanted, or no server is installed. The latter fails it where
// CI=true.
func Need(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("starts RabbitMQ nodes")
	}
	if rabbitnode.Installed() {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatal(rabbitnode.ErrNotInstalled)
	}
	tb.Skip(rabbitnode.ErrNotInstalled)
}

// Start starts a node that is stopped when the test ends. See [Need].
func Start(tb testing.TB, options rabbitnode.Options) *rabbitnode.Node {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*rabbitnode.Node, error) { return rabbitnode.Start(ctx, options) })
}

// StartCluster starts a cluster of n nodes that is stopped when the test ends. See [Need].
func StartCluster(tb testing.TB, n int, options rabbitnode.Options) *rabbitnode.Cluster {
	tb.Helper()
	return start(tb, func(ctx context.Context) (*rabbitnode.Cluster, error) {
		return rabbitnode.StartCluster(ctx, n, options)
	})
}

func start[T interface{ Close() error }](tb testing.TB, begin func(ctx context.Context) (T, error)) T {
	tb.Helper()
	Need(tb)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	started, err := begin(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := started.Close(); err != nil {
			tb.Errorf("stopping RabbitMQ: %v", err)
		}
	})
	return started
}
