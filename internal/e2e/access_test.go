package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"opencti-ipqs-worker/internal/certtest"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/rabbitnode"
	"opencti-ipqs-worker/internal/rabbitnode/rabbitnodetest"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// newWorldWithoutRabbitMQ is a world whose platform keeps its queues to itself.
func newWorldWithoutRabbitMQ(t *testing.T, version string, faults ipqstest.Options) *world {
	t.Helper()
	return newWorldOn(t, openctitest.MemoryBroker(), uuid.NewString(), version, faults)
}

// callback picks a port for a worker's callback, and returns the options that have jobs posted there.
func (w *world) callback(scheme string) []string {
	w.t.Helper()
	port := freePort(w.t)
	return []string{
		"CONNECTOR_LISTEN_PROTOCOL=API", "CONNECTOR_LISTEN_PROTOCOL_API_PORT=" + port,
		"CONNECTOR_LISTEN_PROTOCOL_API_URI=" + scheme + "://127.0.0.1:" + port,
	}
}

// overAPI has results go in over the API. The broker that the platform names is nobody's, and asking for it would be an
// error in the log.
const overAPI = "CONNECTOR_QUEUE_PROTOCOL=api"

// scored waits until every observable has its score, and the work that asked for it is complete.
func (w *world) scored(jobs []job) {
	w.t.Helper()
	open := func(j job) bool {
		o, _ := w.platform.Observable(j.id)
		work, _ := w.platform.Work(j.work)
		return o.Score == nil || work.Status != "complete" || work.ProcessedTimes == 0
	}
	if err := w.platform.Wait(w.ctx, func() bool { return !slices.ContainsFunc(jobs, open) }); err != nil {
		i := slices.IndexFunc(jobs, open)
		work, _ := w.platform.Work(jobs[i].work)
		w.t.Fatalf("%s %s is not done: %v, work %+v, callbacks %v", jobs[i].Type, jobs[i].Value, err, work, w.platform.CallbackAnswers())
	}
}

// checkBundles looks at what came over the API: every object once or more, nothing lost, nothing to complain about.
func checkBundles(t *testing.T, w *world, jobs []job) {
	t.Helper()
	checkObjects(t, w, jobs)
	for _, work := range w.platform.Works() {
		if work.Status != "complete" || work.Forced || work.Dropped > 0 || len(work.Errors) > 0 {
			t.Errorf("work %+v, want it complete by itself, without errors", work)
		}
	}
	if complaints := w.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI's stand-in complains: %q", complaints)
	}
	// Some releases complete a work by a report only.
	if asked := w.platform.Requests(); asked["WorkAnnounce"]+asked["WorkExpect"] > 0 || asked["WorkReport"] > len(w.platform.Works()) {
		t.Errorf("announced %d times and reported %d times on %d works, want OpenCTI to count the objects",
			asked["WorkAnnounce"]+asked["WorkExpect"], asked["WorkReport"], len(w.platform.Works()))
	}
	if strings.Contains(w.logs.String(), "RabbitMQ") {
		t.Error("the log speaks of RabbitMQ, which there is none of")
	}
}

// A connector without RabbitMQ, on releases with either kind of token, in and out of the span in which OpenCTI deletes
// counters.
func TestWithoutRabbitMQ(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.5.7", "6.8.10", "7.260817.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newWorldWithoutRabbitMQ(t, version, ipqstest.Options{})
			probe := w.newProbe()
			worker := w.start(slices.Concat(w.callback("http"), probe.options(), []string{overAPI})...)
			probe.await("it takes posts", func(s state) bool { return s.Ready && s.Dependencies["callback"].OK })
			jobs := w.enrich(observables(40))
			w.scored(jobs)
			checkBundles(t, w, jobs)
			checkTraces(t, w, jobs)
			for _, answer := range w.platform.CallbackAnswers() {
				// At first the worker may not be listening yet: it registers before it knows what to listen for.
				if answer.Status != http.StatusAccepted && answer.Status != http.StatusServiceUnavailable && answer.Err == nil {
					t.Errorf("a post was answered %+v, want 202", answer)
				}
			}
			if status := worker.stop(); status != 0 {
				t.Errorf("exit status = %d after SIGTERM, want 0", status)
			}
			checkSecrets(t, w)
		})
	}
}

// Nothing is in the worker's hands alone: a crash, and a stop, leave with OpenCTI what has not ended.
func TestWithoutRabbitMQAndACrash(t *testing.T) {
	t.Parallel()
	w := newWorldWithoutRabbitMQ(t, "", ipqstest.Options{Latency: 50 * time.Millisecond})
	options := append(w.callback("http"), overAPI)
	first := w.start(options...)
	jobs := w.enrich(observables(60))
	done := func(n int) {
		t.Helper()
		if err := w.platform.Wait(w.ctx, func() bool { return w.complete() >= n }); err != nil {
			t.Fatal(err)
		}
		if w.complete() == len(jobs) {
			t.Fatal("all works are complete already: it shows nothing")
		}
	}
	done(10)
	first.kill()
	second := w.start(options...)
	done(25)
	if status := second.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM with jobs in hand, want 0", status)
	}
	third := w.start(options...)
	w.scored(jobs)
	checkBundles(t, w, jobs)
	if status := third.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}

// Jobs are posted and lie in a queue of ours from then on; results go in by RabbitMQ, and works are counted as ever.
func TestCallbackOnRabbitMQ(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, "", ipqstest.Options{Latency: 50 * time.Millisecond})
	options := w.callback("http")
	first := w.start(options...)
	jobs := w.enrich(observables(60))
	if err := w.platform.Wait(w.ctx, func() bool { return w.complete() >= 10 }); err != nil {
		t.Fatal(err)
	}
	first.kill()
	if w.complete() == len(jobs) {
		t.Fatal("all works were complete before the crash: it shows nothing")
	}
	second := w.start(options...)
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	checkWorks(t, w, jobs, true)
	checkObjects(t, w, jobs)
	for _, j := range jobs {
		if work, _ := w.platform.Work(j.work); work.Expected > 8 {
			t.Errorf("work of %s %s expects %d objects: announced twice", j.Type, j.Value, work.Expected)
		}
	}
	if status := second.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}

// A platform that signs with a new key is believed once it has told it.
func TestCallbackKeysChange(t *testing.T) {
	t.Parallel()
	w := newWorldWithoutRabbitMQ(t, "7.260817.0", ipqstest.Options{})
	worker := w.start(append(w.callback("http"), overAPI)...)
	w.scored(w.enrich(observables(6)))
	w.platform.RotateCallbackKeys()
	w.scored(w.enrich(observables(12)[6:]))
	refused := slices.ContainsFunc(w.platform.CallbackAnswers(), func(a openctitest.CallbackAnswer) bool {
		return a.Status == http.StatusUnauthorized
	})
	if n := w.platform.Requests()["RegisterForCallback"]; !refused || n != 2 {
		t.Errorf("refused = %t, %d registrations, want a refusal and another registration", refused, n)
	}
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}

// A worker of OpenCTI's that does not trust our certificate posts nothing, and both sides say why.
func TestCallbackTLS(t *testing.T) {
	t.Parallel()
	w := newWorldWithoutRabbitMQ(t, "", ipqstest.Options{})
	authority, stranger := certtest.New(t), certtest.New(t)
	identity := authority.Server(t, "127.0.0.1")
	const passphrase = "planted-passphrase-31ab"
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(keyFile, []byte(identity.Encrypted(t, passphrase)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.platform.SetCallbackClient(trusting(t, stranger))
	worker := w.start(append(w.callback("https"), overAPI, "CONNECTOR_LISTEN_PROTOCOL_API_SSL=true",
		"LISTEN_PROTOCOL_API_SSL_CERT="+identity.Cert, "LISTEN_PROTOCOL_API_SSL_KEY="+keyFile, "LISTEN_PROTOCOL_API_SSL_PASSPHRASE="+passphrase)...)
	jobs := w.enrich(observables(6))
	unknown := func(a openctitest.CallbackAnswer) bool {
		_, ok := errors.AsType[x509.UnknownAuthorityError](a.Err)
		return ok
	}
	if err := w.platform.Wait(w.ctx, func() bool { return slices.ContainsFunc(w.platform.CallbackAnswers(), unknown) }); err != nil {
		t.Fatalf("posts were answered %v, want the authority unknown: %v", w.platform.CallbackAnswers(), err)
	}
	w.platform.SetCallbackClient(trusting(t, authority))
	w.scored(jobs)
	checkBundles(t, w, jobs)
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if !strings.Contains(w.logs.String(), "TLS handshake error from 127.0.0.1") || !strings.Contains(w.logs.String(), "remote error: tls: ") {
		t.Error("the log does not say that our certificate was refused")
	}
	if strings.Contains(w.logs.String(), passphrase) || strings.Contains(w.logs.String(), "PRIVATE KEY") {
		t.Error("the log holds a secret")
	}
	checkSecrets(t, w)
}

// trusting is a client that trusts one authority, and no other.
func trusting(t *testing.T, authority *certtest.Authority) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// OpenCTI names a broker and we reach it elsewhere, by TLS: with a wrong authority it is refused and the log says which
// option decides; with the right one and our certificate, jobs are done.
func TestBrokerTLS(t *testing.T) {
	t.Parallel()
	authority, stranger := certtest.New(t), certtest.New(t)
	server, client := authority.Server(t, "127.0.0.1"), authority.Client(t)
	node := rabbitnodetest.Start(t, rabbitnode.Options{TLS: &rabbitnode.TLS{Cert: server.Cert, Key: server.Key, ClientCA: authority.PEM}})
	broker := openctitest.AMQPBroker(node.URL())
	t.Cleanup(func() { _ = broker.Close() })
	w := newWorldOn(t, broker, uuid.NewString(), "", ipqstest.Options{})
	_, port, err := net.SplitHostPort(node.TLSAddr())
	if err != nil {
		t.Fatal(err)
	}
	options := []string{"MQ_USE_SSL=true", "MQ_PORT=" + port, "MQ_USE_SSL_CERT=" + client.Cert, "MQ_USE_SSL_KEY=" + client.Key}
	wrong := w.start(append(options, "MQ_USE_SSL_CA="+stranger.PEM)...)
	jobs := w.enrich(observables(12))
	w.says("x509: certificate signed by unknown authority", ": set MQ_USE_SSL_CA or MQ_USE_SSL_REJECT_UNAUTHORIZED=false")
	if status := wrong.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if n := w.complete(); n > 0 {
		t.Errorf("%d works are complete over a connection that was to be refused", n)
	}
	right := w.start(append(options, "MQ_USE_SSL_CA="+authority.PEM)...)
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}
	checkObjects(t, w, jobs)
	if status := right.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if strings.Contains(w.logs.String(), "PRIVATE KEY") {
		t.Error("the log holds a secret")
	}
	checkSecrets(t, w)
}

// says waits until the log has all of the texts.
func (w *world) says(texts ...string) {
	w.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		log := w.logs.String()
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(log, text) }) {
			return
		}
		select {
		case <-ticker.C:
		case <-w.ctx.Done():
			w.t.Fatalf("the log has not all of %q", texts)
		}
	}
}

// OpenCTI is asked over TLS, whose authority a variable names; without it the log says so and asking goes on.
func TestPlatformTLS(t *testing.T) {
	t.Parallel()
	w := newWorldWithoutRabbitMQ(t, "", ipqstest.Options{})
	authority := certtest.New(t)
	identity := authority.Server(t, "127.0.0.1")
	secure := httptest.NewUnstartedServer(w.platform)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{identity.TLS(t)}, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	w.address = secure.URL
	options := append(w.callback("http"), overAPI)
	wrong := w.launch(options...)
	w.says("x509: certificate signed by unknown authority: set HTTPS_CA_CERTIFICATES or OPENCTI_SSL_VERIFY=false")
	if status := wrong.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if w.platform.Registration(w.connector) != nil {
		t.Error("registered over a connection that was to be refused")
	}
	worker := w.start(append(options, "HTTPS_CA_CERTIFICATES="+authority.PEM)...)
	w.scored(w.enrich(observables(6)))
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}

// Both clients go by the proxy that the environment names, and what is asked of OpenCTI has the operator's headers.
func TestProxy(t *testing.T) {
	t.Parallel()
	const header = "planted-header-c0ffee"
	w := newWorldWithoutRabbitMQ(t, "", ipqstest.Options{})
	behind := map[string]string{"opencti.test": w.address, "ipqs.test": w.ipqs.BaseURL}
	var asked [2]atomic.Int64 // OpenCTI and IPQS
	var strange atomic.Int64
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		to, err := url.Parse(behind[r.In.URL.Host])
		if err != nil || to.Host == "" {
			strange.Add(1)
			return
		}
		switch extra := r.In.Header.Get("X-Extra"); {
		case r.In.URL.Host == "opencti.test" && extra == header:
			asked[0].Add(1)
		case r.In.URL.Host == "ipqs.test" && extra == "":
			asked[1].Add(1)
		default:
			strange.Add(1)
		}
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
	}})
	t.Cleanup(proxy.Close)
	base, err := url.Parse(w.ipqs.BaseURL)
	if err != nil {
		t.Fatal(err)
	}
	worker := w.start(append(w.callback("http"), overAPI, "HTTP_PROXY="+proxy.URL, "OPENCTI_URL=http://opencti.test",
		"IPQS_BASE_URL=http://ipqs.test"+base.Path, "OPENCTI_CUSTOM_HEADERS=X-Extra:"+header+";X-Other: x")...)
	w.scored(w.enrich(observables(6)))
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if asked[0].Load() == 0 || asked[1].Load() == 0 || strange.Load() > 0 {
		t.Errorf("the proxy was asked %d times for OpenCTI, %d for IPQS and %d for anything else", asked[0].Load(), asked[1].Load(), strange.Load())
	}
	if strings.Contains(w.logs.String(), header) || strings.Contains(w.collector.texts(), header) {
		t.Error("the header's value is in the log or in spans")
	}
	checkSecrets(t, w)
}

// OpenCTI behind TLS is asked through a tunnel of the proxy's, which sees a name and nothing else.
func TestProxyTunnel(t *testing.T) {
	t.Parallel()
	w := newWorldWithoutRabbitMQ(t, "", ipqstest.Options{})
	authority := certtest.New(t)
	identity := authority.Server(t, "opencti.test")
	secure := httptest.NewUnstartedServer(w.platform)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{identity.TLS(t)}, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	var tunnels, strange atomic.Int64
	var open sync.WaitGroup
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "opencti.test:443" || r.Header.Get("Authorization") != "" {
			strange.Add(1)
			return
		}
		to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", secure.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		rw.WriteHeader(http.StatusOK)
		from, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		tunnels.Add(1)
		for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
			open.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_ = way[0].Close()
			})
		}
	}))
	t.Cleanup(func() {
		proxy.Close()
		open.Wait()
	})
	worker := w.start(append(w.callback("http"), overAPI, "HTTPS_PROXY="+proxy.URL, "OPENCTI_URL=https://opencti.test",
		"HTTPS_CA_CERTIFICATES="+authority.PEM)...)
	w.scored(w.enrich(observables(6)))
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	if tunnels.Load() == 0 || strange.Load() > 0 {
		t.Errorf("the proxy was asked for %d tunnels to OpenCTI and %d other things, want only tunnels", tunnels.Load(), strange.Load())
	}
	checkSecrets(t, w)
}

// A release that lacks a protocol is told by name, and the worker does not pretend to work.
func TestTooOldForTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorldWithoutRabbitMQ(t, "6.2.5", ipqstest.Options{})
	worker := w.launch(append(w.callback("http"), overAPI)...)
	select {
	case <-worker.exit:
		if worker.cmd.ProcessState.ExitCode() == 0 {
			t.Error("exit status = 0, want that of an error")
		}
	case <-w.ctx.Done():
		t.Fatal("the worker goes on")
	}
	log := w.logs.String()
	for _, want := range []string{
		"CONNECTOR_QUEUE_PROTOCOL=api needs OpenCTI 6.2.6 or newer", "CONNECTOR_LISTEN_PROTOCOL=API needs OpenCTI 6.5.7 or newer",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log is %s, want %s", log, want)
		}
	}
}
