package rediscache

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"opencti-ipqs-worker/internal/credit"
	"opencti-ipqs-worker/ipqs"
)

const (
	keepCount = 48 * time.Hour // a day's count; give-backs come after midnight, too
	keepLeft  = 24 * time.Hour // what was read of the account
)

// Ledger counts credits in Redis.
type Ledger struct {
	redis *Redis
	local *credit.MemoryLedger // knows what was last heard from Redis
	parts int

	mu    sync.Mutex
	day   string // of spent
	spent int    // what Redis said last
}

var _ credit.Ledger = (*Ledger)(nil)

// NewLedger makes a Ledger on r. While that is away, this process spends one in parts of what was left of a day's limit: so
// many processes share it.
func NewLedger(r *Redis, parts int) *Ledger {
	return &Ledger{redis: r, local: credit.NewLedger(), parts: max(parts, 1)}
}

// take is credit.Ledger's Take as one: KEYS are the day's count and what is left, ARGV credits, limit, reserve and for how
// many seconds a count is kept. It returns 0, 1 for the limit or 2 for the reserve; the count; what is left, or "".
var take = redis.NewScript(`
local n, limit, reserve = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local spent = tonumber(redis.call('GET', KEYS[1]) or '0')
local left = redis.call('GET', KEYS[2])
local refused = 0
if n > 0 and limit > 0 and spent + n > limit then
  refused = 1
elseif n > 0 and reserve > 0 and left and tonumber(left) - n < reserve then
  refused = 2
else
  spent = redis.call('INCRBY', KEYS[1], n)
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  if left then left = redis.call('DECRBY', KEYS[2], n) end
end
return {refused, spent, left and tostring(left) or ''}`)

// Take takes credits in Redis; while that is away, in this process, from where the count stood.
func (l *Ledger) Take(ctx context.Context, t credit.Taking) credit.Taken {
	var taken credit.Taken
	ok := l.redis.do(ctx, func(ctx context.Context) error {
		reply, err := take.Run(ctx, l.redis.client, []string{l.redis.prefix + "spent:" + t.Day, l.redis.prefix + "left"},
			t.Credits, t.Limit, t.Reserve, int(keepCount/time.Second)).Slice()
		if err == nil {
			taken, err = readTaken(reply)
		}
		return err
	})
	if !ok {
		t.Limit = l.part(t)
		return l.local.Take(ctx, t)
	}
	l.local.Note(t.Day, taken)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.day, l.spent = t.Day, taken.Spent
	return taken
}

// part is how far the count of this process may go by itself.
func (l *Ledger) part(t credit.Taking) int {
	if t.Limit == 0 {
		return 0 // without bound
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	heard := 0
	if l.day == t.Day {
		heard = min(l.spent, t.Limit)
	}
	return max(heard+(t.Limit-heard)/l.parts, 1) // 0 would be without bound
}

func readTaken(reply []any) (credit.Taken, error) {
	if len(reply) != 3 {
		return credit.Taken{}, fmt.Errorf("reading what a script returned: found %d values, want 3", len(reply))
	}
	refused, _ := reply[0].(int64)
	spent, _ := reply[1].(int64)
	taken := credit.Taken{Spent: int(spent)}
	switch refused {
	case 1:
		taken.Refused = ipqs.ErrBudget
	case 2:
		taken.Refused = ipqs.ErrReserve
	}
	if text, _ := reply[2].(string); text != "" {
		left, err := strconv.Atoi(text)
		if err != nil {
			return credit.Taken{}, fmt.Errorf("reading the credits left: %w", err)
		}
		taken.Left, taken.LeftKnown = left, true
	}
	return taken, nil
}

// SetLeft notes what the account has left.
func (l *Ledger) SetLeft(ctx context.Context, left int) {
	l.local.SetLeft(ctx, left)
	l.redis.do(ctx, func(ctx context.Context) error {
		return l.redis.client.Set(ctx, l.redis.prefix+"left", left, keepLeft).Err()
	})
}

// Turn is the caller's if nobody had it for that long. While Redis is away, it is everybody's.
func (l *Ledger) Turn(ctx context.Context, every time.Duration) bool {
	ours := false
	ok := l.redis.do(ctx, func(ctx context.Context) (err error) {
		ours, err = l.redis.client.SetNX(ctx, l.redis.prefix+"account", "read", every).Result()
		return err
	})
	return ours || !ok
}
