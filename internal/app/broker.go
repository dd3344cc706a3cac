package app

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/url"
	"strconv"

	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// rabbitMQ connects to the broker that the registration names, as far as the MQ_* options don't say otherwise.
func rabbitMQ(o Options) func(context.Context, opencti.Registration, []pipeline.Topic) (Carrier, error) {
	return func(_ context.Context, to opencti.Registration, topics []pipeline.Topic) (Carrier, error) {
		connection, err := connection(to.Connection, o.Config.MQ)
		if err != nil {
			return nil, err
		}
		transport, err := rabbitmq.New(rabbitmq.Options{
			Connection:   connection,
			Prefix:       "ipqs-worker." + o.Config.Connector.ID,
			Foreign:      map[string]string{topics[0].Name: to.Listen},
			Topics:       topics,
			QueueType:    o.Config.Worker.QueueType,
			DrainTimeout: o.Config.Worker.ShutdownTimeout,
			Logger:       slog.New(advisor{o.Logger.Handler(), brokerAdvice()}),
		})
		if err != nil {
			return nil, err
		}
		return &intake{Transport: transport, exchange: to.PushExchange, key: to.PushRouting}, nil
	}
}

// intake is a RabbitMQ transport that also knows the way into OpenCTI.
type intake struct {
	*rabbitmq.Transport
	exchange, key string
}

// Push publishes to the exchange from which OpenCTI's workers import.
func (i *intake) Push(ctx context.Context, messages [][]byte) error {
	return i.Transport.Push(ctx, i.exchange, i.key, messages)
}

// Ready is the transport's, with advice.
func (i *intake) Ready() error { return brokerAdvice().on(i.Transport.Ready()) }

// connection merges what OpenCTI says of its broker with what the operator says of it: the platform may see it under
// another name than we do.
func connection(to opencti.Connection, mq config.MQ) (amqp.ConnectionConfig, error) {
	useTLS := to.UseSSL
	if mq.UseSSL != nil {
		useTLS = *mq.UseSSL
	}
	host := cmp.Or(mq.Host, to.Host)
	port := cmp.Or(mq.Port, to.Port)
	vhost := cmp.Or(mq.VHost, to.VHost, "/")
	address := url.URL{
		Scheme:  "amqp",
		User:    url.UserPassword(cmp.Or(mq.User, to.User), cmp.Or(mq.Pass.Reveal(), to.Pass.Reveal())),
		Host:    net.JoinHostPort(host, strconv.Itoa(port)),
		Path:    "/" + vhost,
		RawPath: "/" + url.PathEscape(vhost),
	}
	connection := amqp.ConnectionConfig{Reconnect: amqp.DefaultReconnectConfig()}
	if useTLS {
		address.Scheme = "amqps"
		secured, err := brokerTLS(host, mq)
		if err != nil {
			return connection, err
		}
		connection.TLSConfig = secured
	}
	connection.AmqpURI = address.String()
	return connection, nil
}
