package openctitest

import "context"

// Broker is where the platform puts jobs and takes published objects from.
type Broker interface {
	// Declare makes the connector's exchanges, queues and bindings; again is harmless.
	Declare(ctx context.Context, connectorID string, scope []string) error
	// PublishJob puts a message on the connector's listen queue.
	PublishJob(ctx context.Context, connectorID string, body []byte) error
	// ConsumeJobs gives handle what is on the listen queue, as ConsumePush does. Only a worker that posts jobs to a callback
	// takes them there: else they are the connector's.
	ConsumeJobs(ctx context.Context, connectorID string, handle func(body []byte) error) error
	// PublishPush puts a message where ConsumePush takes it.
	PublishPush(ctx context.Context, connectorID string, body []byte) error
	// ConsumePush gives handle what was published for the connector, one message at a time, until ctx ends. A message is
	// gone when handle returns nil and comes again when it returns an error.
	ConsumePush(ctx context.Context, connectorID string, handle func(body []byte) error) error
	// Coordinates is what a registration tells the connector.
	Coordinates(connectorID string) Coordinates
}

// Coordinates name a broker and a connector's queues on it.
type Coordinates struct {
	Host, VHost           string
	UseSSL                bool
	Port                  int
	User, Pass            string
	Listen, ListenRouting string
	ListenExchange        string
	Push, PushRouting     string
	PushExchange          string
}

// named returns the names that the platform gives to a connector's queues.
func named(prefix, connectorID string) Coordinates {
	return Coordinates{
		Listen:         prefix + "listen_" + connectorID,
		ListenRouting:  prefix + "listen_routing_" + connectorID,
		ListenExchange: prefix + "amqp.connector.exchange",
		Push:           prefix + "push_" + connectorID,
		PushRouting:    prefix + "push_routing_" + connectorID,
		PushExchange:   prefix + "amqp.worker.exchange",
	}
}

// Memory is a broker within the process, for one connector. Jobs come out of Jobs, published objects go into Push.
type Memory struct {
	jobs, pushed chan []byte
}

// memoryDepth is how many messages Memory holds before a publisher waits.
const memoryDepth = 4096

// MemoryBroker returns a broker within the process.
func MemoryBroker() *Memory {
	return &Memory{jobs: make(chan []byte, memoryDepth), pushed: make(chan []byte, memoryDepth)}
}

var _ Broker = (*Memory)(nil)

// Jobs is the listen queue. It is never closed.
func (m *Memory) Jobs() <-chan []byte { return m.jobs }

// Push publishes one object's message, the body that a connector would send to the push exchange. It waits while the
// broker is full.
func (m *Memory) Push(ctx context.Context, body []byte) error { return send(ctx, m.pushed, body) }

// Declare does nothing.
func (m *Memory) Declare(context.Context, string, []string) error { return nil }

// PublishJob implements [Broker].
func (m *Memory) PublishJob(ctx context.Context, _ string, body []byte) error {
	return send(ctx, m.jobs, body)
}

// ConsumePush implements [Broker]. A message whose handling failed comes again at once.
func (m *Memory) ConsumePush(ctx context.Context, _ string, handle func(body []byte) error) error {
	return consume(ctx, m.pushed, handle)
}

// PublishPush implements [Broker].
func (m *Memory) PublishPush(ctx context.Context, _ string, body []byte) error {
	return m.Push(ctx, body)
}

// ConsumeJobs implements [Broker]. Nobody may read Jobs then.
func (m *Memory) ConsumeJobs(ctx context.Context, _ string, handle func(body []byte) error) error {
	return consume(ctx, m.jobs, handle)
}

func consume(ctx context.Context, queue chan []byte, handle func(body []byte) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case body := <-queue:
			for handle(body) != nil {
				if ctx.Err() == nil {
					continue
				}
				select {
				case queue <- body: // for the next consumer
				default:
				}
				return ctx.Err()
			}
		}
	}
}

// Coordinates implements [Broker]; nobody can connect to them.
func (m *Memory) Coordinates(connectorID string) Coordinates {
	c := named("", connectorID)
	c.Host, c.VHost, c.Port, c.User, c.Pass = "memory.invalid", "/", 5672, "memory", "memory"
	return c
}

func send(ctx context.Context, to chan<- []byte, body []byte) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case to <- body:
		return nil
	}
}
