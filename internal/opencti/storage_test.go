package opencti_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/opencti/openctitest"
)

func TestAnAccountIsReadWithoutItsPassword(t *testing.T) {
	t.Parallel()
	const password = `P@ss'w\ord-4711`
	onEach(t, []string{"5.4.1", "6.4.0", "7.260817.0"}, func(t *testing.T, r *rig) {
		tests := []struct {
			name    string
			account openctitest.Account
			want    opencti.Account
			value   string
		}{
			{"login and password", openctitest.Account{Login: "jdoe", Type: "unix", UserID: "7", Credential: password}, opencti.Account{Login: "jdoe", Type: "unix", UserID: "7"}, "jdoe"},
			{"user id", openctitest.Account{UserID: "8"}, opencti.Account{UserID: "8"}, "8"},
			// The platform then displays it by its password.
			{"password alone", openctitest.Account{Credential: password}, opencti.Account{}, ""},
		}
		for _, tt := range tests {
			id := r.platform.AddObservable(openctitest.Observable{Type: "User-Account", Account: &tt.account})
			entity, err := r.entity(id, "")
			if err != nil {
				t.Fatalf("State() of one with %s = %v, want no error", tt.name, err)
			}
			if diff := cmp.Diff(&tt.want, entity.Account); diff != "" || entity.Value != tt.value {
				t.Errorf("State() of one with %s has the value %q, want %q, and the account (-want +got):\n%s", tt.name, entity.Value, tt.value, diff)
			}
			if wire, err := json.Marshal(entity); err != nil || strings.Contains(string(wire), "4711") {
				t.Errorf("entity with %s = %s, %v, want it without the password", tt.name, wire, err)
			}
			secret, err := r.client.Credential(t.Context(), id, "")
			if err != nil || secret.Password() != tt.account.Credential || secret.Login() != tt.account.Login {
				t.Errorf("Credential() of one with %s: %v, password as expected: %t", tt.name, err, secret.Password() == tt.account.Credential)
			}
		}
	})
}

func TestACredentialDoesNotShowItself(t *testing.T) {
	t.Parallel()
	c := opencti.NewCredential("jdoe-4711", "secret-4711")
	wire, err := json.Marshal(map[string]any{"c": c, "p": &c})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		string(wire), fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, &c), fmt.Errorf("about %v", c).Error(),
		fmt.Sprintf("%+v", struct{ C opencti.Credential }{c}),
	} {
		if strings.Contains(text, "4711") {
			t.Errorf("a credential shows itself in %s", text)
		}
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	for _, name := range []string{"a.bin", "a+b c.exe", `a"b.exe`, "a#b?c%41.exe", "naïve 'file' 😀.exe"} {
		id := "import/Artifact/9e4c4c2e-0000-4000-8000-000000000000/" + name
		r.platform.StoreFile(id, []byte("content of "+name))
		file, err := r.client.Download(t.Context(), id, "")
		if err != nil {
			t.Errorf("Download(%q) = %v, want no error", name, err)
			continue
		}
		content, err := io.ReadAll(file)
		_ = file.Close()
		if want := "content of " + name; err != nil || string(content) != want || file.Size != int64(len(want)) {
			t.Errorf("Download(%q) = %q of %d bytes, %v, want %q", name, content, file.Size, err, want)
		}
	}
}

// A draft's file is there in the draft alone.
func TestDownloadInADraft(t *testing.T) {
	t.Parallel()
	r := newRig(t, "7.260817.0")
	const id = "import/Artifact/9e4c4c2e-0000-4000-8000-000000000000/a.bin"
	r.platform.AddObservable(openctitest.Observable{Type: "Artifact", DraftID: "draft-1", Artifact: &openctitest.Artifact{FileID: id}})
	r.platform.StoreFile(id, []byte("content"))
	for _, tt := range []struct {
		draft string
		there bool
	}{{"draft-1", true}, {"", false}, {"draft-2", false}} {
		file, err := r.client.Download(t.Context(), id, tt.draft)
		if err == nil {
			_ = file.Close()
		}
		if (err == nil) != tt.there {
			t.Errorf("Download() in draft %q = %v, want it there: %t", tt.draft, err, tt.there)
		}
	}
	if complaints := r.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("the platform complains: %q", complaints)
	}
}

// An error page is not the file: scanned, it would be clean.
func TestDownload_errorPage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		status      int
		contentType string
		disposition string
		want        error
	}{
		{"not found", 404, "text/plain", "", opencti.ErrNotFound},
		{"forbidden", 403, "text/html", "", opencti.ErrNotFound},
		{"not logged in", 401, "text/plain", "", opencti.ErrAuth},
		{"trouble", 503, "application/json", "", opencti.ErrUnavailable},
		{"redirect to a login page", 302, "text/html", "", opencti.ErrUnavailable},
		{"the front page", 200, "text/html; charset=utf-8", "", opencti.ErrNotFound},
		{"a file that is a page", 200, "text/html", `attachment; filename="a.html"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				if tt.disposition != "" {
					w.Header().Set("Content-Disposition", tt.disposition)
				}
				w.Header().Set("Location", "/login")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, "<html>sign in</html>")
			}))
			defer server.Close()
			client, err := opencti.New(opencti.Options{URL: server.URL, Token: token, HTTPClient: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			file, err := client.Download(t.Context(), "import/Artifact/x/a.bin", "")
			if err == nil {
				_ = file.Close()
			}
			if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
				t.Errorf("Download() = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAnArtifactIsReadWithItsHashesAndFiles(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5.4.1", "7.260817.0"} {
		r := newRig(t, version)
		id := r.platform.AddObservable(openctitest.Observable{
			Type: "Artifact", Value: "sample.bin", Artifact: &openctitest.Artifact{SHA256: "ab12", FileID: "import/Artifact/1/sample.bin", Size: 7},
		})
		entity, err := r.entity(id, "")
		if err != nil {
			t.Fatal(err)
		}
		want := &opencti.Artifact{
			Hashes: map[string]string{"SHA-256": "ab12"}, Files: []opencti.File{{ID: "import/Artifact/1/sample.bin", Name: "sample.bin", Size: 7}},
		}
		if diff := cmp.Diff(want, entity.Artifact); diff != "" || entity.Account != nil {
			t.Errorf("State() on %s (-want +got), account %v:\n%s", version, entity.Account, diff)
		}
	}
}
