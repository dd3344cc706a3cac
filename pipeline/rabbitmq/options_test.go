package rabbitmq_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

func TestNewRefusesOptions(t *testing.T) {
	t.Parallel()
	good := rabbitmq.Options{Connection: wamqp.ConnectionConfig{AmqpURI: "amqp://u:p@localhost"}, Prefix: "p"}
	tests := []struct {
		name   string
		change func(*rabbitmq.Options)
		want   []string
	}{
		{"no address", func(o *rabbitmq.Options) { o.Connection.AmqpURI = "" }, []string{"AmqpURI"}},
		{"no prefix", func(o *rabbitmq.Options) { o.Prefix = "" }, []string{"Prefix: empty"}},
		{"queue type", func(o *rabbitmq.Options) { o.QueueType = "stream" }, []string{`QueueType: "stream"`, "quorum"}},
		{"two TLS", func(o *rabbitmq.Options) {
			o.Connection.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			o.Connection.AmqpConfig = &amqp.Config{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
		}, []string{"TLSConfig"}},
		{"foreign without a queue", func(o *rabbitmq.Options) {
			o.Topics = []pipeline.Topic{{Name: "resolve", Foreign: true}}
		}, []string{"topic resolve", "Options.Foreign"}},
		{"long queue name", func(o *rabbitmq.Options) {
			o.Topics = []pipeline.Topic{{Name: strings.Repeat("n", 300)}}
		}, []string{"302 bytes", "255"}},
		{"prefetch", func(o *rabbitmq.Options) {
			o.Topics = []pipeline.Topic{{Name: "a", Prefetch: -1}, {Name: "b", Prefetch: 65536}}
		}, []string{"topic a: prefetch -1", "topic b: prefetch 65536"}},
		{"topic without a name", func(o *rabbitmq.Options) { o.Topics = make([]pipeline.Topic, 1) }, []string{"topic name: empty"}},
		{"several", func(o *rabbitmq.Options) { o.Prefix, o.QueueType = "", "x" }, []string{"Prefix", "QueueType"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good
			tt.change(&o)
			transport, err := rabbitmq.New(o)
			if err == nil {
				_ = transport.Close()
				t.Fatal("New() = nil, want an error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("New() = %v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestPasswordIsNotTold(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	for _, uri := range []string{
		"amqp://user:" + secret + "@local host/", "http://user:" + secret + "@localhost/",
		"amqp://user:" + secret + "/x@localhost/", "amqp://user:" + secret + "%zz@localhost/",
		"amqp://user:" + secret + "@localhost:port/", "amqp://user:" + secret + "@localhost/?heartbeat=" + secret, "://" + secret,
	} {
		_, err := rabbitmq.New(rabbitmq.Options{Connection: wamqp.ConnectionConfig{AmqpURI: uri}, Prefix: "p"})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("New(%q) = %v, want an error without the password", uri, err)
		}
	}

	address, err := url.Parse(pipelinetest.AMQPURL(t))
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword("nobody", secret)
	var log logtest.Log
	transport := open(t, func(o *rabbitmq.Options) {
		o.Connection.AmqpURI = address.String()
		// A broker's or proxy's answer might quote it.
		o.Connection.AmqpConfig = &amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "nobody", Password: secret}}}
		o.Topics = []pipeline.Topic{{Name: "a", Prefetch: 1}}
		o.ConnectWait = time.Millisecond
		o.Logger = log.Logger()
	})
	if _, err := transport.Subscribe(t.Context(), "a"); err != nil {
		t.Fatalf("Subscribe() = %v", err)
	}
	eventually(t, "Ready() does not say that access is refused", func() bool {
		return strings.Contains(fmt.Sprint(transport.Ready()), "403")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, depth := transport.Depth(ctx, "a")
	for what, err := range map[string]error{
		"Ready": transport.Ready(), "Publish": transport.Publish("a", text("x")), "Depth": depth,
		"Declare": transport.Declare(ctx, pipeline.Topic{Name: "b"}),
		"Push":    transport.Push(ctx, "x", "y", [][]byte{nil}),
	} {
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s() = %v, want an error without the password", what, err)
		}
	}
	if text := log.String(); !strings.Contains(text, "no connection") || strings.Contains(text, secret) {
		t.Errorf("log = %s\nwant that there is no connection, and no password", text)
	}
}
