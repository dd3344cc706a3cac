package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// broker connects to where the registration leads, and tries what the worker does there.
func (e *examination) broker(ctx context.Context, to opencti.Registration) {
	if pass := to.Connection.Pass.Reveal(); pass != to.Connection.User { // a default login, no secret
		e.secrets = append(e.secrets, pass)
	}
	config, queues, err := e.ways.Broker(to)
	if err != nil {
		e.fail(checkBroker, err.Error(), "correct the option that it names")
		e.skip(checkPermissions, "the broker can't be connected to")
		e.skip(checkQueues, "the broker can't be connected to")
		return
	}
	address, err := url.Parse(config.AmqpURI)
	if err != nil {
		e.fail(checkBroker, "OpenCTI names no address of a broker that can be read", "set MQ_HOST, MQ_PORT and MQ_VHOST")
		return
	}
	where := fmt.Sprintf("%s as %q, virtual host %q", address.Host, address.User.Username(), strings.TrimPrefix(address.Path, "/"))
	timed, cancel := e.within(ctx)
	defer cancel()
	conn, err := dial(timed, config)
	if err != nil {
		found, remedy := e.brokerTrouble(timed, config, address, err)
		e.fail(checkBroker, "connecting to "+where+": "+found, remedy)
		e.skip(checkPermissions, "the broker can't be connected to")
		e.skip(checkQueues, "the broker can't be connected to")
		return
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }() // it takes with it what was tried
	secured := "without TLS"
	if config.TLSConfig != nil {
		secured = "over TLS"
	}
	version, _ := conn.Properties["version"].(string)
	e.ok(checkBroker, fmt.Sprintf("connected to RabbitMQ %s at %s, %s", version, where, secured))
	p := &permissions{e, conn, address.User.Username()}
	allowed := p.check(to)
	e.queues(conn, queues, p.user, allowed)
}

// dial makes one attempt within ctx.
func dial(ctx context.Context, config wamqp.ConnectionConfig) (*amqp.Connection, error) {
	c := amqp.Config{Properties: amqp.NewConnectionProperties()}
	c.Properties.SetClientConnectionName("ipqs-worker doctor")
	if config.TLSConfig != nil {
		c.TLSClientConfig = config.TLSConfig.Clone()
	}
	c.Dial = func(network, addr string) (net.Conn, error) {
		socket, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		deadline, _ := ctx.Deadline()
		return socket, socket.SetDeadline(deadline) // amqp091-go lifts it after the handshakes
	}
	return amqp.DialConfig(config.AmqpURI, c)
}

// brokerTrouble says why a connection did not come about and what to do about it.
func (e *examination) brokerTrouble(ctx context.Context, config wamqp.ConnectionConfig, address *url.URL, err error) (found, remedy string) {
	if config.TLSConfig != nil {
		if refusal := refusedAfterwards(ctx, config.TLSConfig, address.Host); refusal != nil {
			err = refusal
		}
	}
	advised := app.AdviseBroker(err).Error()
	exception, _ := errors.AsType[*amqp.Error](err)
	switch {
	case errors.Is(err, amqp.ErrVhost), exception != nil && exception.Code == amqp.NotAllowed:
		return advised, "allow the user that virtual host (rabbitmqctl set_permissions), or set MQ_VHOST"
	case exception != nil && exception.Code == amqp.AccessRefused:
		return "the login is refused: " + advised, "OpenCTI names this user and its password, unless MQ_USER and MQ_PASS say otherwise: correct them where they are wrong"
	case advised != err.Error():
		return "TLS: " + advised, "do what the text says; the certificate is that of the broker, or of a proxy before it"
	case config.TLSConfig == nil && speaksTLS(ctx, address.Host):
		return "the port speaks TLS, and the connection is made without (" + err.Error() + ")", "set MQ_USE_SSL=true, or MQ_PORT to the port without TLS"
	}
	if remedy = wayRemedy(err, "MQ_HOST and MQ_PORT"); remedy == "" {
		remedy = "is it RabbitMQ that listens there? Look at MQ_HOST, MQ_PORT and the broker's own log"
		if config.TLSConfig != nil {
			remedy = "is TLS spoken on that port? If not, set MQ_USE_SSL=false; else look at the broker's own log"
		}
	}
	return err.Error(), remedy
}

// refusedAfterwards returns why the other side ends a connection whose handshake looked well: with TLS 1.3 it says so only then,
// and whoever writes meanwhile may see nothing but the end. It is nil where the other side waits for more, as RabbitMQ does.
func refusedAfterwards(ctx context.Context, config *tls.Config, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config.Clone()}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil // it was no better the first time
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if conn.SetReadDeadline(deadline) != nil {
		return nil
	}
	var one [1]byte
	if _, err = conn.Read(one[:]); err != nil && strings.Contains(err.Error(), "remote error: tls") {
		return err
	}
	return nil
}

// speaksTLS reports whether whoever listens there begins TLS, whatever its certificate.
func speaksTLS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // nothing is said over it
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
		return true
	}
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	refused := strings.Contains(err.Error(), "remote error: tls") // it wants a certificate of ours
	return !plain && refused
}

// permissions tries what the user of a connection may do.
type permissions struct {
	*examination
	conn *amqp.Connection
	user string
}

// check reports whether the user may do all that the worker does.
func (p *permissions) check(to opencti.Registration) (allowed bool) {
	ours := "ipqs-worker." + p.config.Connector.ID + "."
	tried := []struct {
		what, need string
		do         func(*amqp.Channel) error
	}{
		{"making, writing and reading queues of ours", "configure, write and read on " + ours + "* and write on the default exchange", func(ch *amqp.Channel) error {
			return passThrough(ch, ours+"doctor-"+uuid.NewString())
		}},
		{"taking jobs", "read on " + to.Listen, func(ch *amqp.Channel) error { return mayConsume(ch, to.Listen) }},
		{"publishing results", "write on the exchange " + to.PushExchange, func(ch *amqp.Channel) error { return mayPublish(ch, to.PushExchange) }},
	}
	fine := true
	for _, t := range tried {
		switch t.what {
		case "taking jobs":
			if p.config.Connector.Callback.On || to.Listen == "" {
				continue
			}
		case "publishing results":
			if p.config.Connector.PushByAPI || to.PushExchange == "" {
				continue
			}
		}
		err := p.on(t.do)
		if err == nil {
			continue
		}
		fine = false
		remedy := "look at the broker's own log"
		exception, _ := errors.AsType[*amqp.Error](err)
		switch {
		case exception != nil && exception.Code == amqp.AccessRefused:
			remedy = fmt.Sprintf("allow the user %q %s (rabbitmqctl set_permissions)", p.user, t.need)
		case exception != nil && exception.Code == amqp.NotFound:
			remedy = "OpenCTI makes it when the connector registers: does OpenCTI use this very broker and virtual host? Look at MQ_HOST and MQ_VHOST"
		}
		p.fail(checkPermissions, t.what+": "+err.Error(), remedy)
	}
	switch {
	case fine && to.Listen == "":
		p.ok(checkPermissions, fmt.Sprintf("%q may make, write and read queues; taking jobs and publishing results was not tried: OpenCTI has not named its queues", p.user))
	case fine:
		p.ok(checkPermissions, fmt.Sprintf("%q may make, write and read queues, take jobs and publish results", p.user))
	}
	return fine
}

// on does something on a channel of its own: a refusal closes it. An answer that does not come ends with the check's time.
func (p *permissions) on(do func(*amqp.Channel) error) error {
	return onChannel(p.conn, p.options.Timeout, do)
}

func onChannel(conn *amqp.Connection, patience time.Duration, do func(*amqp.Channel) error) error {
	done := make(chan error, 1)
	go func() { // it ends with the connection at the latest
		ch, err := conn.Channel()
		if err != nil {
			done <- err
			return
		}
		err = do(ch)
		_ = ch.Close() // a refusal has closed it
		done <- err
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errors.New("the broker does not answer")
	}
}

// passThrough makes a queue that goes with the connection, and sends something through it.
func passThrough(ch *amqp.Channel, name string) error {
	if _, err := ch.QueueDeclare(name, false, true, true, false, nil); err != nil {
		return err
	}
	if err := publishConfirmed(ch, "", name, false); err != nil {
		return err
	}
	_, _, err := ch.Get(name, true)
	return err
}

// mayConsume finds out whether a queue may be consumed, and consumes nothing: RabbitMQ looks at the permission first and then
// at the arguments, of which one is wrong.
func mayConsume(ch *amqp.Channel, queue string) error {
	const wrong = "x-priority" // wants a number
	if err := ch.Qos(1, 0, false); err != nil {
		return err
	}
	_, err := ch.Consume(queue, "ipqs-worker doctor", false, false, false, false, amqp.Table{wrong: "none"})
	if exception, ok := errors.AsType[*amqp.Error](err); ok && exception.Code == amqp.PreconditionFailed {
		return nil
	}
	return err // what it may have given out goes back with the channel
}

// mayPublish sends something to an exchange that no queue takes, so that it comes back.
func mayPublish(ch *amqp.Channel, exchange string) error {
	return publishConfirmed(ch, exchange, "ipqs-worker.doctor."+uuid.NewString(), true)
}

func publishConfirmed(ch *amqp.Channel, exchange, key string, mandatory bool) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	confirmed := ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	message := amqp.Publishing{Expiration: "1000", Body: []byte("from ipqs-worker doctor")}
	if err := ch.PublishWithContext(context.Background(), exchange, key, mandatory, false, message); err != nil {
		return err
	}
	select {
	case err, ok := <-closed:
		if !ok || err == nil {
			return io.ErrUnexpectedEOF
		}
		return err
	case c, ok := <-confirmed:
		if ok && !c.Ack {
			return errors.New("the broker did not take a message")
		}
		if !ok { // the channel was closed, and says why
			if err := <-closed; err != nil {
				return err
			}
		}
		return nil
	}
}

// queues compares those that are there with how the worker would declare them. allowed says whether the user may do all that
// the worker does, as far as was tried.
func (e *examination) queues(conn *amqp.Connection, queues []app.Queue, user string, allowed bool) {
	there, consumers, fine := 0, -1, true // -1: OpenCTI's queue is not known
	var refused []string                  // to be told in one line
	for _, q := range queues {
		var found amqp.Queue
		err := onChannel(conn, e.options.Timeout, func(ch *amqp.Channel) (err error) {
			found, err = ch.QueueDeclarePassive(q.Name, true, false, false, false, nil)
			return err
		})
		exception, _ := errors.AsType[*amqp.Error](err)
		switch {
		case exception != nil && exception.Code == amqp.NotFound && !q.Foreign:
			continue // the first worker makes it
		case exception != nil && exception.Code == amqp.AccessRefused:
			refused = append(refused, q.Name)
			continue
		case err != nil:
			fine = false
			e.fail(checkQueues, "looking at "+q.Name+": "+err.Error(), "look at the broker's own log")
			continue
		}
		there++
		if q.Foreign {
			consumers = found.Consumers
			continue
		}
		// Of a queue that is there this changes nothing, whether it is as declared or not.
		declare := func(arguments amqp.Table) error {
			return onChannel(conn, e.options.Timeout, func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclare(q.Name, true, false, false, false, arguments)
				return err
			})
		}
		err = declare(q.Arguments)
		if err == nil {
			continue
		}
		exception, _ = errors.AsType[*amqp.Error](err)
		if exception != nil && exception.Code == amqp.AccessRefused {
			refused = append(refused, q.Name)
			continue
		}
		fine = false
		if mismatch := rabbitmq.Mismatch(q.Name, err); mismatch != nil {
			if declare(q.OtherArguments) == nil {
				mismatch = mismatch.OfType(q.OtherType, e.config.Worker.QueueType)
			}
			e.fail(checkQueues, mismatch.Difference(), mismatch.Remedy())
			continue
		}
		e.fail(checkQueues, "declaring "+q.Name+" as it is: "+err.Error(), "look at the broker's own log")
	}
	if len(refused) > 0 {
		e.refusedQueues(refused, user, allowed)
		return
	}
	if !fine {
		return
	}
	rest := "the first worker makes the others"
	if there == len(queues) {
		rest = "none is missing"
	}
	e.ok(checkQueues, fmt.Sprintf("%d of %d are there, each as the worker declares it; %s. %s", there, len(queues), rest, taking(consumers, e.config.Connector.Callback.On)))
}

// refusedQueues tells once of all queues that the user may not look at.
func (e *examination) refusedQueues(refused []string, user string, allowed bool) {
	if !allowed {
		e.skip(checkQueues, fmt.Sprintf("the user %q may not look at them, for the reason above", user))
		return
	}
	found := fmt.Sprintf("the user %q may not look at %s", user, refused[0])
	if others := len(refused) - 1; others > 0 {
		found += fmt.Sprintf(" and %d more", others)
	}
	e.fail(checkQueues, found, fmt.Sprintf("allow the user configure on them (rabbitmqctl set_permissions %s …)", user))
}

func taking(consumers int, callback bool) string {
	switch {
	case callback:
		return "Jobs are posted to the worker"
	case consumers < 0:
		return "OpenCTI's queue is not known"
	case consumers == 0:
		return "Nobody takes jobs now"
	case consumers == 1:
		return "One worker takes jobs now"
	}
	return number(consumers) + " workers take jobs now"
}
