//go:build unix

package rabbitnode_test

import (
	"context"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
)

// What a quorum queue took is there when its leader is killed, and the leader comes back as a replica.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cluster := rabbitnodetest.StartCluster(t, 3, rabbitnode.Options{})
	const queue = "replicated"
	publishTo(ctx, t, cluster.Nodes[1].URL(), queue, "one", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	before := await(ctx, t, cluster, queue, 3)
	leader := cluster.Node(before.Leader)
	if leader == nil {
		t.Fatalf("the queue is led by %q, want one of the nodes", before.Leader)
	}
	if err := leader.Kill(); err != nil {
		t.Fatalf("Kill() = %v", err)
	}
	after := await(ctx, t, cluster, queue, 2)
	if after.Leader == before.Leader || slices.Contains(after.Online, before.Leader) {
		t.Errorf("the queue without %s is %+v", before.Leader, after)
	}
	if got := get(t, cluster.Node(after.Leader).URL(), queue); got != "one" {
		t.Errorf("message after a kill = %q, want %q", got, "one")
	}
	if err := leader.Start(ctx); err != nil {
		t.Fatalf("Start() after Kill() = %v", err)
	}
	await(ctx, t, cluster, queue, 3)
	publishTo(ctx, t, cluster.Node(after.Leader).URL(), queue, "two", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	if got := get(t, leader.URL(), queue); got != "two" {
		t.Errorf("message by way of the node that came back = %q, want %q", got, "two")
	}
}

func TestClusterOfNobody(t *testing.T) {
	t.Parallel()
	if _, err := rabbitnode.StartCluster(t.Context(), 0, rabbitnode.Options{}); err == nil {
		t.Error("StartCluster(0) = nil, want an error")
	}
}

// await waits until the queue has a leader and so many replicas.
func await(ctx context.Context, t *testing.T, cluster *rabbitnode.Cluster, queue string, replicas int) rabbitnode.Queue {
	t.Helper()
	for {
		queues, err := cluster.Queues(ctx)
		q := queues[queue]
		if err == nil && len(q.Online) == replicas && slices.Contains(q.Online, q.Leader) {
			return q
		}
		if ctx.Err() != nil {
			t.Fatalf("queue %s = %+v, %v, want %d replicas and a leader", queue, q, err, replicas)
		}
	}
}
