//go:build unix

package rabbitnode_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
)

func TestNode(t *testing.T) {
	t.Parallel()
	rabbitnodetest.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	node, err := rabbitnode.Start(ctx, rabbitnode.Options{Dir: dir, Config: []string{"consumer_timeout = 7777000"}, Settings: map[string]int{"quorum_tick_interval": 4321}})
	if err != nil {
		t.Fatalf("Start() = %v", err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if _, err := net.Dial("tcp", node.Addr()); err == nil {
			t.Errorf("dialling %s after Close() succeeded, want an error", node.Addr())
		}
	})
	url := node.URL()

	publish(ctx, t, url, "kept", "one")
	if err := node.Restart(ctx); err != nil {
		t.Fatalf("Restart() = %v", err)
	}
	if got := get(t, url, "kept"); got != "one" {
		t.Errorf("message after a restart = %q, want %q", got, "one")
	}

	// The message alone is new: a queue declared the moment before a kill may not come back.
	publish(ctx, t, url, "kept", "two")
	if err := node.Kill(); err != nil {
		t.Fatalf("Kill() = %v", err)
	}
	if _, err := amqp.Dial(url); err == nil {
		t.Fatal("Dial() after Kill() succeeded, want an error")
	}
	if err := node.Start(ctx); err != nil {
		t.Fatalf("Start() after Kill() = %v", err)
	}
	if node.URL() != url {
		t.Errorf("URL() after a kill = %q, want %q", node.URL(), url)
	}
	if got := get(t, url, "kept"); got != "two" {
		t.Errorf("message after a kill = %q, want %q", got, "two")
	}

	out, err := node.Ctl(ctx, "eval", "{ok, T} = application:get_env(rabbit, consumer_timeout), T.")
	if err != nil || string(out) != "7777000\n" {
		t.Errorf("Ctl(consumer_timeout) = %q, %v, want 7777000", out, err)
	}
	out, err = node.Ctl(ctx, "eval", "{ok, T} = application:get_env(rabbit, quorum_tick_interval), T.")
	if err != nil || string(out) != "4321\n" {
		t.Errorf("Ctl(quorum_tick_interval) = %q, %v, want 4321", out, err)
	}
	if _, err := node.Ctl(ctx, "no_such_command"); err == nil {
		t.Error("Ctl(no_such_command) = nil, want an error")
	}
}

func TestStartGivesUp(t *testing.T) {
	t.Parallel()
	rabbitnodetest.Need(t)
	stopped := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if _, err := rabbitnode.Start(ctx, rabbitnode.Options{}); !errors.Is(err, stopped) {
		t.Errorf("Start(ended context) = %v, want %v", err, stopped)
	}
}

func publish(ctx context.Context, t *testing.T, url, queue, body string) {
	t.Helper()
	publishTo(ctx, t, url, queue, body, nil)
}

func publishTo(ctx context.Context, t *testing.T, url, queue, body string, arguments amqp.Table) {
	t.Helper()
	withChannel(t, url, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, arguments); err != nil {
			return err
		}
		if err := ch.Confirm(false); err != nil {
			return err
		}
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)}
		confirm, err := ch.PublishWithDeferredConfirm("", queue, true, false, message)
		if err != nil {
			return err
		}
		_, err = confirm.WaitContext(ctx)
		return err
	})
}

func get(t *testing.T, url, queue string) string {
	t.Helper()
	var got string
	withChannel(t, url, func(ch *amqp.Channel) error {
		delivery, _, err := ch.Get(queue, true)
		got = string(delivery.Body)
		return err
	})
	return got
}

func withChannel(t *testing.T, url string, do func(*amqp.Channel) error) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatalf("dialling the node: %v", err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatalf("opening a channel: %v", err)
	}
	if err := do(ch); err != nil {
		t.Fatalf("using the node: %v", err)
	}
}
