//go:build unix

package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// The places of the tests below: virtual hosts of one node, each with a user who may use no other.
const (
	passA = "planted-broker-a-51e0c4"
	passB = "planted-broker-b-7d23f9"
)

// slowly makes a worker do 40 jobs a second where IPQS takes 100 ms, so that it is not done before something happens.
const slowly = "WORKER_LOOKUP_CONCURRENCY=4"

// TestOnABrokerOfItsOwn holds what stops the broker or changes it under everyone: on a node that other tests don't use.
func TestOnABrokerOfItsOwn(t *testing.T) { //nolint:tparallel // one after the other: what one does to the node, the other would feel
	t.Parallel()
	pipelinetest.AMQPURL(t) // where there is no broker for the others, there is none for this one
	node := ownNode(t)
	t.Run("restarted twice under load", func(t *testing.T) { restartedTwice(t, node) })
	t.Run("moved twice under load", func(t *testing.T) { movedTwice(t, node) })
}

// restartedTwice has OpenCTI and the broker go and come back under load, each twice: OpenCTI behind a proxy that answers for
// it, for longer than any hop would try, with the broker stopped meanwhile; the broker alone, by a power cut; OpenCTI alone,
// with its connections broken and nobody listening.
func restartedTwice(t *testing.T, node *rabbitnode.Node) {
	t.Helper()
	broker := openctitest.AMQPBroker(node.URL())
	t.Cleanup(func() { _ = broker.Close() })
	w := newWorldOn(t, broker, uuid.NewString(), "", ipqstest.Options{Latency: 100 * time.Millisecond})
	w.hurry()
	probe := w.newProbe()
	worker := w.start(append(probe.options(), slowly, pingEvery+"=200ms")...)
	probe.awaitReady()
	var jobs []job
	load := func() (left func() int) {
		batch := w.enrich(numbered(len(jobs), 80))
		jobs = append(jobs, batch...)
		w.awaitSome(batch, 20)
		return func() int { return len(batch) - w.completeOf(batch) }
	}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	left := load()
	w.platform.SetDown(true)
	probe.awaitLack("opencti")
	probe.awaitLack("rabbitmq") // there is nothing to be done with it
	// A hop that went on trying would have given its jobs up by then: it tries for 4 s at most.
	w.awaitLog("OpenCTI does not answer as it should", 25)
	try(node.Restart(w.ctx))
	if left() == 0 {
		t.Fatal("all works were complete before OpenCTI went: it shows nothing")
	}
	w.platform.SetDown(false)
	probe.awaitReady()

	left = load()
	if left() == 0 {
		t.Fatal("all works were complete before the broker went: it shows nothing")
	}
	try(node.Kill())
	probe.awaitLack("rabbitmq")
	try(node.Start(w.ctx))
	probe.awaitReady()

	left = load()
	w.hangUp()
	probe.awaitLack("opencti")
	w.awaitLog("connection refused", 25)
	if left() == 0 {
		t.Fatal("all works were complete before OpenCTI hung up: it shows nothing")
	}
	w.pickUp()
	probe.awaitReady()

	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	checkWorks(t, w, jobs, true)
	checkObjects(t, w, jobs)
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}

// movedTwice has OpenCTI name another virtual host, user and password, first at a registration that it asked for by
// forgetting the connector, then while the broker that the worker is at is gone. What was left at the first place is done
// when the worker comes back to it.
func movedTwice(t *testing.T, node *rabbitnode.Node) {
	t.Helper()
	broker := newMoving(openctitest.AMQPBroker(place(t, node, "a", passA)), openctitest.AMQPBroker(place(t, node, "b", passB)))
	t.Cleanup(func() { broker.close(t) })
	w := newWorldOn(t, broker, uuid.NewString(), "", ipqstest.Options{Latency: 100 * time.Millisecond})
	w.hurry()
	probe := w.newProbe()
	worker := w.start(append(probe.options(), slowly, pingEvery+"=300ms")...)
	probe.awaitReady()

	first := w.enrich(numbered(0, 100))
	w.awaitSome(first, 20)
	broker.move(1)
	w.platform.Forget(w.connector)
	w.awaitLog(`"changed":["vhost","user","pass"]`, 1)
	if err := w.platform.Wait(w.ctx, func() bool { return w.platform.Registration(w.connector) != nil }); err != nil {
		t.Fatal(err)
	}
	second := w.enrich(numbered(100, 30))
	if err := w.platform.Wait(w.ctx, func() bool { return w.completeOf(second) == len(second) }); err != nil {
		t.Fatalf("%d of %d works at the second place are complete: %v", w.completeOf(second), len(second), err)
	}
	if left := len(first) - w.completeOf(first); left == 0 {
		t.Fatal("all works of the first place were complete before the worker came back to it: it shows nothing")
	}

	broker.move(0)
	if _, err := node.Ctl(w.ctx, "delete_vhost", "b"); err != nil {
		t.Fatal(err)
	}
	w.awaitLog(`"changed":["vhost","user","pass"]`, 2)
	jobs := slices.Concat(first, second)
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	probe.awaitReady()
	checkWorks(t, w, jobs, true)
	checkObjects(t, w, jobs)
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w, passA, passB)
}

// numbered makes n observables, none of which has been there before.
func numbered(first, n int) []openctitest.Observable { return observables(first + n)[first:] }

func (w *world) completeOf(jobs []job) int {
	n := 0
	for _, j := range jobs {
		if work, ok := w.platform.Work(j.work); ok && work.Status == "complete" {
			n++
		}
	}
	return n
}

func (w *world) awaitSome(jobs []job, n int) {
	w.t.Helper()
	if err := w.platform.Wait(w.ctx, func() bool { return w.completeOf(jobs) >= n }); err != nil {
		w.t.Fatalf("%d of %d works are complete, want %d for a start: %v", w.completeOf(jobs), len(jobs), n, err)
	}
}

// awaitLog waits until the worker has logged a text so often.
func (w *world) awaitLog(text string, times int) {
	w.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for w.logs.Count(text) < times {
		select {
		case <-ticker.C:
		case <-w.ctx.Done():
			w.t.Fatalf("waiting for %s in the log, %d times: it is there %d times", text, times, w.logs.Count(text))
		}
	}
}

// ownNode starts a node with two virtual hosts beside its own.
func ownNode(t *testing.T) *rabbitnode.Node {
	t.Helper()
	definitions := filepath.Join(t.TempDir(), "definitions.json")
	if err := os.WriteFile(definitions, places(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return rabbitnodetest.Start(t, rabbitnode.Options{Config: []string{"load_definitions = " + definitions}})
}

// places is what the node begins with, in the form of rabbitmqctl export_definitions.
func places(t *testing.T) []byte {
	t.Helper()
	type object = map[string]any
	user := func(name, pass string) object {
		salted := append([]byte{1, 2, 3, 4}, pass...)
		sum := sha256.Sum256(salted)
		return object{
			"name": name, "password_hash": base64.StdEncoding.EncodeToString(append(salted[:4:4], sum[:]...)),
			"hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "administrator",
		}
	}
	all := func(user, vhost string) object {
		return object{"user": user, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}
	}
	text, err := json.Marshal(object{
		"vhosts":      []object{{"name": "/"}, {"name": "a"}, {"name": "b"}},
		"users":       []object{user("guest", "guest"), user("user-a", passA), user("user-b", passB)},
		"permissions": []object{all("guest", "/"), all("user-a", "a"), all("user-b", "b")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// place is the address of one of the virtual hosts.
func place(t *testing.T, node *rabbitnode.Node, vhost, pass string) string {
	t.Helper()
	address, err := url.Parse(node.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword("user-"+vhost, pass)
	address.Path = "/" + vhost
	return fmt.Sprint(address)
}
