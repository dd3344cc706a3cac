package opencti

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const token = "d434ce02-58b1-4a8d-8b0f-000000000000"

// serve returns a client of a server that answers every request by f.
func serve(t *testing.T, f http.HandlerFunc) (*Client, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	log := &bytes.Buffer{}
	c, err := New(Options{
		URL: server.URL + "/base/?x=1", Token: token, UserAgent: "ipqs-worker/1.2.3", HTTPClient: server.Client(),
		Headers: map[string]string{"X-Extra": "extra", "authorization": "Basic nope"},
		Logger:  slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, log
}

func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ url, token, field string }{
		{"", "t", "OPENCTI_URL"},
		{"opencti.example", "t", "OPENCTI_URL"},
		{"ftp://opencti.example", "t", "OPENCTI_URL"},
		{"http://user:secret@%zz", "t", "OPENCTI_URL"},
		{"http://opencti.example", " ", "OPENCTI_TOKEN"},
	}
	for _, tt := range tests {
		_, err := New(Options{URL: tt.url, Token: tt.token})
		var field *FieldError
		if !errors.As(err, &field) || field.Field != tt.field || strings.Contains(err.Error(), "secret") {
			t.Errorf("New(%q) error = %v, want a FieldError about %s", tt.url, err, tt.field)
		}
	}
}

func TestRequestShape(t *testing.T) {
	t.Parallel()
	var drafts []string
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/base/graphql" || r.URL.RawQuery != "" {
			t.Errorf("request is %s %s, want POST /base/graphql", r.Method, r.URL)
		}
		for name, want := range map[string]string{
			"Authorization": "Bearer " + token, "Content-Type": "application/json", "User-Agent": "ipqs-worker/1.2.3", "X-Extra": "extra",
		} {
			if got := r.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("header %s = %q, want %q", name, got, want)
			}
		}
		drafts = append(drafts, r.Header.Values("opencti-draft-id")...)
		var body map[string]json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body) != 2 || body["query"] == nil || body["variables"] == nil {
			t.Errorf("body has %d keys (%v), want query and variables", len(body), err)
		}
		_, _ = io.WriteString(w, `{"data":{"about":{"version":"6.8.10"},"stixCyberObservable":{"standard_id":"s"}}}`)
	})
	if _, err := c.About(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.State(t.Context(), StateQuery{EntityID: "e", DraftID: "draft-1"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", "draft-1"}, drafts); diff != "" {
		t.Errorf("opencti-draft-id of two requests (-want +got):\n%s", diff)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    error
		text    string
	}{
		{"gateway", reply(502, "<html>"), ErrUnavailable, "502"},
		{"a web page", reply(200, "<html>login</html>"), ErrUnavailable, "OPENCTI_URL"},
		{"wrong path", reply(404, "not here"), ErrUnavailable, "OPENCTI_URL"},
		{"method", reply(405, ""), ErrUnavailable, "OPENCTI_URL"},
		{"empty", reply(200, ""), ErrUnavailable, "GraphQL"},
		{"data is null", reply(200, `{"data":null}`), ErrUnavailable, "GraphQL"},
		{"about is null", reply(200, `{"data":{"about":null}}`), ErrNotFound, "empty"},
		{"another shape", reply(200, `{"data":{"about":{"version":{"secret":1}}}}`), ErrUnavailable, "about.version is a object"},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), maxAnswerBytes+1))
		}, ErrUnavailable, "bytes"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/graphql", http.StatusMovedPermanently)
		}, ErrUnavailable, "OPENCTI_URL"},
		{"context error with another status", reply(500, `{"errors":[{"message":"Work is gone","extensions":{"code":"WORK_NOT_ALIVE"}}]}`), ErrWorkNotAlive, "gone"},
		{"code by name only", reply(200, `{"data":null,"errors":[{"message":"no","name":"FORBIDDEN_ACCESS"}]}`), ErrForbidden, "no"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"data`)
		}, ErrUnavailable, "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := serve(t, tt.handler)
			_, err := c.About(t.Context())
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("About() error = %v, want %v with %q in it", err, tt.want, tt.text)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	address := server.URL
	server.Close()
	c, err := New(Options{URL: strings.Replace(address, "http://", "http://user:password@", 1), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.About(t.Context())
	if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "http://") {
		t.Errorf("About() error = %v, want ErrUnavailable without the URL", err)
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release })
	defer close(release)

	cancelled, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.About(cancelled); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("About() of a cancelled context = %v, want context.Canceled and not ErrUnavailable", err)
	}
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.About(late); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("About() past the deadline = %v, want ErrUnavailable and context.DeadlineExceeded", err)
	}
}

func TestVersionIsAskedOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	c, log := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "about") {
			asked++
			_, _ = io.WriteString(w, `{"data":{"about":{"version":"nightly"}}}`)
			return
		}
		_, _ = io.WriteString(w, `{"data":{"pingConnector":{"connector_state":"null"}}}`)
	})
	for range 3 {
		if state, err := c.Ping(t.Context(), "c", ""); err != nil || state != "" {
			t.Errorf("Ping() = %q, %v, want no state", state, err)
		}
	}
	if asked != 1 {
		t.Errorf("the version was asked for %d times, want once", asked)
	}
	if !strings.Contains(log.String(), "unreadable") {
		t.Errorf("log = %q, want a warning about the unreadable version", log)
	}
}

// TestUpgradeIsAskedAnew: what one release refused is sent to the next one.
func TestUpgradeIsAskedAnew(t *testing.T) {
	t.Parallel()
	release, sent := "6.9.28", 0
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch {
		case strings.Contains(string(body), "about"):
			fmt.Fprintf(w, `{"data":{"about":{"version":%q}}}`, release)
		case strings.Contains(string(body), "auto_update"):
			sent++
			_, _ = io.WriteString(w, `{"errors":[{"message":"Field \"auto_update\" is not defined by type \"RegisterConnectorInput\".","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}`)
		default:
			_, _ = io.WriteString(w, `{"data":{"registerConnector":{"config":{"connection":{}}}}}`)
		}
	})
	for _, tt := range []struct {
		release string
		sent    int
	}{{"6.9.28", 1}, {"6.9.28", 1}, {"7.260817.0", 2}} {
		release = tt.release
		if _, err := c.About(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Register(t.Context(), Connector{ID: "c", Name: "IPQS"}); err != nil {
			t.Fatal(err)
		}
		if sent != tt.sent {
			t.Errorf("auto_update was sent %d times up to a registration with %s, want %d", sent, release, tt.sent)
		}
	}
}

// TestRegisterDropsRefusedFields: a platform whose schema lacks two fields that its version promises.
func TestRegisterDropsRefusedFields(t *testing.T) {
	t.Parallel()
	refused := []string{"auto_update", "enrichment_resolution"}
	var inputs []map[string]any
	c, log := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Query     string
			Variables struct{ Input map[string]any }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if strings.Contains(body.Query, "about") {
			_, _ = io.WriteString(w, `{"data":{"about":{"version":"7.260817.0"}}}`)
			return
		}
		inputs = append(inputs, body.Variables.Input)
		for _, field := range refused {
			if _, sent := body.Variables.Input[field]; sent {
				fmt.Fprintf(w, `{"errors":[{"message":"Variable \"$input\" got invalid value { x: 1 }; Field \"%s\" is not defined by type \"RegisterConnectorInput\".","extensions":{"code":"BAD_USER_INPUT"}}]}`, field)
				return
			}
		}
		_, _ = io.WriteString(w, `{"data":{"registerConnector":{"connector_state":null,"connector_user_id":"u","config":{
			"connection":{"host":"mq","vhost":"/","use_ssl":true,"port":5671,"user":"mq-user","pass":"mq-password"},
			"listen":"a","listen_routing":"b","listen_exchange":"c","push":"d","push_routing":"e","push_exchange":"f"}}}}`)
	})
	connector := Connector{ID: "c", Name: "IPQS", Scope: []string{"Url"}, Auto: true, PlaybookCompatible: true}
	want := Registration{
		ConnectorUserID: "u",
		Connection:      Connection{Host: "mq", VHost: "/", UseSSL: true, Port: 5671, User: "mq-user", Pass: "mq-password"},
		Listen:          "a", ListenRouting: "b", ListenExchange: "c", Push: "d", PushRouting: "e", PushExchange: "f",
	}
	for range 2 {
		got, err := c.Register(t.Context(), connector)
		if err != nil {
			t.Fatalf("Register() failed: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Register() (-want +got):\n%s", diff)
		}
	}
	if len(inputs) != 4 {
		t.Errorf("%d registrations were sent, want 4: two refused, one accepted, and one the next time", len(inputs))
	}
	wantInput := map[string]any{
		"id": "c", "name": "IPQS", "type": "INTERNAL_ENRICHMENT", "scope": []any{"Url"}, "auto": true, "only_contextual": false,
		"playbook_compatible": true,
	}
	if diff := cmp.Diff(wantInput, inputs[len(inputs)-1]); diff != "" {
		t.Errorf("accepted input (-want +got):\n%s", diff)
	}
	for _, field := range refused {
		if n := strings.Count(log.String(), "field="+field); n != 1 {
			t.Errorf("%s was logged %d times, want once", field, n)
		}
	}
}

func TestRegisterKeepsWhatItNeeds(t *testing.T) {
	t.Parallel()
	asked := 0
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `{"data":{"about":{"version":"5.4.1"}},"errors":[]}`)
	})
	if _, err := c.About(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Register(t.Context(), Connector{ID: "c", Name: "n"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Register() of an empty answer = %v, want ErrNotFound", err)
	}
	if droppable("name", map[string]any{"name": "n"}) || droppable("unsent", map[string]any{}) || droppable("", nil) {
		t.Error("droppable() lets go of a field that is needed or was not sent")
	}
}

func TestSecretPrintsNothing(t *testing.T) {
	t.Parallel()
	r := Registration{Connection: Connection{User: "u", Pass: "mq-password"}}
	marshalled, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	slog.New(slog.NewJSONHandler(log, nil)).InfoContext(t.Context(), "x", slog.Any("registration", r), slog.Any("pass", r.Connection.Pass))
	for _, text := range []string{
		fmt.Sprint(r), fmt.Sprintf("%+v %#v %s %q %x", r, r, r.Connection.Pass, r.Connection.Pass, r.Connection.Pass), string(marshalled), log.String(),
	} {
		if strings.Contains(text, "mq-password") || strings.Contains(text, fmt.Sprintf("%x", "mq-password")) {
			t.Errorf("the password is in %s", text)
		}
	}
	if r.Connection.Pass.Reveal() != "mq-password" {
		t.Error("Reveal() does not reveal")
	}
}
