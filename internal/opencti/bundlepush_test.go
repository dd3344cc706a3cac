package opencti_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/opencti"
)

// whole is a bundle of two objects, the second of which refers to the first.
const whole = `{"type":"bundle","id":"bundle--0f7b1d4e-6f3c-4d55-9c8e-5b6a7c8d9e0f","objects":[` +
	`{"type":"identity","id":"identity--581e880a-6582-5ba1-b558-f9aa8c2f8390","name":"IPQS <&>"},` +
	`{"type":"note","id":"note--1","content":"x","created_by_ref":"identity--581e880a-6582-5ba1-b558-f9aa8c2f8390"}]}`

// TestPushBundle: a bundle comes in whole, under the job's work where the release takes one, and the work ends. Nothing is
// announced: the platform's worker does that.
func TestPushBundle(t *testing.T) {
	t.Parallel()
	versions := []string{"6.2.6", "6.4.0", "6.5.6", "6.5.7", "6.8.6", "6.8.10", "6.9.28", "7.260318.0", "7.260510.0", "7.260817.0"}
	onEach(t, versions, func(t *testing.T, r *rig) {
		r.works = opencti.NewWholeWorks(r.client)
		job := r.workJob("198.51.100.7")
		state := r.pushBundle(job, whole)
		r.must(r.works.Processed(t.Context(), job, "done", state))
		r.wait("both objects are imported", func() bool { return len(r.platform.Imported()) == 2 })

		works := r.platform.Imported()["note--1"].Works
		if ours := slices.Contains(works, job.WorkID); len(works) != 1 || ours != (state.Tracked && r.has.BundlePushWork) {
			t.Errorf("imported for the works %q, the job's is %s, want it only where the release takes one and counts it well", works, job.WorkID)
		}
		if text := string(r.platform.Imported()["identity--581e880a-6582-5ba1-b558-f9aa8c2f8390"].Object); !strings.Contains(text, "IPQS <&>") {
			t.Errorf("object came as %s, want its text as it was", text)
		}
		if n := r.platform.Requests()["WorkExpect"]; n > 0 && !r.has.CloseByReport {
			t.Errorf("announced %d times, want never", n)
		}
		work, _ := r.platform.Work(job.WorkID)
		if work.Status != "complete" || len(r.platform.Complaints()) > 0 {
			t.Errorf("work %+v, complaints %q, want it complete and none", work, r.platform.Complaints())
		}
	})
}

// TestPushBundleOutlastsTheCleanUp: where the platform tracks each bundle by a work of its own and forgets the counters of
// older works, nothing that we tell of younger jobs has it drop what waits to be imported; and the works of jobs are closed by
// the clean-up, once.
func TestPushBundleOutlastsTheCleanUp(t *testing.T) {
	t.Parallel()
	onEach(t, []string{"6.8.10", "6.9.28", "7.260423.0", "7.260428.0", "7.260507.0", "7.260510.0", "7.260817.0"}, func(t *testing.T, r *rig) {
		r.works = opencti.NewWholeWorks(r.client)
		push := func(value string) {
			t.Helper()
			job := r.workJob(value)
			note := `{"type":"bundle","id":"bundle--0f7b1d4e-6f3c-4d55-9c8e-5b6a7c8d9e0f","objects":[{"type":"note","id":"note--` + value + `","content":"x"}]}`
			state := r.pushBundle(job, note)
			r.must(r.works.Processed(t.Context(), job, "done", state))
			r.must(r.works.Processed(t.Context(), again(job), "done", state))
		}
		r.platform.SetImporting(false)
		const before = 20
		for i := range before {
			push(fmt.Sprintf("198.51.100.%d", i+1))
		}
		failed, nothing := r.workJob("203.0.113.1"), r.workJob("203.0.113.2")
		for range 2 { // as after a crash in between
			r.must(r.works.Failed(t.Context(), failed, "unknown"))
		}
		r.must(r.works.Nothing(t.Context(), nothing, "out of scope"))
		r.platform.Tick()
		r.platform.SetImporting(true)
		r.wait("everything is imported", func() bool { return len(r.platform.Imported()) == before })

		push("198.51.100.200")
		r.wait("the last one is imported", func() bool { return len(r.platform.Imported()) == before+1 })
		r.platform.Tick()

		for _, w := range r.platform.Works() {
			if w.Dropped > 0 {
				t.Errorf("work %+v, want nothing dropped", w)
			}
			if w.ID == failed.WorkID && len(w.Errors) != 1 {
				t.Errorf("work in error has %+v, want one message", w.Errors)
			}
			if w.EntityID != "" && w.Status != "complete" && w.ID < r.platform.Works()[before+2].ID {
				t.Errorf("work %+v, want it closed by the import of a later bundle", w)
			}
			if w.ProcessedTimes > 1 {
				t.Errorf("work %+v, want it ended once", w)
			}
		}
	})
}

func TestPushBundleOfAnOldRelease(t *testing.T) {
	t.Parallel()
	r := newRig(t, "6.2.5")
	err := r.client.PushBundle(t.Context(), connectorID, "", []byte(whole))
	if !errors.Is(err, opencti.ErrUnsupported) || r.platform.Requests()["BundlePushLegacy"] > 0 {
		t.Errorf("PushBundle() = %v after %v, want ErrUnsupported without asking", err, r.platform.Requests())
	}
}

func TestPushBundleRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"false", 200, `{"data":{"stixBundlePush":false}}`, opencti.ErrUnavailable},
		{"null", 200, `{"data":{"stixBundlePush":null}}`, opencti.ErrUnavailable},
		{"too large", 413, "request entity too large", opencti.ErrRefused},
		{"gateway", 502, "", opencti.ErrUnavailable},
		{
			"repeats the bundle", 200, `{"errors":[{"message":"Variable \"$bundle\" got invalid value; planted","extensions":{"code":"BAD_USER_INPUT"}}]}`,
			opencti.ErrRefused,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if strings.Contains(string(body), "about") {
					_, _ = io.WriteString(w, `{"data":{"about":{"version":"7.260817.0"}}}`)
					return
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			client, err := opencti.New(opencti.Options{URL: server.URL, Token: token})
			if err != nil {
				t.Fatal(err)
			}
			err = client.PushBundle(t.Context(), connectorID, "work_1", []byte(`{"planted":"planted"}`))
			if !errors.Is(err, tt.want) || strings.Contains(err.Error(), `{"planted`) {
				t.Errorf("PushBundle() = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestRegisterForCallback: the keys are asked for where a callback is authenticated by them, and nowhere else.
func TestRegisterForCallback(t *testing.T) {
	t.Parallel()
	tests := []struct {
		version, uri string
		operation    string
		sent, keys   bool
	}{
		{version: "6.5.6", uri: "http://callback.test/x", operation: "Register"},
		{version: "6.5.7", uri: "http://callback.test/x", operation: "Register", sent: true},
		{version: "6.9.28", uri: "http://callback.test/x", operation: "Register", sent: true},
		{version: "7.260224.0", uri: "http://callback.test/x", operation: "RegisterForCallback", sent: true, keys: true},
		{version: "7.260817.0", uri: "http://callback.test/x", operation: "RegisterForCallback", sent: true, keys: true},
		{version: "7.260817.0", operation: "Register"},
	}
	for _, tt := range tests {
		t.Run(tt.version+" "+tt.uri, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.version) // registers without
			before := r.platform.Requests()[tt.operation]
			got, err := r.client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS", ListenCallbackURI: tt.uri})
			if err != nil {
				t.Fatal(err)
			}
			if n := r.platform.Requests()[tt.operation]; n != before+1 {
				t.Errorf("requests are %v, want one more %s", r.platform.Requests(), tt.operation)
			}
			if uri := r.platform.Registration(connectorID)["listen_callback_uri"]; (uri == tt.uri) != tt.sent {
				t.Errorf("listen_callback_uri = %v, want it sent = %t", uri, tt.sent)
			}
			if strings.Contains(got.JWKS, `"kty":"OKP"`) != tt.keys {
				t.Errorf("JWKS = %q, want keys = %t", got.JWKS, tt.keys)
			}
		})
	}
}

// TestCallbackIsNotDropped: without its callback a registration would leave the jobs where nobody takes them.
func TestCallbackIsNotDropped(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "about") {
			_, _ = io.WriteString(w, `{"data":{"about":{"version":"6.9.28"}}}`)
			return
		}
		_, _ = io.WriteString(w, `{"errors":[{"message":"Field \"listen_callback_uri\" is not defined by type \"RegisterConnectorInput\".",`+
			`"extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}`)
	}))
	defer server.Close()
	client, err := opencti.New(opencti.Options{URL: server.URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Register(t.Context(), opencti.Connector{ID: connectorID, Name: "IPQS", ListenCallbackURI: "http://callback.test/x"})
	if !errors.Is(err, opencti.ErrRefused) || !strings.Contains(err.Error(), "listen_callback_uri") {
		t.Errorf("Register() = %v, want ErrRefused with the field's name", err)
	}
}
