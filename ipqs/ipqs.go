package ipqs

import (
	"context"
	"io"
)

// Kind is what is asked about, and so which endpoint of IPQS answers.
type Kind string

// The kinds of question. Their texts are the endpoint's path.
const (
	KindIP    Kind = "ip"    // an IPv4 or IPv6 address
	KindEmail Kind = "email" // an e-mail address
	KindPhone Kind = "phone" // a phone number, best in E.164
	KindURL   Kind = "url"   // a URL or a domain name; IPQS fetches the page

	// The next three ask whether a value is known from a leak. It is a secret.

	KindLeakEmail    Kind = "leaked/email"
	KindLeakUsername Kind = "leaked/username"
	KindLeakPassword Kind = "leaked/password"

	KindFileLookup Kind = "malware/lookup" // a file that IPQS may have scanned before; it is uploaded all the same
	KindFileScan   Kind = "malware/scan"   // a file for IPQS to scan
	KindFileResult Kind = "postback"       // what became of a scan; the value is the scan's request id
)

// Kinds returns every kind. The slice is the caller's.
func Kinds() []Kind {
	return []Kind{
		KindIP, KindEmail, KindPhone, KindURL, KindLeakEmail, KindLeakUsername, KindLeakPassword,
		KindFileLookup, KindFileScan, KindFileResult,
	}
}

// Secret reports whether the value asked about must not be kept: a password, or the name of an account that may be
// in a leak.
func (k Kind) Secret() bool {
	return k == KindLeakEmail || k == KindLeakUsername || k == KindLeakPassword
}

// Upload reports whether a file goes out with the question.
func (k Kind) Upload() bool { return k == KindFileLookup || k == KindFileScan }

// Credits is what a question of the kind is said to cost. IPQS publishes one credit a lookup; 10 for a scan is what others
// were charged, and that looking at a result is free is what its being no lookup suggests.
func (k Kind) Credits() int {
	switch k {
	case KindFileScan:
		return 10
	case KindFileResult:
		return 0
	default:
		return 1
	}
}

// Query is one question to IPQS.
type Query struct {
	Kind Kind
	// Value goes out exactly as it stands here; only the encoding of a URL's query or of JSON is put around it. It is empty
	// where there is an Upload.
	Value string
	// Urgent says that somebody waits for the answer. It changes nothing about the question: only who goes first where
	// questions wait for each other.
	Urgent bool
	// Afresh says that a refusal which was kept is no answer: somebody thinks that IPQS will say something else by now.
	Afresh bool
	// Upload is the file asked about, for the kinds that want one.
	Upload *Upload
}

// String names the question, and not its value where that is a secret.
func (q Query) String() string {
	switch {
	case q.Kind.Secret():
		return string(q.Kind) + " [REDACTED]"
	case q.Upload != nil:
		return string(q.Kind) + " of a file"
	default:
		return string(q.Kind) + " " + q.Value
	}
}

// Upload is a file that goes to IPQS.
type Upload struct {
	Name string // as IPQS is told
	Size int64  // bytes, at least 1
	// Open begins to read the file anew; whoever calls it closes what it returns.
	Open func() (io.ReadCloser, error)
}

// Lookuper answers a Query. Implementations are safe for concurrent use. The error is an [*APIError], or wraps
// context.Canceled when the caller ended ctx, or [ErrUpload] when the file to upload could not be read.
type Lookuper interface {
	Lookup(ctx context.Context, q Query) (*Report, error)
}
