//go:build unix

package rabbitnode_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/certtest"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	authority, stranger := certtest.New(t), certtest.New(t)
	server := authority.Server(t, "rabbit.test")
	node := rabbitnodetest.Start(t, rabbitnode.Options{
		TLS: &rabbitnode.TLS{Cert: server.Cert, Key: server.Key, ClientCA: authority.PEM},
	})
	connect := func(trusted *certtest.Authority, client certtest.Pair) error {
		config := &tls.Config{ServerName: "rabbit.test", RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		config.RootCAs.AppendCertsFromPEM([]byte(trusted.PEM))
		if client.Cert != "" {
			pair, err := tls.X509KeyPair([]byte(client.Cert), []byte(client.Key))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		connection, err := amqp.DialTLS("amqps://guest:guest@"+node.TLSAddr()+"/", config)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	if err := connect(authority, authority.Client(t)); err != nil {
		t.Errorf("connecting as it should be = %v", err)
	}
	if err := connect(authority, stranger.Client(t)); err == nil {
		t.Error("connecting with a stranger's certificate succeeded, want an error")
	}
	if err := connect(authority, certtest.Pair{}); err == nil {
		t.Error("connecting without a certificate succeeded, want an error")
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](connect(stranger, authority.Client(t))); !ok {
		t.Error("connecting while trusting another authority succeeded, want it unknown")
	}
	publish(ctx, t, node.URL(), "plain", "as well") // the other listener
}
