package doctor_test

import (
	"crypto/tls"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/certtest"
	"opencti-ipqs-worker/internal/doctor"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

func serverTLS(t *testing.T, authority *certtest.Authority) *tls.Config {
	t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{authority.Server(t, "127.0.0.1").TLS(t)}, MinVersion: tls.VersionTLS12}
}

// without is OpenCTI's role for connectors but for some capabilities.
func without(names ...string) openctitest.User {
	user := openctitest.ConnectorUser()
	var left []string
	for _, has := range user.Capabilities {
		keep := true
		for _, name := range names {
			keep = keep && has != name
		}
		if keep {
			left = append(left, has)
		}
	}
	user.Capabilities = left
	return user
}

// documentedCapabilities reads the table in docs/security.md.
func documentedCapabilities(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## The token of OpenCTI\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(section, -1) {
		names = append(names, m[1])
	}
	if len(names) < 5 {
		t.Fatalf("found the capabilities %v in docs/security.md, want 5 or more", names)
	}
	return names
}

// Each set-up has one thing wrong with it, or nothing, and the doctor names that and nothing else.
func TestDiagnoses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		version string
		account ipqstest.Options
		breaks  func(t *testing.T, w *world)
		want    diagnosis
	}{
		{
			name: "nothing is wrong", breaks: func(*testing.T, *world) {},
			want: diagnosis{"token", doctor.OK, "who may do all that is needed", ""},
		},
		{
			name: "a configuration with two holes",
			breaks: func(_ *testing.T, w *world) {
				delete(w.environ, "OPENCTI_TOKEN")
				w.environ["CONNECTOR_ID"] = "ChangeMe"
			},
			want: diagnosis{"configuration", doctor.Fail, "OPENCTI_TOKEN (opencti.token): not set", "set the option"},
		},
		{
			name:   "a misspelt option",
			breaks: func(_ *testing.T, w *world) { w.environ["IPQS_MAX_TPL"] = "TLP:GREEN" },
			want:   diagnosis{"configuration", doctor.Warn, "IPQS_MAX_TLP", ""},
		},
		{
			name:   "a wrong token",
			breaks: func(_ *testing.T, w *world) { w.environ["OPENCTI_TOKEN"] = "another-token" },
			want:   diagnosis{"token", doctor.Fail, "OpenCTI does not know the token", "set OPENCTI_TOKEN"},
		},
		{
			name:   "an OpenCTI that is not there",
			breaks: func(t *testing.T, w *world) { w.environ["OPENCTI_URL"] = "http://" + closedPort(t) },
			want:   diagnosis{"opencti", doctor.Fail, "connection refused", "nothing listens there"},
		},
		{
			name:   "an OpenCTI that nobody knows",
			breaks: func(_ *testing.T, w *world) { w.environ["OPENCTI_URL"] = "http://opencti.invalid" },
			want:   diagnosis{"opencti", doctor.Fail, "opencti.invalid", "correct OPENCTI_URL"},
		},
		{
			name:   "the address of something else",
			breaks: func(_ *testing.T, w *world) { w.serve = http.NotFoundHandler() },
			want:   diagnosis{"opencti", doctor.Fail, "no GraphQL here", "set OPENCTI_URL to OpenCTI's address"},
		},
		{
			name:   "an OpenCTI that is starting",
			breaks: func(_ *testing.T, w *world) { w.platform.SetDown(true) },
			want:   diagnosis{"opencti", doctor.Fail, "503", "OpenCTI's own log"},
		},
		{
			name:   "an authority that is not trusted",
			breaks: func(t *testing.T, w *world) { w.overTLS(certtest.New(t)) },
			want:   diagnosis{"opencti", doctor.Fail, "unknown authority: set HTTPS_CA_CERTIFICATES", "not trusted"},
		},
		{
			name: "another authority that is",
			breaks: func(t *testing.T, w *world) {
				w.overTLS(certtest.New(t))
				w.environ["HTTPS_CA_CERTIFICATES"] = certtest.New(t).PEM
			},
			want: diagnosis{"opencti", doctor.Fail, "set HTTPS_CA_CERTIFICATES", "not trusted"},
		},
		{
			name:   "TLS where there is none",
			breaks: func(_ *testing.T, w *world) { w.environ["OPENCTI_URL"] = "https" + w.opencti.URL[len("http"):] },
			want:   diagnosis{"opencti", doctor.Fail, "is it the port for TLS?", "http:// for https:// in OPENCTI_URL"},
		},
		{
			name: "a platform too old", version: "5.3.17", breaks: func(*testing.T, *world) {},
			want: diagnosis{"opencti", doctor.Fail, "its release is 5.3.17, and the worker needs 5.4.0 or newer", "upgrade OpenCTI"},
		},
		{
			name: "a platform too old for the API", version: "6.4.0", breaks: func(*testing.T, *world) {},
			want: diagnosis{"opencti", doctor.Fail, "CONNECTOR_LISTEN_PROTOCOL=API needs OpenCTI 6.5.7 or newer", "upgrade OpenCTI"},
		},
		{
			name: "a platform that loses what is counted", version: "6.8.10", breaks: func(*testing.T, *world) {},
			want: diagnosis{"opencti", doctor.Warn, "its release is 6.8.10, which loses objects", "upgrade OpenCTI to 7.260510"},
		},
		{
			name: "a user with the capabilities that docs/security.md lists, and no other",
			breaks: func(t *testing.T, w *world) {
				user := openctitest.ConnectorUser()
				user.Capabilities = documentedCapabilities(t)
				w.platform.SetUser(user)
			},
			want: diagnosis{"token", doctor.OK, "who may do all that is needed", ""},
		},
		{
			name:   "a user who is no connector",
			breaks: func(_ *testing.T, w *world) { w.platform.SetUser(without("CONNECTORAPI")) },
			want:   diagnosis{"token", doctor.Fail, "has not the capability CONNECTORAPI: the connector can't register", "a role that has it"},
		},
		{
			name:   "a user who may not write",
			breaks: func(_ *testing.T, w *world) { w.platform.SetUser(without("KNOWLEDGE_KNUPDATE_KNDELETE")) },
			want:   diagnosis{"token", doctor.Fail, "KNOWLEDGE_KNUPDATE: nothing that the worker publishes is imported", "a role that has it"},
		},
		{
			name:   "a user who may not make labels",
			breaks: func(_ *testing.T, w *world) { w.platform.SetUser(without("SETTINGS_SETLABELS")) },
			want:   diagnosis{"token", doctor.Warn, "SETTINGS_SETLABELS: labels that are new to OpenCTI are left out", "a role that has it"},
		},
		{
			name: "a user who may not see all that is to be enriched",
			breaks: func(_ *testing.T, w *world) {
				user := openctitest.ConnectorUser()
				user.Markings = []string{"TLP:CLEAR", "TLP:GREEN", "TLP:RED"}
				w.platform.SetUser(user)
			},
			want: diagnosis{"token", doctor.Warn, "may not see TLP:AMBER:", "or lower IPQS_MAX_TLP"},
		},
		{
			name: "a user without a max confidence level",
			breaks: func(_ *testing.T, w *world) {
				user := openctitest.ConnectorUser()
				user.MaxConfidence = nil
				w.platform.SetUser(user)
			},
			want: diagnosis{"token", doctor.Fail, "no max confidence level", "set a max confidence level"},
		},
		{
			name: "a confidence above the user's",
			breaks: func(_ *testing.T, w *world) {
				user, most := openctitest.ConnectorUser(), 40
				user.MaxConfidence = &most
				w.platform.SetUser(user)
				w.environ["CONNECTOR_CONFIDENCE_LEVEL"] = "75"
			},
			want: diagnosis{"token", doctor.Warn, "CONNECTOR_CONFIDENCE_LEVEL is 75, above the max confidence level of the user IPQS, 40", "lower CONNECTOR_CONFIDENCE_LEVEL"},
		},
		{
			name:   "a registration that OpenCTI does not show",
			breaks: func(_ *testing.T, w *world) { w.platform.FailNext("Registered", 5, "FORBIDDEN_ACCESS") },
			want:   diagnosis{"registration", doctor.Fail, "FORBIDDEN_ACCESS", "role for connectors"},
		},
		{
			name:   "a wrong key",
			breaks: func(_ *testing.T, w *world) { w.environ["IPQS_PRIVATE_KEY"] = "another-key" },
			want:   diagnosis{"ipqs", doctor.Fail, "Invalid or unauthorized key", "Then leave IPQS_BASE_URL unset; else set IPQS_PRIVATE_KEY"},
		},
		{
			name:   "no credits",
			breaks: func(_ *testing.T, w *world) { w.ipqs.SetCredits(0) },
			want:   diagnosis{"ipqs", doctor.Warn, "no credits are left", "top the account up"},
		},
		{
			name: "credits that are held back", account: ipqstest.Options{Credits: 80},
			breaks: func(_ *testing.T, w *world) { w.environ["IPQS_CREDIT_RESERVE"] = "100" },
			want:   diagnosis{"ipqs", doctor.Fail, "80 credits are left, and IPQS_CREDIT_RESERVE=100 holds them", "lower IPQS_CREDIT_RESERVE"},
		},
		{
			name:   "an IPQS that is away",
			breaks: func(t *testing.T, w *world) { w.environ["IPQS_BASE_URL"] = "http://" + closedPort(t) + "/api/json" },
			want:   diagnosis{"ipqs", doctor.Fail, "", "can this machine reach IPQualityScore?"},
		},
		{
			name: "a clock that is slow", breaks: func(_ *testing.T, w *world) {
				next := w.serve
				w.serve = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					rw.Header().Set("Date", time.Now().Add(7*time.Minute).UTC().Format(http.TimeFormat))
					next.ServeHTTP(rw, r)
				})
			},
			want: diagnosis{"clock", doctor.Fail, "behind that of OpenCTI", "NTP"},
		},
		{
			name: "a clock that is a little fast", breaks: func(_ *testing.T, w *world) {
				next := w.serve
				w.serve = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					rw.Header().Set("Date", time.Now().Add(-20*time.Second).UTC().Format(http.TimeFormat))
					next.ServeHTTP(rw, r)
				})
			},
			want: diagnosis{"clock", doctor.Warn, "ahead of that of OpenCTI", "NTP"},
		},
		{
			name:   "a cache that is away",
			breaks: func(t *testing.T, w *world) { w.environ["CACHE_URL"] = "redis://:" + password + "@" + closedPort(t) },
			want:   diagnosis{"cache", doctor.Warn, "every process keeps answers, credits and pace for itself", "CACHE_URL"},
		},
		{
			name: "a cache with another password",
			breaks: func(t *testing.T, w *world) {
				cache := miniredis.RunT(t)
				cache.RequireAuth("right")
				w.environ["CACHE_URL"] = "redis://:" + password + "@" + cache.Addr()
			},
			want: diagnosis{"cache", doctor.Warn, "WRONGPASS", "correct user, password or database in CACHE_URL"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.version, nil, tt.account)
			w.register()
			tt.breaks(t, w)
			w.verify(w.examine(), tt.want)
			if asked := w.ipqs.Requests(); len(asked) > 1 || len(asked) == 1 && asked["account"] == 0 {
				t.Errorf("IPQS was asked %v, want nothing that costs a credit", asked)
			}
		})
	}
}

// Where IPQS is asked is named, and that it is not IPQualityScore itself, without a key that was put there too.
func TestTheAddressOfIPQSIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", nil, ipqstest.Options{})
	found := map[doctor.Status]string{}
	for _, f := range w.examine() {
		if f.Check == "ipqs" {
			found[f.Status] += f.Found + " → " + f.Remedy
		}
	}
	want := map[doctor.Status]string{
		doctor.Warn: "IPQS_BASE_URL=" + w.ipqs.BaseURL + " is not IPQualityScore's own address: the API key and all that is looked up go there" +
			" → leave IPQS_BASE_URL unset, unless that is meant",
		doctor.OK: "the key is accepted at " + w.ipqs.BaseURL + ", 500 credits are left; none was spent → ",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("the lines on IPQS (-want +got):\n%s", diff)
	}
	w.environ["IPQS_BASE_URL"] += "/" + key
	for _, f := range w.examine() {
		if strings.Contains(f.Found+f.Remedy, key) {
			t.Errorf("finding %+v shows the key", f)
		}
	}
}

// A connector that was never registered can be checked too, and nothing is registered for it.
func TestNotRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", nil, ipqstest.Options{})
	w.verify(w.examine(), diagnosis{"registration", doctor.Warn, "the connector is not registered with OpenCTI yet", "start `ipqs-worker run` once, then repeat"})
	if found := w.platform.Registration(connectorID); found != nil {
		t.Errorf("the doctor registered the connector: %v", found)
	}
}

// Each field of the registration that the configuration would change is named with both values.
func TestRegistrationDiffers(t *testing.T) {
	t.Parallel()
	every := map[string]string{
		"CONNECTOR_NAME": "Another name", "CONNECTOR_SCOPE": "Url", "CONNECTOR_AUTO": "true", "CONNECTOR_AUTO_UPDATE": "true",
		"CONNECTOR_ONLY_CONTEXTUAL": "true", "CONNECTOR_LISTEN_PROTOCOL_API_URI": "http://elsewhere.example.com",
	}
	auto := "auto is registered as false and configured as true (CONNECTOR_AUTO)"
	newest := []string{
		`name is registered as "IPQS Fraud and Risk Scoring" and configured as "Another name" (CONNECTOR_NAME)`,
		"and configured as [Url] (CONNECTOR_SCOPE)", auto,
		"auto_update is registered as false and configured as true (CONNECTOR_AUTO_UPDATE)",
		"only_contextual is registered as false and configured as true (CONNECTOR_ONLY_CONTEXTUAL)",
		`listen_callback_uri is registered as "http://worker.example.com:7070/api/callback" and configured as "http://elsewhere.example.com/api/callback" (CONNECTOR_LISTEN_PROTOCOL`,
	}
	tests := []struct {
		name    string
		version string
		environ map[string]string
		want    []string
	}{
		{"every option", "", every, newest},
		{"every option of 6.6.0", "6.6.0", every, slices.Concat(newest[:3], newest[4:])},
		{"one option", "", map[string]string{"CONNECTOR_AUTO": "true"}, []string{auto}},
		{"the order of the scope", "", map[string]string{"CONNECTOR_SCOPE": "Domain-Name,Url,IPv4-Addr,IPv6-Addr,Email-Addr,Phone-Number"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.version, nil, ipqstest.Options{})
			if len(tt.want) == 0 {
				w.environ["CONNECTOR_SCOPE"] = "IPv4-Addr,IPv6-Addr,Email-Addr,Phone-Number,Url,Domain-Name"
			}
			w.register()
			before := w.platform.Registration(connectorID)
			maps.Copy(w.environ, tt.environ)
			findings := w.examine()
			i := slices.IndexFunc(findings, func(f doctor.Finding) bool { return f.Check == "registration" })
			if i < 0 {
				t.Fatalf("findings = %+v, want one of the registration", findings)
			}
			found := findings[i]
			if len(tt.want) == 0 {
				if found.Status != doctor.OK || !strings.Contains(found.Found, "the connector is active") {
					t.Errorf("finding = %+v, want ok and the connector active", found)
				}
			} else if found.Status != doctor.Warn || !strings.Contains(found.Remedy, "the next start of the worker with this configuration overwrites the registered values") {
				t.Errorf("finding = %+v, want a warning that says what the next start changes", found)
			}
			for _, want := range tt.want {
				if !strings.Contains(found.Found, want) {
					t.Errorf("finding = %q, want %q in it", found.Found, want)
				}
			}
			if got := strings.Count(found.Found, " is registered as "); got != len(tt.want) {
				t.Errorf("finding = %q names %d fields, want %d", found.Found, got, len(tt.want))
			}
			if diff := cmp.Diff(before, w.platform.Registration(connectorID)); diff != "" {
				t.Errorf("the doctor changed the registration (-before +after):\n%s", diff)
			}
		})
	}
}

// A registered address may hold a password, which this configuration refuses.
func TestRegistrationDiffers_HidesPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", nil, ipqstest.Options{})
	w.register(func(c *opencti.Connector) { c.ListenCallbackURI = "http://me:" + password + "@elsewhere.example.com/" })
	w.verify(w.examine(), diagnosis{"registration", doctor.Warn, `listen_callback_uri is registered as "http://me:xxxxx@elsewhere.example.com/"`, "overwrites"})
}

func TestNothingIsChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", nil, ipqstest.Options{})
	w.register()
	registrations := w.platform.Requests()["RegisterForCallback"]
	if findings := w.examine(); doctor.Failed(findings) {
		t.Fatalf("findings = %+v", findings)
	}
	for operation, n := range w.platform.Requests() {
		switch operation {
		case "About", "Me", "Registered":
		case "RegisterForCallback":
			if n != registrations {
				t.Errorf("the doctor registered %d times, want never", n-registrations)
			}
		default:
			t.Errorf("OpenCTI was asked for %s", operation)
		}
	}
}
