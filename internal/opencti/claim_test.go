package opencti_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

// TestWhatIsRefusedByNameIsDropped: a platform that says it is newer than what it accepts gets what it accepts; each thing
// it refuses is asked of it once and logged once, also over registrations that ask for the version again.
func TestWhatIsRefusedByNameIsDropped(t *testing.T) {
	t.Parallel()
	const (
		keys = "operation=RegisterForCallback field=jwks"
		info = "operation=Ping field=ConnectorInfoInput"
		work = "operation=BundlePush field=work_id"
		step = "operation=PlaybookStep field=event_id"
	)
	tests := []struct {
		is       string // what it is; it says that it is the newest
		callback bool
		want     map[string]int // what it understood, by operation
		log      []string
	}{
		{
			"6.0.10", false,
			map[string]int{"Register": 2, "PingLegacy": 2, "PlaybookStepLegacy": 1},
			[]string{"field=auto_update", "field=enrichment_resolution", info, step},
		},
		{
			"6.2.11", false,
			map[string]int{"Register": 2, "PingLegacy": 2, "PlaybookStep": 1, "BundlePushLegacy": 1},
			[]string{"field=auto_update", "field=enrichment_resolution", work, info},
		},
		{
			"6.8.8", true,
			map[string]int{"Register": 2, "Ping": 2, "PlaybookStep": 1, "BundlePush": 1},
			[]string{"field=auto_update", "field=enrichment_resolution", keys},
		},
		{"6.9.28", true, map[string]int{"Register": 2, "Ping": 2, "PlaybookStep": 1, "BundlePush": 1}, []string{keys}},
		{"7.260817.0", true, map[string]int{"RegisterForCallback": 2, "Ping": 2, "PlaybookStep": 1, "BundlePush": 1}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.is, func(t *testing.T) {
			t.Parallel()
			broker := openctitest.MemoryBroker()
			platform, err := openctitest.New(openctitest.Options{Version: tt.is, Token: token, Broker: broker})
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(claiming(t, platform, openctitest.DefaultVersion))
			t.Cleanup(func() {
				server.Close()
				_ = platform.Close()
			})
			log := &bytes.Buffer{}
			client, err := opencti.New(opencti.Options{URL: server.URL, Token: token, Logger: slog.New(slog.NewTextHandler(log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			connector := opencti.Connector{ID: connectorID, Name: "IPQS", Scope: []string{"IPv4-Addr"}, PlaybookCompatible: true}
			if tt.callback {
				connector.ListenCallbackURI = "http://callback.test/x"
			}
			for range 2 {
				if _, err := client.About(t.Context()); err != nil {
					t.Fatal(err)
				}
				registration, err := client.Register(t.Context(), connector)
				if err != nil || registration.Listen == "" {
					t.Fatalf("Register() = %+v, %v, want a registration", registration, err)
				}
				if _, err := client.Ping(t.Context(), connectorID, ""); err != nil {
					t.Fatalf("Ping() failed: %v", err)
				}
			}
			step := opencti.Playbook{ExecutionID: "e", EventID: "1-0", PlaybookID: "p", DataInstanceID: "d", StepID: "s", Bundle: []byte(whole)}
			if err := client.AnswerPlaybook(t.Context(), step, time.Now(), []byte(whole)); !errors.Is(err, opencti.ErrNotFound) {
				t.Errorf("AnswerPlaybook() error = %v, want ErrNotFound: nobody waits", err)
			}
			if err := client.PushBundle(t.Context(), connectorID, "work_1", []byte(whole)); (err != nil) != (tt.is == "6.0.10") {
				t.Errorf("PushBundle() error = %v, want one where the platform has nothing of the kind", err)
			}
			if diff := cmp.Diff(tt.want, platform.Requests()); diff != "" {
				t.Errorf("understood requests (-want +got):\n%s", diff)
			}
			var logged []string
			for line := range strings.Lines(log.String()) {
				_, what, _ := strings.Cut(strings.TrimSpace(line), `going on without it" `)
				logged = append(logged, what)
			}
			slices.Sort(logged)
			if diff := cmp.Diff(tt.log, logged); diff != "" {
				t.Errorf("logged (-want +got):\n%s", diff)
			}
		})
	}
}

// claiming is the platform with another version on its sign.
func claiming(t *testing.T, platform http.Handler, version string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(body, []byte("about")) {
			_, _ = io.WriteString(w, `{"data":{"about":{"version":"`+version+`"}}}`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		platform.ServeHTTP(w, r)
	})
}
