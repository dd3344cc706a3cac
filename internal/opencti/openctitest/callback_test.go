package openctitest

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

// hook is a connector's callback that answers as it is told, the last answer again and again.
type hook struct {
	mu      sync.Mutex
	answers []int
	tokens  []string
	bodies  []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	h.tokens, h.bodies = append(h.tokens, token), append(h.bodies, string(body))
	status := h.answers[0]
	if len(h.answers) > 1 {
		h.answers = h.answers[1:]
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		status = http.StatusTeapot
	}
	w.WriteHeader(status)
}

func (h *hook) served(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL + "/api/callback"
}

func listening(uri string) map[string]any {
	in := input()
	in["input"].(map[string]any)["listen_callback_uri"] = uri
	return in
}

// TestCallback: jobs are posted to the callback with what the release authenticates by, and come again until it takes them.
func TestCallback(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.5.7", "6.9.28", "7.260224.0", "7.260817.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := &hook{answers: []int{503, 401, 202}}
			p, _ := platform(t, version)
			p.requeueAfter = time.Millisecond
			data, code, message := ask(t, p, register, listening(h.served(t)))
			if code != "" {
				t.Fatalf("registration refused: %s %s, %v", code, message, data)
			}
			id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
			if _, err := p.Enrich(t.Context(), id, Manual); err != nil {
				t.Fatal(err)
			}
			until(t, p, "the callback took the job", func() bool {
				return slices.Contains(p.CallbackAnswers(), CallbackAnswer{Status: 202})
			})
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.bodies) != 3 || h.bodies[0] != h.bodies[2] || !strings.Contains(h.bodies[0], id) {
				t.Errorf("posted %q, want the job three times", h.bodies)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.rules.callbackJWT {
				checkJWT(t, h.tokens[0], p.jwks())
			} else if h.tokens[0] != token {
				t.Error("the token is not the connector's own")
			}
		})
	}
}

// checkJWT verifies a token by hand: RFC 7515 and 8037.
func checkJWT(t *testing.T, token, jwks string) {
	t.Helper()
	parts := strings.Split(token, ".")
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(jwks), &set); err != nil || len(set.Keys) != 1 || len(parts) != 3 {
		t.Fatalf("token %q, keys %q: %v", token, jwks, err)
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			t.Fatalf("part %d of %q is no JSON: %v", i, token, err)
		}
	}
	if header["alg"] != "EdDSA" || header["kid"] != set.Keys[0]["kid"] || claims["iss"] != "opencti" || claims["sub"] != "connector" {
		t.Errorf("header %v, claims %v, keys %v", header, claims, set.Keys)
	}
	key, err := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"])
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature) {
		t.Errorf("the signature is wrong: %v", err)
	}
}

// TestCallbackAway: an address where nobody is keeps the job, and another registration changes the address.
func TestCallbackAway(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	h := &hook{answers: []int{200}}
	p, _ := platform(t, "")
	p.requeueAfter = time.Millisecond
	if _, code, message := ask(t, p, register, listening(gone.URL)); code != "" {
		t.Fatal(code, message)
	}
	id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
	if _, err := p.Enrich(t.Context(), id, Manual); err != nil {
		t.Fatal(err)
	}
	until(t, p, "nobody answered", func() bool {
		return slices.ContainsFunc(p.CallbackAnswers(), func(a CallbackAnswer) bool { return a.Err != nil })
	})
	if _, code, message := ask(t, p, register, listening(h.served(t))); code != "" {
		t.Fatal(code, message)
	}
	until(t, p, "the new callback took the job", func() bool {
		return slices.Contains(p.CallbackAnswers(), CallbackAnswer{Status: 200})
	})
}

// TestRotateCallbackKeys: tokens are signed with the new key, which the next registration tells.
func TestRotateCallbackKeys(t *testing.T) {
	t.Parallel()
	p, _ := platform(t, "")
	p.mu.Lock()
	before := p.jwks()
	p.mu.Unlock()
	p.RotateCallbackKeys()
	token := p.CallbackToken()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jwks() == before {
		t.Error("the keys are the same after rotating them")
	}
	checkJWT(t, token, p.jwks())
}

const pushWhole = `mutation P($id: String!, $bundle: String!, $work: String) { stixBundlePush(connectorId: $id, bundle: $bundle, work_id: $work) }`

// TestWholeBundle: what came over the API waits on the push queue like anything else, is announced and imported object by
// object, and lost if its work has died meanwhile.
func TestWholeBundle(t *testing.T) {
	t.Parallel()
	const bundle = `{"type":"bundle","id":"bundle--1","objects":[` +
		`{"type":"note","id":"note--1","object_refs":["url--1"]},{"type":"url","id":"url--1","value":"https://example.org"}]}`
	tests := []struct {
		name, version, bundle string
		dead, own             bool
		imported              int
		complaint             string
	}{
		{name: "for a work", version: "7.260817.0", bundle: bundle, imported: 2},
		{name: "for a work of its own", version: "6.8.10", bundle: bundle, own: true, imported: 2},
		{name: "for a dead work", version: "6.8.10", bundle: bundle, dead: true},
		{name: "no bundle", version: "7.260817.0", bundle: "{}", complaint: "content is no bundle with objects"},
		{name: "no JSON", version: "7.260817.0", bundle: "{", complaint: "content is no bundle"},
		{name: "no id", version: "7.260817.0", bundle: `{"type":"bundle","id":"x","objects":[{}]}`, complaint: "no id or no type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, broker := registered(t, tt.version)
			id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
			workID, err := p.Enrich(t.Context(), id, Manual)
			if err != nil {
				t.Fatal(err)
			}
			<-broker.Jobs()
			p.SetImporting(false)
			variables := map[string]any{"id": connectorID, "bundle": tt.bundle, "work": workID}
			if tt.own {
				delete(variables, "work")
			}
			if data, code, message := ask(t, p, pushWhole, variables); data["stixBundlePush"] != true {
				t.Fatal(data, code, message)
			}
			if tt.dead {
				p.set(func() { p.works[workID].counters = nil })
			}
			p.SetImporting(true)
			until(t, p, "it was imported, dropped or complained about", func() bool {
				w, _ := p.Work(workID)
				return len(p.Imported())+w.Dropped >= 2 || len(p.Complaints()) > 0
			})
			if got := len(p.Imported()); got != tt.imported {
				t.Errorf("%d objects are imported, want %d", got, tt.imported)
			}
			if got := strings.Join(p.Complaints(), "\n"); !strings.Contains(got, tt.complaint) || tt.complaint == "" && got != "" {
				t.Errorf("complaints %q, want %q", got, tt.complaint)
			}
			if tt.imported > 0 {
				works := p.Works()
				if last := works[len(works)-1]; (last.ID == workID) == tt.own || last.Expected != 2 || last.Status != "complete" {
					t.Errorf("the last work is %+v, want it to be the bundle's own = %t, and complete", last, tt.own)
				}
			}
		})
	}
	p, _ := platform(t, "")
	if _, code, _ := ask(t, p, pushWhole, map[string]any{"id": "nobody", "bundle": bundle}); code != "FUNCTIONAL_ERROR" {
		t.Errorf("pushing for nobody has code %q, want FUNCTIONAL_ERROR", code)
	}
}

// TestAMQPBothWays: on a real broker, the worker takes jobs from the listen queue, and whole bundles go to the push queue.
func TestAMQPBothWays(t *testing.T) {
	t.Parallel()
	broker := AMQPBroker(amqpURL(t))
	broker.Prefix = "openctitest-" + uuid.NewString()[:8] + "_"
	h := &hook{answers: []int{503, 202}}
	p, err := New(Options{Token: token, Broker: broker, RequeueAfter: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		to := broker.Coordinates(connectorID)
		forget := func(channel *amqp.Channel) error {
			_, err := channel.QueueDelete(to.Listen, false, false, false)
			_, err2 := channel.QueueDelete(to.Push, false, false, false)
			return errors.Join(err, err2, channel.ExchangeDelete(to.ListenExchange, false, false), channel.ExchangeDelete(to.PushExchange, false, false))
		}
		if err := errors.Join(p.Close(), broker.with(context.Background(), forget), broker.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, code, message := ask(t, p, register, listening(h.served(t))); code != "" {
		t.Fatal(code, message)
	}
	id := p.AddObservable(Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
	if _, err := p.Enrich(t.Context(), id, Manual); err != nil {
		t.Fatal(err)
	}
	until(t, p, "the callback took the job", func() bool {
		return slices.Contains(p.CallbackAnswers(), CallbackAnswer{Status: 202})
	})
	_, code, message := ask(t, p, pushWhole, map[string]any{
		"id": connectorID, "bundle": `{"type":"bundle","id":"bundle--1","objects":[{"type":"url","id":"url--1","value":"https://example.org"}]}`,
	})
	if code != "" {
		t.Fatal(code, message)
	}
	until(t, p, "the object is imported", func() bool { return len(p.Imported()) == 1 })
}
