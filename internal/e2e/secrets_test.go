package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/secrettest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// Every test plants secrets: the key, the token, the passwords of broker and accounts, and logins that are in leaks. When its
// world ends, nothing that the workers wrote may have one of them: not the log, the spans, what they served, nor what is
// left in their queues.

// written is what the workers of a world wrote, by where.
func (w *world) written() map[string]string {
	places := map[string]string{"log": w.logs.String(), "spans": w.collector.texts()}
	if w.probe != nil {
		places["what was served"] = w.probe.said.String()
	}
	return places
}

// secrets are those that are planted in every world.
func secrets(t *testing.T) []string {
	t.Helper()
	all := []string{token, key, login, password}
	if u, err := url.Parse(pipelinetest.AMQPURL(t)); err == nil {
		if text, _ := u.User.Password(); len(text) > len("password") { // else it is a word like others
			all = append(all, text)
		}
	}
	return all
}

// audit looks through all that was written, as far as there is any.
func (w *world) audit() {
	w.t.Helper()
	places := w.written()
	for place, text := range places {
		if text == "" {
			delete(places, place)
		}
	}
	for _, found := range secrettest.Find(places, secrets(w.t)...) {
		w.t.Error(found)
	}
}

// checkSecrets is audit where all of it has to be there, with more secrets.
func checkSecrets(t *testing.T, w *world, more ...string) {
	t.Helper()
	for _, found := range secrettest.Find(w.written(), append(secrets(t), more...)...) {
		t.Error(found)
	}
}

// checkLeftovers empties a queue and looks through it. What is asked about is in a job's body, but for passwords.
func checkLeftovers(t *testing.T, connection *amqp.Connection, queue string) {
	t.Helper()
	channel, err := connection.Channel()
	if err != nil {
		t.Errorf("looking into %s: %v", queue, err)
		return
	}
	defer func() { _ = channel.Close() }()
	for {
		message, ok, err := channel.Get(queue, true)
		if err != nil || !ok {
			return // there is no such queue, or nothing in it
		}
		known := secrets(t)
		headers := secrettest.Find(map[string]string{"a header in " + queue: fmt.Sprint(message.Headers, message.MessageId) + "\n"}, known...)
		body := secrettest.Find(map[string]string{"a message in " + queue: string(message.Body) + "\n"}, without(known, login)...)
		for _, found := range append(headers, body...) {
			t.Error(found)
		}
	}
}

func without(list []string, text string) []string {
	var others []string
	for _, one := range list {
		if one != text {
			others = append(others, one)
		}
	}
	return others
}

// TestSecretsOfAccountsStayWhereTheyAre has accounts come to every end that a job has, and looks at all that an operator
// can look at. One is not shown to the connector: its job becomes a dead letter as OpenCTI sent it, with the account in it.
func TestSecretsOfAccountsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{Credits: 1000})
	refused, unlucky := "refused "+password, login+"-unlucky"
	w.ipqs.Script(ipqs.KindLeakPassword, refused, ipqstest.Refusal("Nothing about "+refused+" with "+key))
	w.ipqs.Script(ipqs.KindLeakUsername, unlucky, ipqstest.Refusal("Nothing about "+unlucky))
	hidden := account(login+"-hidden", password)
	hidden.Hidden = true
	probe := w.newProbe()
	worker := w.start(append(probe.options(), "IPQS_CREDIT_RESERVE=10")...)
	probe.awaitReady()
	jobs := w.enrich([]openctitest.Observable{
		hidden, account(login, "exposed "+password), account(login+"-refused", refused), account(unlucky, ""), account(login+"@example.com", ""),
	})
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	poll(w.ctx, t, "waiting for /metrics", func() bool {
		status, body := probe.get("/metrics")
		return status == http.StatusOK && strings.Contains(string(body), `ipqs_worker_jobs_total{end="dead_lettered"`)
	})
	letters := w.list()
	if len(letters) != 2 { // the hidden account is skipped
		t.Errorf("%d dead letters %v, want 2", len(letters), letters)
	}
	w.operate(0, "list")
	for _, letter := range letters {
		w.operate(0, "show", letter.ID)
	}
	w.operate(0, "export", "-")
	works := map[string]string{}
	for _, j := range jobs {
		work, _ := w.platform.Work(j.work)
		works["work of "+j.id] = fmt.Sprintf("%+v", work)
	}
	for _, found := range secrettest.Find(works, secrets(t)...) {
		t.Error(found)
	}
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}
