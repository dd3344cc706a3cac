package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// carriers makes what carries jobs, from session to session, as the two protocols of the configuration say: jobs come from
// OpenCTI's RabbitMQ or by a callback, results go in by RabbitMQ or by the API. RabbitMQ lies in between unless neither
// needs it.
func carriers(o Options, client *opencti.Client, p *presence) func(context.Context, opencti.Registration, []pipeline.Topic) (Carrier, error) {
	c := o.Config.Connector
	return func(ctx context.Context, to opencti.Registration, topics []pipeline.Topic) (Carrier, error) {
		has, _ := p.identity()
		if err := possible(c, has); err != nil {
			return nil, err
		}
		var carrier Carrier
		if withoutRabbitMQ(c) {
			carrier = newEmbedded(o, topics)
		} else if rabbit, err := rabbitMQ(o, to, topics); err != nil {
			return nil, fmt.Errorf("connecting to the broker: %w", err)
		} else {
			carrier = rabbit
		}
		if c.PushByAPI {
			carrier = pushing{carrier, client, c.ID}
		}
		if !c.Callback.On || !o.runs(topics[0].Name) { // whoever runs the first hop has the jobs posted
			return carrier, nil
		}
		called, err := listen(ctx, o, p, carrier, topics[0].Name, withoutRabbitMQ(c))
		if err != nil {
			return nil, errors.Join(err, carrier.Close())
		}
		return called, nil
	}
}

// withoutRabbitMQ says whether jobs stay in this process between the hops.
func withoutRabbitMQ(c config.Connector) bool { return c.Callback.On && c.PushByAPI }

// hops is the pipeline of a connector, without what the stages use.
func hops(c config.Connector) []pipeline.Hop {
	return pipeline.Definition(pipeline.World{Posted: c.Callback.On})
}

// carrierName is what the carrier is called where the worker's state is shown.
func carrierName(c config.Connector) string {
	if withoutRabbitMQ(c) {
		return "callback"
	}
	return "rabbitmq"
}

// possible says which protocol the platform has not.
func possible(c config.Connector, has opencti.Capabilities) error {
	var problems []error
	if c.PushByAPI && !has.BundlePush {
		problems = append(problems, errors.New("CONNECTOR_QUEUE_PROTOCOL=api needs OpenCTI 6.2.6 or newer"))
	}
	if c.Callback.On && !has.ListenCallbackURI {
		problems = append(problems, errors.New("CONNECTOR_LISTEN_PROTOCOL=API needs OpenCTI 6.5.7 or newer"))
	}
	return errors.Join(problems...)
}

// rabbitMQ connects to the broker that the registration names, as far as the MQ_* options don't say otherwise.
func rabbitMQ(o Options, to opencti.Registration, topics []pipeline.Topic) (*intake, error) {
	options, err := brokerOptions(o, to, topics)
	if err != nil {
		return nil, err
	}
	transport, err := rabbitmq.New(options)
	if err != nil {
		return nil, err
	}
	return &intake{Transport: transport, exchange: to.PushExchange, key: to.PushRouting}, nil
}

func brokerOptions(o Options, to opencti.Registration, topics []pipeline.Topic) (rabbitmq.Options, error) {
	connection, err := connection(to.Connection, o.Config.MQ)
	if err != nil {
		return rabbitmq.Options{}, err
	}
	return rabbitmq.Options{
		Connection:   connection,
		Prefix:       "ipqs-worker." + o.Config.Connector.ID,
		Foreign:      map[string]string{pipeline.ListenTopic: to.Listen},
		Topics:       topics,
		QueueType:    o.Config.Worker.QueueType,
		DrainTimeout: o.Config.Worker.ShutdownTimeout,
		Logger:       slog.New(advisor{o.Logger.Handler(), brokerAdvice()}),
	}, nil
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

// unbracketed is an IPv6 address without the brackets that a platform may write it in.
func unbracketed(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		return strings.TrimSuffix(inner, "]")
	}
	return host
}

// connection merges what OpenCTI says of its broker with what the operator says of it: the platform may see it under
// another name than we do.
func connection(to opencti.Connection, mq config.MQ) (amqp.ConnectionConfig, error) {
	useTLS := to.UseSSL
	if mq.UseSSL != nil {
		useTLS = *mq.UseSSL
	}
	host := unbracketed(cmp.Or(mq.Host, to.Host))
	port := cmp.Or(mq.Port, to.Port)
	vhost := cmp.Or(mq.VHost, to.VHost, "/")
	address := url.URL{
		Scheme:  "amqp",
		User:    url.UserPassword(cmp.Or(mq.User, to.User), cmp.Or(mq.Pass.Reveal(), to.Pass.Reveal())),
		Host:    net.JoinHostPort(host, strconv.Itoa(port)),
		Path:    "/" + vhost,
		RawPath: "/" + url.PathEscape(vhost),
	}
	var connection amqp.ConnectionConfig // reconnects as the transport does by default
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
