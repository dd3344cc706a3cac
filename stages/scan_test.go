package stages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// fakeFiles is a storage; what it does not have is not found. A draft's file has the draft before its id ("draft:id").
type fakeFiles map[string]string

func (f fakeFiles) Download(_ context.Context, id, draftID string) (*opencti.Download, error) {
	content, ok := f[strings.TrimPrefix(draftID+":"+id, ":")]
	if !ok {
		return nil, opencti.ErrNotFound
	}
	return &opencti.Download{ReadCloser: io.NopCloser(strings.NewReader(content)), Size: -1}, nil
}

const bad = "X5O!P%@AP[4 EICAR sample"

func artifactJob(name, content string) Job {
	return Job{
		ID: "work_1", Request: &opencti.Request{WorkID: "work_1"},
		Entity: &opencti.Entity{
			ID: "fbf6ef10", StandardID: "artifact--1", Type: typeArtifact, Value: name,
			Artifact: &opencti.Artifact{Files: []opencti.File{{ID: "import/" + name, Name: name, Size: int64(len(content))}}},
		},
	}
}

// scanner is a lookup stage for files, with its clock and its IPQS.
type scanner struct {
	t     *testing.T
	now   time.Time
	fake  *ipqstest.Fake
	stage Stage
}

func newScanner(t *testing.T, files fakeFiles, o ipqstest.Options) *scanner {
	t.Helper()
	s := &scanner{t: t, now: at, fake: ipqstest.New(o)}
	client, err := ipqs.NewClient(ipqs.Options{Key: "the-key-4711", BaseURL: ipqstest.BaseURL, HTTPClient: s.fake.Client()})
	if err != nil {
		t.Fatal(err)
	}
	s.stage = Lookup(client, func() time.Time { return s.now }, Sources{
		Files: files, Scanning: Scanning{On: true, MaxSize: 1000, Wait: 10 * time.Minute},
	})
	return s
}

// run does what the pipeline does: a pending job comes again when its time has come, as another worker reads it from the
// broker. It returns how often that was, too.
func (s *scanner) run(job Job) (Job, *Fault, int) {
	s.t.Helper()
	for again := 0; ; again++ {
		wire, err := json.Marshal(job)
		if err != nil {
			s.t.Fatal(err)
		}
		if bytes.Contains(wire, []byte("4711")) || bytes.Contains(wire, []byte("update_url")) {
			s.t.Errorf("job = %s, want it without the key", wire)
		}
		job = Job{}
		if err := json.Unmarshal(wire, &job); err != nil {
			s.t.Fatal(err)
		}
		job, err = s.stage.Run(s.t.Context(), job)
		f := AsFault(err)
		if f == nil || f.Class != Pending {
			return job, f, again
		}
		if f.After <= 0 || again > 100 {
			s.t.Fatalf("Run() = %+v for the %dth time, want it to come to an end", f, again)
		}
		s.now = s.now.Add(f.After)
	}
}

// A draft's file is read in the draft.
func TestScanInADraft(t *testing.T) {
	t.Parallel()
	s := newScanner(t, fakeFiles{"draft-1:import/bad.bin": bad}, ipqstest.Options{})
	job := artifactJob("bad.bin", bad)
	job.Request.DraftID = "draft-1"
	if job, fault, _ := s.run(job); fault != nil || job.Risk == nil {
		t.Errorf("Run() = %+v, %v, want the file of the draft scanned", job, fault)
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string // of the file
		content  string
		polls    int
		again    int // how often the job came again
		requests map[ipqs.Kind]int
		detected ipqs.Bool
		pending  bool
		engines  int
	}{
		{"good.bin", "good", 2, 3, map[ipqs.Kind]int{ipqs.KindFileLookup: 1, ipqs.KindFileScan: 1, ipqs.KindFileResult: 3}, ipqs.False, false, 3},
		{"bad.bin", bad, 1, 2, map[ipqs.Kind]int{ipqs.KindFileLookup: 1, ipqs.KindFileScan: 1, ipqs.KindFileResult: 2}, ipqs.True, false, 3},
		{"immediate.bin", "good", 1, 0, map[ipqs.Kind]int{ipqs.KindFileLookup: 1, ipqs.KindFileScan: 1}, ipqs.False, false, 3},
		{"inconclusive.bin", "odd", 1, 2, map[ipqs.Kind]int{ipqs.KindFileLookup: 1, ipqs.KindFileScan: 1, ipqs.KindFileResult: 2}, ipqs.False, false, 0},
		// Six questions in the first half minute, then one each half minute until ten have passed.
		{"forever.bin", "slow", 1, 25, map[ipqs.Kind]int{ipqs.KindFileLookup: 1, ipqs.KindFileScan: 1, ipqs.KindFileResult: 25}, ipqs.False, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScanner(t, fakeFiles{"import/" + tt.name: tt.content}, ipqstest.Options{ScanPolls: tt.polls})
			job, f, again := s.run(artifactJob(tt.name, tt.content))
			if f != nil {
				t.Fatalf("Run() = %+v, want no fault", f)
			}
			file := job.Risk.Report.File
			sum := sha256.Sum256([]byte(tt.content))
			if file.Detected != tt.detected || file.Pending() != tt.pending || len(file.Engines) != tt.engines {
				t.Errorf("file = %+v, want detected %v, pending %t, %d engines", file, tt.detected, tt.pending, tt.engines)
			}
			if string(file.OwnSHA256) != hex.EncodeToString(sum[:]) || file.SameFile() != ipqs.True {
				t.Errorf("own hash = %s, same file: %v, want that of the file", file.OwnSHA256, file.SameFile())
			}
			if again != tt.again || job.Scan != nil || !job.Risk.At.Equal(s.now) {
				t.Errorf("came again %d times with scan %+v at %v, want %d times, none, %v", again, job.Scan, job.Risk.At, tt.again, s.now)
			}
			got := s.fake.Requests()
			for _, kind := range ipqs.Kinds() {
				if got[kind] != tt.requests[kind] {
					t.Errorf("requests of %s = %d, want %d", kind, got[kind], tt.requests[kind])
				}
			}
		})
	}
}

// A file that IPQS has scanned already costs no scan.
func TestScan_cached(t *testing.T) {
	t.Parallel()
	s := newScanner(t, fakeFiles{"import/bad.bin": bad}, ipqstest.Options{})
	for range 2 {
		if job, f, _ := s.run(artifactJob("bad.bin", bad)); f != nil || job.Risk.Report.File.Detected != ipqs.True {
			t.Fatalf("Run() = %+v, %+v, want it detected", job.Risk, f)
		}
	}
	if got := s.fake.Requests(); got[ipqs.KindFileScan] != 1 || got[ipqs.KindFileLookup] != 2 {
		t.Errorf("requests = %v, want one scan for two lookups", got)
	}
}

func TestScan_faults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(s *scanner, job *Job)
		class  Class
		reason Reason
		asked  int // requests to IPQS
	}{
		{"switched off", func(s *scanner, _ *Job) {
			s.stage = Lookup(nil, time.Now, Sources{Files: fakeFiles{}})
		}, Skip, ReasonScope, 0},
		{"no file", func(_ *scanner, job *Job) { job.Entity.Artifact = nil }, Skip, ReasonEmpty, 0},
		{"an empty file", func(_ *scanner, job *Job) {
			job.Entity.Artifact = &opencti.Artifact{Files: []opencti.File{{ID: "import/empty.bin"}}}
		}, Skip, ReasonEmpty, 0},
		{"too large, as OpenCTI says", func(_ *scanner, job *Job) { job.Entity.Artifact.Files[0].Size = 1001 }, Skip, ReasonTooLarge, 0},
		{"too large, as it turns out", func(_ *scanner, job *Job) {
			job.Entity.Artifact.Files[0] = opencti.File{ID: "import/large.bin"}
		}, Skip, ReasonTooLarge, 0},
		{"not the file but an error page", func(_ *scanner, job *Job) { job.Entity.Artifact.Files[0].Size++ }, Transient, ReasonMalformed, 0},
		{"gone", func(_ *scanner, job *Job) { job.Entity.Artifact.Files[0].ID = "import/gone.bin" }, Permanent, ReasonNotFound, 0},
		{"refused", func(_ *scanner, job *Job) { job.Entity.Artifact.Files[0].Name = "refused.bin" }, Permanent, ReasonInvalidValue, 2},
		{"no request id", func(_ *scanner, job *Job) { job.Entity.Artifact.Files[0].Name = "noid.bin" }, Permanent, ReasonMalformed, 2},
		{"no credits", func(s *scanner, _ *Job) { s.fake.SetMode(ipqstest.NoCredits) }, AccountWide, ReasonCredits, 1},
		{"down", func(s *scanner, _ *Job) { s.fake.SetMode(ipqstest.Down) }, Transient, ReasonUnavailable, 1},
		{"not in the plan", func(s *scanner, _ *Job) {
			s.fake.Script(ipqs.KindFileLookup, "good.bin", ipqstest.Response{Status: 401, Body: `{"success":false,"message":"Unauthorized"}`})
		}, Permanent, ReasonCapability, 1},
		{"a result that nobody knows", func(_ *scanner, job *Job) {
			job.Scan = &Scan{RequestID: "nowhere", At: at}
		}, Permanent, ReasonInvalidValue, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScanner(t, fakeFiles{
				"import/good.bin": "good", "import/empty.bin": "", "import/large.bin": strings.Repeat("x", 1001),
			}, ipqstest.Options{})
			job := artifactJob("good.bin", "good")
			tt.change(s, &job)
			_, f, _ := s.run(job)
			if f == nil || f.Class != tt.class || f.Reason != tt.reason {
				t.Fatalf("Run() = %+v, want %s, %s", f, tt.class, tt.reason)
			}
			if f.sentence(job) == "" {
				t.Error("there is nothing to tell an analyst")
			}
			asked := 0
			for _, n := range s.fake.Requests() {
				asked += n
			}
			if asked != tt.asked {
				t.Errorf("IPQS had %d requests, want %d", asked, tt.asked)
			}
		})
	}
}

// While IPQS fails, what it has begun is not forgotten: asking again costs nothing, another scan does.
func TestScan_isNotForgottenWhenAskingFails(t *testing.T) {
	t.Parallel()
	s := newScanner(t, fakeFiles{"import/bad.bin": bad}, ipqstest.Options{})
	job, err := s.stage.Run(t.Context(), artifactJob("bad.bin", bad))
	if f := AsFault(err); f == nil || f.Class != Pending || job.Scan == nil {
		t.Fatalf("Run() = %+v with %+v, want it pending with a scan", f, job.Scan)
	}
	begun := *job.Scan
	s.fake.SetMode(ipqstest.Down)
	job, err = s.stage.Run(t.Context(), job)
	if f := AsFault(err); f == nil || f.Class != Transient || job.Scan == nil || *job.Scan != begun {
		t.Fatalf("Run() = %+v with %+v, want a transient fault with %+v", f, job.Scan, begun)
	}
	s.fake.SetMode(ipqstest.Healthy)
	if _, f, _ := s.run(job); f != nil || s.fake.Requests()[ipqs.KindFileScan] != 1 {
		t.Errorf("Run() = %+v after %d scans, want no fault after one", f, s.fake.Requests()[ipqs.KindFileScan])
	}
}

// No file of OpenCTI's is left on the disk, whatever comes of it.
func TestScan_leavesNoFile(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, name := range []string{"good.bin", "refused.bin", "large.bin"} {
		s := newScanner(t, fakeFiles{"import/good.bin": "good", "import/refused.bin": "good", "import/large.bin": strings.Repeat("x", 1001)}, ipqstest.Options{})
		job := artifactJob(name, "good")
		job.Entity.Artifact.Files[0].Size = 0
		_, _ = s.stage.Run(t.Context(), job)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left behind, want nothing", left, err)
	}
}
