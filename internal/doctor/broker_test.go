package doctor_test

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/certtest"
	"opencti-ipqs-worker/internal/doctor"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// TestDiagnosesOfTheBroker is TestDiagnoses with a RabbitMQ, one node of its own for all: its users are what is wrong.
func TestDiagnosesOfTheBroker(t *testing.T) {
	t.Parallel()
	authority, stranger := certtest.New(t), certtest.New(t)
	server, client := authority.Server(t, "127.0.0.1"), authority.Client(t)
	node := rabbitnodetest.Start(t, rabbitnode.Options{TLS: &rabbitnode.TLS{Cert: server.Cert, Key: server.Key, ClientCA: authority.PEM}})
	const ours = `^ipqs-worker\..*`
	for _, user := range []struct{ name, configure, write, read string }{
		{"fine", ours, ours + `|amq\.default|.*exchange`, ours + "|listen_.*"},
		{"makes-nothing", "^$", ".*", ".*"},
		{"makes-some", `^ipqs-worker\..*\.doctor-.*`, ".*", ".*"},
		{"takes-nothing", ours, ".*", ours},
		{"publishes-nothing", ours, ours + `|amq\.default`, ".*"},
	} {
		for _, args := range [][]string{
			{"add_user", user.name, password},
			{"set_permissions", user.name, user.configure, user.write, user.read},
		} {
			if out, err := node.Ctl(t.Context(), args...); err != nil {
				t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
			}
		}
	}
	_, secured, err := net.SplitHostPort(node.TLSAddr())
	if err != nil {
		t.Fatal(err)
	}
	_, closed, err := net.SplitHostPort(closedPort(t))
	if err != nil {
		t.Fatal(err)
	}
	overTLS := map[string]string{
		"MQ_USE_SSL": "true", "MQ_PORT": secured, "MQ_USE_SSL_CA": authority.PEM, "MQ_USE_SSL_CERT": client.Cert, "MQ_USE_SSL_KEY": client.Key,
	}
	as := func(user string) map[string]string { return map[string]string{"MQ_USER": user, "MQ_PASS": password} }

	tests := []struct {
		name    string
		environ map[string]string
		but     map[string]string // over the environ; "" takes it out
		before  func(t *testing.T, connectorID string)
		want    diagnosis
		queues  string // the one line on queues, if it matters
	}{
		{name: "nothing is wrong", want: diagnosis{"queues", doctor.OK, "1 of 24 are there", ""}},
		{name: "a user who may just do what is needed", environ: as("fine"), want: diagnosis{"permissions", doctor.OK, `"fine" may make, write and read queues`, ""}},
		{name: "TLS with certificates", environ: overTLS, want: diagnosis{"broker", doctor.OK, "over TLS", ""}},
		{
			name: "a closed port", environ: map[string]string{"MQ_PORT": closed},
			want: diagnosis{"broker", doctor.Fail, "connection refused", "nothing listens there"},
		},
		{
			name: "a wrong password", environ: map[string]string{"MQ_PASS": password},
			want: diagnosis{"broker", doctor.Fail, "the login is refused", "MQ_USER and MQ_PASS"},
		},
		{
			name: "a virtual host that is not there", environ: map[string]string{"MQ_VHOST": "elsewhere"},
			want: diagnosis{"broker", doctor.Fail, "elsewhere", "or set MQ_VHOST"},
		},
		{
			name: "a wrong authority", environ: overTLS, but: map[string]string{"MQ_USE_SSL_CA": stranger.PEM},
			want: diagnosis{"broker", doctor.Fail, "set MQ_USE_SSL_CA or MQ_USE_SSL_REJECT_UNAUTHORIZED=false", "do what the text says"},
		},
		{
			name: "a certificate that is missing", environ: overTLS, but: map[string]string{"MQ_USE_SSL_CERT": "", "MQ_USE_SSL_KEY": ""},
			want: diagnosis{"broker", doctor.Fail, "MQ_USE_SSL_CERT and MQ_USE_SSL_KEY", "do what the text says"},
		},
		{
			name: "TLS where there is none", environ: map[string]string{"MQ_USE_SSL": "true"},
			want: diagnosis{"broker", doctor.Fail, "is it the port for TLS?", ""},
		},
		{
			name: "no TLS where there is", environ: map[string]string{"MQ_PORT": secured},
			want: diagnosis{"broker", doctor.Fail, "the port speaks TLS, and the connection is made without", "set MQ_USE_SSL=true"},
		},
		{
			name: "no right to make queues", environ: as("makes-nothing"),
			want: diagnosis{"permissions", doctor.Fail, "making, writing and reading queues of ours", `allow the user "makes-nothing" configure`},
		},
		{
			name: "no right to the queues that are there", environ: as("makes-nothing"), before: declare(node, "score", "bundle", "bundle.poison"),
			want:   diagnosis{"permissions", doctor.Fail, "making, writing and reading queues of ours", `allow the user "makes-nothing" configure`},
			queues: `the user "makes-nothing" may not look at them, for the reason above`,
		},
		{
			name: "no right to one of the queues that are there", environ: as("makes-some"), before: declare(node, "score", "bundle"),
			want: diagnosis{"queues", doctor.Fail, `the user "makes-some" may not look at ipqs-worker.`, "rabbitmqctl set_permissions makes-some"},
		},
		{
			name: "no right to take jobs", environ: as("takes-nothing"),
			want: diagnosis{"permissions", doctor.Fail, "taking jobs: ", "read on listen_"},
		},
		{
			name: "no right to publish", environ: as("publishes-nothing"),
			want: diagnosis{"permissions", doctor.Fail, "publishing results: ", "write on the exchange "},
		},
		{
			name: "a queue of another type", environ: map[string]string{"WORKER_QUEUE_TYPE": "quorum"},
			before: declare(node, "score"),
			want:   diagnosis{"queues", doctor.Fail, ".score: the queue exists with different properties: x-queue-type is classic, this configuration needs quorum", "set WORKER_QUEUE_TYPE=classic"},
		},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			broker := openctitest.AMQPBroker(node.URL())
			t.Cleanup(func() { _ = broker.Close() })
			w := newWorld(t, "", broker, ipqstest.Options{})
			id := connectorID[:len(connectorID)-2] + string(rune('a'+i/6)) + string(rune('a'+i%6))
			w.environ["CONNECTOR_ID"] = id
			w.register()
			for _, set := range []map[string]string{tt.environ, tt.but} {
				maps.Copy(w.environ, set)
			}
			if tt.before != nil {
				tt.before(t, id)
			}
			findings := w.examine()
			w.verify(findings, tt.want)
			var lines []string
			for _, f := range findings {
				if f.Check == "queues" {
					lines = append(lines, f.Found)
				}
			}
			if len(lines) != 1 || tt.queues != "" && lines[0] != tt.queues {
				t.Errorf("the lines on queues are %q, want one, %q", lines, tt.queues)
			}
			checkNothingLeft(t, node.URL(), id, findings)
		})
	}
}

// declare returns what makes queues of a worker.
func declare(node *rabbitnode.Node, names ...string) func(t *testing.T, connectorID string) {
	return func(t *testing.T, id string) {
		t.Helper()
		conn, err := amqp.Dial(node.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		ch, err := conn.Channel()
		for _, name := range names {
			if err == nil {
				_, err = ch.QueueDeclare("ipqs-worker."+id+"."+name, true, false, false, false, amqp.Table{"x-queue-type": "classic"})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// checkNothingLeft looks for what the doctor made: the queues of the worker are not there, and nothing is in OpenCTI's.
func checkNothingLeft(t *testing.T, address, id string, findings []doctor.Finding) {
	t.Helper()
	conn, err := amqp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Check == "registration" && f.Status != doctor.OK {
			return // OpenCTI has made none
		}
	}
	for _, queue := range []string{"listen_" + id, "push_" + id} {
		found, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		if err != nil || found.Messages != 0 {
			t.Errorf("%s has %d messages, error %v, want none of the doctor's", queue, found.Messages, err)
		}
	}
	if _, err := ch.QueueDeclarePassive("ipqs-worker."+id+".lookup", true, false, false, false, nil); err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
		t.Errorf("looking for a queue of the worker's = %v, want the doctor to have made none", err)
	}
}

// Where the options name the whole broker, it is checked before the connector is registered, as far as that goes.
func TestBrokerBeforeTheFirstRegistration(t *testing.T) {
	t.Parallel()
	address := pipelinetest.AMQPURL(t)
	at, err := amqp.ParseURI(address)
	if err != nil {
		t.Fatal(err)
	}
	broker := openctitest.AMQPBroker(address)
	t.Cleanup(func() { _ = broker.Close() })
	w := newWorld(t, "", broker, ipqstest.Options{})
	maps.Copy(w.environ, map[string]string{
		"CONNECTOR_ID": "5d6f2a34-7a0e-4d3c-9b41-2f6b0f5c7fff", "MQ_HOST": at.Host, "MQ_PORT": strconv.Itoa(at.Port), "MQ_VHOST": at.Vhost,
		"MQ_USER": at.Username, "MQ_PASS": at.Password, "MQ_USE_SSL": "false",
	})
	findings := w.examine()
	for _, want := range []diagnosis{
		{"registration", doctor.Warn, "not registered with OpenCTI yet", "start `ipqs-worker run` once"},
		{"broker", doctor.OK, "connected to RabbitMQ", ""},
		{"permissions", doctor.OK, "taking jobs and publishing results was not tried", ""},
		{"queues", doctor.OK, "0 of 23 are there, each as the worker declares it; the first worker makes the others. OpenCTI's queue is not known", ""},
	} {
		hit := slices.ContainsFunc(findings, func(f doctor.Finding) bool {
			return f.Check == want.check && f.Status == want.status && strings.Contains(f.Found, want.found) && strings.Contains(f.Remedy, want.remedy)
		})
		if !hit {
			t.Errorf("findings = %+v, want %+v among them", findings, want)
		}
	}
}
