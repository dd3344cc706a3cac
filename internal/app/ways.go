package app

import (
	"fmt"
	"net/http"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/pipeline"
)

// Ways are the worker's ways to whom it depends on, made of the configuration as the worker makes them, for somebody who
// goes each of them to see where it ends. Nothing tells of what goes over them: no span, no log, no metric.
type Ways struct {
	OpenCTI *opencti.Client
	// Account asks for the IPQS account. It retries nothing.
	Account *ipqs.Client

	options Options
}

// The peers of [NewWays].
const (
	PeerOpenCTI = "opencti"
	PeerIPQS    = "ipqs"
)

// NewWays makes the ways, and goes none of them. seen, if set, is told of every answer that comes over HTTP, and of nothing
// but its header.
func NewWays(o Options, seen func(peer string, header http.Header)) (*Ways, error) {
	o = o.withDefaults()
	if seen == nil {
		seen = func(string, http.Header) {}
	}
	platform, err := platformTransport(o.Config.OpenCTI)
	if err != nil {
		return nil, fmt.Errorf("making the OpenCTI client: %w", err)
	}
	client, err := clientOver(o, watched{platform, PeerOpenCTI, seen})
	if err != nil {
		return nil, err
	}
	base := http.DefaultTransport.(*http.Transport).Clone() // proxies by the usual variables
	account, err := ipqs.NewClient(ipqs.Options{
		HTTPClient: &http.Client{Transport: watched{base, PeerIPQS, seen}},
		BaseURL:    o.Config.IPQS.BaseURL,
		Key:        o.Config.IPQS.PrivateKey.Reveal(),
		UserAgent:  userAgent(o.Version),
	})
	if err != nil {
		return nil, fmt.Errorf("making the IPQS client: %w", err)
	}
	return &Ways{OpenCTI: client, Account: account, options: o}, nil
}

// Unsupported says which of the configured protocols a platform with these capabilities has not, or nil.
func (w *Ways) Unsupported(has opencti.Capabilities) error {
	return possible(w.options.Config.Connector, has)
}

// WithoutRabbitMQ says whether the worker needs no RabbitMQ at all.
func (w *Ways) WithoutRabbitMQ() bool { return withoutRabbitMQ(w.options.Config.Connector) }

// Connector is what the workers of this configuration register as.
func (w *Ways) Connector() opencti.Connector { return connector(w.options.Config.Connector) }

// BrokerConfigured reports whether the MQ_* options name the whole connection, so that a registration is not needed for it.
func (w *Ways) BrokerConfigured() bool { return complete(w.options.Config.MQ) }

// Queue is one of the queues that the worker uses.
type Queue struct {
	Name string
	// Foreign marks OpenCTI's own, which we never declare.
	Foreign bool
	// Arguments are those with which the worker declares it; OtherArguments those that it would have with OtherType, the queue
	// type that is not configured.
	Arguments, OtherArguments amqp.Table
	OtherType                 string
}

// Broker returns how the broker of a registration is connected to, and the queues that the worker uses there; OpenCTI's only
// if the registration names it.
func (w *Ways) Broker(to opencti.Registration) (wamqp.ConnectionConfig, []Queue, error) {
	topics := pipeline.Topics(hops(w.options.Config.Connector))
	options, err := brokerOptions(w.options, to, topics)
	if err != nil {
		return wamqp.ConnectionConfig{}, nil, err
	}
	queues := make([]Queue, 0, len(options.Topics))
	for _, topic := range options.Topics {
		if topic.Foreign && to.Listen == "" {
			continue
		}
		name, arguments := options.Declaration(topic)
		queue := Queue{Name: name, Foreign: topic.Foreign, Arguments: arguments}
		queue.OtherType, queue.OtherArguments = options.OtherType(topic)
		queues = append(queues, queue)
	}
	return options.Connection, queues, nil
}

// AdviseBroker adds what an operator can do about an error of the connection to the broker, where TLS is the reason.
func AdviseBroker(err error) error { return brokerAdvice().on(err) }

// watched tells of the answers that come over a transport.
type watched struct {
	http.RoundTripper
	peer string
	seen func(peer string, header http.Header)
}

// RoundTrip implements [http.RoundTripper].
func (w watched) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.RoundTripper.RoundTrip(request)
	if err == nil {
		w.seen(w.peer, response.Header)
	}
	return response, err
}
