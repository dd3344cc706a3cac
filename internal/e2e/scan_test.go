package e2e

import (
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

// TestAScanSurvivesARestart kills the worker while IPQS scans a file. The next one asks for the result of that very scan:
// nothing is uploaded, or paid, again.
func TestAScanSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{ScanPolls: 1})
	const fileID = "import/Artifact/1/sample.bin"
	w.platform.StoreFile(fileID, []byte("an EICAR sample"))
	options := []string{"IPQS_ARTIFACT_SCAN=true", "CONNECTOR_SCOPE=Artifact"}
	first := w.start(options...)
	artifact := w.platform.AddObservable(openctitest.Observable{
		Type: "Artifact", Value: "sample.bin", Artifact: &openctitest.Artifact{FileID: fileID, Size: len("an EICAR sample")},
	})
	if _, err := w.platform.Enrich(w.ctx, artifact, openctitest.Manual); err != nil {
		t.Fatal(err)
	}
	// Asked for once: the job has been in the waiting room, and is there again, or about to be.
	for w.ipqs.Requests()[ipqs.KindFileResult] == 0 {
		select {
		case <-w.ctx.Done():
			t.Fatalf("nobody asks for the result: %v", w.ipqs.Requests())
		case <-time.After(50 * time.Millisecond):
		}
	}
	first.kill()
	w.start(options...)
	if err := w.platform.WaitWorks(w.ctx, 1); err != nil {
		t.Fatalf("the work is not complete: %v", err)
	}
	if o, _ := w.platform.Observable(artifact); o.Score == nil || *o.Score != 100 {
		t.Errorf("score = %v, want 100: an engine detects it", o.Score)
	}
	if got := w.ipqs.Requests(); got[ipqs.KindFileScan] != 1 || got[ipqs.KindFileLookup] != 1 {
		t.Errorf("requests = %v, want the file uploaded once to be looked up, and once to be scanned", got)
	}
	checkSecrets(t, w)
}
