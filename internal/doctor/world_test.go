package doctor_test

import (
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/certtest"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/doctor"
	"opencti-ipqs-worker/internal/freeport"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// What nobody but the stand-ins may ever see.
const (
	token       = "planted-token-71d2"
	key         = "planted-key-4c9a"
	password    = "planted-password-0b5e"
	connectorID = "5d6f2a34-7a0e-4d3c-9b41-2f6b0f5c7e11"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop")) // idle connections to servers that are closed
}

// world is everything that a worker depends on.
type world struct {
	t        *testing.T
	platform *openctitest.Platform
	// serve serves the platform, and may be changed before it is first asked.
	serve   http.Handler
	opencti *httptest.Server
	ipqs    *ipqstest.Server
	environ map[string]string
}

// newWorld is one in which nothing is wrong. version is OpenCTI's, "" for the newest. Without a broker there is no RabbitMQ
// in it.
func newWorld(t *testing.T, version string, broker openctitest.Broker, account ipqstest.Options) *world {
	t.Helper()
	w := &world{t: t, environ: map[string]string{}}
	if broker == nil {
		broker = openctitest.MemoryBroker()
		w.environ["CONNECTOR_LISTEN_PROTOCOL"] = "API"
		w.environ["CONNECTOR_LISTEN_PROTOCOL_API_URI"] = "http://worker.example.com:7070"
		w.environ["CONNECTOR_QUEUE_PROTOCOL"] = "api"
	}
	platform, err := openctitest.New(openctitest.Options{Version: version, Token: token, Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	w.platform, w.serve = platform, platform
	w.opencti = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve.ServeHTTP(rw, r) }))
	account.Key = key
	if account.Credits == 0 {
		account.Credits = 500
	}
	w.ipqs = ipqstest.NewServer(account)
	t.Cleanup(func() {
		w.opencti.Close()
		w.ipqs.Close()
		if err := platform.Close(); err != nil {
			t.Error(err)
		}
	})
	maps.Copy(w.environ, map[string]string{
		"OPENCTI_URL": w.opencti.URL, "OPENCTI_TOKEN": token, "CONNECTOR_ID": connectorID,
		"IPQS_PRIVATE_KEY": key, "IPQS_BASE_URL": w.ipqs.BaseURL,
	})
	return w
}

// register registers the connector as a worker with this configuration does, with changes.
func (w *world) register(changes ...func(*opencti.Connector)) {
	w.t.Helper()
	c, _, err := config.Load(w.loading())
	if err != nil {
		w.t.Fatal(err)
	}
	ways, err := app.NewWays(app.Options{Config: c, Version: "test"}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	connector := ways.Connector()
	for _, change := range changes {
		change(&connector)
	}
	if _, err := ways.OpenCTI.Register(w.t.Context(), connector); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) loading() config.Options {
	var environ []string
	for name, value := range w.environ {
		environ = append(environ, name+"="+value)
	}
	return config.Options{Path: w.t.TempDir() + "/none.yml", Environ: environ}
}

// overTLS has OpenCTI speak TLS with a certificate of an authority.
func (w *world) overTLS(authority *certtest.Authority) {
	w.t.Helper()
	secured := httptest.NewUnstartedServer(w.opencti.Config.Handler)
	secured.TLS = serverTLS(w.t, authority)
	secured.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	secured.StartTLS()
	w.t.Cleanup(secured.Close)
	w.environ["OPENCTI_URL"] = secured.URL
}

// examine runs the doctor.
func (w *world) examine() []doctor.Finding {
	w.t.Helper()
	c, warnings, err := config.Load(w.loading())
	if err != nil {
		return doctor.Misconfigured(err, warnings)
	}
	return doctor.Run(w.t.Context(), doctor.Options{
		App: app.Options{Config: c, Version: "test"}, Warnings: warnings, Timeout: 5 * time.Second,
	}, nil)
}

// diagnosis is what the doctor has to say: which check ended how, and words of what it found and of the remedy.
type diagnosis struct {
	check  string
	status doctor.Status
	found  string
	remedy string
}

// verify checks that the findings name the cause, name no other failure, and show no secret.
func (w *world) verify(findings []doctor.Finding, want diagnosis) {
	w.t.Helper()
	hit := slices.ContainsFunc(findings, func(f doctor.Finding) bool {
		return f.Check == want.check && f.Status == want.status && strings.Contains(f.Found, want.found) && strings.Contains(f.Remedy, want.remedy)
	})
	if !hit {
		w.t.Errorf("findings = %+v, want %+v among them", findings, want)
	}
	for _, f := range findings {
		if f.Check == "ipqs" && f.Status == doctor.Warn && strings.Contains(f.Found, "is not IPQualityScore's own address") {
			continue // the stand-in is not
		}
		bad := f.Status == doctor.Fail || f.Status == doctor.Warn
		if bad && f.Check != want.check {
			w.t.Errorf("the doctor also finds %+v, want nothing but what is wrong", f)
		}
		if bad && want.remedy != "" && f.Remedy == "" {
			w.t.Errorf("finding %+v has no remedy", f)
		}
		for _, secret := range []string{token, key, password} {
			if strings.Contains(f.Found+f.Remedy, secret) {
				w.t.Errorf("finding %+v shows %q", f, secret)
			}
		}
	}
	if got := doctor.Failed(findings); got != (want.status == doctor.Fail) {
		w.t.Errorf("Failed() = %t, want %t", got, want.status == doctor.Fail)
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release() })
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
