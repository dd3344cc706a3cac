package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

type jobKey struct{}

// WithJobKey returns a context in which a span without a parent begins the trace of the job with this key, whose id is
// [TraceID] of it.
func WithJobKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, jobKey{}, key)
}

func keyOf(ctx context.Context) string {
	key, _ := ctx.Value(jobKey{}).(string)
	return key
}

// TraceID returns the id of a job's trace: the first 16 bytes of SHA-256 of "ipqs-worker/trace/" and the job's key. In a
// shell: printf 'ipqs-worker/trace/%s' KEY | sha256sum | cut -c 1-32. It is never the invalid id of zeros.
func TraceID(key string) trace.TraceID {
	sum := sha256.Sum256([]byte("ipqs-worker/trace/" + key))
	id := trace.TraceID(sum[:16])
	if !id.IsValid() {
		id[15] = 1
	}
	return id
}

// jobIDs makes trace ids that follow from the job, and random span ids.
type jobIDs struct{}

var _ sdktrace.IDGenerator = jobIDs{}

// NewIDs returns ids for a span without a parent.
func (g jobIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	if key := keyOf(ctx); key != "" {
		id = TraceID(key)
	}
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID returns an id for a span.
func (jobIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
