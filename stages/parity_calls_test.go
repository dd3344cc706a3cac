package stages

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// observedCase is one job that the Python connector was given, and the questions that it asked IPQS.
type observedCase struct {
	Input struct {
		Entity struct {
			ID         string `json:"id"`
			StandardID string `json:"standard_id"`
			Type       string `json:"entity_type"`
			Login      string `json:"account_login"`
			Credential string `json:"credential"`
			Files      struct {
				Edges []struct {
					Node struct {
						ID   string `json:"id"`
						Name string `json:"name"`
						Size int64  `json:"size"`
					} `json:"node"`
				} `json:"edges"`
			} `json:"importFiles"`
		} `json:"entity"`
		IPQS  map[string]json.RawMessage `json:"ipqs"`
		Files map[string]string          `json:"files"`
	} `json:"input"`
	Observed struct {
		Requests []struct {
			Method string          `json:"method"`
			Target string          `json:"target"`
			Body   json.RawMessage `json:"body"`
		} `json:"ipqs_requests"`
	} `json:"observed"`
}

// scripted is an answer of a case.
type scripted struct {
	Status int             `json:"status"`
	JSON   json.RawMessage `json:"json"`
	Body   string          `json:"body"`
}

// call is a question as it went over the wire, without boundaries and the like.
type call struct{ Method, Target, Body string }

// differences are the cases in which we ask something else, with the reason.
var differences = map[string]struct {
	why  string
	want []string // the targets of our questions
}{
	"artifact_empty_file.json":              {"an empty file is not sent anywhere", nil},
	"artifact_file_missing_on_storage.json": {"an error page of the storage is not the file", nil},
	"artifact_scan_pending_forever.json": {"the result is waited for outside of the stage, and for longer", []string{
		"/malware/lookup", "/malware/scan", "/postback?request_id=rq-3",
	}},
}

// TestParityOfCalls gives the lookup what the Python connector was given about accounts and files, and compares what both
// asked IPQS: the endpoints, in order, what they were told, and where it stood.
func TestParityOfCalls(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(repository(t), "..", "shared", "parity")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the reference material beside the repository (../shared) is not there")
	}
	var cases []string
	for _, pattern := range []string{"leak_*.json", "artifact_*.json"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, found...)
	}
	if len(cases) < 25 {
		t.Fatalf("%s has %d cases about accounts and files, want at least 25", dir, len(cases))
	}
	for _, path := range cases {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var c observedCase
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			got := c.calls(t)
			if d, ok := differences[filepath.Base(path)]; ok {
				var targets []string
				for _, g := range got {
					targets = append(targets, g.Target)
				}
				if diff := cmp.Diff(d.want, targets); diff != "" {
					t.Errorf("%s: asked (-want +got):\n%s", d.why, diff)
				}
				return
			}
			if diff := cmp.Diff(c.observed(t), got); diff != "" {
				t.Errorf("asked (-Python's +ours):\n%s", diff)
			}
		})
	}
}

func repository(t *testing.T) string {
	t.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if abs, err := filepath.Abs(dir); err != nil || abs == "/" {
			t.Fatal("no go.mod above the test")
		}
	}
}

// observed are the questions of the Python connector in our form.
func (c observedCase) observed(t *testing.T) []call {
	t.Helper()
	var calls []call
	for _, r := range c.Observed.Requests {
		var body struct {
			Multipart []struct {
				Bytes int `json:"bytes"`
			} `json:"multipart"`
		}
		text := string(r.Body)
		if err := json.Unmarshal(r.Body, &body); err == nil && len(body.Multipart) == 1 {
			text = fmt.Sprintf("file of %d bytes", body.Multipart[0].Bytes)
		} else if text != "" {
			text = compact(t, r.Body)
		}
		calls = append(calls, call{r.Method, strings.TrimPrefix(r.Target, "/api/json"), text})
	}
	return calls
}

func compact(t *testing.T, raw []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// calls runs the lookup against the answers of the case, twice where a scan is pending, and returns its questions.
func (c observedCase) calls(t *testing.T) []call {
	t.Helper()
	var mu sync.Mutex
	var calls []call
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := strings.TrimPrefix(r.URL.RequestURI(), "/api/json")
		asked, key := call{Method: r.Method, Target: target}, ""
		switch {
		case strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/"):
			file, header, err := r.FormFile("file")
			if err != nil {
				t.Error(err)
				return
			}
			content, _ := io.ReadAll(file)
			asked.Body, key = fmt.Sprintf("file of %d bytes", len(content)), header.Filename
		case r.Method == http.MethodPost:
			body, _ := io.ReadAll(r.Body)
			asked.Body = compact(t, body)
			var fields map[string]string
			_ = json.Unmarshal(body, &fields)
			for _, value := range fields {
				key = value
			}
		default:
			key = r.FormValue("request_id")
		}
		mu.Lock()
		calls = append(calls, asked)
		mu.Unlock()
		endpoint := strings.TrimPrefix(r.URL.Path, "/api/json/")
		raw, ok := c.Input.IPQS[endpoint+"|"+key]
		if !ok {
			raw, ok = c.Input.IPQS[endpoint+"|*"]
		}
		var answer scripted
		if !ok || json.Unmarshal(raw, &answer) != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if answer.Status != 0 {
			w.WriteHeader(answer.Status)
		}
		_, _ = io.WriteString(w, answer.Body+string(answer.JSON))
	}))
	defer server.Close()
	client, err := ipqs.NewClient(ipqs.Options{Key: "the-key", BaseURL: server.URL + "/api/json", HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	files := fakeFiles{}
	for id, content := range c.Input.Files {
		plain, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			t.Fatal(err)
		}
		files[id] = string(plain)
	}
	entity := opencti.Entity{ID: c.Input.Entity.ID, StandardID: c.Input.Entity.StandardID, Type: c.Input.Entity.Type, Artifact: &opencti.Artifact{}}
	for _, edge := range c.Input.Entity.Files.Edges {
		entity.Artifact.Files = append(entity.Artifact.Files, opencti.File(edge.Node))
	}
	stage := Lookup(client, time.Now, Sources{
		Credentials: fakeCredentials(func(string, string) (opencti.Credential, error) {
			return opencti.NewCredential(c.Input.Entity.Login, c.Input.Entity.Credential), nil
		}),
		Files: files, Scanning: Scanning{On: true, MaxSize: 1000, Wait: time.Minute},
	})
	job, err := stage.Run(context.Background(), Job{ID: "work_1", Entity: &entity})
	if f := AsFault(err); f != nil && f.Class == Pending {
		_, _ = stage.Run(context.Background(), job)
	}
	mu.Lock()
	defer mu.Unlock()
	return calls
}
