package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"opencti-ipqs-worker/internal/doccheck"
	"opencti-ipqs-worker/internal/logtest"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// TestTheDocumentsAtTheirWord runs the commands of every document, as somebody would who has the program and all around it.
// A few jobs are done before, and some of them are dead letters.
func TestTheDocumentsAtTheirWord(t *testing.T) {
	t.Parallel()
	const root = "../.."
	documents, err := doccheck.Walk(root)
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, d := range documents {
		for _, block := range d.Blocks {
			if block.NotRun == "" {
				run++
			}
		}
		if !strings.Contains(d.Script(), "\necho '::") {
			continue
		}
		t.Run(strings.ReplaceAll(d.Path, "/", "_"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ipqstest.Options{})
			reader := w.reader(root)
			w.jobsBefore()
			script := strings.NewReplacer(":9095", ":"+reader.port, ":9096", ":"+reader.debug, letterOfTheExamples, reader.letter()).Replace(d.Script())
			work := w.platform.Works()[0]
			cmd := exec.CommandContext(w.ctx, "bash", "-c", script)
			cmd.Dir, cmd.Env = reader.dir, append(reader.env, "WORK_ID="+work.ID, "ENTITY_ID="+work.EntityID)
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // what it left in the background goes too
			var out logtest.Log
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Errorf("%s: %v; :: and a line of the document stand before each block:\n%s", d.Path, err, out.Tail(4000))
			}
			for _, secret := range []string{token, key} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s: the commands write %q", d.Path, secret)
				}
			}
		})
	}
	if run == 0 {
		t.Error("no document has a command that is run")
	}
}

// letterOfTheExamples is the dead letter that the documents tell of.
const letterOfTheExamples = "D4K7ZR9V0XH3N5P7Q1S2T4W6ZA"

// reader is somebody who tries what a document says, and where.
type reader struct {
	w   *world
	dir string
	env []string
	// Where a worker tells of its state, and lets itself be debugged; not the ports in the documents, as several read at once.
	port, debug string
}

// letter is the id of a dead letter that is there.
func (r reader) letter() string {
	r.w.t.Helper()
	cmd := exec.CommandContext(r.w.ctx, r.w.program, "dead-letters", "list", "--output", "json")
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.Output()
	if err != nil {
		r.w.t.Fatalf("listing the dead letters: %v", err)
	}
	var letter struct{ ID string }
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&letter); err != nil {
		r.w.t.Fatalf("listing the dead letters: %v in %q", err, out)
	}
	return letter.ID
}

func (w *world) reader(root string) reader {
	w.t.Helper()
	dir := w.t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(w.program, filepath.Join(bin, "ipqs-worker")); err != nil {
		w.t.Fatal(err)
	}
	sample, err := os.ReadFile(filepath.Join(root, "config.yml.sample"))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yml.sample"), sample, 0o600); err != nil {
		w.t.Fatal(err)
	}
	port, debug := freePort(w.t), freePort(w.t)
	return reader{w, dir, []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "NO_COLOR=1",
		"OPENCTI_URL=" + w.address, "OPENCTI_TOKEN=" + token, "CONNECTOR_ID=" + w.connector,
		"IPQS_PRIVATE_KEY=" + key, "IPQS_BASE_URL=" + w.ipqs.BaseURL, "CONNECTOR_METRICS_PORT=" + port, "WORKER_DEBUG_PORT=" + debug,
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + w.collector.address, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
	}, port, debug}
}

// jobsBefore has a worker do a few jobs: one becomes a dead letter, as IPQS knows no such address.
func (w *world) jobsBefore() {
	w.t.Helper()
	p := w.start()
	jobs := w.enrich([]openctitest.Observable{
		observable("IPv4-Addr", "198.51.100.7"), observable("Domain-Name", "example.com"), observable("IPv4-Addr", "no address.example"),
	})
	if err := w.platform.Wait(w.ctx, func() bool { return w.complete() == len(jobs) }); err != nil {
		w.t.Fatalf("waiting for the jobs before: %v", err)
	}
	if status := p.stop(); status != 0 {
		w.t.Fatalf("the worker ended with status %d", status)
	}
}
