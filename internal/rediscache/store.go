package rediscache

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"opencti-ipqs-worker/internal/credit"
)

var _ credit.Store = (*Redis)(nil)

// stamp is how many bytes before a value say until when it is kept, in milliseconds since 1970: this process does not keep
// it for longer.
const stamp = 8

// Get returns what this process keeps, else what Redis does.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, bool) {
	if value, ok := r.local.Get(ctx, key); ok {
		return value, true
	}
	var bytes []byte
	ok := r.do(ctx, func(ctx context.Context) (err error) {
		bytes, err = r.client.Get(ctx, r.prefix+key).Bytes()
		return err
	})
	if !ok || len(bytes) < stamp {
		return nil, false
	}
	until := time.UnixMilli(int64(binary.BigEndian.Uint64(bytes))) //nolint:gosec // as it was written
	left := time.Until(until)
	if left <= 0 {
		return nil, false
	}
	value := bytes[stamp:]
	r.local.Put(ctx, key, value, left)
	return value, true
}

// Put keeps a value here and in Redis.
func (r *Redis) Put(ctx context.Context, key string, value []byte, life time.Duration) {
	r.local.Put(ctx, key, value, life)
	until := time.Now().Add(life).UnixMilli()
	bytes := append(binary.BigEndian.AppendUint64(make([]byte, 0, stamp+len(value)), uint64(until)), value...)
	r.do(ctx, func(ctx context.Context) error { return r.client.Set(ctx, r.prefix+key, bytes, life).Err() })
}

// release gives a claim back, unless it has ended by itself and is somebody else's.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// Claim takes the claim if nobody has it. While Redis is away, everybody has it.
func (r *Redis) Claim(ctx context.Context, key string, life time.Duration) (func(), bool) {
	token, key := uuid.NewString(), r.prefix+key
	ours := false
	ok := r.do(ctx, func(ctx context.Context) (err error) {
		ours, err = r.client.SetNX(ctx, key, token, life).Result()
		return err
	})
	if ok && !ours {
		return func() {}, false
	}
	return func() { // also if the answer did not come: the claim may have been heard
		ctx := context.WithoutCancel(ctx)
		r.do(ctx, func(ctx context.Context) error { return release.Run(ctx, r.client, []string{key}, token).Err() })
	}, true
}
