//go:build unix

package e2e

import (
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// Two workers on a cluster of three nodes, with quorum queues; the leader of each hop's queue is killed in turn while jobs
// go through, and comes back. OpenCTI's own two queues are classic ones, as OpenCTI declares them: while their node is away
// they are, and the publish hop has to wait.
//
// It runs in `make chaos` only: making the cluster, and four times killing a node and having it back with all replicas,
// takes two to three minutes, and five more where the node of OpenCTI's queue is away so often or so long that jobs go into
// the last waiting room.
func TestClusterLosesNothingWhenLeadersDie(t *testing.T) {
	t.Parallel()
	if os.Getenv("CHAOS_JOBS") == "" {
		t.Skip("takes minutes: CHAOS_JOBS is not set")
	}
	pipelinetest.AMQPURL(t) // where there is no broker for the others, there is none for this one
	const n = 2000
	cluster := ownCluster(t)
	broker := openctitest.AMQPBroker("amqp://guest:guest@" + balance(t, cluster) + "/")
	t.Cleanup(func() { _ = broker.Close() })
	w := newWorldOn(t, broker, uuid.NewString(), "", ipqstest.Options{Latency: 25 * time.Millisecond})
	w.extend(10 * time.Minute)
	options := []string{"WORKER_QUEUE_TYPE=quorum", "WORKER_LOOKUP_CONCURRENCY=1", "CONNECTOR_LOG_LEVEL=warn"}
	workers := []*worker{w.start(options...), w.launch(options...)}

	var ours []string
	for _, topic := range pipeline.Topics(pipeline.Definition(pipeline.World{})) {
		if !topic.Foreign {
			ours = append(ours, "ipqs-worker."+w.connector+"."+topic.Name)
		}
	}
	var jobs []job
	turns := fiveHops[1:] // the first hop reads OpenCTI's queue
	for i, hop := range turns {
		queue := "ipqs-worker." + w.connector + "." + hop
		leader := cluster.Node(w.awaitReplicas(cluster, ours)[queue].Leader)
		if leader == nil {
			t.Fatalf("queue %s is led by no node of the cluster", queue)
		}
		batch := w.enrich(numbered(len(jobs), n/len(turns)))
		jobs = append(jobs, batch...)
		w.awaitSome(batch, len(batch)/10)
		if err := leader.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		left := len(batch) - w.completeOf(batch)
		if left == 0 {
			t.Fatal("all works were complete before the leader was killed: it shows nothing")
		}
		if err := leader.Start(w.ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("turn %d: %s, which led %s, killed with %d jobs to do, back after %v with %d to do", i+1, leader.Name(), hop,
			left, time.Since(killed).Round(time.Second), len(batch)-w.completeOf(batch))
	}

	complete := func(work openctitest.Work) bool { return work.Status == "complete" }
	err := w.platform.Wait(w.ctx, func() bool {
		ended := w.those(jobs, func(work openctitest.Work) bool { return work.ProcessedTimes > 0 })
		return len(ended) == len(jobs) && w.completeOf(jobs) == len(jobs)
	})
	if err != nil {
		w.explain(cluster.Nodes[0], w.those(jobs, func(work openctitest.Work) bool { return !complete(work) }))
		t.Fatalf("%+v of %d jobs: %v", w.platform.Totals(), len(jobs), err)
	}
	w.awaitReplicas(cluster, ours)
	for _, worker := range workers {
		if status := worker.stop(); status != 0 {
			t.Errorf("exit status = %d after SIGTERM, want 0", status)
		}
	}
	checkEmpty(t, cluster.Nodes[0], append(ours, broker.Coordinates(w.connector).Push))
	checkWorks(t, w, jobs, true)
	checkObjects(t, w, jobs)
	checkSecrets(t, w)
}

// explain logs what becomes of jobs that do not end: where the broker has them, what OpenCTI and the workers say.
func (w *world) explain(node *rabbitnode.Node, jobs []job) {
	w.t.Helper()
	queues, err := node.Ctl(w.t.Context(), "list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers", "state")
	w.t.Logf("queues (error %v):\n%s", err, queues)
	for _, j := range jobs[:min(len(jobs), 5)] {
		work, _ := w.platform.Work(j.work)
		w.t.Logf("%s %s: %+v", j.Type, j.Value, work)
	}
	w.t.Logf("the workers:\n%s", w.logs.Tail(60_000))
}

// ownCluster starts three nodes. What leaves a waiting room while the leader of the queue that it goes to dies is sent again
// by the broker, after three minutes by default, which are not worth waiting for.
func ownCluster(t *testing.T) *rabbitnode.Cluster {
	t.Helper()
	return rabbitnodetest.StartCluster(t, 3, rabbitnode.Options{
		Settings: map[string]int{"dead_letter_worker_publisher_confirm_timeout": 5000},
	})
}

// balance stands before a cluster as a load balancer does: each connection goes to the next node that takes it.
func balance(t *testing.T, cluster *rabbitnode.Cluster) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // What is connected ends with the nodes.
	var turn atomic.Int64
	serve := func(client net.Conn) {
		defer func() { _ = client.Close() }()
		for range cluster.Nodes {
			node := cluster.Nodes[int(turn.Add(1))%len(cluster.Nodes)]
			server, err := new(net.Dialer).DialContext(t.Context(), "tcp", node.Addr())
			if err != nil {
				continue
			}
			go func() {
				_, _ = io.Copy(server, client) // Either end may go at any time.
				_ = server.Close()
			}()
			_, _ = io.Copy(client, server)
			_ = server.Close()
			return
		}
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(client)
		}
	}()
	return listener.Addr().String()
}

// awaitReplicas waits until each of the queues has a replica on every node and one of them leads, and returns all queues.
func (w *world) awaitReplicas(cluster *rabbitnode.Cluster, names []string) map[string]rabbitnode.Queue {
	w.t.Helper()
	for {
		queues, err := cluster.Queues(w.ctx)
		lacking := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			q := queues[name]
			return len(q.Online) == len(cluster.Nodes) && slices.Contains(q.Online, q.Leader)
		})
		if len(lacking) == 0 {
			return queues
		}
		if w.ctx.Err() != nil {
			w.t.Fatalf("waiting for replicas of %q: %v, queues %v", lacking, err, queues)
		}
	}
}

// checkEmpty looks for messages that were left, in poison queues above all.
func checkEmpty(t *testing.T, node *rabbitnode.Node, queues []string) {
	t.Helper()
	connection, err := amqp.Dial(node.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	channel, err := connection.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range queues {
		queue, err := channel.QueueDeclarePassive(name, true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if queue.Messages > 0 {
			t.Errorf("%d messages are left in %s, want none", queue.Messages, name)
		}
	}
}
