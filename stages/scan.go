package stages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// Scanning says whether and how files of artifacts go to IPQS. It is a disclosure: nobody has published how long they are
// kept there.
type Scanning struct {
	// On says whether they go there at all.
	On bool
	// MaxSize is the largest file that does, in bytes.
	MaxSize int64
	// Wait is how long a scan may take. Then it is inconclusive.
	Wait time.Duration
}

// Scan is a scan that has begun: all there is to know to ask for its result, by whichever worker, whenever.
type Scan struct {
	RequestID string `json:"request_id"`
	// SHA256 is that of the file which was uploaded, in lower-case hexadecimal.
	SHA256 string `json:"sha256"`
	// At is when it began.
	At time.Time `json:"at"`
}

// How often IPQS is asked for a result, which costs nothing: while a playbook may wait for it, and later.
const (
	soon       = 5 * time.Second
	soonFor    = 30 * time.Second
	afterwards = 30 * time.Second
)

// timeout is what a file needs on top of a lookup: it comes from OpenCTI and goes to IPQS twice.
func (s Scanning) timeout() time.Duration {
	if !s.On {
		return 0
	}
	const uploads = 2
	each := ipqs.DefaultTimeout(ipqs.KindFileScan) + ipqs.UploadTimeout(s.MaxSize)
	return (uploads + 1) * each
}

// scan asks what IPQS knows of an artifact's file, has it scanned if that is nothing, and asks for the result of a scan that
// has begun. While there is none, the fault says when to come again, and the job waits with the scan in it in a room of the
// broker's: it holds no slot, and survives a restart.
func (l lookup) scan(ctx context.Context, job Job) (*Scan, *ipqs.Report, error) {
	if !l.Scanning.On {
		return nil, nil, fault(Skip, ReasonScope, "scans of files are switched off (IPQS_ARTIFACT_SCAN)")
	}
	if job.Scan != nil {
		return l.result(ctx, job)
	}
	file, err := l.fetch(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	defer file.close()
	report, err := l.ask(ctx, job, ipqs.Query{Kind: ipqs.KindFileLookup, Upload: file.upload()})
	if err != nil {
		return nil, nil, err
	}
	if !report.File.Cached() {
		if report, err = l.ask(ctx, job, ipqs.Query{Kind: ipqs.KindFileScan, Upload: file.upload()}); err != nil {
			return nil, nil, err
		}
	}
	if report.File.Pending() {
		if report.RequestID == "" {
			return nil, nil, fault(Permanent, ReasonMalformed, "reading the response to a scan: field request_id is missing")
		}
		begun := &Scan{RequestID: string(report.RequestID), SHA256: file.sha256, At: l.now().UTC().Truncate(time.Millisecond)}
		return begun, nil, pending(soon)
	}
	report.File.OwnSHA256 = ipqs.Text(file.sha256)
	return nil, report, nil
}

// result asks for the result of the job's scan. One that takes too long is answered with what there is, which is pending.
func (l lookup) result(ctx context.Context, job Job) (*Scan, *ipqs.Report, error) {
	report, err := l.ask(ctx, job, ipqs.Query{Kind: ipqs.KindFileResult, Value: job.Scan.RequestID})
	if err != nil {
		return job.Scan, nil, err
	}
	if since := l.now().Sub(job.Scan.At); report.File.Pending() && since < l.Scanning.Wait {
		if since < soonFor {
			return job.Scan, nil, pending(soon)
		}
		return job.Scan, nil, pending(afterwards)
	}
	report.File.OwnSHA256 = ipqs.Text(job.Scan.SHA256)
	return nil, report, nil
}

func pending(after time.Duration) *Fault {
	f := fault(Pending, ReasonPending, "the scan of the file is in progress")
	f.After = after
	return f
}

// localFile is a file of OpenCTI's on this machine's disk, without a name there, so that nothing is left of it whatever
// happens to the worker.
type localFile struct {
	name   string
	disk   *os.File
	size   int64
	sha256 string // in lower-case hexadecimal
}

func (f *localFile) close() {
	_ = f.disk.Close()
	_ = os.Remove(f.disk.Name()) // for systems that do not remove open files
}

// upload can be sent as often as wanted: each reads the file from its beginning.
func (f *localFile) upload() *ipqs.Upload {
	return &ipqs.Upload{Name: f.name, Size: f.size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f.disk, 0, f.size)), nil
	}}
}

// fetch copies the artifact's first file, which is its content, and hashes it on the way. What is not the file in full, or
// more than may be sent, is not sent.
func (l lookup) fetch(ctx context.Context, job Job) (*localFile, error) {
	artifact := job.Entity.Artifact
	if artifact == nil || len(artifact.Files) == 0 {
		return nil, fault(Skip, ReasonEmpty, "OpenCTI has no file of the artifact")
	}
	stored := artifact.Files[0]
	if stored.Size > l.Scanning.MaxSize {
		return nil, l.tooLarge(stored.Size)
	}
	download, err := l.Files.Download(ctx, stored.ID, job.draft())
	if err != nil {
		return nil, fmt.Errorf("reading the file of the artifact %s: %w", job.Entity.StandardID, err)
	}
	defer func() { _ = download.Close() }()
	if download.Size > l.Scanning.MaxSize {
		return nil, l.tooLarge(download.Size)
	}
	name := stored.Name
	if name == "" {
		name = path.Base(stored.ID)
	}
	file := &localFile{name: name}
	if file.disk, err = os.CreateTemp("", "ipqs-worker-"); err != nil {
		return nil, fault(Transient, ReasonOther, "keeping the file of the artifact: %w", withoutPath(err))
	}
	if err := l.fill(file, download, stored.Size); err != nil {
		file.close()
		return nil, err
	}
	return file, nil
}

// fill copies what is downloaded. OpenCTI says how long the file is; an error page is not.
func (l lookup) fill(file *localFile, download *opencti.Download, want int64) error {
	_ = os.Remove(file.disk.Name())
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(file.disk, hash), io.LimitReader(download, l.Scanning.MaxSize+1))
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("reading the file of the artifact: %w", err)
	case err != nil:
		return fault(Transient, ReasonUnavailable, "reading the file of the artifact: %w", withoutPath(err))
	case size > l.Scanning.MaxSize:
		return l.tooLarge(size)
	case want > 0 && size != want:
		return fault(Transient, ReasonMalformed, "reading the file of the artifact: found %d bytes, want the %d that OpenCTI says it has", size, want)
	case size == 0:
		return fault(Skip, ReasonEmpty, "the file of the artifact is empty")
	}
	file.size, file.sha256 = size, hex.EncodeToString(hash.Sum(nil))
	return nil
}

func (l lookup) tooLarge(size int64) *Fault {
	return fault(Skip, ReasonTooLarge, "the file has %d bytes or more, and no more than %d are sent (IPQS_ARTIFACT_MAX_SIZE)",
		size, l.Scanning.MaxSize)
}

// withoutPath is an error of the file system without the place where it happened.
func withoutPath(err error) error {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		return at.Err
	}
	return err
}
