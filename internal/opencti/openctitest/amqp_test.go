package openctitest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/freeport"
)

// amqpURL is the broker of the test. It is skipped without one, except where one is promised.
func amqpURL(t *testing.T) string {
	t.Helper()
	address := os.Getenv("TEST_AMQP_URL")
	if address == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("TEST_AMQP_URL is not set, and with CI=true it has to be")
		}
		t.Skip("TEST_AMQP_URL names no RabbitMQ")
	}
	return address
}

// relay passes TCP connections on to a server, until they are cut.
type relay struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	passed []net.Conn
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, server: server}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		r.cut()
		r.wg.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).Dial("tcp", r.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		r.mu.Lock()
		r.passed = append(r.passed, client, server)
		r.mu.Unlock()
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			r.wg.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_ = way[0].Close()
			})
		}
	}
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.passed {
		_ = c.Close()
	}
	r.passed = nil
}

// TestAMQP: the platform's topology on a real broker: a registration names it, jobs come out of the listen queue, objects
// published to the push exchange are imported, also after every connection was cut.
func TestAMQP(t *testing.T) {
	t.Parallel()
	address := amqpURL(t)
	genuine, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	relay := newRelay(t, genuine.Host)
	relayed := *genuine
	relayed.Host = relay.listener.Addr().String()

	broker := AMQPBroker(relayed.String())
	broker.Prefix = "octi_" + uuid.NewString()[:8] + "_"
	p, err := New(Options{Token: token, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(p.Close(), broker.Close()); err != nil {
			t.Error(err)
		}
	}()
	if _, code, text := ask(t, p, register, input()); code != "" {
		t.Fatalf("registration refused: %s %s", code, text)
	}
	to := broker.Coordinates(connectorID)
	if to.Listen != broker.Prefix+"listen_"+connectorID || to.User == "" || to.Port == 0 {
		t.Errorf("coordinates = %+v, want the prefix and the broker's address", to)
	}

	link, err := amqp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	channel, err := link.Channel()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, queue := range []string{to.Listen, to.Push} {
			if _, err := channel.QueueDelete(queue, false, false, false); err != nil {
				t.Error(err)
			}
		}
		for _, exchange := range []string{to.ListenExchange, to.PushExchange} {
			if err := channel.ExchangeDelete(exchange, false, false); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, queue := range []string{to.Listen, to.Push} {
		if _, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
			t.Fatalf("%s is not there: %v", queue, err)
		}
	}
	if err := channel.Confirm(false); err != nil {
		t.Fatal(err)
	}
	returned := channel.NotifyReturn(make(chan amqp.Return, 10))
	jobs, err := channel.Consume(to.Listen, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for round, value := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3"} {
		if round > 0 {
			relay.cut()
		}
		id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: value})
		// Registering again declares again, with another scope: no conflict with the queues that exist.
		again := input()
		again["input"].(map[string]any)["scope"] = []string{"IPv4-Addr", value}
		if _, code, text := ask(t, p, register, again); code != "" {
			t.Fatalf("registration refused: %s %s", code, text)
		}
		workID, err := p.Enrich(t.Context(), id, Auto)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		job := <-jobs
		if job.DeliveryMode != amqp.Persistent || job.ContentType != "" || job.MessageId != "" {
			t.Errorf("job has %+v, want a persistent message without properties", job)
		}
		edit(t, p, workID, "addExpectations(expectations: 1)")
		publish(t, channel, to, message(t, workID, note(value), nil))
		edit(t, p, workID, `toProcessed(message: "done")`)
		until(t, p, "the work is complete", func() bool { w, _ := p.Work(workID); return w.Status == statusComplete })
	}
	select {
	case r := <-returned:
		t.Errorf("a message came back: %s %s", r.Exchange, r.RoutingKey)
	default:
	}
	if complaints := p.Complaints(); len(complaints) > 0 || len(p.Imported()) != 3 {
		t.Errorf("%d objects, complaints %q, want three and none", len(p.Imported()), complaints)
	}
}

func publish(t *testing.T, channel *amqp.Channel, to Coordinates, body []byte) {
	t.Helper()
	confirmation, err := channel.PublishWithDeferredConfirmWithContext(t.Context(), to.PushExchange, to.PushRouting, true, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, ContentEncoding: "utf-8", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if confirmed, err := confirmation.WaitContext(ctx); err != nil || !confirmed {
		t.Fatalf("not confirmed: %v", err)
	}
}

// TestAMQPAway: a broker that is not there is an error of the request, and an importer that waits for it still ends.
func TestAMQPAway(t *testing.T) {
	t.Parallel()
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	broker := AMQPBroker("amqp://guest:guest@" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/")
	p, err := New(Options{Token: token, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	if _, code, _ := ask(t, p, register, input()); code != "DATABASE_ERROR" {
		t.Errorf("registration = %q, want DATABASE_ERROR", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- broker.ConsumePush(ctx, connectorID, func([]byte) error { return nil }) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ConsumePush() = %v, want context.Canceled", err)
	}
	if err := errors.Join(p.Close(), broker.Close()); err != nil {
		t.Error(err)
	}
	if slices.Contains([]string{"", "memory.invalid"}, broker.Coordinates(connectorID).Host) {
		t.Error("coordinates do not name the URL's host")
	}
}
