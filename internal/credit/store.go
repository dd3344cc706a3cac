package credit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Store keeps small values for a while. It never fails: what cannot be kept is forgotten, what cannot be read was never
// there. Implementations are safe for concurrent use.
type Store interface {
	Get(ctx context.Context, key string) (value []byte, ok bool)
	Put(ctx context.Context, key string, value []byte, life time.Duration)
	// Claim says whether the caller is the one of all who share the store to do what key stands for. Whoever has the claim
	// calls release; it ends by itself after life.
	Claim(ctx context.Context, key string, life time.Duration) (release func(), ok bool)
}

// Memory is a [Store] of one process. It keeps so many values, and forgets the one that was not used for longest first.
type Memory struct {
	values *lru.Cache[string, value]
}

type value struct {
	bytes []byte
	until time.Time
}

var _ Store = (*Memory)(nil)

// NewMemory makes a Memory of size values, at least one.
func NewMemory(size int) *Memory {
	values, err := lru.New[string, value](max(size, 1))
	if err != nil { // not with a size above zero
		return &Memory{}
	}
	return &Memory{values: values}
}

// Get returns what is kept under key.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool) {
	v, ok := m.values.Get(key)
	if ok && !time.Now().Before(v.until) {
		m.values.Remove(key)
		return nil, false
	}
	return v.bytes, ok
}

// Put keeps a value, which is not changed afterwards.
func (m *Memory) Put(_ context.Context, key string, bytes []byte, life time.Duration) {
	m.values.Add(key, value{bytes: bytes, until: time.Now().Add(life)})
}

// Claim always gives the claim: within a process, those who ask the same share one answer anyway.
func (m *Memory) Claim(context.Context, string, time.Duration) (func(), bool) { return func() {}, true }

// Len returns how many values are kept.
func (m *Memory) Len() int { return m.values.Len() }

// Hide makes a key of parts that shows none of them: their HMAC-SHA256 under a secret.
func Hide(secret string, parts ...string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	for _, part := range parts {
		// With its length, so that no two lists of parts are the same text.
		_, _ = mac.Write([]byte(strings.Join([]string{lengthOf(part), part}, ":")))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
