package rediscache

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"opencti-ipqs-worker/internal/credit"
)

// Pacer spaces out what all processes together begin.
type Pacer struct {
	redis *Redis
	every time.Duration
	local credit.Pacer // this process' share of the pace
}

var _ credit.Pacer = (*Pacer)(nil)

// NewPacer makes a Pacer that lets so many begin in a second, among all processes. While Redis is away, local does.
func NewPacer(r *Redis, perSecond float64, local credit.Pacer) *Pacer {
	return &Pacer{redis: r, every: time.Duration(float64(time.Second) / perSecond), local: local}
}

// next takes the next place: KEYS is when it is, in microseconds since 1970 by Redis' clock; ARGV the space between two of
// them, and how long the caller can wait, -1 for ever. It returns how long it is until then. A place that comes too late is
// not taken: if it were, those who come again and again would move it ahead of them, and nobody would ever have it.
var next = redis.NewScript(`
local time = redis.call('TIME')
local now, every = time[1] * 1000000 + time[2], tonumber(ARGV[1])
local at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local most = tonumber(ARGV[2])
if most >= 0 and at - now > most then return string.format('%.0f', at - now) end
redis.call('SET', KEYS[1], string.format('%.0f', at + every), 'PX', math.ceil((at + every - now) / 1000) + 1000)
return string.format('%.0f', at - now)`)

// Wait takes the next place and returns when it has come.
func (p *Pacer) Wait(ctx context.Context) error {
	var wait int64
	most := int64(-1)
	deadline, limited := ctx.Deadline()
	if limited {
		most = max(time.Until(deadline), 0).Microseconds()
	}
	ok := p.redis.do(ctx, func(ctx context.Context) (err error) {
		wait, err = next.Run(ctx, p.redis.client, []string{p.redis.prefix + "pace"}, p.every.Microseconds(), most).Int64()
		return err
	})
	if !ok {
		return p.local.Wait(ctx)
	}
	in := time.Duration(wait) * time.Microsecond
	if limited && wait > most {
		return fmt.Errorf("the next place is in %s, which is too late", in.Round(time.Millisecond))
	}
	timer := time.NewTimer(in)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
