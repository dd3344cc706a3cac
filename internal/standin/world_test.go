package standin_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"opencti-ipqs-worker/internal/app"
	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/internal/secrettest"
	"opencti-ipqs-worker/internal/standin"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/stages"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limited is how long a test may take on a machine that is busy with others, too. It goes on until what the test has started
// is closed.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// endings returns where the ends of jobs are told, and the observer that tells them.
func endings() (<-chan pipeline.Outcome, func(pipeline.Outcome)) {
	ends := make(chan pipeline.Outcome, 10)
	return ends, func(o pipeline.Outcome) {
		if o.End != "" {
			ends <- o
		}
	}
}

// checkEnd waits for the next end and compares it.
func checkEnd(ctx context.Context, t *testing.T, ends <-chan pipeline.Outcome, end pipeline.End, reason stages.Reason) {
	t.Helper()
	select {
	case o := <-ends:
		var got stages.Reason
		if o.Fault != nil {
			got = o.Fault.Reason
		}
		if o.End != end || got != reason {
			t.Errorf("end = %s (%v), want %s (%s)", o.End, o.Fault, end, reason)
		}
	case <-ctx.Done():
		t.Fatal("the job did not end")
	}
}

// connector runs the connector in a new world until the test ends.
func connector(ctx context.Context, tb testing.TB, o standin.Options, observe func(pipeline.Outcome), environ ...string) *standin.World {
	tb.Helper()
	return connect(ctx, tb, o, &pushed{}, observe, environ...)
}

// connect is connector, and notes what is published.
func connect(ctx context.Context, tb testing.TB, o standin.Options, to *pushed, observe func(pipeline.Outcome), environ ...string) *standin.World {
	tb.Helper()
	world, err := standin.New(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	c, _, err := config.Load(config.Options{Environ: append(append(world.Environ(), "CONNECTOR_METRICS_PORT=0"), environ...)})
	if err != nil {
		tb.Fatal(err)
	}
	log, tap := &logtest.Log{}, &tap{}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- app.Run(running, app.Options{
			Config: c, Logger: log.Logger(), Version: "test", Observe: observe,
			Connect: func(ctx context.Context, r opencti.Registration, topics []pipeline.Topic) (app.Carrier, error) {
				carrier, err := world.Connect(ctx, r, topics)
				return recording{tapped{carrier, tap}, to}, err
			},
		})
	}()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Errorf("Run() = %v", err)
		}
		world.Close()
		places := map[string]string{"log": log.String()}
		for place, text := range map[string][]string{"headers": tap.metadata, "messages": tap.bodies, "objects": tap.objects} {
			if len(text) > 0 { // a test may be about a connector that does nothing
				places[place] = strings.Join(text, "\n")
			}
		}
		for _, found := range secrettest.Find(places, standin.Key, standin.Token) {
			tb.Error(found)
		}
	})
	if err := world.Registered(ctx); err != nil {
		tb.Fatal(err)
	}
	return world
}

// message is what was published: the envelope, and the one object in its content.
type message struct {
	Envelope map[string]any
	Object   json.RawMessage
}

// pushed notes what is published.
type pushed struct {
	mu     sync.Mutex
	bodies [][]byte
}

// recording is a carrier that notes what it publishes.
type recording struct {
	app.Carrier
	pushed *pushed
}

func (r recording) Push(ctx context.Context, messages [][]byte) error {
	r.pushed.mu.Lock()
	r.pushed.bodies = append(r.pushed.bodies, messages...)
	r.pushed.mu.Unlock()
	return r.Carrier.Push(ctx, messages)
}

// SetWindow implements [pipeline.Narrower], for a hop that pauses.
func (r recording) SetWindow(topic string, n int) {
	if narrower, ok := r.Carrier.(pipeline.Narrower); ok {
		narrower.SetWindow(topic, n)
	}
}

func (p *pushed) all(t *testing.T) []message {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []message
	for _, body := range p.bodies {
		var m message
		if err := json.Unmarshal(body, &m.Envelope); err != nil {
			t.Fatal(err)
		}
		encoded, _ := m.Envelope["content"].(string)
		content, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		delete(m.Envelope, "content")
		var bundle struct{ Objects []json.RawMessage }
		if err := json.Unmarshal(content, &bundle); err != nil || len(bundle.Objects) != 1 {
			t.Fatalf("content = %s (%v), want a bundle of one object", content, err)
		}
		m.Object = bundle.Objects[0]
		all = append(all, m)
	}
	return all
}

// timely matches what differs from job to job, or is compared elsewhere: times, and texts with times.
var timely = regexp.MustCompile(`"(created|modified|valid_from|valid_until|content|abstract|description)":"(\\.|[^"\\])*"`)

// golden compares STIX objects with a file.
func golden(t *testing.T, name string, objects []json.RawMessage) {
	t.Helper()
	text, err := json.Marshal(objects)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, timely.ReplaceAll(text, []byte(`"$1":"…"`)), "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	path := "testdata/" + strings.ReplaceAll(name, " ", "_") + ".golden.json"
	if *update {
		fresh := filepath.Join("testdata", rand.Text()) // another cell may be reading it
		if err := errors.Join(os.WriteFile(fresh, got.Bytes(), 0o600), os.Rename(fresh, path)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got, -update rewrites it):\n%s", path, diff)
	}
}
