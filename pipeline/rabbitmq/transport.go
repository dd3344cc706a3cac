package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

// Transport is a [pipeline.Transport] over RabbitMQ. Its methods are safe for concurrent use.
type Transport struct {
	options  Options
	password string

	consuming  *link // also for declarations: it is never blocked, as it publishes nothing
	publishing *link

	// stop ends the subscriptions, halt the lanes, hangUp the connections; Close calls them in this order.
	stopping          context.Context //nolint:containedctx // the life of the subscriptions, not a call's
	stop              context.CancelFunc
	halting           context.Context //nolint:containedctx // the life of the lanes
	halt              context.CancelFunc
	hangUp            context.CancelFunc
	subscriptionsDone sync.WaitGroup
	publicationsDone  sync.WaitGroup
	lanesDone         sync.WaitGroup
	linksDone         sync.WaitGroup
	closeOnce         sync.Once

	mu            sync.Mutex
	topics        map[string]pipeline.Topic
	declared      map[string]bool // topics whose queues we made, and make again where they vanish
	lanes         map[place]*lane
	subscriptions map[*subscription]struct{}
	windows       map[string]int // by topic, as SetWindow was told
	closing       bool           // no more subscriptions and declarations
	closed        bool           // no more publications
}

var _ pipeline.Transport = (*Transport)(nil)

// New makes a transport, which starts to connect at once and for as long as it takes: Ready says how that goes. The error
// names all options that are wrong. Close ends it.
func New(o Options) (*Transport, error) {
	o = o.withDefaults()
	uri, err := amqp.ParseURI(o.Connection.AmqpURI)
	if err != nil {
		// The parser's error quotes what it read, the password with it.
		err = errors.New("option Connection.AmqpURI: not a URI of the form amqp://user:password@host:port/vhost or amqps://...; " +
			"special characters in user and password must be percent-encoded")
	}
	if err := errors.Join(err, o.validate()); err != nil {
		return nil, fmt.Errorf("options of the RabbitMQ transport: %w", err)
	}
	log := o.Logger.With(slog.String("host", uri.Host), slog.Int("port", uri.Port), slog.String("vhost", uri.Vhost))
	t := &Transport{
		options:       o,
		password:      uri.Password,
		consuming:     newLink("consume", o.Connection, uri.Password, log),
		publishing:    newLink("publish", o.Connection, uri.Password, log),
		topics:        make(map[string]pipeline.Topic),
		declared:      make(map[string]bool),
		lanes:         make(map[place]*lane),
		subscriptions: make(map[*subscription]struct{}),
		windows:       make(map[string]int),
	}
	for _, topic := range o.Topics {
		t.topics[topic.Name] = topic
	}
	t.stopping, t.stop = context.WithCancel(context.Background())
	t.halting, t.halt = context.WithCancel(context.Background())
	connected, hangUp := context.WithCancel(context.Background())
	t.hangUp = hangUp
	for _, l := range []*link{t.consuming, t.publishing} {
		t.linksDone.Go(func() { l.run(connected) })
	}
	return t, nil
}

// Publish sends messages to the queue of topic and returns when the broker has confirmed all of them and reported none as
// unroutable. It ignores the messages' contexts and gives up after Options.ConfirmTimeout; the error then joins what is
// known of those not confirmed, and is one of this package's. A publication whose connection is lost is sent again on the
// next one: a message can arrive twice, and bears [pipeline.MetadataRepeated] the second time.
func (t *Transport) Publish(topic string, messages ...*message.Message) error {
	l, err := t.lane(place{topic: topic})
	if err != nil {
		return fmt.Errorf("publishing to topic %s: %w", topic, err)
	}
	defer t.publicationsDone.Done()
	publications := make([]*publication, len(messages))
	for i, msg := range messages {
		publishing, err := t.options.Marshaler.Marshal(msg)
		if err == nil {
			err = publishing.Headers.Validate()
		}
		if err != nil {
			return fmt.Errorf("publishing message %s to topic %s: %w", msg.UUID, topic, err)
		}
		publications[i] = &publication{key: l.queue, message: publishing, marked: true, done: make(chan error, 1)}
	}
	return t.redact(l.publish(context.Background(), publications...))
}

// Push sends bodies as they are, persistent and with the content encoding utf-8 but without headers, to an exchange that
// somebody else owns, and returns when the broker has confirmed all of them and reported none as unroutable. It gives up
// when ctx ends, and after Options.ConfirmTimeout; what was sent may have arrived then.
func (t *Transport) Push(ctx context.Context, exchange, routingKey string, bodies [][]byte) error {
	if len(exchange) > maxShortString || len(routingKey) > maxShortString {
		return fmt.Errorf("pushing to exchange %.40q: the names of exchange and routing key have %d and %d bytes, at most %d are possible",
			exchange, len(exchange), len(routingKey), maxShortString)
	}
	l, err := t.lane(place{exchange: exchange, foreign: true})
	if err != nil {
		return fmt.Errorf("pushing to exchange %s: %w", exchange, err)
	}
	defer t.publicationsDone.Done()
	publications := make([]*publication, len(bodies))
	for i, body := range bodies {
		publications[i] = &publication{
			exchange: exchange,
			key:      routingKey,
			message:  amqp.Publishing{DeliveryMode: amqp.Persistent, ContentEncoding: "utf-8", Body: body},
			done:     make(chan error, 1),
		}
	}
	return t.redact(l.publish(ctx, publications...))
}

// Subscribe consumes the queue of topic, with at most Topic.Prefetch messages in hand. It needs no connection and no queue
// yet: both are waited for, and Ready says for which. A message bears [pipeline.MetadataRedelivered] as the broker tells;
// it does so too for one that only waited in a window that was lost. See [pipeline.Transport] for what happens when ctx
// ends.
func (t *Transport) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.topics[topic]
	switch {
	case t.closing:
		return nil, fmt.Errorf("subscribing to topic %s: %w", topic, ErrClosed)
	case !ok:
		return nil, fmt.Errorf("subscribing to topic %s: unknown, neither in Options.Topics nor declared", topic)
	case known.Prefetch == 0:
		return nil, fmt.Errorf("subscribing to topic %s: its prefetch is 0, nobody is to subscribe", topic)
	}
	stop, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(t.stopping, cancel)
	s := newSubscription(ctx, stop, t, known)
	if n, ok := t.windows[topic]; ok {
		s.window.set(n)
	}
	t.subscriptions[s] = struct{}{}
	t.subscriptionsDone.Go(func() {
		s.run()
		unlink()
		cancel()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.subscriptions, s)
	})
	return s.out, nil
}

// Ready returns nil while both connections are up, publishing is not blocked, and every subscription consumes its queue.
func (t *Transport) Ready() error {
	t.mu.Lock()
	closing := t.closing
	subscriptions := make([]*subscription, 0, len(t.subscriptions))
	for s := range t.subscriptions {
		subscriptions = append(subscriptions, s)
	}
	t.mu.Unlock()
	if closing {
		return ErrClosed
	}
	if err := errors.Join(t.consuming.state(), t.publishing.state()); err != nil {
		return t.redact(err)
	}
	errs := make([]error, len(subscriptions))
	for i, s := range subscriptions {
		errs[i] = s.state()
	}
	return t.redact(errors.Join(errs...))
}

// Close ends all subscriptions as the end of their contexts would and waits until they have drained; handlers may publish
// meanwhile. Then it waits for publications under way, as long again, and closes the connections: the broker gives what
// was not settled to somebody else. Further calls wait for the first.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() {
		t.mu.Lock()
		t.closing = true
		t.mu.Unlock()
		t.stop()
		t.subscriptionsDone.Wait()

		t.mu.Lock()
		t.closed = true
		t.mu.Unlock()
		impatient := time.AfterFunc(t.options.DrainTimeout, t.halt)
		t.publicationsDone.Wait()
		impatient.Stop()
		t.halt()
		hangUp := time.AfterFunc(closeTimeout, t.hangUp) // A lane may wait for a broker that does not answer.
		t.lanesDone.Wait()
		hangUp.Stop()
		t.hangUp()
		t.linksDone.Wait()
	})
	return nil
}

// Queue is the name of the queue of topic.
func (t *Transport) Queue(topic string) string { return t.options.queueName(topic) }

// place is where messages are published to: the queue of a topic, or somebody else's exchange.
type place struct {
	topic, exchange string
	foreign         bool // it is the exchange
}

// lane returns the lane to a place, and makes it if it is new. The caller calls publicationsDone.Done when it has used it.
func (t *Transport) lane(to place) (*lane, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.topics[to.topic]; !known && !to.foreign {
		return nil, fmt.Errorf("%w: unknown topic, neither in Options.Topics nor declared", ErrUnroutable)
	}
	if t.closed {
		return nil, ErrClosed
	}
	l, ok := t.lanes[to]
	if !ok {
		if to.foreign {
			l = newLane("exchange "+to.exchange, t.publishing, t.options, nil)
		} else {
			queue := t.options.queueName(to.topic)
			l = newLane("queue "+queue, t.publishing, t.options, func(ch *amqp.Channel) error { return t.restore(ch, to.topic) })
			l.queue = queue
		}
		t.lanes[to] = l
		t.lanesDone.Go(func() { l.run(t.halting) })
	}
	t.publicationsDone.Add(1)
	return l, nil
}

// unmarshal makes a message of a delivery and marks it if it was delivered before.
func (t *Transport) unmarshal(d amqp.Delivery) *message.Message {
	msg, err := t.options.Marshaler.Unmarshal(d)
	if err != nil || msg == nil {
		// Refusing it would bring it back for ever. Whoever reads it can judge it.
		t.options.Logger.Warn("reading a message with the default marshaler", slog.Any("error", err))
		msg, _ = Marshaler{}.Unmarshal(d)
	}
	delete(msg.Metadata, pipeline.MetadataRedelivered)
	delete(msg.Metadata, pipeline.MetadataDeliveries)
	if d.Redelivered {
		msg.Metadata.Set(pipeline.MetadataRedelivered, "true")
		if count, ok := d.Headers["x-delivery-count"].(int64); ok && count > 0 { // A quorum queue's.
			msg.Metadata.Set(pipeline.MetadataDeliveries, strconv.FormatInt(count, 10))
		}
	}
	return msg
}

func (t *Transport) redact(err error) error { return redact(err, t.password) }
