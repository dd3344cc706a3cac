package opencti_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

// TestPitfalls names the traps of the protocol that have no test of their own; traps lists them all.
func TestPitfalls(t *testing.T) {
	t.Parallel()
	t.Run("stix_entity is a string inside JSON, event.bundle an object", func(t *testing.T) {
		t.Parallel()
		const ids = `"execution_id":"e","playbook_id":"p","data_instance_id":"d","step_id":"s"`
		request, err := opencti.DecodeRequest([]byte(`{"internal":{"playbook":{` + ids + `}},"event":{"stix_entity":"{}","bundle":{"a":1}}}`))
		if err != nil || string(request.Playbook.Bundle) != `{"a":1}` {
			t.Errorf("DecodeRequest() = %+v, %v, want the bundle as it came", request, err)
		}
		if _, err := opencti.DecodeRequest([]byte(`{"internal":{"playbook":{` + ids + `}},"event":{"bundle":"{}"}}`)); err == nil {
			t.Error("DecodeRequest() takes a bundle that is a string")
		}
	})
	t.Run("a null work_id is omitted, never sent as null or empty", func(t *testing.T) {
		t.Parallel()
		body, err := opencti.PushMessage(opencti.PushOptions{ApplicantID: "u", Sequence: 1}, []byte(`{"type":"bundle","objects":[{}]}`))
		if err != nil || strings.Contains(string(body), "work_id") {
			t.Errorf("PushMessage() = %s, %v, want no work_id", body, err)
		}
	})
	t.Run("base64 of the standard alphabet, padded", func(t *testing.T) {
		t.Parallel()
		// A text whose encoding needs both characters that the URL alphabet has otherwise, and padding.
		bundle := `{"type":"bundle","objects":[{"v":"~~~???ÿÿ>>>"}]}`
		body, err := opencti.PushMessage(opencti.PushOptions{ApplicantID: "u", Sequence: 1}, []byte(bundle))
		if err != nil {
			t.Fatal(err)
		}
		var message struct{ Content string }
		if err := json.Unmarshal(body, &message); err != nil {
			t.Fatal(err)
		}
		if got, err := base64.StdEncoding.Strict().DecodeString(message.Content); err != nil || string(got) != bundle {
			t.Errorf("content = %s, %v, want the bundle", got, err)
		}
	})
	t.Run("no scope is an empty scope, which disables automatic jobs", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, "7.260817.0")
		if _, err := r.client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS", Auto: true}); err != nil {
			t.Fatal(err)
		}
		if scope, ok := r.platform.Registration(connectorID)["scope"].([]any); !ok || len(scope) != 0 {
			t.Errorf("scope = %v, want an empty list", r.platform.Registration(connectorID)["scope"])
		}
		id := r.platform.AddObservable(openctitest.Observable{Type: "IPv4-Addr", Value: "198.51.100.7"})
		if _, err := r.platform.Enrich(t.Context(), id, openctitest.Auto); err == nil {
			t.Error("a connector without scope got an automatic job")
		}
	})
	t.Run("a right that the token's user lacks is named", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, "7.260817.0")
		for operation, ask := range map[string]func() error{
			"Register": func() error {
				_, err := r.client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS"})
				return err
			},
			"State": func() error { _, err := r.entity("x", ""); return err },
			"WorkProcessed": func() error {
				return r.works.Processed(t.Context(), r.workJob("198.51.100.7"), "done", opencti.WorkState{})
			},
			"LabelAdd": func() error { return r.client.EnsureLabel(t.Context(), "l", "#010203") },
		} {
			r.platform.FailNext(operation, 1, "FORBIDDEN_ACCESS")
			if err := ask(); !errors.Is(err, opencti.ErrForbidden) || !strings.Contains(err.Error(), operation) {
				t.Errorf("%s without the right to it: error = %v, want ErrForbidden that names it", operation, err)
			}
		}
	})
	t.Run("the reply of a registration is never logged", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, "7.260817.0")
		r.platform.FailNext("Register", 1, "DATABASE_ERROR")
		_, err := r.client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS"})
		if err == nil || strings.Contains(err.Error(), token) || r.log.Len() > 0 {
			t.Errorf("Register() error = %v, log %q, want an error without the token and no log", err, r.log)
		}
	})
}
